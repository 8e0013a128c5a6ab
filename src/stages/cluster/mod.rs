//! Cluster: k-means of the pool, in as many levels as the file says.
//!
//! `train` fits level 1, on a sample of the pool or on all of it, in as many splits as wanted; `levels` fits each further level on the
//! centroids below it (Vo et al. 2024, section 3.2). With `spread`, `first`, `sum-N` and `mean-N` stand for `train`: its rounds, as tasks. `assign` gives every pool and seed image its level-1 cluster; `sizes` counts.

mod assign;
mod rounds;
mod train;
mod training;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::Role;
use crate::stages::cost::{Cost, Scale, Work, short};
use crate::stages::known::{Known, Part};
use crate::stages::pool::{self, VectorShard};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::{Outcome, Task};
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase, to_value};
use lvd_base::error::{Error, Result};

use self::assign::ToAssign;
use self::train::{Fitting, LevelPlan, LevelsCommon, Split, TrainCommon};

pub use assign::{Assigned, Node};

const PHASES: &[Phase] =
    &[Phase::helping("train"), Phase::helping("levels"), Phase::counting("assign"), Phase::helping("sizes")];

/// Resampled runs above level 1.
const RESAMPLINGS: u32 = 9;

/// Group the pool by k-means, in one or several levels; seed images are assigned to the pool's clusters.
///
/// Memory: `train` holds `memory_mib` of vectors or about 200 MiB, 16 bytes for each number of a level-1 centroid, and while it chooses
/// first centroids 64 vectors for each of them; with `spread` each task as much as `train`, and 8 bytes a number more for the sums; `levels` holds all
/// centroids, `assign` a shard and the centroids.
/// A killed `train` or `levels` goes on from the last round, or at most 5 seconds before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The vectors to group, `STEP/EMBEDDER`. Left out: the only ones above.
    pub vectors: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole pool.
    pub pool: Input,
    /// Clusters of each level, the finest (level 1) first, each fewer than the one before. Required.
    pub clusters: Vec<u32>,
    /// Parts of the pool, by shard, of which each is clustered by itself on level 1 into its share of the clusters, as a task of its own. An
    /// image is then assigned to a cluster of its part. For tens of millions of clusters; level 2 joins the parts.
    pub splits: u32,
    /// Parts of the pool, by shard, that are assigned and added up by a task each in every round of level 1: one clustering over all machines, where
    /// `splits` are many. Takes up to 50 `iterations`, one start and no resampling of level 1. 0: level 1 is one task.
    pub spread: u32,
    /// Rounds of Lloyd's algorithm, at most.
    pub iterations: u32,
    /// Rounds also end when one lowers the sum of squared distances by this share of it or less. 0: when nothing moves.
    pub tolerance: f64,
    /// Runs from different first centroids, of which the best counts.
    pub starts: u32,
    /// Training images for each level-1 cluster: exactly `clusters[0]` times this many are drawn from what dedup has left of the pool, or
    /// all of it where there are no more. 0: all. Raising it takes proportionally more time in training.
    pub points_per_centroid: u32,
    /// How centroids start: `plusplus` (greedy k-means++), `parallel` (k-means||, its like for many clusters) or `random` (free of cost,
    /// finds fewer rare kinds of images). Left out: `plusplus` up to 4,096 clusters, `parallel` beyond.
    pub init: Option<Start>,
    /// Whether centroids are scaled to unit norm after each round (spherical k-means), else plain Euclidean k-means.
    pub spherical: bool,
    /// Further runs of k-means on each level, on the members nearest to each centroid of the run before, which evens out how
    /// densely the centroids lie. Left out: 0 on level 1, 9 above (Vo et al. 2024, who count the first run too).
    pub resamplings: Option<Vec<u32>>,
    /// How many of the nearest members of each centroid, on each level. Left out: half of the mean number of members.
    pub resample_nearest: Option<Vec<u32>>,
    /// Memory for training vectors, in MiB. Where it is too little they are read again in each round: slower, with the same result.
    pub memory_mib: u32,
}

/// How centroids start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Greedy k-means++.
    PlusPlus,
    /// k-means||.
    Parallel,
    /// Images drawn at random.
    Random,
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

/// What may change the speed of training, never its result.
#[derive(Serialize, Deserialize)]
struct Knobs {
    memory_mib: u32,
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

    /// Scales the numbers of clusters; levels that are then no coarser than the one before are left out.
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

    /// The split of the pool's shard with this number: sources are spread over all splits.
    fn split(&self, shard: usize) -> usize {
        shard % self.splits as usize
    }

    fn level(&self, level: usize) -> LevelPlan {
        let of = |list: &Option<Vec<u32>>| list.as_ref().and_then(|list| list.get(level).copied());
        LevelPlan {
            clusters: self.clusters[level],
            resamplings: of(&self.resamplings).unwrap_or(if level == 0 { 0 } else { RESAMPLINGS }),
            nearest: of(&self.resample_nearest),
        }
    }

    /// The centroids before the first round, or after the last one.
    fn last_round(&self, known: &Known) -> rounds::Centroids {
        let made = |round: u32| known.made(rounds::mean(round), "means").parts;
        let round = (1..=self.iterations).rev().find(|&round| !made(round).is_empty()).unwrap_or(0);
        self.centroids_of(round, known)
    }

    fn centroids_of(&self, round: u32, known: &Known) -> rounds::Centroids {
        let parts = if round == 0 { known.made("first", "means") } else { known.made(rounds::mean(round), "means") };
        rounds::Centroids { parts: parts.parts, clusters: self.clusters[0], round, fitting: self.fitting(known) }
    }

    /// The phases of a training whose rounds are tasks: `first`, then `sum-N` and `mean-N` until nothing is gained.
    fn plan_round(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        let knobs = to_value(Knobs { memory_mib: self.memory_mib })?;
        if phase == "first" {
            let shards = self.shards(known, Role::Pool)?;
            train::enough(at_most(&shards), self.clusters[0])?;
            let common = rounds::FirstCommon {
                level: self.level(0),
                points_per_centroid: self.points_per_centroid,
                fitting: self.fitting(known),
                shards,
            };
            return Ok(PhasePlan { knobs, ..PhasePlan::new(common, [()])? });
        }
        if let Some(round) = rounds::round_of(phase, "mean-") {
            let sums = known.made(rounds::sum(round), "sums").parts;
            if sums.is_empty() {
                return Ok(PhasePlan::empty());
            }
            // As many ranges as parts: each task reads as much as each wrote.
            let ranges = rounds::ranges(self.clusters[0], self.spread);
            return PhasePlan::new(rounds::MeanCommon { sums, clusters: self.clusters[0] }, ranges);
        }
        let round = rounds::round_of(phase, "sum-").ok_or_else(|| no_such_phase(phase))?;
        // Rounds end when the one before gained nothing, changed nothing, or did not take place.
        let gains_nothing = match (self.potential(round - 1, known), self.potential(round.saturating_sub(2), known)) {
            (None, _) => round > 1,
            (Some(later), Some(earlier)) => self.tolerance > 0.0 && earlier - later <= self.tolerance * earlier,
            (Some(_), None) => false,
        };
        let content = |round: u32| -> Vec<String> {
            known.made(rounds::mean(round), "means").parts.into_iter().map(|part| part.sha256).collect()
        };
        let settled = gains_nothing || round > 2 && content(round - 1) == content(round - 2);
        if settled {
            return Ok(PhasePlan::empty());
        }
        let mut parts: Vec<rounds::Part> =
            (0..self.spread).map(|number| rounds::Part { number, shards: Vec::new() }).collect();
        for (number, shard) in self.shards(known, Role::Pool)?.into_iter().enumerate() {
            parts[number % self.spread as usize].shards.push(shard);
        }
        parts.retain(|part| !part.shards.is_empty());
        let common = rounds::SumCommon { centroids: self.centroids_of(round - 1, known), last: last_drawn(known)? };
        Ok(PhasePlan { knobs, ..PhasePlan::new(common, parts)? })
    }

    /// The sum of squared distances before the update of a round; none of one that did not take place.
    fn potential(&self, round: u32, known: &Known) -> Option<f64> {
        if !(1..=self.iterations).contains(&round) {
            return None;
        }
        let outcomes = known.outcomes(rounds::sum(round));
        let potential = |outcome: &Outcome| outcome.notes.get("potential")?.as_f64();
        if outcomes.is_empty() { None } else { outcomes.iter().map(potential).sum() }
    }

    fn fitting(&self, known: &Known) -> Fitting {
        Fitting {
            iterations: self.iterations,
            tolerance: self.tolerance,
            starts: self.starts,
            init: self.init,
            spherical: self.spherical,
            seed: known.catalog.seed,
        }
    }
}

/// The images of some shards before a selection is looked at.
fn at_most(shards: &[VectorShard]) -> u64 {
    shards.iter().map(VectorShard::rows_at_most).sum()
}

/// Which images `first` has drawn.
fn last_drawn(known: &Known) -> Result<u64> {
    let noted = known.outcomes("first").first().and_then(|outcome| outcome.notes.get(rounds::LAST)?.as_u64());
    noted.ok_or_else(|| Error::usage("first does not say what it drew", "run the step again"))
}

impl Stage for Cluster {
    fn kind(&self) -> StageKind {
        StageKind::Cluster
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, "vectors");
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
        let most = rounds::MOST;
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

    fn inputs(&self) -> Vec<String> {
        [self.vectors.name(), self.pool.name()].into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &[Phase] {
        if self.spread > 0 { rounds::phases(self.iterations) } else { PHASES }
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let (d, n, splits) = (scale.dims(self.vectors.name()), scale.pool, f64::from(self.splits.max(1)));
        let level = |level: usize| self.clusters.get(level).map_or(0.0, |&k| f64::from(k));
        let all = if self.points_per_centroid == 0 { n } else { n.min(level(0) * f64::from(self.points_per_centroid)) };
        let spread = f64::from(self.spread.max(1));
        // Each split has its share of the images and of the clusters. First centroids cost about two rounds.
        let rounds = f64::from(self.starts) * (f64::from(self.iterations) + 2.0);
        let products = |operations, of_sgemm| Work::Products { operations, of_sgemm };
        let held = (all / splits * d * 4.0).min(f64::from(self.memory_mib) * f64::from(1 << 20));
        let further: f64 = (1..self.clusters.len())
            .map(|number| {
                let runs = 1.0
                    + self
                        .resamplings
                        .as_ref()
                        .and_then(|all| all.get(number))
                        .map_or(f64::from(RESAMPLINGS), |&r| f64::from(r));
                2.0 * level(number - 1) * level(number) * d * rounds * runs
            })
            .sum();
        vec![
            Cost {
                moved: if all * d * 4.0 / splits > held { all * d * 2.0 * rounds } else { n * d * 2.0 },
                memory: 2.0 * held / spread + level(0) / splits * d * 16.0,
                scratch: if self.spread > 0 { rounds * spread * level(0) * d * 8.0 } else { 0.0 },
                tasks: splits.max(spread),
                ..Cost::new(
                    "train",
                    products(2.0 * all * level(0) / splits * d * rounds, 1.5),
                    format!(
                        "2 x {} vectors x {} centroids x {d} x {rounds} rounds, at 1.5 x sgemm",
                        short(all),
                        short(level(0) / splits)
                    ),
                )
            },
            Cost {
                memory: level(0) * d * 8.0,
                ..Cost::new(
                    "levels",
                    products(further, 1.0),
                    format!("the {} levels above, resampled", self.clusters.len().saturating_sub(1)),
                )
            },
            Cost {
                moved: n * d * 2.0,
                kept: n * 16.0,
                memory: level(0) / splits * d * 8.0 + 5e8,
                tasks: n / 10_000.0,
                ..Cost::new(
                    "assign",
                    products(2.0 * n * level(0) / splits * d, 2.0),
                    format!("2 x {} vectors x {} centroids x {d}, at 2 x sgemm", short(n), short(level(0) / splits)),
                )
            },
        ]
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        let centroids = || known.made("levels", "centroids").parts.into_iter().next();
        match phase {
            "train" => {
                let mut splits: Vec<Split> =
                    (0..self.splits).map(|number| Split { number, shards: Vec::new() }).collect();
                for (number, shard) in self.shards(known, Role::Pool)?.into_iter().enumerate() {
                    splits[self.split(number)].shards.push(shard);
                }
                let level = LevelPlan { clusters: self.clusters[0] / self.splits, ..self.level(0) };
                splits.iter().try_for_each(|split| train::enough(at_most(&split.shards), level.clusters))?;
                let common =
                    TrainCommon { level, points_per_centroid: self.points_per_centroid, fitting: self.fitting(known) };
                let plan = PhasePlan::new(common, splits)?;
                Ok(PhasePlan { knobs: to_value(Knobs { memory_mib: self.memory_mib })?, ..plan })
            }
            "levels" => {
                let levels = (1..self.clusters.len()).map(|level| self.level(level)).collect();
                let last = if self.spread > 0 { Some(self.last_round(known)) } else { None };
                let potential = last.as_ref().and_then(|last| self.potential(last.round, known));
                let splits = known.made("train", "splits");
                PhasePlan::new(LevelsCommon { splits, last, potential, levels, fitting: self.fitting(known) }, [()])
            }
            "assign" => {
                let of = if self.spread > 0 { "levels" } else { "train" };
                let splits = known.made(of, "splits").parts;
                let each = self.clusters[0] / self.splits;
                let mut tasks = Vec::new();
                for (number, shard) in self.shards(known, Role::Pool)?.into_iter().enumerate() {
                    let split = self.split(number);
                    let first = each * u32::try_from(split).unwrap_or(0);
                    tasks.push(ToAssign { shard, centroids: vec![splits[split].clone()], first });
                }
                // Seed images are of no split.
                for shard in self.shards(known, Role::Seed)? {
                    tasks.push(ToAssign { shard, centroids: splits.clone(), first: 0 });
                }
                PhasePlan::new((), tasks)
            }
            "sizes" => {
                let mut assigned = known.made("assign", "").parts;
                assigned.retain(|part| part.shard.and_then(|shard| known.catalog.role_of(shard)) == Some(Role::Pool));
                PhasePlan::new(centroids().map(|centroids| SizesCommon { centroids, assigned }), [()])
            }
            _ => self.plan_round(phase, known),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "train" => {
            let knobs: Knobs = from_value(order.knobs)?;
            let memory = (knobs.memory_mib as usize) << 20;
            train::run(&from_value(order.spec)?, &from_value(order.common)?, memory, task)
        }
        "levels" => train::levels(&from_value(order.common)?, task),
        "assign" => assign::run(&from_value(order.spec)?, task),
        "sizes" => assign::count(&from_value(order.common)?, task),
        _ => {
            let memory = if order.knobs.is_null() { 0 } else { from_value::<Knobs>(order.knobs)?.memory_mib as usize };
            rounds::run(phase, order, memory << 20, task)
        }
    }
}
