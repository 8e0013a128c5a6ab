//! Where every step stands, and why it has to run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::pipeline::report::content_of_inputs;
use crate::pipeline::status::{Survey, survey};
use crate::pipeline::steps::{Pipeline, Step};
use crate::stages::StageKind;
use lvd_base::error::{Error, Result};

/// Where a step stands, and why.
pub struct Standing {
    /// Its name.
    pub step: String,
    /// Its kind.
    pub stage: StageKind,
    /// How far it is.
    pub state: State,
    /// Why it has to run; empty where it has not.
    pub why: String,
}

/// How far a step is.
pub enum State {
    /// All its tasks are done.
    Done {
        /// How many they are.
        tasks: usize,
    },
    /// A phase has tasks to run.
    Open(OpenTasks),
    /// What it needs is not there yet.
    Waiting,
    /// What it reads will change.
    Stale,
}

/// The tasks of the phase that is open.
pub struct OpenTasks {
    /// The phase.
    pub phase: &'static str,
    /// Its tasks.
    pub tasks: usize,
    /// Those that are not done.
    pub to_run: usize,
    /// Seconds that the others took.
    pub seconds: Vec<f64>,
}

impl State {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Open(_) => "open",
            Self::Waiting => "waiting",
            Self::Stale => "stale",
        }
    }

    /// The tasks of the phase that is open.
    #[must_use]
    pub fn open(&self) -> Option<&OpenTasks> {
        match self {
            Self::Open(open) => Some(open),
            _ => None,
        }
    }

    /// Tasks of the phase that is open; of all phases where the step is done.
    #[must_use]
    pub fn tasks(&self) -> usize {
        match self {
            Self::Done { tasks } | Self::Open(OpenTasks { tasks, .. }) => *tasks,
            Self::Waiting | Self::Stale => 0,
        }
    }
}

/// Where every step stands.
pub fn standings(pipeline: &Pipeline) -> Result<Vec<Standing>> {
    let mut standings: Vec<Standing> = Vec::new();
    for step in &pipeline.steps {
        let (state, why) = standing(pipeline, step, &standings)?;
        standings.push(Standing { step: step.name.clone(), stage: step.stage.kind(), state, why });
    }
    Ok(standings)
}

/// How far a step is, below those `above`, and why it has to run.
fn standing(pipeline: &Pipeline, step: &Step, above: &[Standing]) -> Result<(State, String)> {
    if !pipeline.missing.is_empty() {
        return Ok((State::Waiting, "not everything it needs is there yet".into()));
    }
    let inputs = step.stage.inputs();
    let of = |name: &String| name.split('/').next().map(str::to_owned);
    let will_change =
        |name: &String| above.iter().any(|known| known.step == *name && !matches!(known.state, State::Done { .. }));
    let upstream = inputs.iter().filter_map(of).find(will_change);
    Ok(match (survey(pipeline, step), upstream) {
        (Ok(Survey::Waiting { table }), _) => (State::Waiting, format!("{table} is not there yet")),
        // What it cannot be planned from may be what will change.
        (_, Some(upstream)) => (State::Stale, format!("{upstream} will change")),
        (Err(error), None) => return Err(error),
        (Ok(Survey::Whole { phases }), None) => {
            let tasks = phases.iter().map(|(_, planned, _)| planned.keys.len()).sum();
            (State::Done { tasks }, String::new())
        }
        (Ok(Survey::Open { phase, done, damaged, .. }), None) => {
            let to_run = done.iter().filter(|marker| marker.is_none()).count();
            let why = match damaged.into_iter().next() {
                Some(damaged) => damaged,
                None if to_run < done.len() => "not all done yet".to_owned(),
                None => why(pipeline, step)?,
            };
            let seconds = done.iter().flatten().map(|marker| marker.seconds).collect();
            (State::Open(OpenTasks { phase: phase.name, tasks: done.len(), to_run, seconds }), why)
        }
    })
}

/// Why a step has to run: it never did, or what changed since.
fn why(pipeline: &Pipeline, step: &Step) -> Result<String> {
    let before = match pipeline.store.summary(&step.name) {
        Err(damaged @ Error::Bookkeeping { .. }) => return Ok(damaged.to_string()),
        summary => summary?,
    };
    let Some(before) = before else { return Ok("never run".into()) };
    let mut reasons = Vec::new();
    let now = serde_json::to_value(&step.settings).map_err(|e| Error::data("the settings", e))?;
    reasons.extend(changed(&before.settings, &now));
    if before.seed != pipeline.catalog.seed {
        reasons.push(format!("seed {} -> {}", before.seed, pipeline.catalog.seed));
    }
    let inputs: BTreeMap<String, String> = content_of_inputs(pipeline, step)?;
    reasons.extend(
        inputs
            .iter()
            .filter(|(name, content)| before.inputs.get(*name) != Some(content))
            .map(|(name, _)| format!("{name} changed")),
    );
    Ok(if reasons.is_empty() {
        "a source, a model or the program changed, or parts are missing".into()
    } else {
        reasons.join(", ")
    })
}

/// The settings that differ, as `key old -> new`.
#[must_use]
pub fn changed(before: &Value, now: &Value) -> Vec<String> {
    let (Some(before), Some(now)) = (before.as_object(), now.as_object()) else { return Vec::new() };
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let show = |value: Option<&Value>| value.map_or("default".to_owned(), Value::to_string);
    keys.into_iter()
        .filter(|key| before.get(*key) != now.get(*key))
        .map(|key| format!("{key} {} -> {}", show(before.get(key)), show(now.get(key))))
        .collect()
}
