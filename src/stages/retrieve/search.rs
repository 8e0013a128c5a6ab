//! The nearest pool images of every seed image, within one group of the pool's shards.
//!
//! Matrix products or FAISS propose, a fixed-order dot product decides: similarities, thresholds and ties must not hang on the
//! last bits of either.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::io::centroids;
use crate::io::vectors::Vectors;
use crate::native::exact::{Knn, knn_ip};
use crate::native::faiss::{Index, Storage};
use crate::ops::dot::dot;
use crate::ops::top_k::TopK;
use crate::stages::known::Part;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use crate::table;
use crate::types::{ImageId, Neighbour};

/// Shards of the pool a task, where they are compared one by one.
const GROUP_SHARDS: usize = 32;
/// Rows of the pool a task, where they are held in inverted lists.
pub const LISTED_ROWS: u64 = 1 << 20;
/// Places beyond k that are asked for at first: copies of the seed take some.
const SPARE: usize = 4;

table! {
    /// One of the nearest pool images of a seed image, within the shards of one task.
    pub struct Found {
        /// The seed image.
        pub seed_id: ImageId,
        /// The pool image.
        pub id: ImageId,
        /// Cosine of the two vectors.
        pub similarity: f32,
    }
}

/// Which neighbours are wanted.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Wanted {
    pub k: usize,
    /// Neighbours below this cosine are not returned.
    pub floor: f32,
    /// Nor those from this cosine on, which are copies of the seed.
    pub ceiling: f32,
}

/// The inverted lists to search by.
#[derive(Clone, Serialize, Deserialize)]
pub struct Lists {
    pub centroids: Part,
    /// Lists looked at for each seed.
    pub probes: usize,
}

#[derive(Serialize, Deserialize)]
pub struct SearchTask {
    /// Data set number of the seeds.
    set: u16,
    seeds: Vec<VectorShard>,
    pool: Vec<VectorShard>,
    wanted: Wanted,
    /// Everything is compared without them.
    lists: Option<Lists>,
}

/// The name of the table with what was found for a set.
pub fn table_of(set: u16) -> String {
    format!("found-{set}")
}

/// The tasks for one set: its seeds against each group of the pool.
pub fn tasks(
    set: u16,
    seeds: &[VectorShard],
    pool: &[VectorShard],
    wanted: Wanted,
    lists: Option<&Lists>,
) -> Vec<SearchTask> {
    let mut groups: Vec<(u64, Vec<VectorShard>)> = Vec::new();
    for shard in pool {
        let rows = shard.rows_at_most();
        match groups.last_mut() {
            Some((held, group)) if lists.is_some() && *held + rows <= LISTED_ROWS => {
                *held += rows;
                group.push(shard.clone());
            }
            Some((_, group)) if lists.is_none() && group.len() < GROUP_SHARDS => group.push(shard.clone()),
            _ => groups.push((rows, vec![shard.clone()])),
        }
    }
    let task = |pool| SearchTask { set, seeds: seeds.to_vec(), pool, wanted, lists: lists.cloned() };
    groups.into_iter().map(|(_, pool)| task(pool)).collect()
}

/// Searches one group of shards for one set.
pub fn run(spec: &SearchTask, task: &mut Task) -> Result<()> {
    let index = spec.lists.as_ref().map(|lists| Listed::build(lists, &spec.pool, task)).transpose()?;
    let mut writer = task.rows("found")?;
    let mut copies = 0;
    for shard in &spec.seeds {
        let seeds = shard.load(task)?;
        let mut answer = Answer::new(&seeds, spec.wanted);
        match &index {
            Some(index) => index.search(&spec.pool, &mut answer, task)?,
            None => exact(&spec.pool, &mut answer, task)?,
        }
        copies += answer.copies;
        for (seed_id, neighbours) in seeds.ids.iter().zip(answer.tops) {
            for neighbour in neighbours.into_sorted() {
                writer.push(Found { seed_id: *seed_id, id: neighbour.id, similarity: neighbour.similarity })?;
            }
        }
        task.outcome.rows_in += seeds.ids.len() as u64;
        (task.progress)(seeds.ids.len() as u64);
    }
    task.outcome.rows_out = task.outcome.rows_in;
    task.count("copies_of_seeds", copies);
    let written = writer.finish()?;
    task.publish(written, &table_of(spec.set), None)
}

/// What was found for some seeds so far.
struct Answer<'a> {
    seeds: &'a Vectors,
    wanted: Wanted,
    tops: Vec<TopK>,
    copies: u64,
}

impl<'a> Answer<'a> {
    fn new(seeds: &'a Vectors, wanted: Wanted) -> Self {
        Self { seeds, wanted, tops: seeds.ids.iter().map(|_| TopK::new(wanted.k)).collect(), copies: 0 }
    }

    /// Asks for k neighbours of each seed out of `most`, and for more where copies have taken their places.
    fn ask(&self, most: usize, search: impl Fn(usize) -> Result<Knn>) -> Result<Knn> {
        let mut asked = (self.wanted.k + SPARE).min(most);
        loop {
            let found = search(asked)?;
            let copies = |seed: usize| found.of(seed).take_while(|near| near.1 >= self.wanted.ceiling).count();
            let short = asked < most && (0..found.queries()).any(|seed| copies(seed) + self.wanted.k > asked);
            if !short {
                return Ok(found);
            }
            asked = (asked * 4).min(most);
        }
    }

    /// Takes the neighbours of each seed.
    fn take(&mut self, neighbours: &(impl Fn(usize) -> Vec<Neighbour> + Sync)) {
        let Wanted { floor, ceiling, .. } = self.wanted;
        let copies = self.tops.par_iter_mut().enumerate().map(|(seed, top)| {
            let mut copies = 0;
            for neighbour in neighbours(seed) {
                if neighbour.similarity >= ceiling {
                    copies += 1;
                } else if neighbour.similarity >= floor {
                    top.push(neighbour);
                }
            }
            copies
        });
        self.copies += copies.sum::<u64>();
    }
}

/// Compares seeds with everything. Memory: the seeds, one shard of the pool, and k neighbours a seed.
fn exact(pool: &[VectorShard], answer: &mut Answer, task: &Task) -> Result<()> {
    let seeds = answer.seeds;
    for shard in pool {
        let base = shard.load(task)?;
        if base.ids.is_empty() || seeds.ids.is_empty() {
            continue;
        }
        let found = answer.ask(base.ids.len(), |k| Ok(knn_ip(&seeds.values, &base.values, base.dimension, k)))?;
        answer.take(&|seed| {
            found.of(seed).map(|(row, similarity)| Neighbour { similarity, id: base.ids[row as usize] }).collect()
        });
    }
    Ok(())
}

/// A group of shards in inverted lists, in half precision as they are stored. Memory: the group.
struct Listed {
    index: Index,
    probes: usize,
    /// Of all rows, and where each shard begins among them.
    ids: Vec<ImageId>,
    starts: Vec<usize>,
}

impl Listed {
    fn build(lists: &Lists, pool: &[VectorShard], task: &Task) -> Result<Self> {
        let levels = centroids::read(&task.path(&lists.centroids)?)?;
        let (values, count) = levels.first().map(|level| (&level.values[..], level.parents.len())).unwrap_or_default();
        let mut index = Index::new(values, values.len() / count.max(1), Storage::Half)?;
        let (mut ids, mut starts) = (Vec::new(), Vec::new());
        for shard in pool {
            starts.push(ids.len());
            for block in shard.blocks(task)? {
                let block = block?;
                index.add(&block.values)?;
                ids.extend(block.ids);
            }
        }
        starts.push(ids.len());
        Ok(Self { index, probes: lists.probes, ids, starts })
    }

    fn search(&self, pool: &[VectorShard], answer: &mut Answer, task: &Task) -> Result<()> {
        let seeds = answer.seeds;
        if self.ids.is_empty() || seeds.ids.is_empty() {
            return Ok(());
        }
        let found = answer.ask(self.ids.len(), |k| self.index.search(&seeds.values, k, self.probes))?;
        // The pairs by row of the pool, which is read once more to decide them.
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for seed in 0..seeds.ids.len() {
            let number = u32::try_from(seed).unwrap_or(u32::MAX);
            pairs.extend(found.of(seed).map(|(row, _)| (row, number)));
        }
        drop(found);
        pairs.par_sort_unstable();
        let mut neighbours: Vec<Vec<Neighbour>> = vec![Vec::new(); seeds.ids.len()];
        let rows = |pairs: &[(u32, u32)], end: usize| pairs.partition_point(|&(row, _)| (row as usize) < end);
        for (shard, ends) in pool.iter().zip(self.starts.windows(2)) {
            let mut first = ends[0];
            if rows(&pairs, ends[0]) == rows(&pairs, ends[1]) {
                continue;
            }
            for block in shard.blocks(task)? {
                let block = block?;
                let some = &pairs[rows(&pairs, first)..rows(&pairs, first + block.ids.len())];
                let decided: Vec<f32> = some
                    .par_iter()
                    .map(|&(row, seed)| dot(seeds.row(seed as usize), block.row(row as usize - first)))
                    .collect();
                for (&(row, seed), similarity) in some.iter().zip(decided) {
                    neighbours[seed as usize].push(Neighbour { similarity, id: self.ids[row as usize] });
                }
                first += block.ids.len();
            }
        }
        answer.take(&|seed| neighbours[seed].clone());
        Ok(())
    }
}
