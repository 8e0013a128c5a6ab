//! Cluster: k-means of the pool, in as many levels as the file says.
//!
//! `train` fits level 1, on a sample of the pool or on all of it, in as many splits as wanted;
//! `levels` fits each further level on the centroids below it (Vo et al. 2024, section 3.2). With
//! `spread`, `first`, `sum-N` and `mean-N` stand for `train`: its rounds, as tasks. `assign` gives
//! every pool and seed image its level-1 cluster; `sizes` counts.

mod assign;
mod costs;
mod fitting;
mod phases;
mod rounds;
mod settings;
mod start;
mod train;
mod training;

use serde::{Deserialize, Serialize};

use self::assign::{SizesCommon, ToAssign};
use self::fitting::{LevelPlan, enough};
use self::phases::ClusterPhase;
use self::rounds::{Centroids, FirstCommon, FirstTold, MeanCommon, SumCommon, SumTask, SumTold};
use self::train::{LevelsCommon, Split, TrainCommon};
use crate::stages::catalog::Role;
use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Scale};
use crate::stages::kind::StageKind;
use crate::stages::plan::{PhasePlan, TaskInput, broken};
use crate::stages::pool::{self, VectorShard};
use crate::stages::scope::Scope;
use crate::stages::stage::{Phased, StageSettings};
use crate::stages::task::Task;
use lvd_base::error::Result;

pub use assign::{Assigned, Node};
pub use settings::Cluster;
pub use start::Start;

/// What may change the speed of training, never its result.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Memory {
    memory_mib: u32,
}

impl Memory {
    fn bytes(self) -> usize {
        (self.memory_mib as usize) << 20
    }
}

impl Cluster {
    fn memory(&self) -> Memory {
        Memory { memory_mib: self.memory_mib }
    }

    fn shards(&self, context: &PlanContext, role: Role) -> Result<Vec<VectorShard>> {
        let vectors = context.table(self.vectors.name())?;
        let selection = match self.pool.name() {
            name if name.is_empty() || role != Role::Pool => None,
            name => Some(context.table(name)?),
        };
        Ok(pool::shards(vectors, selection, |shard| context.catalog.role_of(shard) == Some(role)))
    }

    /// The pool's shards, dealt out to so many tasks.
    fn dealt_out(&self, tasks: u32, context: &PlanContext) -> Result<Vec<Vec<VectorShard>>> {
        let mut dealt = vec![Vec::new(); tasks as usize];
        for (number, shard) in self.shards(context, Role::Pool)?.into_iter().enumerate() {
            dealt[number % tasks as usize].push(shard);
        }
        Ok(dealt)
    }

    fn plan_train(&self, context: &PlanContext) -> Result<PhasePlan> {
        let dealt = self.dealt_out(self.splits, context)?;
        let level = LevelPlan { clusters: self.clusters[0] / self.splits, ..self.level(0) };
        dealt.iter().try_for_each(|shards| enough(at_most(shards), level.clusters))?;
        let splits = (0..).zip(dealt).map(|(number, shards)| Split { number, shards });
        let fitting = self.fitting(context.catalog.seed);
        let common = TrainCommon { level, points_per_centroid: self.points_per_centroid, fitting };
        PhasePlan::new(common, splits)?.with_unhashed(self.memory())
    }

    fn plan_first(&self, context: &PlanContext) -> Result<PhasePlan> {
        let shards = self.shards(context, Role::Pool)?;
        enough(at_most(&shards), self.clusters[0])?;
        let common = FirstCommon {
            level: self.level(0),
            points_per_centroid: self.points_per_centroid,
            fitting: self.fitting(context.catalog.seed),
            shards,
        };
        PhasePlan::new(common, [()])?.with_unhashed(self.memory())
    }

    fn plan_sum(&self, round: u32, context: &PlanContext) -> Result<PhasePlan> {
        if self.has_ended(round, context)? {
            return Ok(PhasePlan::empty());
        }
        let dealt = (0..).zip(self.dealt_out(self.spread, context)?);
        let tasks = dealt.filter(|(_, shards)| !shards.is_empty()).map(|(number, shards)| SumTask { number, shards });
        let drawn: Option<FirstTold> = context.told(ClusterPhase::First)?.pop();
        let last = drawn.ok_or_else(|| broken("the phase `first` does not say what it drew"))?.last_drawn;
        let common = SumCommon { centroids: self.centroids_of(round - 1, context), last };
        PhasePlan::new(common, tasks)?.with_unhashed(self.memory())
    }

    /// Whether rounds ended before this one: the one before gained nothing, changed nothing, or did
    /// not take place.
    fn has_ended(&self, round: u32, context: &PlanContext) -> Result<bool> {
        let before = |rounds: u32| self.potential(round.saturating_sub(rounds), context);
        let gains_nothing = match (before(1)?, before(2)?) {
            (None, _) => round > 1,
            (Some(later), Some(earlier)) => self.tolerance > 0.0 && earlier - later <= self.tolerance * earlier,
            (Some(_), None) => false,
        };
        let hashes = |round: u32| -> Vec<String> {
            context.made(ClusterPhase::Mean(round), "means").parts.into_iter().map(|part| part.sha256).collect()
        };
        Ok(gains_nothing || round > 2 && hashes(round - 1) == hashes(round - 2))
    }

    /// The sum of squared distances before the update of a round; none of one that did not take
    /// place.
    fn potential(&self, round: u32, context: &PlanContext) -> Result<Option<f64>> {
        if !(1..=self.iterations).contains(&round) {
            return Ok(None);
        }
        let told: Vec<SumTold> = context.told(ClusterPhase::Sum(round))?;
        Ok((!told.is_empty()).then(|| told.iter().map(|told| told.potential).sum()))
    }

    fn plan_mean(&self, round: u32, context: &PlanContext) -> Result<PhasePlan> {
        let sums = context.made(ClusterPhase::Sum(round), "sums").parts;
        if sums.is_empty() {
            return Ok(PhasePlan::empty());
        }
        // As many ranges as parts: each task reads as much as each wrote.
        let ranges = rounds::ranges(self.clusters[0], self.spread);
        PhasePlan::new(MeanCommon { sums, clusters: self.clusters[0] }, ranges)
    }

    /// The centroids before the first round, or after the last one.
    fn last_round(&self, context: &PlanContext) -> Centroids {
        let took_place = |&round: &u32| !context.made(ClusterPhase::Mean(round), "means").parts.is_empty();
        self.centroids_of((1..=self.iterations).rev().find(took_place).unwrap_or(0), context)
    }

    fn centroids_of(&self, round: u32, context: &PlanContext) -> Centroids {
        let phase = if round == 0 { ClusterPhase::First } else { ClusterPhase::Mean(round) };
        let (parts, fitting) = (context.made(phase, "means").parts, self.fitting(context.catalog.seed));
        Centroids { parts, clusters: self.clusters[0], round, fitting }
    }

    fn plan_levels(&self, context: &PlanContext) -> Result<PhasePlan> {
        let levels = (1..self.clusters.len()).map(|level| self.level(level)).collect();
        let last = (self.spread > 0).then(|| self.last_round(context));
        let potential = match &last {
            Some(last) => self.potential(last.round, context)?,
            None => None,
        };
        let (splits, fitting) = (context.made(ClusterPhase::Train, "splits"), self.fitting(context.catalog.seed));
        PhasePlan::new(LevelsCommon { splits, last, potential, levels, fitting }, [()])
    }

    fn plan_assign(&self, context: &PlanContext) -> Result<PhasePlan> {
        let of = if self.spread > 0 { ClusterPhase::Levels } else { ClusterPhase::Train };
        let splits = context.made(of, "splits").parts;
        let each = self.clusters[0] / self.splits;
        let mut tasks = Vec::new();
        for (shard, split) in self.shards(context, Role::Pool)?.into_iter().zip((0..self.splits).cycle()) {
            let centroids = splits.get(split as usize).cloned();
            let centroids = centroids.ok_or_else(|| broken(format!("split {split} has no centroids")))?;
            tasks.push(ToAssign { shard, centroids: vec![centroids], first: each * split });
        }
        // Seed images are of no split.
        for shard in self.shards(context, Role::Seed)? {
            tasks.push(ToAssign { shard, centroids: splits.clone(), first: 0 });
        }
        let rows = tasks.iter().map(|task| task.shard.rows()).collect();
        Ok(PhasePlan::new((), tasks)?.with_rows(rows))
    }

    fn plan_sizes(context: &PlanContext) -> Result<PhasePlan> {
        let centroids = context.made(ClusterPhase::Levels, "centroids").parts.into_iter().next();
        let mut assigned = context.made(ClusterPhase::Assign, "").parts;
        assigned.retain(|part| part.shard.and_then(|shard| context.catalog.role_of(shard)) == Some(Role::Pool));
        PhasePlan::new(centroids.map(|centroids| SizesCommon { centroids, assigned }), [()])
    }
}

/// The images of some shards before a selection is looked at.
fn at_most(shards: &[VectorShard]) -> u64 {
    shards.iter().map(VectorShard::rows_at_most).sum()
}

impl StageSettings for Cluster {
    fn kind(&self) -> StageKind {
        StageKind::Cluster
    }

    fn check(&mut self, scope: &mut Scope) {
        self.find_faults(scope);
    }

    fn inputs(&self) -> Vec<String> {
        [self.vectors.name(), self.pool.name()].into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        self.estimate(scale)
    }
}

impl Phased for Cluster {
    type Phase = ClusterPhase;

    fn phases(&self) -> Vec<ClusterPhase> {
        ClusterPhase::of((self.spread > 0).then_some(self.iterations))
    }

    fn plan(&self, phase: ClusterPhase, context: &PlanContext) -> Result<PhasePlan> {
        match phase {
            ClusterPhase::Train => self.plan_train(context),
            ClusterPhase::First => self.plan_first(context),
            ClusterPhase::Sum(round) => self.plan_sum(round, context),
            ClusterPhase::Mean(round) => self.plan_mean(round, context),
            ClusterPhase::Levels => self.plan_levels(context),
            ClusterPhase::Assign => self.plan_assign(context),
            ClusterPhase::Sizes => Self::plan_sizes(context),
        }
    }

    fn run(phase: ClusterPhase, input: TaskInput, task: &mut Task) -> Result<()> {
        let memory = || -> Result<usize> { Ok(input.unhashed::<Memory>()?.bytes()) };
        match phase {
            ClusterPhase::Train => train::run(&input.spec()?, &input.common()?, memory()?, task),
            ClusterPhase::First => rounds::first(&input.common()?, memory()?, task),
            ClusterPhase::Sum(_) => rounds::add_up(&input.spec()?, &input.common()?, memory()?, task),
            ClusterPhase::Mean(_) => rounds::take_means(&input.spec()?, &input.common()?, task),
            ClusterPhase::Levels => train::levels(&input.common()?, task),
            ClusterPhase::Assign => assign::run(&input.spec()?, task),
            ClusterPhase::Sizes => assign::count(&input.common()?, task),
        }
    }
}
