//! Components of the pairs over the threshold, and the decision about every pool image.

use serde::{Deserialize, Serialize};

use crate::stages::dedup::links::{self, Numbering};
use crate::stages::dedup::{Keep, Linkage, Nodes};
use crate::stages::dedup::{doubts, rank};
use crate::stages::known::{Part, Table};
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Reason};
use lvd_io::table;
use lvd_ops::histogram::Histogram;

table! {
    /// What copy detection decided about a pool image.
    pub struct Group {
        /// Which image.
        pub id: ImageId,
        /// The lowest id of its component.
        pub component: ImageId,
        /// Images in the component, references included.
        pub size: u32,
        /// The image that stays in its place, itself where it stays and has copies. Against references: the lowest reference id.
        pub representative: Option<ImageId>,
        /// Cosine to the representative; null where it is not among the edges: only a chain links the two, they are not among each other's nearest, or
        /// they hang on one image or on two linked ones (`star` in the edges), which makes them certainly near.
        pub similarity: Option<f32>,
        /// Whether it goes on.
        pub kept: bool,
    }
}

#[derive(Serialize, Deserialize)]
pub struct Common {
    pub nodes: Nodes,
    /// Shards of the pool that were not compared, and stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<VectorShard>,
    /// Sizes of the images, or their distances to centroids.
    pub ranked_by: Table,
    pub edges: Table,
    pub relative: bool,
    pub threshold: f32,
    pub linkage: Linkage,
    pub keep: Keep,
    /// Neighbours that a list of the nearest has room for.
    pub neighbours: usize,
    /// How the vectors are whitened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitening: Option<Part>,
    /// Vectors that are held at a time.
    pub held_rows: u64,
}

/// Decides about every pool image.
pub fn run(common: &Common, task: &mut Task) -> Result<()> {
    let numbering = Numbering::new(common, task)?;
    let (mut links, linked) = links::link(common, &numbering, task)?;
    let sizes = links::sizes(common, &numbering, &mut links, task)?;
    let ranks = rank::ranks(common, &numbering, |node| sizes.contains_key(&links.find(node)), task)?;
    let gone = links::decide(common, &numbering, &mut links, &ranks, task)?;
    doubts::look(common, &numbering, &sizes, &gone, task)?;
    let mut histogram = Histogram::powers_of_two(24);
    for &size in sizes.values() {
        histogram.add(f64::from(size));
    }
    task.outcome.histograms.insert("component_size".into(), histogram);
    task.count("components", sizes.len() as u64);
    task.count("links", linked);
    task.outcome.facts.insert("threshold".into(), common.threshold.into());
    let mut similarities = Histogram::linear(f64::from(common.threshold), 1.0, 40);
    let reason = if common.relative { Reason::NearReference } else { Reason::NearDuplicate };
    let mut chained = 0;
    for member in &common.nodes.pool {
        let shard = member.shard.shard();
        let source = task.catalog.source_of(shard).map_or("?", |(name, _)| name).to_owned();
        let mut writer = task.rows("groups")?;
        let (mut kept, mut dropped) = (0, 0);
        for id in member.shard.ids(task)? {
            let node = numbering.of(id).unwrap_or(0);
            let root = links.find(node);
            let size = sizes.get(&root).copied();
            let gone = gone.get(&node);
            let representative = match (gone, size) {
                (Some(gone), _) => Some(numbering.image(gone.instead)),
                (None, Some(_)) if !common.relative => Some(id),
                _ => None,
            };
            let similarity = gone.and_then(|gone| gone.similarity);
            match (gone, similarity) {
                (None, _) => kept += 1,
                (Some(_), Some(similarity)) => {
                    dropped += 1;
                    similarities.add(f64::from(similarity));
                }
                (Some(_), None) => (dropped, chained) = (dropped + 1, chained + 1),
            }
            let (component, size) = size.map_or((id, 1), |size| (numbering.image(root), size));
            writer.push(Group { id, component, size, representative, similarity, kept: gone.is_none() })?;
        }
        task.outcome.rows_in += kept + dropped;
        task.outcome.rows_out += kept;
        task.drop(reason, dropped);
        task.count(&format!("kept: {source}"), kept);
        task.count(&format!("dropped: {source}"), dropped);
        (task.progress)(member.shard.rows_at_most());
        let written = writer.finish()?;
        task.publish(written, "", Some(shard))?;
    }
    stay_apart(common, task)?;
    task.count("dropped_by_chain", chained);
    task.outcome.histograms.insert("dropped_similarity".into(), similarities);
    Ok(())
}

/// Lets the images stay that were not compared.
fn stay_apart(common: &Common, task: &mut Task) -> Result<()> {
    for shard in &common.apart {
        let source = task.catalog.source_of(shard.shard()).map_or("?", |(name, _)| name).to_owned();
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
        (task.progress)(shard.rows_at_most());
        let written = writer.finish()?;
        task.publish(written, "", Some(shard.shard()))?;
    }
    Ok(())
}
