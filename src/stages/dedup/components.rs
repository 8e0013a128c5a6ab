//! Components of the pairs over the threshold, and the decision about every pool image.

use std::collections::HashMap;

use crate::stages::dedup::graph::{ComponentsCommon, Graph};
use crate::stages::dedup::greedy::Gone;
use crate::stages::dedup::{doubts, links, rank};
use crate::stages::pool::VectorShard;
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Reason};
use lvd_io::table;
use lvd_ops::histogram::Histogram;
use lvd_ops::union_find::UnionFind;

table! {
    /// What copy detection decided about a pool image.
    pub struct Group {
        /// Which image.
        pub id: ImageId,
        /// The lowest id of its component.
        pub component: ImageId,
        /// Images in the component, references included.
        pub size: u32,
        /// The image that stays in its place; itself, where it stays and has copies. Against
        /// references: the lowest reference id.
        pub representative: Option<ImageId>,
        /// Cosine to the representative. Null where the pair is not among the edges: only a chain
        /// links the two; or they are not among each other's nearest; or they are attached to one
        /// image or to two linked ones (`star` in the edges), and so certainly near.
        pub similarity: Option<f32>,
        /// Whether it goes on.
        pub kept: bool,
    }
}

/// Decides about every pool image.
pub fn run(common: &ComponentsCommon, task: &mut Task) -> Result<()> {
    let graph = Graph::read(common, task)?;
    let (mut links, linked) = links::link(&graph, task)?;
    let sizes = links::sizes(&graph, &mut links);
    let ranks = rank::ranks(&graph, |node| sizes.contains_key(&links.find(node)), task)?;
    let gone = links::decide(&graph, &mut links, &ranks, task)?;
    doubts::warn(&graph, &sizes, &gone, task)?;
    let mut histogram = Histogram::powers_of_two(24);
    for &size in sizes.values() {
        histogram.add(f64::from(size));
    }
    task.outcome.histograms.insert("component_size".into(), histogram);
    task.count("components", sizes.len() as u64);
    task.count("links", linked);
    task.outcome.facts.insert("threshold".into(), common.threshold.into());
    let mut decisions = Decisions {
        graph: &graph,
        links,
        sizes,
        gone,
        chained: 0,
        similarities: Histogram::linear(f64::from(common.threshold), 1.0, 40),
    };
    for member in &common.nodes.pool {
        decisions.write(&member.shard, task)?;
    }
    for shard in &common.apart {
        stay(shard, task)?;
    }
    task.count("dropped_by_chain", decisions.chained);
    task.outcome.histograms.insert("dropped_similarity".into(), decisions.similarities);
    Ok(())
}

/// What was decided, and what is counted while it is written.
struct Decisions<'a> {
    graph: &'a Graph<'a>,
    links: UnionFind,
    /// Of components of more than one image, by root.
    sizes: HashMap<u32, u32>,
    gone: HashMap<u32, Gone>,
    /// Images that go and are linked to the one that stays by a chain alone.
    chained: u64,
    similarities: Histogram,
}

impl Decisions<'_> {
    /// Writes what was decided about the images of a shard.
    fn write(&mut self, shard: &VectorShard, task: &mut Task) -> Result<()> {
        let graph = self.graph;
        let mut writer = task.rows("groups")?;
        let (mut kept, mut dropped) = (0, 0);
        for (id, node) in graph.of_shard(shard.shard()) {
            let group = self.group(id, node)?;
            match group {
                Group { kept: true, .. } => kept += 1,
                Group { similarity, .. } => {
                    dropped += 1;
                    self.chained += u64::from(similarity.is_none());
                    if let Some(similarity) = similarity {
                        self.similarities.add(f64::from(similarity));
                    }
                }
            }
            writer.push(group)?;
        }
        let source = task.catalog.source(shard.shard())?.0.to_owned();
        task.outcome.rows_in += kept + dropped;
        task.outcome.rows_out += kept;
        task.drop(if graph.common.relative { Reason::NearReference } else { Reason::NearDuplicate }, dropped);
        task.count(&format!("kept: {source}"), kept);
        task.count(&format!("dropped: {source}"), dropped);
        (task.progress)(Headway::Done(shard.rows_at_most()));
        let written = writer.finish()?;
        task.publish(written, "", Some(shard.shard()))
    }

    fn group(&mut self, id: ImageId, node: u32) -> Result<Group> {
        let root = self.links.find(node);
        let size = self.sizes.get(&root).copied();
        let gone = self.gone.get(&node);
        let representative = match (gone, size) {
            (Some(gone), _) => Some(self.graph.image(gone.instead)?),
            (None, Some(_)) if !self.graph.common.relative => Some(id),
            _ => None,
        };
        let similarity = gone.and_then(|gone| gone.similarity);
        let (component, size) = match size {
            Some(size) => (self.graph.image(root)?, size),
            None => (id, 1),
        };
        Ok(Group { id, component, size, representative, similarity, kept: gone.is_none() })
    }
}

/// Lets the images of a shard stay that were not compared.
fn stay(shard: &VectorShard, task: &mut Task) -> Result<()> {
    let source = task.catalog.source(shard.shard())?.0.to_owned();
    let mut writer = task.rows("groups")?;
    let ids = shard.ids(task)?;
    let kept = ids.len() as u64;
    for id in ids {
        writer.push(Group { id, component: id, size: 1, representative: None, similarity: None, kept: true })?;
    }
    task.outcome.rows_in += kept;
    task.outcome.rows_out += kept;
    task.count(&format!("kept: {source}"), kept);
    task.count("not_compared", kept);
    (task.progress)(Headway::Done(shard.rows_at_most()));
    let written = writer.finish()?;
    task.publish(written, "", Some(shard.shard()))
}
