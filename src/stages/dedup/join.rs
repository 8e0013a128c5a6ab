//! The self-join: each image's nearest neighbours among all, over a floor.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::vectors::Vectors;
use crate::native::faiss::{Index, Storage};
use crate::ops::hash::Draw;
use crate::ops::histogram::Histogram;
use crate::ops::kmeans::{self, Init, KMeans};
use crate::stages::PhasePlan;
use crate::stages::dedup::{Dedup, Nodes};
use crate::stages::known::{Known, Part};
use crate::stages::pool::VectorShard;
use crate::stages::search::{Search, nearest};
use crate::stages::task::Task;
use crate::table;
use crate::types::ImageId;

/// Queries a task, about: adding a shard to an inverted file is paid once for all of them.
const QUERY_ROWS: u64 = 65_536;
/// Rounds of k-means: the lists need not be good clusters.
const TRAINING_ROUNDS: usize = 10;
/// Training vectors an inverted list.
const TRAINING_ROWS: u64 = 64;

table! {
    /// Two images whose cosine is over `edge_floor`; written once from each end that has it among its nearest.
    pub struct Edge {
        /// The image whose neighbours these are.
        pub id: ImageId,
        /// One of its nearest images.
        pub neighbour: ImageId,
        /// 1 for the nearest.
        pub rank: u32,
        /// Cosine of the two vectors.
        pub similarity: f32,
    }
}

#[derive(Serialize, Deserialize)]
pub struct TrainCommon {
    shards: Vec<VectorShard>,
    rows: u64,
    lists: u32,
    seed: u64,
}

#[derive(Serialize, Deserialize)]
pub struct JoinCommon {
    shards: Vec<VectorShard>,
    neighbours: usize,
    floor: f32,
    /// The empty inverted index, and the lists to probe.
    index: Option<(Part, usize)>,
}

pub fn plan_train(nodes: &Nodes, lists: Option<u32>, known: &Known) -> Result<PhasePlan> {
    let rows = nodes.rows_at_most();
    let lists = lists.unwrap_or_else(|| u32::try_from(4 * rows.isqrt()).unwrap_or(u32::MAX));
    PhasePlan::new(TrainCommon { shards: nodes.all(), rows, lists, seed: known.catalog.seed }, [()])
}

pub fn plan_join(nodes: &Nodes, settings: &Dedup, known: &Known) -> Result<PhasePlan> {
    let index = known.made("train", "index").parts.pop().map(|part| (part, settings.probes as usize));
    let neighbours = settings.neighbours as usize;
    let common = JoinCommon { shards: nodes.all(), neighbours, floor: settings.edge_floor, index };
    PhasePlan::new(&common, groups(&common.shards))
}

/// Consecutive shards, about [`QUERY_ROWS`] rows together.
fn groups(shards: &[VectorShard]) -> Vec<Vec<VectorShard>> {
    let mut groups: Vec<(u64, Vec<VectorShard>)> = Vec::new();
    for shard in shards {
        match groups.last_mut() {
            Some((rows, group)) if *rows < QUERY_ROWS => {
                *rows += shard.rows_at_most();
                group.push(shard.clone());
            }
            _ => groups.push((shard.rows_at_most(), vec![shard.clone()])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Fits the inverted file on a sample of the vectors.
pub fn run_train(common: &TrainCommon, task: &mut Task) -> Result<()> {
    let draw = Draw::new(common.seed, "dedup/train");
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    let share = (u64::from(common.lists) * TRAINING_ROWS) as f64 / common.rows as f64;
    let mut sample = Vectors::default();
    for shard in &common.shards {
        let block = shard.load(task)?;
        task.outcome.rows_in += block.ids.len() as u64;
        sample.dimension = block.dimension.max(sample.dimension);
        for (row, id) in block.ids.iter().enumerate().filter(|(_, id)| draw.unit(id.0) < share) {
            sample.ids.push(*id);
            sample.values.extend(block.row(row));
        }
    }
    task.outcome.rows_out = task.outcome.rows_in;
    let lists = (common.lists as usize).min(sample.ids.len());
    if lists == 0 {
        return Err(Error::usage("there is no vector to search among", "look at the reports of the steps before"));
    }
    let settings =
        KMeans { k: lists, iterations: TRAINING_ROUNDS, seed: common.seed, spherical: true, init: Init::Random };
    let trained = kmeans::train(&sample.values, sample.dimension, &settings, &mut |_, _| (task.progress)(0))?;
    // Half precision loses nothing: the vectors were stored so.
    let index = Index::new(&trained.centroids, sample.dimension, Storage::Half)?;
    let aside = task.aside("index");
    index.write(&aside)?;
    task.outcome.facts.insert("lists".into(), lists.into());
    task.publish_file(&aside, "index", "faiss")
}

/// Finds the neighbours of the images in `queries`.
pub fn run_join(queries: &[VectorShard], common: &JoinCommon, task: &mut Task) -> Result<()> {
    let index = common.index.as_ref().map(|(part, probes)| (task.path(part), *probes));
    let mut block = Vectors::default();
    for shard in queries {
        let vectors = shard.load(task)?;
        block.dimension = vectors.dimension.max(block.dimension);
        block.ids.extend(vectors.ids);
        block.values.extend(vectors.values);
    }
    let search = Search {
        k: common.neighbours,
        floor: common.floor,
        index: index.as_ref().map(|(path, probes)| (path.as_path(), *probes)),
        skip_self: true,
    };
    let found = nearest(&block, &common.shards, &search, task)?;
    let mut similarities = Histogram::linear(f64::from(common.floor), 1.0, 60);
    let mut writer = task.rows("edges")?;
    for (id, neighbours) in block.ids.iter().zip(found) {
        for (neighbour, rank) in neighbours.into_iter().zip(1..) {
            similarities.add(f64::from(neighbour.similarity));
            writer.push(Edge { id: *id, neighbour: neighbour.id, rank, similarity: neighbour.similarity })?;
        }
    }
    let written = writer.finish()?;
    (task.outcome.rows_in, task.outcome.rows_out) = (block.ids.len() as u64, block.ids.len() as u64);
    (task.progress)(block.ids.len() as u64);
    task.count("edges", written.rows);
    task.outcome.histograms.insert("neighbour_similarity".into(), similarities);
    task.publish(written, "edges", None)
}
