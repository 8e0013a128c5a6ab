//! `lvd status`: how far every step is, what runs, what failed and how to try it alone.

use std::fmt::Write as _;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::plan::as_value;
use crate::cli::say;
use crate::cli::stop::Stop;
use crate::cli::table::{columns, duration, print, print_json, thousands};
use crate::pipeline::attempt::again;
use crate::pipeline::attempts::{Attempts, FailedTask};
use crate::pipeline::engine::slurm::cluster::Element;
use crate::pipeline::engine::slurm::jobs;
use crate::pipeline::outlook;
use crate::pipeline::standing::{OpenTasks, Standing, State, standings};
use crate::pipeline::steps::Pipeline;

/// The most failed tasks that are shown in full.
const SHOWN: usize = 5;

/// A step and how its tasks fare.
type Line = (Standing, Attempts);

/// Prints how far the steps are.
pub fn status(pipeline: &Pipeline, as_json: bool) -> Result<(), Stop> {
    let jobs = seen_jobs(pipeline);
    let mut lines: Vec<Line> = Vec::new();
    let mut standings = standings(pipeline)?;
    outlook::tell(pipeline, &mut standings, false)?;
    for standing in standings {
        let attempts = Attempts::of(pipeline, &standing, jobs.as_deref())?;
        lines.push((standing, attempts));
    }
    if as_json {
        let values: Vec<Value> = lines.iter().map(|line| to_json(pipeline, line)).collect();
        return print_json("the status", &values);
    }
    let mut text = overview(&lines);
    if let Some(jobs) = &jobs {
        text.push_str(&queue(jobs));
    }
    for (standing, attempts) in &lines {
        let Some(open) = standing.state.open() else { continue };
        for failed in attempts.failed.iter().take(SHOWN) {
            text.push_str(&in_full(pipeline, &standing.step, open, failed));
        }
        let more = attempts.failed.len().saturating_sub(SHOWN);
        if more > 0 {
            let _ = writeln!(text, "\n... and {more} more failed tasks of {}: lvd status --json", standing.step);
        }
    }
    Ok(print(&text)?)
}

/// The jobs of the work folder, where it ever had any. The steps are shown without them, too.
fn seen_jobs(pipeline: &Pipeline) -> Option<Vec<Element>> {
    if !jobs::was_used(&pipeline.store, &pipeline.slurm) {
        return None;
    }
    jobs::jobs(&pipeline.store).unwrap_or_else(|error| {
        say::fault("warning: ", &error, error.hint());
        None
    })
}

fn to_json(pipeline: &Pipeline, (standing, attempts): &Line) -> Value {
    let phase = standing.state.open().map_or("", |open| open.phase);
    let failed = attempts.failed.iter().map(|failed| {
        let (last, again) = (&failed.last, again(&pipeline.store, &standing.step, phase, failed.last.number));
        json!({"task": last.number, "tries": failed.tries, "error": failed.reason(), "host": last.who.host,
            "log": last.who.log, "again": again})
    });
    let mut value = as_value(standing);
    value["running"] = attempts.running.into();
    value["eta_s"] = attempts.eta_s.into();
    value["failed"] = failed.collect();
    value
}

/// A line about the jobs in the queue.
fn queue(jobs: &[Element]) -> String {
    let running = jobs.iter().filter(|job| job.state == "RUNNING").count();
    let mut text = format!("\nSlurm: {running} jobs run, {} wait", jobs.len() - running);
    if let Some(driver) = jobs.iter().find(|job| job.comment.ends_with(":driver")) {
        let _ = write!(text, "; the driver is job {}, {}", driver.id, driver.state.to_lowercase());
    }
    text + "\n"
}

/// A line a step.
fn overview(lines: &[Line]) -> String {
    let row = |(standing, attempts): &Line| {
        let some = |n: usize| if n > 0 { thousands(n as u64) } else { "-".to_owned() };
        let to_run = standing.state.open().map_or(0, |open| open.to_run);
        let (tasks, failed) = (standing.state.tasks(), attempts.failed.len());
        let done = match standing.state {
            State::Waiting | State::Stale => "-".into(),
            State::Done { .. } | State::Open(_) => {
                format!("{}/{}", thousands((tasks - to_run) as u64), thousands(tasks as u64))
            }
        };
        vec![
            standing.step.clone(),
            standing.state.name().into(),
            standing.state.open().map_or("", |open| open.phase).into(),
            done,
            some(attempts.running),
            some(to_run.saturating_sub(attempts.running + failed)),
            some(failed),
            attempts.eta_s.map_or("-".into(), duration),
            standing.why.clone(),
        ]
    };
    let head = ["step", "state", "phase", ">tasks done", ">running", ">waiting", ">failed", ">left", ""];
    columns(&head, &lines.iter().map(row).collect::<Vec<_>>())
}

/// A failed task: why, what it printed last, and the command that runs it alone.
fn in_full(pipeline: &Pipeline, step: &str, open: &OpenTasks, failed: &FailedTask) -> String {
    let FailedTask { tries, last } = failed;
    let (phase, number, host, reason) = (open.phase, last.number, &last.who.host, failed.reason());
    let mut text = format!("\n{step}/{phase} {number} failed {tries} times, the last time on {host}: {reason}\n");
    if let Some(log) = &last.who.log {
        let _ = writeln!(text, "  log: {}", log.display());
        for line in last_lines(log, 3) {
            let _ = writeln!(text, "    {line}");
        }
    }
    let _ = writeln!(text, "  alone, here: {}", again(&pipeline.store, step, phase, number));
    text
}

/// The last lines of a file, of a few kilobytes at most.
fn last_lines(path: &Path, lines: usize) -> Vec<String> {
    let Ok(mut file) = std::fs::File::open(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let mut text = Vec::new();
    let _ = file.seek(SeekFrom::Start(length.saturating_sub(4096)));
    let _ = file.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|&line| line.to_owned()).collect()
}
