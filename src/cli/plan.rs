//! `lvd plan`: what a run would do, and what the data set would be made of.

use serde_json::{Value, json};

use crate::cli::Stop;
use crate::cli::forecast::{Portion, composition};
use crate::cli::say::say;
use crate::cli::standing::{Standing, standings};
use crate::cli::table::{columns, print, thousands};
use crate::pipeline::check::Pipeline;
use lvd_base::error::Error;

/// Prints what `run` would do, and what the data set would be made of.
pub fn plan(pipeline: &Pipeline, as_json: bool) -> std::result::Result<(), Stop> {
    let standings = standings(pipeline)?;
    let portions = composition(pipeline);
    if as_json {
        return json_text(&json!({"steps": as_values(&standings), "composition": portions}));
    }
    for missing in &pipeline.missing {
        say!("not there yet: {missing}");
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

fn as_values(standings: &[Standing]) -> Vec<Value> {
    let value = |s: &Standing| json!({"step": s.step, "stage": s.stage, "state": s.state, "phase": s.phase, "tasks": s.tasks, "to_run": s.to_run, "why": s.why});
    standings.iter().map(value).collect()
}

/// Prints JSON.
pub fn json_text(value: &Value) -> std::result::Result<(), Stop> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::data("the plan", e))?;
    Ok(print(&text)?)
}
