//! Where tasks run: on threads of this process, or on a Slurm cluster.
//!
//! An engine is given the numbers of tasks and brings them to an end; what a task computes, and whether it is done, it learns from
//! the work folder.

mod local;
pub mod slurm;

pub use local::local;

use std::path::PathBuf;

use crate::pipeline::engine::slurm::Slurm;

/// Where tasks run.
pub enum Engine {
    /// On threads of this process.
    Local {
        /// Threads of a task.
        threads: usize,
        /// Tasks at once.
        at_once: usize,
    },
    /// As jobs of a Slurm cluster.
    Slurm(Box<Slurm>),
}

/// A task that failed.
#[derive(Debug)]
pub struct Failure {
    /// Its number.
    pub number: usize,
    /// Why.
    pub error: String,
    /// The cure, where one is known.
    pub hint: Option<String>,
    /// What it printed.
    pub log: Option<PathBuf>,
}
