//! Where tasks run: on threads of this process, or on a Slurm cluster.
//!
//! An engine is given the numbers of tasks and brings them to an end; what a task computes, and
//! whether it is done, it learns from the work folder.

pub mod failure;
pub mod local;
pub mod slurm;

use crate::pipeline::engine::slurm::submission::Slurm;

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
