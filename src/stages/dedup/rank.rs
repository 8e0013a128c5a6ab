//! Who of two copies is to stay.

use std::collections::HashMap;

use crate::stages::dedup::graph::Graph;
use crate::stages::dedup::settings::Keep;
use crate::stages::dedup::shards::Member;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::row::Row;
use lvd_io::table;

table! {
    /// What decides who is the largest.
    pub struct Size {
        /// Which image.
        pub id: ImageId,
        /// Pixels.
        pub width: u32,
        /// Pixels.
        pub height: u32,
        /// Bytes of the file.
        pub size_bytes: u64,
    }
}

table! {
    /// What decides who is nearest to a centroid.
    pub struct Distance {
        /// Which image.
        pub id: ImageId,
        /// Euclidean distance to its cluster's centroid.
        pub distance: f32,
    }
}

/// How good an image is at standing for its copies: lower is better, and no two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    unsettled: bool,
    first: u64,
    second: u64,
    id: ImageId,
}

impl Rank {
    /// Whether the image stays in any case.
    pub fn settled(self) -> bool {
        !self.unsettled
    }
}

/// The ranks of the images that `wanted` takes and that may stand for others: the pool, or the
/// references.
pub fn ranks(graph: &Graph, mut wanted: impl FnMut(u32) -> bool, task: &Task) -> Result<HashMap<u32, Rank>> {
    let common = graph.common;
    let mut ranks = HashMap::new();
    let candidates = if common.relative { &common.nodes.references } else { &common.nodes.pool };
    for member in candidates {
        let mut add = |id: ImageId, first: u64, second: u64| {
            if let Some(node) = graph.find(id).filter(|&node| wanted(node)) {
                ranks.insert(node, Rank { unsettled: !member.settled, first, second, id });
            }
        };
        match common.keep {
            Keep::Largest if !common.relative => each::<Size>(&common.ranked_by, member, task, |image| {
                let pixels = u64::from(image.width) * u64::from(image.height);
                add(image.id, u64::MAX - pixels, u64::MAX - image.size_bytes);
            })?,
            Keep::Closest | Keep::Farthest if !common.relative => {
                each::<Distance>(&common.ranked_by, member, task, |image| {
                    // Bits of numbers that are not negative are in their order.
                    let near = u64::from(image.distance.max(0.0).to_bits());
                    add(image.id, if common.keep == Keep::Closest { near } else { u64::MAX - near }, 0);
                })?;
            }
            _ => graph.of_shard(member.shard.shard()).for_each(|(id, _)| add(id, 0, 0)),
        }
    }
    Ok(ranks)
}

/// Calls `each` with the rows about a member's images.
fn each<R: Row>(table: &Table, member: &Member, task: &Task, mut each: impl FnMut(R)) -> Result<()> {
    let Some(part) = table.of_shard(member.shard.shard()) else { return Ok(()) };
    for batch in task.read::<R>(part)? {
        batch?.into_iter().for_each(&mut each);
    }
    Ok(())
}
