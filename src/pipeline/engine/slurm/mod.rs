//! Tasks as elements of Slurm's job arrays.
//!
//! Slurm places, requeues and kills; the work folder says what is done. The driver ([`driver`])
//! looks at both, decides ([`decide`]) and submits what nobody has. It remembers nothing that
//! matters, so another driver can go on where one was killed, and takes over the jobs that are
//! queued: they carry the work folder's mark in their comments.

pub mod cluster;
mod decide;
mod directive;
mod driver;
pub mod jobs;
mod patience;
mod script;
pub mod settings;
pub mod submission;
