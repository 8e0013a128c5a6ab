//! Sample: which images the data set is made of, and why each.
//!
//! Seed sets as they are, then what was retrieved for them, then a balanced draw from the clusters
//! up to the target size (`DINOv2`, arXiv 2304.07193, section 3; Vo et al. 2024, section 3.3).
//! `balance` measures how even the draw is.

mod balance;
mod candidates;
mod choose;
mod draw;
mod inputs;
mod phases;
mod settings;

use self::balance::BalanceCommon;
use self::inputs::{ChooseCommon, Pool, SeedShard};
use self::phases::SamplePhase;
use crate::stages::catalog::Role;
use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Scale, Work, number, short};
use crate::stages::kind::StageKind;
use crate::stages::plan::{PhasePlan, TaskInput};
use crate::stages::scope::Scope;
use crate::stages::stage::{Phased, StageSettings};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::ShardId;

pub use balance::Balance;
pub use choose::Sampled;
pub use settings::{BalanceOver, DrawRule, Labels, Sample};

impl Sample {
    /// The table with what labels are taken from.
    fn facts(&self) -> String {
        format!("{}/facts", self.images.name())
    }

    fn common(&self, context: &PlanContext) -> Result<ChooseCommon> {
        let images = context.table(&format!("{}/kept", self.images.name()))?;
        let pool = match self.pool.name() {
            "" => images,
            name => context.table(name)?,
        };
        let named = |name: &str| self.seeds.iter().flatten().any(|wanted| wanted == name);
        let wanted = |name: &str| self.seeds.is_none() || named(name);
        for (name, entry) in context.catalog.sources.iter().filter(|(name, _)| wanted(name)) {
            let mut parts = images.parts.iter().filter(|part| part.shard.map(ShardId::dataset) == Some(entry.number));
            // Left out of ingest and not asked for, it is not missed.
            let missed = parts.clone().next().is_some() || named(name);
            if entry.role == Role::Seed && missed && parts.all(|part| part.rows == 0) {
                let message = format!("seed set {name:?} has no usable image");
                return Err(Error::usage(message, "lvd report FILE ingest says why; or leave it out of `seeds`"));
            }
        }
        let (mut seeds, mut shards) = (Vec::new(), Vec::new());
        for (table, role) in [(images, Role::Seed), (pool, Role::Pool)] {
            for selection in &table.parts {
                let source = selection.shard.and_then(|shard| context.catalog.source_of(shard));
                let Some((name, _)) = source.filter(|(_, entry)| entry.role == role) else { continue };
                if role == Role::Pool {
                    shards.push(selection.clone());
                } else if wanted(name) {
                    seeds.push(SeedShard { set: name.to_owned(), selection: selection.clone() });
                }
            }
        }
        let parts_of =
            |name: &str| if name.is_empty() { Ok(Vec::new()) } else { context.table(name).map(|t| t.parts.clone()) };
        let mut assigned = parts_of(self.cluster.name())?;
        assigned.retain(|part| part.shard.and_then(|shard| context.catalog.role_of(shard)) == Some(Role::Pool));
        let quota = |(name, &quota): (&String, &u64)| Ok((context.catalog.named(name)?.number, quota));
        Ok(ChooseCommon {
            seeds,
            pool: Pool { shards, assigned },
            retrieved: parts_of(self.retrieve.name())?,
            tree: parts_of(&self.tree())?,
            flat: self.balance == BalanceOver::Flat,
            per_cluster: self.per_cluster,
            quotas: self.quotas.iter().map(quota).collect::<Result<_>>()?,
            target: self.target,
            fill: self.fill,
            draw: self.draw,
            max_copies: self.max_copies,
            seed: context.catalog.seed,
        })
    }

    fn plan_balance(&self, context: &PlanContext) -> Result<PhasePlan> {
        let chosen = self.common(context)?;
        let images = match self.labels {
            Some(_) => context.table(&self.facts())?.parts.clone(),
            None => Vec::new(),
        };
        if chosen.pool.assigned.is_empty() && self.labels.is_none() {
            return Ok(PhasePlan::empty());
        }
        let sampled = context.made(SamplePhase::Choose, "");
        PhasePlan::new(BalanceCommon { chosen, sampled, labels: self.labels, images }, [()])
    }
}

impl StageSettings for Sample {
    fn kind(&self) -> StageKind {
        StageKind::Sample
    }

    fn check(&mut self, scope: &mut Scope) {
        self.find_faults(scope);
    }

    fn inputs(&self) -> Vec<String> {
        let kept = format!("{}/kept", self.images.name());
        let facts = self.labels.map_or_else(String::new, |_| self.facts());
        let all = [&kept, self.pool.name(), self.retrieve.name(), self.cluster.name(), &self.tree(), &facts];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let n = scale.pool;
        let work = Work::Rows { rows: n, a_core_second: 2e6 };
        vec![Cost {
            moved: n * 40.0,
            kept: number(self.target) * 20.0,
            ..Cost::new(SamplePhase::Choose, work, format!("{} rows at 2 M a core-second", short(n)))
        }]
    }
}

impl Phased for Sample {
    type Phase = SamplePhase;

    fn plan(&self, phase: SamplePhase, context: &PlanContext) -> Result<PhasePlan> {
        match phase {
            SamplePhase::Choose => PhasePlan::new(self.common(context)?, [()]),
            SamplePhase::Balance => self.plan_balance(context),
        }
    }

    fn run(phase: SamplePhase, input: TaskInput, task: &mut Task) -> Result<()> {
        match phase {
            SamplePhase::Choose => choose::run(&input.common()?, task),
            SamplePhase::Balance => balance::run(&input.common()?, task),
        }
    }
}
