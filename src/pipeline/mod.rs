//! The pipeline file and what happens to it: read, checked, planned, run, reported.
//!
//! Everything that all stages need exactly once is here: markers, manifests, resume, timing,
//! reports. Nothing here knows what a particular stage does.

pub mod attempt;
pub mod attempter;
pub mod attempts;
pub mod check;
pub mod composition;
pub mod engine;
pub mod estimate;
pub mod event;
pub mod evidence;
pub mod file;
pub mod keys;
pub mod models;
pub mod outlook;
pub mod parse;
pub mod preset;
pub mod records;
pub mod reference;
pub mod report;
pub mod runner;
pub mod shell;
pub mod standing;
pub mod status;
pub mod steps;
pub mod store;
pub mod summary;
pub mod upstream;
pub mod usable;
pub mod verify;
