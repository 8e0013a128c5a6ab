//! The settings of a cluster step, and what follows from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::Role;
use crate::stages::cluster::fitting::{Fitting, LevelPlan};
use crate::stages::cluster::phases::MOST_ROUNDS;
use crate::stages::cluster::start::Start;
use crate::stages::kind::StageKind;
use crate::stages::scope::{Input, Scope, VectorUse};

/// Resampled runs above level 1.
pub const RESAMPLINGS: u32 = 9;

/// Group the pool by k-means, in one or several levels; seed images are assigned to the pool's
/// clusters.
///
/// Memory: `train` holds `memory_mib` of vectors or about 200 MiB, 16 bytes for each number of a
/// level-1 centroid, and while it chooses first centroids 64 vectors for each of them; with
/// `spread` each task as much as `train`, and 8 bytes a number more for the sums; `levels` holds
/// all centroids, `assign` a shard and the centroids. A killed `train` or `levels` goes on from the
/// last round, or at most 5 seconds before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The vectors to group, `STEP/EMBEDDER`. Left out: the only ones above or, of several, those
    /// of the only encoder that was not made to find copies.
    pub vectors: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole
    /// pool.
    pub pool: Input,
    /// Clusters of each level, the finest (level 1) first, each fewer than the one before.
    /// Required.
    pub clusters: Vec<u32>,
    /// Parts of the pool, by shard, of which each is clustered by itself on level 1 into its share
    /// of the clusters, as a task of its own. An image is then assigned to a cluster of its part.
    /// For tens of millions of clusters; level 2 joins the parts.
    pub splits: u32,
    /// Parts of the pool, by shard, that are assigned and added up by a task each in every round of
    /// level 1: one clustering over all machines, where `splits` are many. Takes up to 50
    /// `iterations`, one start and no resampling of level 1. 0: level 1 is one task.
    pub spread: u32,
    /// Rounds of Lloyd's algorithm, at most.
    pub iterations: u32,
    /// Rounds also end when one lowers the sum of squared distances by this share of it or less. 0:
    /// when nothing moves.
    pub tolerance: f64,
    /// Runs from different first centroids, of which the best counts.
    pub starts: u32,
    /// Training images for each level-1 cluster: exactly `clusters[0]` times this many are drawn
    /// from what dedup has left of the pool, or all of it where there are no more. 0: all. Raising
    /// it takes proportionally more time in training.
    pub points_per_centroid: u32,
    /// How centroids start: `plusplus` (greedy k-means++), `parallel` (k-means||, its like for many
    /// clusters) or `random` (free of cost, finds fewer rare kinds of images). Left out: `plusplus`
    /// up to 4,096 clusters, `parallel` beyond.
    pub init: Option<Start>,
    /// Whether centroids are scaled to unit norm after each round (spherical k-means), else plain
    /// Euclidean k-means.
    pub spherical: bool,
    /// Further runs of k-means on each level, on the members nearest to each centroid of the run
    /// before, which evens out how densely the centroids lie. Left out: 0 on level 1, 9 above (Vo
    /// et al. 2024, who count the first run too).
    pub resamplings: Option<Vec<u32>>,
    /// How many of the nearest members of each centroid, on each level. Left out: half of the mean
    /// number of members.
    pub resample_nearest: Option<Vec<u32>>,
    /// Memory for training vectors, in MiB. Where it is too little they are read again in each
    /// round: slower, with the same result.
    pub memory_mib: u32,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            vectors: Input::default(),
            pool: Input::default(),
            clusters: Vec::new(),
            splits: 1,
            spread: 0,
            iterations: 20,
            tolerance: 0.0,
            starts: 1,
            points_per_centroid: 256,
            init: None,
            spherical: false,
            resamplings: None,
            resample_nearest: None,
            memory_mib: 4096,
        }
    }
}

impl Cluster {
    /// Scales the numbers of clusters; levels that are then no coarser than the one before are left
    /// out.
    fn scale(&mut self, scope: &Scope) {
        let scaled: Vec<u32> = self.clusters.iter().map(|&k| scope.scaled_u32(k)).collect();
        if scaled == self.clusters {
            return;
        }
        let stays: Vec<bool> = (0..scaled.len()).map(|level| level == 0 || scaled[level] < scaled[level - 1]).collect();
        let of_those = |list: &[u32]| list.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(&n, _)| n).collect();
        self.resamplings = self.resamplings.as_deref().map(of_those);
        self.resample_nearest = self.resample_nearest.as_deref().map(of_those);
        self.splits = scope.scaled_u32(self.splits);
        self.clusters = of_those(&scaled);
        if let (Some(first), 1..) = (self.clusters.first_mut(), self.splits) {
            *first = first.next_multiple_of(self.splits);
        }
    }

    /// The numbers of a level, from 0.
    pub(super) fn level(&self, level: usize) -> LevelPlan {
        let of = |list: &Option<Vec<u32>>| list.as_ref().and_then(|list| list.get(level).copied());
        LevelPlan {
            clusters: self.clusters[level],
            resamplings: of(&self.resamplings).unwrap_or(if level == 0 { 0 } else { RESAMPLINGS }),
            nearest: of(&self.resample_nearest),
        }
    }

    /// How levels are fitted, with this seed.
    pub(super) fn fitting(&self, seed: u64) -> Fitting {
        Fitting {
            iterations: self.iterations,
            tolerance: self.tolerance,
            starts: self.starts,
            init: self.init,
            spherical: self.spherical,
            seed,
        }
    }

    /// Finds what is wrong with the settings.
    pub(super) fn find_faults(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, VectorUse::Content, "vectors");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        self.scale(scope);
        let at_most = scope.images_at_most(Role::Pool);
        match self.clusters.first().copied() {
            None => scope.fault("clusters", "says no number of clusters", "for instance `clusters = [1000]`"),
            Some(k) => {
                let message = format!("{at_most} pool images at most are too few for {k} clusters");
                scope.require(u64::from(k) <= at_most, "clusters", message, "lower `clusters` or add images");
            }
        }
        let falling = self.clusters.windows(2).all(|pair| pair[1] < pair[0]) && self.clusters.iter().all(|&k| k > 0);
        let hint = "for instance `[1000, 100, 10]`";
        scope.require(falling, "clusters", "levels must have ever fewer clusters, and at least 1", hint);
        let even = self.splits > 0 && self.clusters.first().is_none_or(|k| k.is_multiple_of(self.splits));
        scope.require(even, "splits", "level 1 cannot be split evenly", "use a divisor of the first of `clusters`");
        let resampled = self.resamplings.as_ref().and_then(|levels| levels.first()).is_some_and(|&runs| runs > 0);
        let alone = self.splits == 1 && self.starts == 1 && !resampled;
        let hint = "leave `splits`, `starts` and the first of `resamplings` out";
        scope.require(
            self.spread == 0 || alone,
            "spread",
            "takes one split, one start and no resampling of level 1",
            hint,
        );
        let most = MOST_ROUNDS;
        let message = format!("{} rounds of tasks", self.iterations);
        scope.require(
            self.spread == 0 || self.iterations <= most,
            "iterations",
            message,
            "use 50 at most with `spread`",
        );
        scope.require(self.iterations > 0, "iterations", "no round of k-means", "use at least 1");
        scope.require(self.starts > 0, "starts", "no run of k-means", "use at least 1");
        scope.within("tolerance", "a share of", self.tolerance, 0.0..=1.0);
        scope.require(self.memory_mib > 0, "memory_mib", "no memory", "use at least 1");
        for (key, levels) in [("resamplings", &self.resamplings), ("resample_nearest", &self.resample_nearest)] {
            let (given, wanted) = (levels.as_ref().map(Vec::len), self.clusters.len());
            let message = format!("{} numbers for {wanted} levels", given.unwrap_or(0));
            scope.require(given.is_none_or(|given| given == wanted), key, message, "give one a level, level 1 first");
        }
        let none = self.resample_nearest.iter().flatten().any(|&nearest| nearest == 0);
        scope.require(!none, "resample_nearest", "no point to train on", "use at least 1");
    }
}
