//! Tables of a run of the built-in example, row by row.

use std::collections::BTreeSet;
use std::path::Path;

use super::{cell, on_example, run, strs};

pub type Rows = Vec<Vec<(String, String)>>;

/// Runs the example with these settings in a work folder that earlier calls have filled.
pub fn curated(work: &Path, settings: &[&str]) {
    let more: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    run(&strs(&on_example("run", work, &more)));
}

pub fn number(row: &[(String, String)], column: &str) -> u64 {
    cell(row, column).parse().unwrap_or_else(|_| panic!("{column} of {row:?}"))
}

pub fn of_set(rows: &Rows, set: &str) -> Rows {
    rows.iter().filter(|row| cell(row, "seed_set") == set).cloned().collect()
}

pub fn ids(rows: &Rows) -> BTreeSet<u64> {
    rows.iter().map(|row| number(row, "id")).collect()
}

/// A counter of a step.
pub fn counter(work: &Path, step: &str, name: &str) -> Option<u64> {
    let summary = std::fs::read(work.join(step).join("summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_slice(&summary).expect("JSON");
    summary["counters"][name].as_u64()
}
