//! The nearest pool images of every seed image, within one group of the pool's shards.
//!
//! Matrix products or FAISS propose. A dot product in a fixed order decides, so that similarities,
//! thresholds and ties do not depend on the last bits of either.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::pool::VectorShard;
use crate::stages::table::Part;
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Neighbour};
use lvd_engines::faiss::Index;
use lvd_io::table;
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::dot;
use lvd_kernels::exact::knn_ip;
use lvd_ops::top_k::TopK;

/// Shards of the pool a task, where they are compared one by one.
pub const GROUP_SHARDS: usize = 32;
/// Rows of the pool a task, where they are held in inverted lists.
pub const LISTED_ROWS: u64 = 1 << 20;
/// Places beyond k that are asked for at first: copies of the seed take some.
const SPARE: usize = 4;

table! {
    /// One of the nearest pool images of a seed image, within the shards of one task.
    pub struct SeedNeighbour {
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
pub struct NeighbourRule {
    pub k: usize,
    /// Neighbours below this cosine are not returned.
    pub floor: f32,
    /// Nor those from this cosine on, which are copies of the seed.
    pub ceiling: f32,
}

/// The inverted lists to search by.
#[derive(Clone, Serialize, Deserialize)]
pub struct Lists {
    /// The trained index, with no vector in it.
    pub index: Part,
    /// Lists looked at for each seed.
    pub probes: usize,
    /// Vectors that codes propose for each neighbour wanted.
    pub proposals: usize,
}

#[derive(Serialize, Deserialize)]
pub struct SearchTask {
    /// Data set number of the seeds.
    set: u16,
    seeds: Vec<VectorShard>,
    pool: Vec<VectorShard>,
    wanted: NeighbourRule,
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
    wanted: NeighbourRule,
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
        let mut of_seeds = SeedSearch::new(&seeds, spec.wanted, &|_, _| true);
        match &index {
            Some(index) => index.search(&spec.pool, &mut of_seeds, task)?,
            None => exact(&spec.pool, std::slice::from_mut(&mut of_seeds), task)?,
        }
        copies += of_seeds.copies;
        for (seed_id, neighbours) in seeds.ids.iter().zip(of_seeds.tops) {
            for neighbour in neighbours.into_sorted() {
                writer.push(SeedNeighbour { seed_id: *seed_id, id: neighbour.id, similarity: neighbour.similarity })?;
            }
        }
        task.outcome.rows_in += seeds.ids.len() as u64;
        (task.progress)(Headway::Done(seeds.ids.len() as u64));
    }
    task.outcome.rows_out = task.outcome.rows_in;
    task.count("copies_of_seeds", copies);
    let written = writer.finish()?;
    task.publish(written, &table_of(spec.set), None)
}

/// The nearest images of the pool that are `open` to each of the seeds, by comparing everything.
pub fn nearest(
    seeds: &[Vectors],
    pool: &[VectorShard],
    wanted: NeighbourRule,
    open: &Open,
    task: &Task,
) -> Result<Vec<(ImageId, Vec<Neighbour>)>> {
    let mut searches: Vec<SeedSearch> = seeds.iter().map(|seeds| SeedSearch::new(seeds, wanted, open)).collect();
    exact(pool, &mut searches, task)?;
    let tops = searches.into_iter().flat_map(|of_seeds| of_seeds.seeds.ids.iter().copied().zip(of_seeds.tops));
    Ok(tops.map(|(seed, top)| (seed, top.into_sorted())).collect())
}

/// Whether a seed may have an image.
pub type Open<'a> = dyn Fn(ImageId, &Neighbour) -> bool + 'a;

/// What was found for some seeds so far.
struct SeedSearch<'a> {
    seeds: &'a Vectors,
    wanted: NeighbourRule,
    open: &'a Open<'a>,
    tops: Vec<TopK>,
    copies: u64,
}

impl<'a> SeedSearch<'a> {
    fn new(seeds: &'a Vectors, wanted: NeighbourRule, open: &'a Open<'a>) -> Self {
        Self { seeds, wanted, open, tops: seeds.ids.iter().map(|_| TopK::new(wanted.k)).collect(), copies: 0 }
    }

    /// Asks for the neighbours of each seed among `most`: for so many proposals for each that is
    /// wanted, and for more where copies, and images that it may not have, have taken their places.
    fn ask(
        &mut self,
        most: usize,
        proposals: usize,
        search: impl Fn(usize) -> Result<Vec<Vec<Neighbour>>>,
    ) -> Result<()> {
        let NeighbourRule { k, ceiling, .. } = self.wanted;
        let lost = |seed: ImageId, near: &Vec<Neighbour>| {
            near.iter().filter(|near| near.similarity >= ceiling || !(self.open)(seed, near)).count()
        };
        let mut wanted = k + SPARE;
        let found = loop {
            let asked = (wanted * proposals).min(most);
            let found = search(asked)?;
            let mut of_seeds = self.seeds.ids.iter().zip(&found);
            if asked == most || of_seeds.all(|(&seed, near)| lost(seed, near) + k <= wanted) {
                break found;
            }
            wanted *= 4;
        };
        self.take(found);
        Ok(())
    }

    /// Takes the neighbours of each seed.
    fn take(&mut self, found: Vec<Vec<Neighbour>>) {
        let NeighbourRule { floor, ceiling, .. } = self.wanted;
        for ((top, &seed), neighbours) in self.tops.iter_mut().zip(&self.seeds.ids).zip(found) {
            for neighbour in neighbours {
                if neighbour.similarity >= ceiling {
                    self.copies += 1;
                } else if neighbour.similarity >= floor && (self.open)(seed, &neighbour) {
                    top.push(neighbour);
                }
            }
        }
    }
}

/// Compares seeds with everything. Memory: the seeds, one shard of the pool, and k neighbours a
/// seed.
fn exact(pool: &[VectorShard], searches: &mut [SeedSearch], task: &Task) -> Result<()> {
    for shard in pool {
        let base = shard.load(task)?;
        for of_seeds in searches.iter_mut().filter(|of_seeds| !base.ids.is_empty() && !of_seeds.seeds.ids.is_empty()) {
            let seeds = of_seeds.seeds;
            of_seeds.ask(base.ids.len(), 1, |k| {
                let found = knn_ip(&seeds.values, &base.values, base.dimension, k);
                let named = |(row, similarity)| Neighbour { similarity, id: base.ids[row as usize] };
                Ok((0..seeds.ids.len()).map(|seed| found.of(seed).map(named).collect()).collect())
            })?;
        }
    }
    Ok(())
}

/// A group of shards in inverted lists. Memory: the group, as its codes.
struct Listed<'a> {
    index: Index,
    lists: &'a Lists,
    /// Of all rows, and where each shard begins among them.
    ids: Vec<ImageId>,
    starts: Vec<usize>,
}

impl<'a> Listed<'a> {
    fn build(lists: &'a Lists, pool: &[VectorShard], task: &Task) -> Result<Self> {
        let mut index = Index::read(&task.whole(&lists.index)?)?;
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
        Ok(Self { index, lists, ids, starts })
    }

    fn search(&self, pool: &[VectorShard], of_seeds: &mut SeedSearch, task: &Task) -> Result<()> {
        let seeds = of_seeds.seeds;
        if self.ids.is_empty() || seeds.ids.is_empty() {
            return Ok(());
        }
        of_seeds.ask(self.ids.len(), self.lists.proposals, |k| self.nearest(pool, seeds, k, task))
    }

    /// The `k` vectors that the lists propose for each seed, with their cosines as they are.
    fn nearest(&self, pool: &[VectorShard], seeds: &Vectors, k: usize, task: &Task) -> Result<Vec<Vec<Neighbour>>> {
        let found = self.index.search(&seeds.values, k, self.lists.probes)?;
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
        Ok(neighbours)
    }
}
