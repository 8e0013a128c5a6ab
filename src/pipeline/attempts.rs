//! How the tasks of an open phase fare: which run, which failed, and how long the rest will take.

use std::collections::BTreeMap;

use crate::pipeline::attempter::Try;
use crate::pipeline::engine::slurm::cluster::Element;
use crate::pipeline::standing::{OpenTasks, Standing};
use crate::pipeline::steps::Pipeline;
use crate::stages::cost::number;
use lvd_base::error::Result;

/// The attempts at the tasks of an open phase.
#[derive(Default)]
pub struct Attempts {
    /// Tasks that run.
    pub running: usize,
    /// Tasks whose attempts all ended badly so far.
    pub failed: Vec<FailedTask>,
    /// Seconds until the phase is done, if it goes on as it went.
    pub eta_s: Option<f64>,
}

/// A task whose attempts all ended badly so far.
pub struct FailedTask {
    /// How many they were.
    pub tries: usize,
    /// The last one.
    pub last: Try,
}

impl FailedTask {
    /// Why the last attempt ended.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.last.error.as_deref().unwrap_or("it was killed")
    }
}

impl Attempts {
    /// How the tasks of a step fare; `jobs` are those in the queue of its cluster.
    pub fn of(pipeline: &Pipeline, standing: &Standing, jobs: Option<&[Element]>) -> Result<Self> {
        let Some(open) = standing.state.open() else { return Ok(Self::default()) };
        let mut found = Self::default();
        for attempts in by_task(pipeline, &standing.step, open.phase)?.into_values() {
            if attempts.iter().any(|attempt| runs(attempt, jobs)) {
                found.running += 1;
            } else {
                let tries = attempts.len();
                let last = attempts.into_iter().max_by(|a, b| a.ended().total_cmp(&b.ended()));
                found.failed.extend(last.map(|last| FailedTask { tries, last }));
            }
        }
        found.eta_s = eta(open, found.running);
        Ok(found)
    }
}

/// The attempts at the tasks of a phase that are planned and not done.
fn by_task(pipeline: &Pipeline, step: &str, phase: &str) -> Result<BTreeMap<usize, Vec<Try>>> {
    let keys = pipeline.store.planned(step, phase)?.map_or(Vec::new(), |planned| planned.keys);
    let done = pipeline.store.done_keys(step, phase)?;
    let mut by_task: BTreeMap<usize, Vec<Try>> = BTreeMap::new();
    for attempt in pipeline.store.tries(step, phase)? {
        if keys.get(attempt.number).is_some_and(|key| !done.contains(key)) {
            by_task.entry(attempt.number).or_default().push(attempt);
        }
    }
    Ok(by_task)
}

fn runs(attempt: &Try, jobs: Option<&[Element]>) -> bool {
    attempt.error.is_none()
        && match (&attempt.who.job, jobs) {
            (Some(job), Some(jobs)) => jobs.iter().any(|element| element.id == *job && element.state == "RUNNING"),
            (Some(_), None) => true,
            (None, _) => !attempt.who.is_dead_here(),
        }
}

/// By the mean of the tasks that are done, and as many at once as run now.
fn eta(open: &OpenTasks, running: usize) -> Option<f64> {
    if open.seconds.is_empty() || running == 0 {
        return None;
    }
    let mean = open.seconds.iter().sum::<f64>() / number(open.seconds.len() as u64);
    Some(mean * number(open.to_run as u64) / number(running as u64))
}
