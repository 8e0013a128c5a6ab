//! The settings of a retrieve step, and what follows from them.

use indexmap::IndexMap;
use lvd_engines::faiss;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::Role;
use crate::stages::kind::StageKind;
use crate::stages::pool::VectorShard;
use crate::stages::retrieve::rules::{Codes, Collisions, Method, Search, SetRule};
use crate::stages::scope::{Input, Scope, VectorUse};

/// Pairs of seed and pool images up to which all are compared: minutes on two cores.
pub const EXACT_PAIRS: u64 = 100_000_000_000;
/// Images of a cluster-based set, at most.
const MILLION: u64 = 1_000_000;

/// Find the pool images that are like the seed images.
///
/// Memory: a shard of seeds and `k` neighbours each; with `search = "exact"` or `collisions =
/// "next"` a shard of the pool, with `ivf` the `codes` of 1,048,576 vectors, and 4 bytes for each
/// number of 262,144 while lists are trained; then about 60 bytes a candidate of one set, and 16 an
/// image retrieved.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retrieve {
    /// The vectors to search, `STEP/EMBEDDER`. Left out: the only ones above or, of several, those
    /// of the only encoder that was not made to find copies.
    pub vectors: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole
    /// pool.
    pub pool: Input,
    /// The cluster step, for cluster-based sets. Left out: the last one above.
    pub cluster: Input,
    /// `exact` compares every seed with the whole pool, `ivf` looks into the inverted lists nearest
    /// to it (FAISS). Left out: `exact` up to 10^11 pairs of a set, and where more than one list in
    /// 64 would have to be looked at, which takes longer; else `ivf`.
    pub search: Option<Search>,
    /// The share of the nearest neighbours that `ivf` is to find, 0.5 to 1: how many lists are
    /// looked at is measured on a sample.
    pub recall: f64,
    /// What the lists hold of a vector for `ivf`. What they propose is decided by the vectors
    /// themselves; how many proposals that takes is measured, as `proposals` in the report.
    pub codes: Codes,
    /// Pool images from this cosine on are taken for copies of the seed, and their place goes to
    /// the next neighbour; 2: take them too.
    pub copy_similarity: f32,
    /// What happens when several seeds find one image.
    pub collisions: Collisions,
    /// For each seed source how its likes are found; sets are served in this order.
    pub sets: IndexMap<String, SetRule>,
}

impl Default for Retrieve {
    fn default() -> Self {
        Self {
            vectors: Input::default(),
            pool: Input::default(),
            cluster: Input::default(),
            search: None,
            recall: 0.99,
            codes: Codes::default(),
            copy_similarity: 0.999,
            collisions: Collisions::default(),
            sets: IndexMap::new(),
        }
    }
}

impl Retrieve {
    /// The table of the tree of clusters; empty without a cluster step.
    pub(super) fn tree(&self) -> String {
        if self.cluster.name().is_empty() { String::new() } else { format!("{}/tree", self.cluster.name()) }
    }

    /// Whether a set is searched by inverted lists.
    pub(super) fn is_listed(&self, seeds: &[VectorShard], pool: &[VectorShard]) -> bool {
        let rows = |shards: &[VectorShard]| shards.iter().map(VectorShard::rows_at_most).sum::<u64>();
        let few = !faiss::PRESENT || rows(seeds).saturating_mul(rows(pool)) <= EXACT_PAIRS;
        self.search.unwrap_or(if few { Search::Exact } else { Search::Ivf }) == Search::Ivf
    }

    /// Finds what is wrong with the settings.
    pub(super) fn find_faults(&mut self, scope: &mut Scope) {
        let fact = "`ivf` is FAISS's, and this lvd was built without it";
        let cure = "use \"exact\", or build lvd with --features faiss";
        scope.require(faiss::PRESENT || self.search != Some(Search::Ivf), "search", fact, cure);
        scope.wire_vectors(&mut self.vectors, VectorUse::Content, "vectors");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        let by_cluster = self.sets.values().any(|rule| rule.method == Method::Cluster);
        if by_cluster {
            scope.wire(&mut self.cluster, StageKind::Cluster, "cluster");
        }
        scope.within("recall", "a recall of", self.recall, 0.5..=1.0);
        scope.within("copy_similarity", "a cosine of", self.copy_similarity, 0.0..=2.0);
        for rule in self.sets.values_mut() {
            rule.per_cluster = scope.scaled_u32(rule.per_cluster);
            rule.cap = rule.cap.or((rule.method == Method::Cluster).then_some(MILLION)).map(|cap| scope.scaled(cap));
        }
        scope.require(!self.sets.is_empty(), "sets", "no seed set to serve", "add a [steps.NAME.sets.SOURCE] table");
        let names: Vec<String> = self.sets.keys().cloned().collect();
        scope.require_sources(&names, &[Role::Seed], "sets");
        let pool = scope.images_at_most(Role::Pool);
        let levels = scope.above.get(self.cluster.name()).map_or(0, |above| above.levels);
        for (name, rule) in &self.sets {
            rule.check(&format!("sets.{name}"), self.copy_similarity, (pool, levels), scope);
        }
    }
}
