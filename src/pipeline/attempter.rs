//! An attempt at a task that has not succeeded, and who makes it.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use lvd_io::publish;

/// An attempt that has not succeeded: it runs, was killed, or failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// Number of the task in its phase.
    pub number: usize,
    /// Who tries.
    pub who: Attempter,
    /// When it began, in seconds since 1970 by the clock of its machine.
    pub begun: f64,
    /// When it failed.
    pub ended: Option<f64>,
    /// Why it failed; none while it runs, or where it had no time to say.
    pub error: Option<String>,
}

impl Try {
    /// When it ended; for one that could not say, when it began.
    #[must_use]
    pub fn ended(&self) -> f64 {
        self.ended.unwrap_or(self.begun)
    }
}

/// A process that runs tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempter {
    /// The scheduler's name for it, `ARRAYJOB_ELEMENT` on Slurm; none for a process that no
    /// scheduler started.
    pub job: Option<String>,
    /// How often the scheduler has started that job again.
    pub restart: u32,
    /// The machine.
    pub host: String,
    /// The process on it.
    pub process: u32,
    /// Where what it prints goes, if it was told.
    pub log: Option<PathBuf>,
}

impl Attempter {
    /// This process.
    #[must_use]
    pub fn me() -> Self {
        let var = |name: &str| std::env::var(name).ok();
        let job =
            var("SLURM_ARRAY_JOB_ID").zip(var("SLURM_ARRAY_TASK_ID")).map(|(job, element)| format!("{job}_{element}"));
        let restart = var("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
        let log = var("LVD_LOG").map(PathBuf::from);
        Self { job, restart, host: publish::host(), process: std::process::id(), log }
    }

    /// A name that no other attempt has.
    #[must_use]
    pub fn name(&self) -> String {
        let job = self.job.as_ref().map_or(String::new(), |job| format!("{job}.{}-", self.restart));
        format!("{job}{}-{}", self.host, self.process)
    }

    /// Whether it is a process of this machine that is there no more.
    #[must_use]
    pub fn is_dead_here(&self) -> bool {
        publish::is_dead_here(&self.host, self.process)
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
