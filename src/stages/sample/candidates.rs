//! The pool images that a balanced draw can take, with their clusters; read shard by shard, some
//! shards at once.

use std::ops::Range;

use rayon::prelude::*;

use crate::stages::cluster::Assigned;
use crate::stages::pool::kept_ids;
use crate::stages::sample::inputs::Pool;
use crate::stages::sample::settings::DrawRule;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_kernels::hash::Draw;

/// Shards that are read at once.
const SHARDS_AT_ONCE: usize = 16;

/// An image that can be drawn.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub id: ImageId,
    pub cluster: u32,
    distance: f32,
}

impl Candidate {
    /// What decides which of its cluster's images are drawn: the lowest.
    pub fn key(&self, rule: DrawRule, draw: Draw) -> u64 {
        match rule {
            DrawRule::Random => draw.bits(self.id.0),
            // Not negative: the bits are in the order of the numbers.
            DrawRule::Closest => u64::from(self.distance.to_bits()),
        }
    }
}

/// A pool, less what was taken before.
pub struct Candidates<'a> {
    pub pool: &'a Pool,
    /// Sorted.
    pub taken: &'a [ImageId],
    pub task: &'a Task<'a>,
}

impl Candidates<'_> {
    /// Those of one shard, in the order of their ids, and how many images the shard has in all.
    pub fn of_shard(&self, shard: usize) -> Result<(Vec<Candidate>, u64)> {
        let selection = &self.pool.shards[shard];
        let kept = kept_ids(self.task, selection)?;
        let mut taken = self.taken[self.taken.partition_point(|id| kept.first().is_some_and(|first| id < first))..]
            .iter()
            .copied()
            .peekable();
        let mut free = |id: ImageId| {
            while taken.next_if(|&other| other < id).is_some() {}
            taken.peek() != Some(&id)
        };
        let mut candidates = Vec::with_capacity(kept.len());
        if self.pool.assigned.is_empty() {
            let all = kept.iter().filter(|&&id| free(id));
            candidates.extend(all.map(|&id| Candidate { id, cluster: 0, distance: 0.0 }));
        }
        let mut left = kept.iter().copied().peekable();
        for part in self.pool.assigned.iter().filter(|part| part.shard == selection.shard) {
            for batch in self.task.read::<Assigned>(part)? {
                // Both are in the order of ids.
                for Assigned { id, cluster, distance } in batch? {
                    while left.next_if(|&other| other < id).is_some() {}
                    if left.peek() == Some(&id) && free(id) {
                        candidates.push(Candidate { id, cluster, distance });
                    }
                }
            }
        }
        Ok((candidates, kept.len() as u64))
    }

    /// Calls `each` with all candidates, shard by shard, in order.
    pub fn for_each(&self, each: &mut dyn FnMut(Candidate)) -> Result<()> {
        for shards in some_at_once(self.pool.shards.len()) {
            let read: Vec<Result<(Vec<Candidate>, u64)>> =
                shards.into_par_iter().map(|shard| self.of_shard(shard)).collect();
            for candidates in read {
                candidates?.0.into_iter().for_each(&mut *each);
            }
        }
        Ok(())
    }
}

/// The numbers of `shards` in stretches that are read at once.
pub fn some_at_once(shards: usize) -> impl Iterator<Item = Range<usize>> {
    (0..shards).step_by(SHARDS_AT_ONCE).map(move |first| first..shards.min(first + SHARDS_AT_ONCE))
}
