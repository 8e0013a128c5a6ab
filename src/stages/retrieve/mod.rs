//! Retrieve: the pool images that are like the images of the seed sets.
//!
//! Sample-based: the k nearest pool images of every seed image. Cluster-based: n images of every cluster with more than m of the
//! set's images, at most so many a set (`DINOv2`, arXiv 2304.07193, appendix A). Memory: `search` holds one shard of seeds, one of the
//! pool and k neighbours a seed; `collect` about 40 bytes a candidate of one set, and 16 an image retrieved.

mod collect;
mod search;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::stages::catalog::Role;
use crate::stages::known::Known;
use crate::stages::pool;
use crate::stages::scope::{Input, Scope};
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};

pub use collect::Retrieved;

const PHASES: &[Phase] = &[Phase::helping("search").scratch(), Phase::counting("collect")];

/// Find the pool images that are like the seed images.
///
/// Memory: a shard of seeds, a shard of the pool, `k` neighbours a seed, and about 40 bytes a candidate of one set.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retrieve {
    /// The vectors to search, `STEP/EMBEDDER`. Left out: the only ones above.
    pub vectors: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole pool.
    pub pool: Input,
    /// The cluster step, for cluster-based sets. Left out: the last one above.
    pub cluster: Input,
    /// For each seed source how its likes are found; sets are served in this order, and an image counts for the first that takes it.
    pub sets: IndexMap<String, SetRule>,
}

/// How the likes of a seed set are found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRule {
    /// `sample`: the `k` nearest pool images of each seed image. `cluster`: `per_cluster` images from each cluster with more
    /// than `more_than` of the set's images. The paper uses `sample` for sets over a million images.
    pub method: Method,
    /// Neighbours a seed image, for `sample`. The paper uses 4, and 32 for ImageNet-1k.
    #[serde(default = "four")]
    pub k: u32,
    /// Neighbours below this cosine are not taken, for `sample`.
    #[serde(default)]
    pub min_similarity: Option<f32>,
    /// Images drawn from each cluster, for `cluster`.
    #[serde(default = "ten_thousand")]
    pub per_cluster: u32,
    /// A cluster must hold more than this many of the set's images, for `cluster`.
    #[serde(default = "three")]
    pub more_than: u32,
    /// At most this many images for the set, drawn at random from what was found.
    #[serde(default = "million")]
    pub cap: u64,
}

/// How the likes of a seed set are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The nearest pool images of each seed image.
    Sample,
    /// Images of the clusters that the seed images fall into.
    Cluster,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Cluster => "cluster",
        }
    }
}

fn three() -> u32 {
    3
}
fn four() -> u32 {
    4
}
fn ten_thousand() -> u32 {
    10_000
}
fn million() -> u64 {
    1_000_000
}

impl Stage for Retrieve {
    fn kind(&self) -> StageKind {
        StageKind::Retrieve
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, "vectors");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        let by_cluster = self.sets.values().any(|rule| rule.method == Method::Cluster);
        if by_cluster {
            scope.wire(&mut self.cluster, StageKind::Cluster, "cluster");
        }
        scope.require(!self.sets.is_empty(), "sets", "no seed set to serve", "add a [steps.NAME.sets.SOURCE] table");
        let names: Vec<String> = self.sets.keys().cloned().collect();
        scope.require_sources(&names, Role::Seed, "sets");
        let pool = scope.images_at_most(Role::Pool);
        for (name, rule) in &self.sets {
            let key = |field: &str| format!("sets.{name}.{field}");
            let message = format!("{} neighbours of {pool} pool images at most", rule.k);
            scope.require(
                (1..=pool.max(1)).contains(&u64::from(rule.k)),
                &key("k"),
                message,
                "lower `k` or add images",
            );
            scope.require(rule.per_cluster > 0, &key("per_cluster"), "no image a cluster", "use at least 1");
            scope.require(rule.cap > 0, &key("cap"), "no image at all", "use at least 1");
        }
    }

    fn inputs(&self) -> Vec<String> {
        let all = [self.vectors.name(), self.pool.name(), self.cluster.name()];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        let vectors = known.table(self.vectors.name())?;
        match phase {
            "search" => {
                let selection = match self.pool.name() {
                    "" => None,
                    name => Some(known.table(name)?),
                };
                let pool = pool::shards(vectors, selection, |shard| known.catalog.role_of(shard) == Some(Role::Pool));
                let mut tasks = Vec::new();
                for (set, rule) in self.sets.iter().filter(|(_, rule)| rule.method == Method::Sample) {
                    let seeds = pool::shards(vectors, None, |shard| {
                        known.catalog.source_of(shard).is_some_and(|(name, _)| name == set)
                    });
                    tasks.extend(search::tasks(rule, &seeds, &pool));
                }
                PhasePlan::new((), tasks)
            }
            "collect" => {
                let mut sets = Vec::new();
                for (name, rule) in &self.sets {
                    let number = known.catalog.sources.get(name).map_or(0, |entry| entry.number);
                    sets.push(collect::Set { name: name.clone(), dataset: number, rule: rule.clone() });
                }
                let assigned = match self.cluster.name() {
                    "" => None,
                    name => Some(known.table(name)?.clone()),
                };
                let pool_sources: Vec<u16> = known
                    .catalog
                    .sources
                    .values()
                    .filter(|entry| entry.role == Role::Pool)
                    .map(|entry| entry.number)
                    .collect();
                let found = known.made("search", "found");
                PhasePlan::new(collect::Common { sets, found, assigned, pool_sources, seed: known.catalog.seed }, [()])
            }
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "search" => search::run(&from_value(order.spec)?, task),
        "collect" => collect::run(&from_value(order.common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}
