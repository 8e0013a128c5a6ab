//! What a stage is: settings that can say what they read, check themselves and cut themselves into
//! phases of independent tasks.

use std::any::Any;
use std::collections::BTreeMap;

use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Scale};
use crate::stages::former::{Done, Former};
use crate::stages::kind::StageKind;
use crate::stages::phase::{Phase, PhaseId};
use crate::stages::plan::{PhasePlan, TaskInput};
use crate::stages::scope::Scope;
use crate::stages::task::Task;
use lvd_base::error::Result;

/// The settings of a step. Who needs those of one kind asks `Any` for them.
pub trait StageSettings: Any + Send + Sync {
    /// Which kind it is.
    fn kind(&self) -> StageKind;
    /// Fills in the inputs that the file leaves to the default, and finds what is wrong with the
    /// settings.
    fn check(&mut self, scope: &mut Scope);
    /// The tables it reads, `step` or `step/table`; known after [`StageSettings::check`].
    fn inputs(&self) -> Vec<String>;
    /// The pool sources that it compares, where it lets others pass as they are; none: all.
    fn compares(&self) -> Option<&[String]> {
        None
    }
    /// The sources whose copies it takes out of the pool.
    fn references(&self) -> &[String] {
        &[]
    }
    /// The share of rows that may be dropped in costly phases before the step is called failed.
    fn max_failed_share(&self) -> Option<f64> {
        None
    }
    /// What it costs, by arithmetic.
    fn costs(&self, scale: &Scale) -> Vec<Cost>;
}

/// How a stage of one kind cuts itself into tasks, and how it runs one.
pub trait Phased: StageSettings {
    /// Its phases.
    type Phase: PhaseId;
    /// The phases that these settings ask for, in order; known after [`StageSettings::check`].
    fn phases(&self) -> Vec<Self::Phase> {
        Self::Phase::all()
    }
    /// The tasks of one phase, now that the phases before it are whole.
    fn plan(&self, phase: Self::Phase, context: &PlanContext) -> Result<PhasePlan>;
    /// What those tasks of a phase that are `missing` go on from, by their numbers; `done` gives all
    /// tasks of a phase that are done, of this plan and of earlier ones. Left out: all begin anew.
    fn former(
        &self,
        _phase: Self::Phase,
        _plan: &PhasePlan,
        _missing: &[usize],
        _done: &dyn Fn(Self::Phase) -> Result<Vec<Done>>,
    ) -> Result<BTreeMap<usize, Former>> {
        Ok(BTreeMap::new())
    }
    /// Runs one task.
    fn run(phase: Self::Phase, input: TaskInput, task: &mut Task) -> Result<()>;
}

/// A stage of any kind, whose phases go by their names: what the pipeline sees.
pub trait Stage: StageSettings {
    /// Its phases, in order; known after [`StageSettings::check`].
    fn phases(&self) -> Vec<Phase>;
    /// The tasks of one phase, now that the phases before it are whole.
    fn plan(&self, phase: &str, context: &PlanContext) -> Result<PhasePlan>;
    /// What those tasks of a phase that are `missing` go on from.
    fn former(
        &self,
        phase: &str,
        plan: &PhasePlan,
        missing: &[usize],
        done: &dyn Fn(&str) -> Result<Vec<Done>>,
    ) -> Result<BTreeMap<usize, Former>>;
}

impl<S: Phased> Stage for S {
    fn phases(&self) -> Vec<Phase> {
        Phased::phases(self).into_iter().map(PhaseId::phase).collect()
    }

    fn plan(&self, phase: &str, context: &PlanContext) -> Result<PhasePlan> {
        Phased::plan(self, S::Phase::named(phase)?, context)
    }

    fn former(
        &self,
        phase: &str,
        plan: &PhasePlan,
        missing: &[usize],
        done: &dyn Fn(&str) -> Result<Vec<Done>>,
    ) -> Result<BTreeMap<usize, Former>> {
        Phased::former(self, S::Phase::named(phase)?, plan, missing, &|phase| done(phase.name()))
    }
}

/// Runs one task of a stage of one kind.
pub fn run<S: Phased>(phase: &str, input: TaskInput, task: &mut Task) -> Result<()> {
    S::run(S::Phase::named(phase)?, input, task)
}
