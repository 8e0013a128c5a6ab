//! No image for two seeds, and `k` images for each seed: a seed that loses one takes the next,
//! however far away it is.
//!
//! Seeds ask for their neighbours one after the other, the nearest first. An image stays with the
//! seed that it is most like. The result does not depend on the order of asking: it is that of
//! going through all pairs of seeds and images, the most similar first (Gale and Shapley 1962, for
//! two sides that rank their pairs alike). A seed whose list ends before it has its `k` looks
//! further, at images that it can still get. What is once out of its reach stays so, for an image
//! only ever goes to a seed that is more like it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::stages::pool::VectorShard;
use crate::stages::retrieve::search::{self, NeighbourRule};
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Neighbour};
use lvd_io::vectors::Vectors;
use lvd_ops::top_k::TopK;

/// Neighbours that are found at once, of all seeds together: 16 bytes each.
const PAIRS_AT_ONCE: usize = 1 << 24;
/// Seeds that look further at once: their vectors are held.
const SEEDS_AT_ONCE: usize = 1 << 14;
/// Seeds that are compared with a shard at once.
const SEEDS_A_BLOCK: usize = 1024;
/// Neighbours that a seed looks for at once, at most, unless it wants more.
const DEPTH_AT_MOST: usize = 1024;
/// How many times as many it looks for the next time.
const GROWTH: usize = 4;

/// Where a further look is taken, and for what.
pub struct Further<'a> {
    pub seeds: &'a [VectorShard],
    pub pool: &'a [VectorShard],
    /// What is no neighbour; its `k` does not matter.
    pub wanted: NeighbourRule,
}

/// An image that a seed has got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Got {
    pub similarity: f32,
    /// Of [`Matching::seeds`].
    pub seed: usize,
    /// Its rank among the neighbours of the seed; not known where it took a further look.
    pub rank: Option<u32>,
}

/// Who gets what.
pub struct Matching<'a> {
    k: usize,
    /// Images that nobody can get.
    taken: &'a HashSet<ImageId>,
    pub seeds: Vec<Asking>,
    pub got: HashMap<ImageId, Got>,
    /// Images that were asked for in vain, or lost again.
    pub lost: u64,
}

/// A seed, and for which images it asks.
pub struct Asking {
    pub id: ImageId,
    neighbours: Vec<Neighbour>,
    asked: usize,
    has: usize,
    /// Whether the neighbours are the nearest of all, so that their places are their ranks.
    ranked: bool,
    /// Whether there are no more than these.
    complete: bool,
}

impl<'a> Matching<'a> {
    /// Nothing is given yet. The lists are the `depth` nearest neighbours of each seed; shorter
    /// ones are all that there are.
    pub fn new(k: usize, depth: usize, lists: BTreeMap<ImageId, TopK>, taken: &'a HashSet<ImageId>) -> Self {
        let asking = |(id, top): (ImageId, TopK)| {
            let neighbours = top.into_sorted();
            Asking { id, complete: neighbours.len() < depth, neighbours, asked: 0, has: 0, ranked: true }
        };
        Self { k, taken, seeds: lists.into_iter().map(asking).collect(), got: HashMap::new(), lost: 0 }
    }

    /// Gives each seed its `k`, or all that it can get.
    pub fn settle(&mut self, further: &Further, task: &Task) -> Result<()> {
        let mut depth = self.k;
        loop {
            self.ask();
            depth = (depth * GROWTH).min(DEPTH_AT_MOST).max(self.k);
            let mut short: Vec<usize> = (0..self.seeds.len()).filter(|&seed| self.looks_further(seed)).collect();
            short.truncate((PAIRS_AT_ONCE / depth).clamp(1, SEEDS_AT_ONCE));
            if short.is_empty() {
                return Ok(());
            }
            for (seed, neighbours) in self.nearest_open(&short, depth, further, task)? {
                let complete = neighbours.len() < depth;
                let Asking { id, has, .. } = self.seeds[seed];
                self.seeds[seed] = Asking { id, neighbours, asked: 0, has, ranked: false, complete };
            }
        }
    }

    /// How many images are missing.
    pub fn missing(&self) -> u64 {
        self.seeds.iter().map(|seed| (self.k - seed.has) as u64).sum()
    }

    /// Lets every seed ask until it has its `k` or its list ends.
    fn ask(&mut self) {
        let mut open: Vec<usize> = (0..self.seeds.len()).rev().collect();
        while let Some(seed) = open.pop() {
            while let Some((neighbour, rank)) = self.seeds[seed].next(self.k) {
                let got = Got { similarity: neighbour.similarity, seed, rank };
                let entry = self.got.entry(neighbour.id);
                match entry {
                    _ if self.taken.contains(&neighbour.id) => self.lost += 1,
                    Entry::Vacant(place) => {
                        place.insert(got);
                        self.seeds[seed].has += 1;
                    }
                    Entry::Occupied(mut place) if got.goes_before(place.get()) => {
                        let before = place.insert(got);
                        self.seeds[seed].has += 1;
                        self.seeds[before.seed].has -= 1;
                        self.lost += 1;
                        open.push(before.seed);
                    }
                    Entry::Occupied(_) => self.lost += 1,
                }
            }
        }
    }

    fn looks_further(&self, seed: usize) -> bool {
        let Asking { has, complete, .. } = self.seeds[seed];
        has < self.k && !complete
    }

    /// The `depth` nearest images that each of some seeds can still get.
    fn nearest_open(
        &self,
        short: &[usize],
        depth: usize,
        further: &Further,
        task: &Task,
    ) -> Result<Vec<(usize, Vec<Neighbour>)>> {
        let number: HashMap<ImageId, usize> = short.iter().map(|&seed| (self.seeds[seed].id, seed)).collect();
        let mut blocks: Vec<Vectors> = Vec::new();
        for shard in further.seeds {
            for block in shard.blocks(task)? {
                let block = block?;
                let wanted = block.ids.iter().enumerate().filter(|(_, id)| number.contains_key(id));
                for (row, &id) in wanted {
                    if blocks.last().is_none_or(|last| last.ids.len() == SEEDS_A_BLOCK) {
                        blocks.push(Vectors { dimension: block.dimension, ..Vectors::default() });
                    }
                    if let Some(last) = blocks.last_mut() {
                        last.ids.push(id);
                        last.values.extend(block.row(row));
                    }
                }
            }
        }
        let open = |seed: ImageId, neighbour: &Neighbour| {
            let got = |seed| Got { similarity: neighbour.similarity, seed, rank: None };
            let better = |held: &Got| number.get(&seed).is_some_and(|&seed| got(seed).goes_before(held));
            !self.taken.contains(&neighbour.id) && self.got.get(&neighbour.id).is_none_or(better)
        };
        let found = search::nearest(&blocks, further.pool, NeighbourRule { k: depth, ..further.wanted }, &open, task)?;
        Ok(found.into_iter().filter_map(|(id, neighbours)| Some((*number.get(&id)?, neighbours))).collect())
    }
}

impl Asking {
    /// The next neighbour to ask for, and its rank; none where it has `k`.
    fn next(&mut self, k: usize) -> Option<(Neighbour, Option<u32>)> {
        let neighbour = self.neighbours.get(self.asked).filter(|_| self.has < k)?;
        self.asked += 1;
        let rank = u32::try_from(self.asked).unwrap_or(u32::MAX);
        Some((*neighbour, self.ranked.then_some(rank)))
    }
}

impl Got {
    /// Whether a pair wins the image over another one: the more similar, or else the seed of the
    /// lower id.
    fn goes_before(&self, other: &Self) -> bool {
        other.similarity.total_cmp(&self.similarity).then(self.seed.cmp(&other.seed)).is_lt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::catalog::Catalog;
    use crate::stages::table::Part;
    use crate::stages::task::Place;
    use lvd_base::error::Error;
    use lvd_base::types::ShardId;
    use lvd_io::vectors::{self, VectorWriter};
    use lvd_io::work_folder::WorkFolder;
    use lvd_kernels::dot::{dot, normalise};
    use lvd_kernels::hash::Draw;
    use std::path::Path;

    const D: usize = 8;

    /// A shard of vectors around one point, as far from it as `spread` says.
    fn shard(folder: &Path, id: ShardId, rows: u32, spread: f64) -> Result<VectorShard> {
        let path = format!("part-{}.parquet", id.0);
        let ids: Vec<ImageId> = (0..rows).map(|row| id.image(row)).collect();
        let mut values = Vec::new();
        for image in &ids {
            let draw = Draw::new(7, "vectors").within(image.0);
            #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
            let mut vector: Vec<f32> = (0..D as u64).map(|i| (1.0 + spread * (draw.unit(i) - 0.5)) as f32).collect();
            normalise(&mut vector);
            values.extend(vector);
        }
        let mut writer = VectorWriter::create(&folder.join(&path), D)?;
        writer.write(ids, vec![String::new(); rows as usize], &values)?;
        let written = writer.finish()?;
        let (rows, bytes, shard) = (written.rows, written.bytes, Some(id));
        let vectors = Part { table: String::new(), path, rows, bytes, sha256: String::new(), tail: None, shard };
        VectorShard::new(vectors, None)
    }

    fn read(folder: &Path, shards: &[VectorShard]) -> Result<Vec<(ImageId, Vec<f32>)>> {
        let mut all = Vec::new();
        for shard in shards {
            for block in vectors::read(&shard.vectors.stored(folder.join(&shard.vectors.path)))? {
                let block = block?;
                all.extend(block.ids.iter().enumerate().map(|(row, &id)| (id, block.row(row).to_vec())));
            }
        }
        Ok(all)
    }

    #[test]
    fn everybody_gets_what_taking_all_pairs_in_order_gives() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let folder = folder.path();
        let pool: Vec<VectorShard> =
            (0..5).map(|number| shard(folder, ShardId::new(0, number), 40, 1.5)).collect::<Result<_>>()?;
        let seeds = [shard(folder, ShardId::new(1, 0), 30, 0.3)?, shard(folder, ShardId::new(1, 1), 18, 0.3)?];
        let (images, queries) = (read(folder, &pool)?, read(folder, &seeds)?);
        let catalog = Catalog::default();
        let unused = || folder.to_path_buf();
        let work = WorkFolder::open(&folder.to_string_lossy())?;
        let place =
            Place { work, copies: unused(), step: String::new(), number: 0, aside: unused(), checkpoint: unused() };
        let task = Task::new(&catalog, place, 1, &|_| ());
        let taken: HashSet<ImageId> = images.iter().map(|(id, _)| *id).filter(|id| id.row() % 9 == 0).collect();
        for (k, floor, ceiling) in [(1, -1.0, 2.0), (3, -1.0, 2.0), (3, 0.93, 0.98), (7, -1.0, 2.0)] {
            let mut pairs: Vec<(Neighbour, ImageId)> = Vec::new();
            let mut lists: BTreeMap<ImageId, TopK> = BTreeMap::new();
            for (seed, query) in &queries {
                for (id, vector) in &images {
                    let neighbour = Neighbour { similarity: dot(query, vector), id: *id };
                    if neighbour.similarity >= floor && neighbour.similarity < ceiling {
                        pairs.push((neighbour, *seed));
                        lists.entry(*seed).or_insert_with(|| TopK::new(4 * k)).push(neighbour);
                    }
                }
            }
            pairs.sort_unstable();
            let (mut expected, mut has): (BTreeMap<ImageId, ImageId>, HashMap<ImageId, usize>) = Default::default();
            for (Neighbour { id, .. }, seed) in pairs {
                let has = has.entry(seed).or_default();
                if *has < k && !taken.contains(&id) && !expected.contains_key(&id) {
                    expected.insert(id, seed);
                    *has += 1;
                }
            }
            let mut matching = Matching::new(k, 4 * k, lists, &taken);
            let further = Further { seeds: &seeds, pool: &pool, wanted: NeighbourRule { k: 0, floor, ceiling } };
            matching.settle(&further, &task)?;
            let got: BTreeMap<ImageId, ImageId> =
                matching.got.iter().map(|(&id, got)| (id, matching.seeds[got.seed].id)).collect();
            assert_eq!(got, expected, "k = {k}");
            let served = matching.seeds.len() * k;
            assert_eq!(matching.missing(), (served - expected.len()) as u64);
            if floor < 0.0 {
                let free = images.len() - taken.len();
                assert_eq!(expected.len(), free.min(48 * k), "nothing is missing that is there");
            }
        }
        Ok(())
    }
}
