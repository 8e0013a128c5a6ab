//! What happens while a pipeline runs, for whoever shows it.

use std::path::Path;

use crate::pipeline::summary::Summary;

/// Told what happens, from any thread.
pub type Observer<'a> = dyn Fn(Event) + Sync + 'a;

/// What happens.
pub enum Event<'a> {
    /// A step starts or goes on.
    StepBegins(&'a str),
    /// A phase has tasks to run.
    PhaseBegins {
        /// The step.
        step: &'a str,
        /// The phase.
        phase: &'a str,
        /// Its tasks, done or not.
        tasks: usize,
        /// How many are to run now.
        to_run: usize,
        /// The rows of these, where they are known.
        rows: Option<u64>,
    },
    /// So many rows of the running phase are done since it began.
    Rows(u64),
    /// So many more rows of the running phase were done before it began.
    RowsBefore(u64),
    /// A task of the running phase is done.
    TaskDone {
        /// Its rows.
        rows: u64,
        /// Those of them that were dropped.
        dropped: u64,
    },
    /// The running phase is over.
    PhaseEnds,
    /// A step is whole; `false`: it was before.
    StepEnds(&'a Summary, bool),
    /// Something that a user should look at.
    Warning(String),
    /// Something to know.
    Note(String),
    /// Something about jobs of a Slurm cluster.
    Slurm(SlurmEvent<'a>),
}

/// What the driver of a Slurm cluster does and sees. A phase is named `STEP/PHASE`.
pub enum SlurmEvent<'a> {
    /// Slurm does not answer, or takes no more for now.
    Silent {
        /// What it says.
        why: &'a str,
        /// Seconds from one question to the next.
        pause_s: f64,
    },
    /// Tasks were submitted.
    Submitted {
        /// Their phase.
        phase: &'a str,
        /// The job.
        job: &'a str,
        /// How many.
        tasks: usize,
        /// Elements of the job array.
        elements: usize,
        /// What its first element prints.
        log: &'a Path,
    },
    /// How far a phase is, from time to time.
    Progress {
        /// The phase.
        phase: &'a str,
        /// Tasks that are done.
        done: usize,
        /// All its tasks.
        tasks: usize,
        /// Tasks that run.
        running: usize,
    },
    /// Tasks that run for too long are started a second time.
    StartedAgain {
        /// Their phase.
        phase: &'a str,
        /// Their numbers.
        tasks: &'a [usize],
    },
    /// An element that could not be launched may start elsewhere.
    Released {
        /// Its phase.
        phase: &'a str,
        /// Its number in the queue.
        element: &'a str,
        /// What Slurm says.
        reason: &'a str,
    },
    /// An element is held, and waits for a person.
    Held {
        /// Its phase.
        phase: &'a str,
        /// Its number in the queue.
        element: &'a str,
        /// What Slurm says.
        reason: &'a str,
    },
}
