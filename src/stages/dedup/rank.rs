//! Who of two copies is to stay.

use std::collections::HashMap;

use crate::stages::dedup::components::Common;
use crate::stages::dedup::links::Numbering;
use crate::stages::dedup::{Keep, Member};
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
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
    fresh: bool,
    first: u64,
    second: u64,
    id: ImageId,
}

impl Rank {
    /// Whether the image stays in any case.
    pub fn settled(self) -> bool {
        !self.fresh
    }
}

/// The ranks of the images that `wanted` takes and that may stand for others: the pool, or the references.
pub fn ranks(
    common: &Common,
    numbering: &Numbering,
    mut wanted: impl FnMut(u32) -> bool,
    task: &Task,
) -> Result<HashMap<u32, Rank>> {
    let mut ranks = HashMap::new();
    let candidates = if common.relative { &common.nodes.references } else { &common.nodes.pool };
    for member in candidates {
        let ids = member.shard.ids(task)?;
        let mut add = |id: ImageId, first: u64, second: u64| {
            if let Some(node) = numbering.of(id).filter(|&node| ids.binary_search(&id).is_ok() && wanted(node)) {
                ranks.insert(node, Rank { fresh: !member.settled, first, second, id });
            }
        };
        match common.keep {
            Keep::First => ids.iter().for_each(|&id| add(id, 0, 0)),
            _ if common.relative => ids.iter().for_each(|&id| add(id, 0, 0)),
            Keep::Largest => each::<Size>(common, member, task, |image| {
                let pixels = u64::from(image.width) * u64::from(image.height);
                add(image.id, u64::MAX - pixels, u64::MAX - image.size_bytes);
            })?,
            Keep::Closest | Keep::Farthest => each::<Distance>(common, member, task, |image| {
                // Bits of numbers that are not negative are in their order.
                let near = u64::from(image.distance.max(0.0).to_bits());
                add(image.id, if common.keep == Keep::Closest { near } else { u64::MAX - near }, 0);
            })?,
        }
    }
    Ok(ranks)
}

fn each<R: lvd_io::row::Row>(common: &Common, member: &Member, task: &Task, mut each: impl FnMut(R)) -> Result<()> {
    let Some(part) = common.ranked_by.of_shard(member.shard.shard()) else { return Ok(()) };
    for batch in task.read::<R>(part)? {
        batch?.into_iter().for_each(&mut each);
    }
    Ok(())
}
