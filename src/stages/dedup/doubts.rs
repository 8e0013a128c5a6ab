//! What a person should look at before believing: large components, and chains whose ends have
//! little in common.

use std::collections::HashMap;

use crate::stages::dedup::graph::Graph;
use crate::stages::dedup::greedy::Gone;
use crate::stages::dedup::settings::Linkage;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_kernels::dot::similarity;

/// Images of a component from which on it may be a kind of pictures rather than one picture.
const LARGE: u32 = 20;
/// Images at the far ends of chains that are compared with those that stay: each may lie in a shard
/// of its own.
const ENDS: usize = 128;
/// One in how many dropped images may be far from the one that stays.
const FAR: u64 = 100;

/// Warns, if there is reason to.
pub fn warn(graph: &Graph, sizes: &HashMap<u32, u32>, gone: &HashMap<u32, Gone>, task: &mut Task) -> Result<()> {
    let common = graph.common;
    let large = sizes.values().filter(|&&size| size > LARGE).count();
    if large > 0 {
        let largest = sizes.values().max().copied().unwrap_or(0);
        task.outcome.warnings.insert(format!(
            "{large} {} more than {LARGE} images, the largest {largest}: one picture so many times, or pictures of one kind? \
             look at them (`lvd look`), then raise `threshold`, or set `whiten = true`",
            if large == 1 { "component holds" } else { "components hold" }
        ));
    }
    if common.linkage != Linkage::Component || common.relative {
        return Ok(());
    }
    let mut ends: Vec<(u32, u32)> =
        gone.iter().filter(|(_, gone)| gone.similarity.is_none()).map(|(&node, gone)| (node, gone.instead)).collect();
    ends.sort_unstable();
    let chained = ends.len();
    let ends: Vec<(u32, u32)> = ends.into_iter().step_by(chained.div_ceil(ENDS).max(1)).collect();
    let far = far(graph, &ends, task)?;
    // As many of all as of those that were looked at.
    let all = (far * chained / ends.len().max(1)) as u64;
    task.count("far_from_representative", all);
    if all > 0 && all * FAR >= gone.len() as u64 {
        let least = limit(common.threshold);
        task.outcome.warnings.insert(format!(
            "about {all} of {} dropped images are linked to the one that stays by a chain alone, and have a cosine under {least:.2} with it, far \
             below the threshold of {}: raise `threshold`, set `whiten = true`, or cut chains by `linkage = \"representative\"`",
            gone.len(),
            common.threshold
        ));
    }
    Ok(())
}

/// The cosine below which an image has little in common with the one that stays: what two steps of
/// the threshold leave, if they go in directions that have nothing to do with each other.
fn limit(threshold: f32) -> f32 {
    threshold * threshold
}

/// How many of some images are far from those that stay for them.
fn far(graph: &Graph, ends: &[(u32, u32)], task: &Task) -> Result<usize> {
    let mut nodes: Vec<u32> = ends.iter().flat_map(|&(a, b)| [a, b]).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut vectors: HashMap<u32, Vec<f32>> = HashMap::with_capacity(nodes.len());
    let mut hold = |node, vector: &[f32]| _ = vectors.insert(node, vector.to_vec());
    graph.read_vectors(&|node| nodes.binary_search(&node).is_ok(), &mut hold, task)?;
    let cosine = |&(a, b): &(u32, u32)| Some(similarity(vectors.get(&a)?, vectors.get(&b)?));
    Ok(ends.iter().filter_map(cosine).filter(|&cosine| cosine < limit(graph.common.threshold)).count())
}
