//! Which images are linked, and who of them goes.

use std::collections::HashMap;

use crate::stages::dedup::graph::Graph;
use crate::stages::dedup::greedy::{self, Case, Gone, Image, Link};
use crate::stages::dedup::rank::Rank;
use crate::stages::dedup::settings::Linkage;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_ops::union_find::UnionFind;

/// The components of the pairs over the threshold, and how many pairs were needed for them.
pub fn link(graph: &Graph, task: &Task) -> Result<(UnionFind, u64)> {
    let mut links = UnionFind::new(graph.len());
    let mut linked = 0;
    graph.each_link(task, |edge, a, b| {
        if edge.tree && links.find(a) != links.find(b) {
            links.union(a, b);
            linked += 1;
        }
    })?;
    Ok((links, linked))
}

/// Sizes of the components of more than one image, by root.
pub fn sizes(graph: &Graph, links: &mut UnionFind) -> HashMap<u32, u32> {
    let mut sizes = HashMap::new();
    for node in graph.nodes() {
        let root = links.find(node);
        if root != node {
            *sizes.entry(root).or_insert(1) += 1;
        }
    }
    sizes
}

/// Who goes, by node. `best` is the highest-ranked image of each component; `ranks` has every
/// linked image that may stay.
pub fn decide(
    graph: &Graph,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &mut Task,
) -> Result<HashMap<u32, Gone>> {
    match graph.common.linkage {
        Linkage::Component => decide_by_component(graph, links, ranks, task),
        Linkage::Representative | Linkage::Earlier => decide_by_links(graph, links, ranks, task),
    }
}

fn decide_by_component(
    graph: &Graph,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &Task,
) -> Result<HashMap<u32, Gone>> {
    let mut best: HashMap<u32, (Rank, u32)> = HashMap::new();
    for (&node, &rank) in ranks {
        let first = best.entry(links.find(node)).or_insert((rank, node));
        *first = (*first).min((rank, node));
    }
    let mut gone = HashMap::new();
    for member in graph.common.nodes.pool.iter().filter(|member| !member.settled) {
        for (_, node) in graph.of_shard(member.shard.shard()) {
            if let Some(&(_, instead)) = best.get(&links.find(node)).filter(|(_, best)| *best != node) {
                gone.insert(node, Gone { instead, similarity: None });
            }
        }
    }
    graph.each_edge(task, |edge, a, b| {
        for (node, other) in [(a, b), (b, a)] {
            if let Some(gone) = gone.get_mut(&node).filter(|gone| gone.instead == other) {
                gone.similarity = Some(edge.similarity);
            }
        }
    })?;
    Ok(gone)
}

/// An image goes if it is linked to a higher-ranked one: to one that stays, or to any.
fn decide_by_links(
    graph: &Graph,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &mut Task,
) -> Result<HashMap<u32, Gone>> {
    let mut order: Vec<(u32, Rank, u32)> = ranks.iter().map(|(&node, &rank)| (links.find(node), rank, node)).collect();
    order.sort_unstable();
    let image = |&(root, rank, node): &(u32, Rank, u32)| Image { node, root, settled: rank.settled() };
    let images: Vec<Image> = order.iter().map(image).collect();
    let places: HashMap<u32, u32> = images.iter().map(|image| image.node).zip(0..).collect();
    let mut known: Vec<Link> = Vec::new();
    graph.each_link(task, |edge, from, to| {
        if let (Some(&from), Some(&to)) = (places.get(&from), places.get(&to)) {
            known.push(Link { from, to, similarity: edge.similarity, attached: edge.star });
        }
    })?;
    let question = Case {
        images: &images,
        threshold: graph.common.threshold,
        neighbours: graph.common.neighbours,
        by_any: graph.common.linkage == Linkage::Earlier,
        held_rows: usize::try_from(graph.common.held_rows).unwrap_or(usize::MAX),
    };
    let mut read =
        |wanted: &dyn Fn(u32) -> bool, each: &mut dyn FnMut(u32, &[f32])| graph.read_vectors(wanted, each, task);
    let (gone, compared) = greedy::decide(&question, known, &mut read)?;
    task.count("compared_again", compared);
    let node = |place: u32| images[place as usize].node;
    let gone = images.iter().zip(gone).filter_map(|(image, gone)| Some((image.node, gone?)));
    Ok(gone.map(|(image, gone)| (image, Gone { instead: node(gone.instead), ..gone })).collect())
}
