//! `lvd plan` and `lvd status`: where every step stands, and why.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::Stop;
use crate::cli::forecast::{Portion, composition};
use crate::cli::table::{columns, print, thousands};
use crate::error::{Error, Result};
use crate::io::publish;
use crate::pipeline::check::{Pipeline, Step};
use crate::pipeline::report::{Summary, content_of_inputs};
use crate::pipeline::status::{Survey, survey};

/// Where a step stands.
struct Standing {
    step: String,
    stage: &'static str,
    state: &'static str,
    phase: String,
    tasks: usize,
    to_run: usize,
    why: String,
}

/// Prints what `run` would do, and what the data set would be made of.
pub fn plan(pipeline: &Pipeline, as_json: bool) -> std::result::Result<(), Stop> {
    let standings = standings(pipeline)?;
    let portions = composition(pipeline);
    if as_json {
        return json_text(&json!({"steps": as_values(&standings), "composition": portions}));
    }
    for missing in &pipeline.missing {
        eprintln!("not there yet: {missing}");
    }
    let rows: Vec<Vec<String>> = standings
        .iter()
        .map(|standing| {
            let what = match standing.state {
                "open" => format!(
                    "run {} of {} tasks of {}",
                    thousands(standing.to_run as u64),
                    thousands(standing.tasks as u64),
                    standing.phase
                ),
                "waiting" => "run, once its inputs are there".to_owned(),
                "stale" => "run, once its inputs are new".to_owned(),
                _ => "skip: up to date".to_owned(),
            };
            vec![standing.step.clone(), standing.stage.into(), what, standing.why.clone()]
        })
        .collect();
    let mut text = columns(&["step", "stage", "what", "why"], &rows);
    if !portions.is_empty() {
        text.push_str(&composed(&portions));
    }
    Ok(print(&text)?)
}

/// The portions of the data set as a table with its sum.
fn composed(portions: &[Portion]) -> String {
    let row = |portion: &Portion| {
        let found = portion.found.map_or("-".to_owned(), thousands);
        let set = portion.seed_set.clone().unwrap_or_else(|| "-".into());
        let seeds = if portion.seeds > 0 { thousands(portion.seeds) } else { "-".into() };
        vec![set, portion.how.into(), seeds, found, thousands(portion.images)]
    };
    let mut rows: Vec<Vec<String>> = portions.iter().map(row).collect();
    let total = portions.iter().map(|portion| portion.images).sum();
    rows.push(vec!["all".into(), String::new(), String::new(), String::new(), thousands(total)]);
    let table = columns(&["seed set", "how", ">its images", ">looked for", ">in the data set"], &rows);
    format!("\nThe data set, by the arithmetic of the file (at most):\n{table}")
}

/// Prints how far the steps are.
pub fn status(pipeline: &Pipeline, as_json: bool) -> std::result::Result<(), Stop> {
    let standings = standings(pipeline)?;
    if as_json {
        return json_text(&json!(as_values(&standings)));
    }
    let rows: Vec<Vec<String>> = standings
        .iter()
        .map(|standing| {
            let done = match standing.state {
                "waiting" | "stale" => "-".to_owned(),
                _ => format!("{}/{}", standing.tasks - standing.to_run, standing.tasks),
            };
            vec![standing.step.clone(), standing.state.into(), standing.phase.clone(), done, standing.why.clone()]
        })
        .collect();
    Ok(print(&columns(&["step", "state", "phase", ">tasks done", ""], &rows))?)
}

fn as_values(standings: &[Standing]) -> Vec<Value> {
    let value = |s: &Standing| json!({"step": s.step, "stage": s.stage, "state": s.state, "phase": s.phase, "tasks": s.tasks, "to_run": s.to_run, "why": s.why});
    standings.iter().map(value).collect()
}

fn json_text(value: &Value) -> std::result::Result<(), Stop> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::data("the plan", e))?;
    Ok(print(&text)?)
}

fn standings(pipeline: &Pipeline) -> Result<Vec<Standing>> {
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
        };
        if !pipeline.missing.is_empty() {
            standings.push(blank("waiting", "not everything it needs is there yet".into()));
            continue;
        }
        let unsettled = |name: &String| standings.iter().any(|known| known.step == *name && known.state != "done");
        let inputs = step.stage.inputs();
        let upstream = inputs.iter().map(|name| name.split('/').next().unwrap_or(name).to_owned()).find(unsettled);
        standings.push(match (survey(pipeline, step)?, upstream) {
            (Survey::Waiting { table }, _) => blank("waiting", format!("{table} is not there yet")),
            (_, Some(upstream)) => blank("stale", format!("{upstream} will change")),
            (Survey::Whole { phases }, None) => {
                let tasks = phases.iter().map(|(_, planned, _)| planned.keys.len()).sum();
                Standing { tasks, ..blank("done", String::new()) }
            }
            (Survey::Open { phase, planned, done }, None) => {
                let to_run = done.iter().filter(|marker| marker.is_none()).count();
                let why = if to_run < done.len() { "not all done yet".to_owned() } else { why(pipeline, step)? };
                Standing {
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
    let Some(before) = publish::read_json::<Summary>(&pipeline.store.step(&step.name).join("summary.json"))? else {
        return Ok("never run".into());
    };
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
fn changed(before: &Value, now: &Value) -> Vec<String> {
    let (Some(before), Some(now)) = (before.as_object(), now.as_object()) else { return Vec::new() };
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let show = |value: Option<&Value>| value.map_or("default".to_owned(), Value::to_string);
    keys.into_iter()
        .filter(|key| before.get(*key) != now.get(*key))
        .map(|key| format!("{key} {} -> {}", show(before.get(key)), show(now.get(key))))
        .collect()
}
