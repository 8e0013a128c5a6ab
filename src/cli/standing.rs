//! Where every step stands, and why it has to run.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pipeline::check::{Pipeline, Step};
use crate::pipeline::report::content_of_inputs;
use crate::pipeline::status::{Survey, survey};
use lvd_base::error::{Error, Result};

/// Where a step stands.
pub struct Standing {
    /// Its name.
    pub step: String,
    /// Its kind.
    pub stage: &'static str,
    /// `done`, `open`, `waiting` or `stale`.
    pub state: &'static str,
    /// The phase that is open.
    pub phase: String,
    /// Tasks of that phase; of all phases where the step is done.
    pub tasks: usize,
    /// Those that are not done.
    pub to_run: usize,
    /// Why it has to run.
    pub why: String,
    /// The seconds of its tasks that are done.
    pub seconds: Vec<f64>,
}

/// Where every step stands.
pub fn standings(pipeline: &Pipeline) -> Result<Vec<Standing>> {
    let mut standings: Vec<Standing> = Vec::new();
    for step in &pipeline.steps {
        let blank = |state, why| Standing {
            step: step.name.clone(),
            stage: step.stage.kind().name(),
            state,
            phase: String::new(),
            tasks: 0,
            to_run: 0,
            why,
            seconds: Vec::new(),
        };
        if !pipeline.missing.is_empty() {
            standings.push(blank("waiting", "not everything it needs is there yet".into()));
            continue;
        }
        let unsettled = |name: &String| standings.iter().any(|known| known.step == *name && known.state != "done");
        let inputs = step.stage.inputs();
        let upstream = inputs.iter().map(|name| name.split('/').next().unwrap_or(name).to_owned()).find(unsettled);
        standings.push(match (survey(pipeline, step), upstream) {
            (Ok(Survey::Waiting { table }), _) => blank("waiting", format!("{table} is not there yet")),
            // What it cannot be planned from may be what will change.
            (_, Some(upstream)) => blank("stale", format!("{upstream} will change")),
            (Err(error), None) => return Err(error),
            (Ok(Survey::Whole { phases }), None) => {
                let tasks = phases.iter().map(|(_, planned, _)| planned.keys.len()).sum();
                Standing { tasks, ..blank("done", String::new()) }
            }
            (Ok(Survey::Open { phase, planned, done, damaged }), None) => {
                let to_run = done.iter().filter(|marker| marker.is_none()).count();
                let why = match damaged.into_iter().next() {
                    Some(damaged) => damaged,
                    None if to_run < done.len() => "not all done yet".to_owned(),
                    None => why(pipeline, step)?,
                };
                Standing {
                    seconds: done.iter().flatten().map(|marker| marker.seconds).collect(),
                    phase: phase.name.into(),
                    tasks: done.len().max(planned.keys.len()),
                    to_run,
                    ..blank("open", why)
                }
            }
        });
    }
    Ok(standings)
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
pub fn changed(before: &Value, now: &Value) -> Vec<String> {
    let (Some(before), Some(now)) = (before.as_object(), now.as_object()) else { return Vec::new() };
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let show = |value: Option<&Value>| value.map_or("default".to_owned(), Value::to_string);
    keys.into_iter()
        .filter(|key| before.get(*key) != now.get(*key))
        .map(|key| format!("{key} {} -> {}", show(before.get(key)), show(now.get(key))))
        .collect()
}
