//! The pipeline file and what happens to it: read, checked, planned, run, reported.
//!
//! Everything that all stages need exactly once is here: markers, manifests, resume, timing, reports. Nothing here knows what
//! a particular stage does.

pub mod attempt;
pub mod check;
pub mod engine;
pub mod estimate;
pub mod file;
pub mod models;
pub mod preset;
pub mod reference;
pub mod report;
pub mod runner;
pub mod status;
pub mod store;
pub mod usable;
