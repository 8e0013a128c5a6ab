//! The nearest pool images of every seed image, within one group of the pool's shards.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::stages::pool::VectorShard;
use crate::stages::retrieve::SetRule;
use crate::stages::search::{Search, nearest};
use crate::stages::task::Task;
use crate::table;
use crate::types::ImageId;

/// Shards of the pool a task.
const GROUP_SHARDS: usize = 32;

table! {
    /// One of the nearest pool images of a seed image, within the shards of one task.
    pub struct Found {
        /// Dataset number of the seed set.
        pub set: u32,
        /// The seed image.
        pub seed_id: ImageId,
        /// The pool image.
        pub id: ImageId,
        /// Cosine of the two vectors.
        pub similarity: f32,
    }
}

#[derive(Serialize, Deserialize)]
pub struct SearchTask {
    seeds: Vec<VectorShard>,
    pool: Vec<VectorShard>,
    k: usize,
    floor: f32,
}

/// The tasks for one set: its seeds against each group of the pool.
pub fn tasks(rule: &SetRule, seeds: &[VectorShard], pool: &[VectorShard]) -> Vec<SearchTask> {
    let floor = rule.min_similarity.unwrap_or(-1.0);
    let task =
        |group: &[VectorShard]| SearchTask { seeds: seeds.to_vec(), pool: group.to_vec(), k: rule.k as usize, floor };
    pool.chunks(GROUP_SHARDS).map(task).collect()
}

/// Searches one group of shards for one set.
pub fn run(spec: &SearchTask, task: &mut Task) -> Result<()> {
    let search = Search { k: spec.k, floor: spec.floor };
    let mut writer = task.rows("found")?;
    for shard in &spec.seeds {
        let seeds = shard.load(task)?;
        let found = nearest(&seeds, &spec.pool, search, task)?;
        for (seed_id, neighbours) in seeds.ids.iter().zip(found) {
            for neighbour in neighbours {
                let set = u32::from(seed_id.shard().dataset());
                writer.push(Found { set, seed_id: *seed_id, id: neighbour.id, similarity: neighbour.similarity })?;
            }
        }
        task.outcome.rows_in += seeds.ids.len() as u64;
        (task.progress)(seeds.ids.len() as u64);
    }
    task.outcome.rows_out = task.outcome.rows_in;
    let written = writer.finish()?;
    task.publish(written, "found", None)
}
