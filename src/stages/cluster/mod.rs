//! Cluster: k-means of the pool, in as many levels as the file says.
//!
//! `train` fits level 1 on a sample of the pool and each further level on the centroids below it (Vo et al. 2024); `assign` gives
//! every pool and seed image its level-1 cluster; `sizes` counts. Memory: `train` holds `clusters[0] x points_per_centroid`
//! vectors in fp32, `assign` one shard and the centroids, `sizes` a number a cluster.

mod assign;
mod train;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::stages::catalog::Role;
use crate::stages::known::{Known, Part};
use crate::stages::pool::{self, VectorShard};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};

pub use assign::{Assigned, Node};

const PHASES: &[Phase] = &[Phase::helping("train"), Phase::counting("assign"), Phase::helping("sizes")];

/// Group the pool by k-means, in one or several levels; seed images are assigned to the pool's clusters.
///
/// Memory: `clusters[0]` x `points_per_centroid` vectors in fp32 while it trains, and the centroids.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The vectors to group, `STEP/EMBEDDER`. Left out: the only ones above.
    pub vectors: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole pool.
    pub pool: Input,
    /// Clusters of each level, the finest (level 1) first, each fewer than the one before. Required.
    pub clusters: Vec<u32>,
    /// Rounds of Lloyd's algorithm a level.
    pub iterations: u32,
    /// Training images for each level-1 cluster: `clusters[0]` times this many are drawn from the pool, or all it has. Raising it
    /// takes proportionally more memory and time in training.
    pub points_per_centroid: u32,
    /// How centroids start: `plusplus` (greedy k-means++, finds rare kinds of images) or `random` (free of cost; for more than about ten
    /// thousand clusters).
    pub init: Start,
    /// Whether centroids are scaled to unit norm after each round (spherical k-means), else plain Euclidean k-means.
    pub spherical: bool,
}

/// How centroids start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Greedy k-means++.
    #[default]
    PlusPlus,
    /// Images drawn at random.
    Random,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            vectors: Input::default(),
            pool: Input::default(),
            clusters: Vec::new(),
            iterations: 20,
            points_per_centroid: 256,
            init: Start::default(),
            spherical: false,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct TrainCommon {
    pool: Vec<VectorShard>,
    rows: u64,
    clusters: Vec<u32>,
    iterations: u32,
    points_per_centroid: u32,
    init: Start,
    spherical: bool,
    seed: u64,
}

#[derive(Serialize, Deserialize)]
struct AssignCommon {
    centroids: Part,
}

#[derive(Serialize, Deserialize)]
struct SizesCommon {
    centroids: Part,
    assigned: Vec<Part>,
}

impl Cluster {
    fn shards(&self, known: &Known, role: Role) -> Result<Vec<VectorShard>> {
        let vectors = known.table(self.vectors.name())?;
        let selection = match self.pool.name() {
            name if name.is_empty() || role != Role::Pool => None,
            name => Some(known.table(name)?),
        };
        Ok(pool::shards(vectors, selection, |shard| known.catalog.role_of(shard) == Some(role)))
    }
}

impl Stage for Cluster {
    fn kind(&self) -> StageKind {
        StageKind::Cluster
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, "vectors");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        let at_most = scope.images_at_most(Role::Pool);
        match self.clusters.first().copied() {
            None => scope.fault("clusters", "says no number of clusters", "for instance `clusters = [1000]`"),
            Some(k) => {
                let message = format!("{at_most} pool images at most are too few for {k} clusters");
                scope.require(u64::from(k) <= at_most, "clusters", message, "lower `clusters` or add images");
            }
        }
        let falling = self.clusters.windows(2).all(|pair| pair[1] < pair[0]) && self.clusters.iter().all(|&k| k > 0);
        scope.require(
            falling,
            "clusters",
            "levels must have ever fewer clusters, and at least 1",
            "for instance `[1000, 100, 10]`",
        );
        scope.require(self.iterations > 0, "iterations", "no round of k-means", "use at least 1");
        scope.require(self.points_per_centroid > 0, "points_per_centroid", "no training image", "use at least 1");
    }

    fn inputs(&self) -> Vec<String> {
        [self.vectors.name(), self.pool.name()].into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        let centroids = || known.made("train", "centroids").parts.into_iter().next();
        match phase {
            "train" => {
                let pool = self.shards(known, Role::Pool)?;
                let common = TrainCommon {
                    rows: pool.iter().map(VectorShard::rows_at_most).sum(),
                    pool,
                    clusters: self.clusters.clone(),
                    iterations: self.iterations,
                    points_per_centroid: self.points_per_centroid,
                    init: self.init,
                    spherical: self.spherical,
                    seed: known.catalog.seed,
                };
                PhasePlan::new(common, [()])
            }
            "assign" => {
                let mut shards = self.shards(known, Role::Pool)?;
                shards.extend(self.shards(known, Role::Seed)?);
                let common = centroids().map(|centroids| AssignCommon { centroids });
                PhasePlan::new(common, shards)
            }
            "sizes" => {
                let mut assigned = known.made("assign", "").parts;
                assigned.retain(|part| part.shard.and_then(|shard| known.catalog.role_of(shard)) == Some(Role::Pool));
                PhasePlan::new(centroids().map(|centroids| SizesCommon { centroids, assigned }), [()])
            }
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "train" => train::run(&from_value(order.common)?, task),
        "assign" => assign::run(&from_value(order.spec)?, &from_value(order.common)?, task),
        "sizes" => assign::count(&from_value(order.common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}
