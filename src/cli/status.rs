//! `lvd status`: how far every step is, what runs, what failed and how to try it alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::json;

use crate::cli::Stop;
use crate::cli::plan::json_text;
use crate::cli::standing::{Standing, standings};
use crate::cli::table::{columns, duration, print, thousands};
use crate::cli::task::last_lines;
use crate::pipeline::attempt::Try;
use crate::pipeline::check::Pipeline;
use crate::pipeline::engine::slurm::{self, cluster::Element, script::quoted};
use crate::stages::cost::number;

/// The most failed tasks that are shown in full.
const SHOWN: usize = 5;

/// The attempts at the tasks of an open phase.
#[derive(Default)]
struct Tries {
    running: usize,
    failed: Vec<Failed>,
}

/// A task whose attempts all ended badly so far.
struct Failed {
    tries: usize,
    last: Try,
}

/// Prints how far the steps are.
pub fn status(pipeline: &Pipeline, as_json: bool) -> Result<(), Stop> {
    let standings = standings(pipeline)?;
    let jobs = if slurm::was_used(&pipeline.store, &pipeline.slurm) {
        slurm::jobs(&pipeline.store).ok().flatten()
    } else {
        None
    };
    let tries: Vec<Tries> =
        standings.iter().map(|standing| tries(pipeline, standing, jobs.as_deref())).collect::<Result<_, _>>()?;
    let all: Vec<(&Standing, &Tries)> = standings.iter().zip(&tries).collect();
    if as_json {
        let value = |(standing, tries): &(&Standing, &Tries)| {
            let failed = tries.failed.iter().map(|failed| {
                json!({"task": failed.last.number, "tries": failed.tries, "error": reason(&failed.last), "host": failed.last.who.host,
                    "log": failed.last.who.log, "again": again(pipeline, standing, failed.last.number)})
            });
            json!({"step": standing.step, "stage": standing.stage, "state": standing.state, "phase": standing.phase,
                "tasks": standing.tasks, "to_run": standing.to_run, "why": standing.why, "running": tries.running,
                "eta_s": eta(standing, tries), "failed": failed.collect::<Vec<_>>()})
        };
        return json_text(&json!(all.iter().map(value).collect::<Vec<_>>()));
    }
    let mut text = overview(&all);
    if let Some(jobs) = &jobs {
        let running = jobs.iter().filter(|job| job.state == "RUNNING").count();
        let _ = write!(text, "\nSlurm: {running} jobs run, {} wait", jobs.len() - running);
        if let Some(driver) = jobs.iter().find(|job| job.comment.ends_with(":driver")) {
            let _ = write!(text, "; the driver is job {}, {}", driver.id, driver.state.to_lowercase());
        }
        text.push('\n');
    }
    for (standing, tries) in all {
        for failed in tries.failed.iter().take(SHOWN) {
            text.push_str(&in_full(pipeline, standing, failed));
        }
        let more = tries.failed.len().saturating_sub(SHOWN);
        if more > 0 {
            let _ = writeln!(text, "\n... and {more} more failed tasks of {}: lvd status --json", standing.step);
        }
    }
    Ok(print(&text)?)
}

/// A line a step.
fn overview(all: &[(&Standing, &Tries)]) -> String {
    let row = |(standing, tries): &(&Standing, &Tries)| {
        let some = |n: usize| if n > 0 { thousands(n as u64) } else { "-".to_owned() };
        let waiting = standing.to_run.saturating_sub(tries.running + tries.failed.len());
        let done = || thousands((standing.tasks - standing.to_run) as u64);
        vec![
            standing.step.clone(),
            standing.state.into(),
            standing.phase.clone(),
            match standing.state {
                "waiting" | "stale" => "-".into(),
                _ => format!("{}/{}", done(), thousands(standing.tasks as u64)),
            },
            some(tries.running),
            some(waiting),
            some(tries.failed.len()),
            eta(standing, tries).map_or("-".into(), duration),
            standing.why.clone(),
        ]
    };
    let head = ["step", "state", "phase", ">tasks done", ">running", ">waiting", ">failed", ">left", ""];
    columns(&head, &all.iter().map(row).collect::<Vec<_>>())
}

/// A failed task: why, what it printed last, and the command that runs it alone.
fn in_full(pipeline: &Pipeline, standing: &Standing, failed: &Failed) -> String {
    let Failed { tries, last } = failed;
    let (step, phase, number) = (&standing.step, &standing.phase, last.number);
    let host = &last.who.host;
    let mut text =
        format!("\n{step}/{phase} {number} failed {tries} times, the last time on {host}: {}\n", reason(last));
    if let Some(log) = &last.who.log {
        let _ = writeln!(text, "  log: {}", log.display());
        for line in last_lines(log, 3) {
            let _ = writeln!(text, "    {line}");
        }
    }
    let _ = writeln!(text, "  alone, here: {}", again(pipeline, standing, number));
    text
}

fn reason(last: &Try) -> String {
    last.error.clone().unwrap_or_else(|| "it was killed".into())
}

fn again(pipeline: &Pipeline, standing: &Standing, task: usize) -> String {
    let work = quoted(&pipeline.store.work.location());
    format!("lvd task {work} {} {} {task}", standing.step, standing.phase)
}

/// Seconds until the phase is done, if it goes on as it went: by the mean of its tasks, and as many at once as run now.
fn eta(standing: &Standing, tries: &Tries) -> Option<f64> {
    if standing.seconds.is_empty() || tries.running == 0 {
        return None;
    }
    let mean = standing.seconds.iter().sum::<f64>() / number(standing.seconds.len() as u64);
    Some(mean * number(standing.to_run as u64) / number(tries.running as u64))
}

fn tries(pipeline: &Pipeline, standing: &Standing, jobs: Option<&[Element]>) -> Result<Tries, Stop> {
    if standing.state != "open" {
        return Ok(Tries::default());
    }
    let (step, phase) = (&standing.step, &standing.phase);
    let keys = pipeline.store.planned(step, phase)?.map_or(Vec::new(), |planned| planned.keys);
    let done = pipeline.store.done_keys(step, phase)?;
    let runs = |attempt: &Try| {
        attempt.error.is_none()
            && match (&attempt.who.job, jobs) {
                (Some(job), Some(jobs)) => jobs.iter().any(|element| element.id == *job && element.state == "RUNNING"),
                (Some(_), None) => true,
                (None, _) => !attempt.who.is_dead_here(),
            }
    };
    let mut by_task: BTreeMap<usize, Vec<Try>> = BTreeMap::new();
    for attempt in pipeline.store.tries(step, phase)? {
        if keys.get(attempt.number).is_some_and(|key| !done.contains(key)) {
            by_task.entry(attempt.number).or_default().push(attempt);
        }
    }
    let mut found = Tries::default();
    for attempts in by_task.into_values() {
        if attempts.iter().any(runs) {
            found.running += 1;
        } else {
            let tries = attempts.len();
            let last = attempts.into_iter().max_by(|a, b| a.ended().total_cmp(&b.ended()));
            found.failed.extend(last.map(|last| Failed { tries, last }));
        }
    }
    Ok(found)
}
