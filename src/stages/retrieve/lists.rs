//! Inverted lists for searching a large pool: their centroids, and how many of them a search has to
//! look at.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::pool::{self, VectorShard};
use crate::stages::retrieve::rules::Codes;
use crate::stages::retrieve::search::LISTED_ROWS;
use crate::stages::task::{Headway, Task};
use lvd_base::error::{Error, Result};
use lvd_engines::faiss::Index;
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::dot;
use lvd_kernels::exact::knn_ip;
use lvd_kernels::hash::Draw;
use lvd_ops::kmeans::{KMeans, train};

/// Training vectors a list.
const TRAINING_ROWS: u64 = 64;
/// Rounds of k-means.
const ROUNDS: usize = 10;
/// Seeds by which recall is measured.
const QUERIES: u64 = 1024;
/// Proposals for each neighbour wanted, at most: each is read and computed again.
const PROPOSALS: usize = 64;

/// Looking into one list in so many takes as long as comparing everything.
pub const ONE_IN: usize = 64;
/// The table of the trained index.
pub const TABLE: &str = "lists";

#[derive(Serialize, Deserialize)]
pub struct ListsCommon {
    pub pool: Vec<VectorShard>,
    pub seeds: Vec<VectorShard>,
    /// The most neighbours a set wants.
    pub k: usize,
    pub recall: f64,
    pub codes: Codes,
    pub seed: u64,
}

/// What the planning of the search needs to know.
#[derive(Serialize, Deserialize)]
pub struct ListsTold {
    /// How many lists there are.
    pub lists: usize,
    /// Lists that are looked at for each seed.
    pub probes: usize,
    /// Vectors that codes propose for each neighbour wanted.
    pub proposals: usize,
}

/// Whether looking at so many of the lists takes less time than comparing everything, which is some
/// fifty times faster a pair.
pub fn pays(probes: usize, lists: usize) -> bool {
    probes * ONE_IN <= lists
}

/// Trains the lists on a sample of the pool, and measures on it how many of them find the
/// neighbours of some seeds.
pub fn run(common: &ListsCommon, task: &mut Task) -> Result<()> {
    let (_, rows) = pool::lowest(&common.pool, Draw::new(common.seed, "retrieve/lists"), u64::MAX, task)?;
    // As many comparisons with centroids as with the vectors of a sixteenth of the lists.
    let lists = (4 * rows.min(LISTED_ROWS).isqrt()).max(1);
    let sample = drawn(&common.pool, lists * TRAINING_ROWS, Draw::new(common.seed, "retrieve/lists"), task)?;
    let seeds = drawn(&common.seeds, QUERIES, Draw::new(common.seed, "retrieve/queries"), task)?;
    let (d, n) = (sample.dimension, sample.ids.len());
    if n == 0 {
        return Err(Error::usage("there is no pool image to search", "look at the reports of the steps before"));
    }
    let k = usize::try_from(lists).unwrap_or(n).min(n.div_ceil(8));
    let params = KMeans { k, iterations: ROUNDS, seed: common.seed, spherical: true, ..KMeans::default() };
    let trained = train(&sample.values, d, &params)?;
    let storage = common.codes.storage();
    if n < storage.trained_on() {
        let fact = format!(
            "{n} images are too few to train the codes {:?} on: it takes {}",
            common.codes,
            storage.trained_on()
        );
        return Err(Error::usage(fact, "set `codes = \"sq8\"`"));
    }
    let mut index = Index::train(&trained.centroids, d, storage, &sample.values)?;
    let written = task.aside("lists");
    index.write(&written)?;
    let (mut probes, mut proposals, mut recall) = (1, 1, None);
    if !seeds.ids.is_empty() {
        index.add(&sample.values)?;
        let wanted = common.k.min(n);
        let truth = knn_ip(&seeds.values, &sample.values, d, wanted);
        // The share of the true neighbours among those proposed. By similarity, for equal vectors
        // are equally good.
        let found = |proposals: usize, probes: usize| -> Result<f64> {
            let proposed = index.search(&seeds.values, (wanted * proposals).min(n), probes)?;
            let hits: usize = (0..seeds.ids.len())
                .into_par_iter()
                .map(|seed| {
                    let least = truth.of(seed).last().map_or(f32::INFINITY, |(_, similarity)| similarity);
                    let similarity = |row: u32| dot(seeds.row(seed), sample.row(row as usize));
                    proposed.of(seed).filter(|&(row, _)| similarity(row) >= least).count().min(wanted)
                })
                .sum();
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            let share = hits as f64 / (seeds.ids.len() * wanted) as f64;
            Ok(share)
        };
        // What codes lose, whatever is looked at, is to be half of what may be lost.
        while proposals < PROPOSALS && found(proposals, k)? < f64::midpoint(1.0, common.recall) {
            proposals *= 2;
        }
        loop {
            let share = found(proposals, probes)?;
            recall = Some(share);
            if share >= common.recall || probes >= k {
                break;
            }
            // Half as much again each time: a power of two would overshoot.
            probes = (probes + probes.div_ceil(2)).min(k);
        }
    }
    task.tell(ListsTold { lists: k, probes, proposals })?;
    let facts = [
        ("lists", k.into()),
        ("probes", probes.into()),
        ("proposals", proposals.into()),
        ("measured_recall", recall.into()),
    ];
    task.outcome.facts.extend(facts.map(|(name, value)| (name.to_owned(), value)));
    if let Some(recall) = recall.filter(|&recall| recall < common.recall) {
        let warning = format!(
            "{:?} finds {recall:.4} of the neighbours, {} were wanted: use larger `codes`",
            common.codes, common.recall
        );
        task.outcome.warnings.insert(warning);
    }
    if !pays(probes, k) {
        let warning =
            format!("{probes} of {k} lists have to be looked at for a recall of {}: `exact` is faster", common.recall);
        task.outcome.warnings.insert(warning);
    }
    task.publish_file(&written, TABLE, "faiss")
}

/// `wanted` vectors of some shards, or all.
fn drawn(shards: &[VectorShard], wanted: u64, draw: Draw, task: &Task) -> Result<Vectors> {
    let (drawn, _) = pool::lowest(shards, draw, wanted, task)?;
    let mut some = Vectors::default();
    for shard in shards {
        for block in shard.blocks(task)? {
            let block = block?;
            some.dimension = block.dimension;
            for (row, id) in block.ids.iter().enumerate().filter(|(_, id)| drawn.has(id.0)) {
                some.ids.push(*id);
                some.values.extend(block.row(row));
            }
            (task.progress)(Headway::Done(block.ids.len() as u64));
        }
    }
    Ok(some)
}
