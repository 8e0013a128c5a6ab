//! The images of a step as nodes of a graph: which there are, their vectors, and the pairs that
//! link them.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::stages::dedup::join::Edge;
use crate::stages::dedup::settings::{Keep, Linkage};
use crate::stages::dedup::shards::Nodes;
use crate::stages::dedup::whiten;
use crate::stages::plan::broken;
use crate::stages::pool::VectorShard;
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, ShardId};
use lvd_kernels::dot::{to_f16, to_f32};

#[derive(Serialize, Deserialize)]
pub struct ComponentsCommon {
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

/// The images that take part. Every shard is a range of nodes, as long as its highest row, and a
/// bit says whether a node is an image: so ids are read once.
pub struct Graph<'a> {
    /// What the step was told.
    pub common: &'a ComponentsCommon,
    firsts: BTreeMap<ShardId, u32>,
    shards: BTreeMap<u32, ShardId>,
    images: Vec<u64>,
    end: u32,
}

impl<'a> Graph<'a> {
    /// Reads the ids of all images, and gives each a number below 2^32.
    pub fn read(common: &'a ComponentsCommon, task: &Task) -> Result<Self> {
        let (firsts, shards) = (BTreeMap::new(), BTreeMap::new());
        let mut graph = Self { common, firsts, shards, images: Vec::new(), end: 0 };
        for member in common.nodes.all() {
            let ids = member.shard.ids(task)?;
            let Some(last) = ids.last() else { continue };
            let (shard, first) = (member.shard.shard(), graph.end);
            graph.end = first.checked_add(last.row() + 1).ok_or_else(|| {
                Error::usage("more than 4,294,967,295 rows in one dedup step", "split the pool into several steps")
            })?;
            graph.firsts.insert(shard, first);
            graph.shards.insert(first, shard);
            graph.images.resize((graph.end as usize).div_ceil(64), 0);
            for id in ids {
                let node = first + id.row();
                graph.images[node as usize / 64] |= 1 << (node % 64);
            }
        }
        Ok(graph)
    }

    /// How many numbers there are, images or not.
    pub fn len(&self) -> u32 {
        self.end
    }

    /// The images of a shard, by id, with their nodes.
    pub fn of_shard(&self, shard: ShardId) -> impl Iterator<Item = (ImageId, u32)> {
        let range = self.range(shard);
        range.clone().filter(|&node| self.is_image(node)).map(move |node| (shard.image(node - range.start), node))
    }

    /// All nodes that are images.
    pub fn nodes(&self) -> impl Iterator<Item = u32> {
        (0..self.end).filter(|&node| self.is_image(node))
    }

    /// The node of an image, if it takes part.
    pub fn find(&self, id: ImageId) -> Option<u32> {
        let range = self.range(id.shard());
        let node = range.start.checked_add(id.row())?;
        (range.contains(&node) && self.is_image(node)).then_some(node)
    }

    /// The node of an image that takes part.
    pub fn node(&self, id: ImageId) -> Result<u32> {
        self.find(id).ok_or_else(|| broken(format!("image {:016x} has an edge and takes no part in the step", id.0)))
    }

    /// The image of a node.
    pub fn image(&self, node: u32) -> Result<ImageId> {
        let before = self.shards.range(..=node).next_back().filter(|_| self.is_image(node));
        let image = before.map(|(first, shard)| shard.image(node - first));
        image.ok_or_else(|| broken(format!("node {node} of {} is no image", self.end)))
    }

    /// Calls `each` with every pair over the threshold.
    pub fn each_link(&self, task: &Task, mut each: impl FnMut(&Edge, u32, u32)) -> Result<()> {
        let threshold = self.common.threshold;
        self.each_edge(task, |edge, a, b| {
            if edge.similarity >= threshold {
                each(edge, a, b);
            }
        })
    }

    /// Calls `each` with every pair that the join has found.
    pub fn each_edge(&self, task: &Task, mut each: impl FnMut(&Edge, u32, u32)) -> Result<()> {
        task.for_each::<Edge>(&self.common.edges, |edge| {
            each(&edge, self.node(edge.id)?, self.node(edge.neighbour)?);
            Ok(())
        })
    }

    /// Reads the vectors of some nodes of the pool as the join compared them.
    pub fn read_vectors(
        &self,
        wanted: &dyn Fn(u32) -> bool,
        each: &mut dyn FnMut(u32, &[f32]),
        task: &Task,
    ) -> Result<()> {
        let whitening = whiten::read(self.common.whitening.as_ref(), task)?;
        for member in &self.common.nodes.pool {
            if !self.range(member.shard.shard()).any(wanted) {
                continue;
            }
            for block in member.shard.whitened(whitening.as_ref()).blocks(task)? {
                let block = block?;
                for (row, &id) in block.ids.iter().enumerate() {
                    let node = self.node(id)?;
                    if wanted(node) {
                        each(node, &to_f32(&to_f16(block.row(row))));
                    }
                }
            }
        }
        Ok(())
    }

    fn range(&self, shard: ShardId) -> Range<u32> {
        let Some(&first) = self.firsts.get(&shard) else { return 0..0 };
        first..self.shards.range(first + 1..).next().map_or(self.end, |(&next, _)| next)
    }

    fn is_image(&self, node: u32) -> bool {
        self.images.get(node as usize / 64).is_some_and(|bits| bits >> (node % 64) & 1 == 1)
    }
}
