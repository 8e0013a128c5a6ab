//! `lvd plan`: what a run would do, and what the data set would be made of.

use serde_json::{Value, json};

use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{columns, print, print_json, thousands};
use crate::pipeline::composition::{Portion, composition};
use crate::pipeline::outlook;
use crate::pipeline::standing::{Standing, State, standings};
use crate::pipeline::steps::Pipeline;

/// Prints what `run` would do, and what the data set would be made of.
pub fn plan(pipeline: &Pipeline, as_json: bool) -> std::result::Result<(), Stop> {
    let mut standings = standings(pipeline)?;
    outlook::tell(pipeline, &mut standings, pipeline.missing.is_empty())?;
    let portions = composition(pipeline)?;
    if as_json {
        return print_json("the plan", &json!({"steps": as_values(&standings), "composition": portions}));
    }
    for missing in &pipeline.missing {
        say!("not there yet: {missing}");
    }
    let rows: Vec<Vec<String>> = standings
        .iter()
        .map(|standing| {
            let what = match &standing.state {
                State::Open(open) => {
                    let (to_run, tasks) = (thousands(open.to_run as u64), thousands(open.tasks as u64));
                    format!("run {to_run} of {tasks} tasks of {}", open.phase)
                }
                State::Waiting => "run, once its inputs are there".to_owned(),
                State::Stale => "run, once its inputs are new".to_owned(),
                State::Done { .. } => "skip: up to date".to_owned(),
            };
            vec![standing.step.clone(), standing.stage.name().into(), what, standing.why.clone()]
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

fn as_values(standings: &[Standing]) -> Vec<Value> {
    standings.iter().map(as_value).collect()
}

/// Where a step stands, in JSON.
pub fn as_value(standing: &Standing) -> Value {
    let Standing { step, stage, state, why } = standing;
    let open = state.open();
    json!({"step": step, "stage": stage.name(), "state": state.name(), "phase": open.map_or("", |open| open.phase),
        "tasks": state.tasks(), "to_run": open.map_or(0, |open| open.to_run), "why": why})
}
