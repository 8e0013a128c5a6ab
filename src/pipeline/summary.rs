//! A step in numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stages::task::Outcome;
use lvd_base::types::Reason;

/// A step in numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Its name.
    pub step: String,
    /// Its kind.
    pub stage: String,
    /// Rows its first counting phase was given.
    pub rows_in: u64,
    /// Rows its last counting phase gave on.
    pub rows_out: u64,
    /// Everything in between, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Share of the rows that failed in phases that fetch or embed.
    pub failed_share: Option<f64>,
    /// The same phases by source.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceCount>,
    /// Other counts.
    pub counters: BTreeMap<String, u64>,
    /// Decisions taken on the way.
    pub facts: BTreeMap<String, Value>,
    /// What a user should look at.
    #[serde(default)]
    pub warnings: BTreeSet<String>,
    /// Tasks of all phases.
    pub tasks: u64,
    /// Wall time of all tasks, added up.
    pub seconds: f64,
    /// Bytes of the parts that stay.
    pub bytes: u64,
    /// Highest resident memory of a process.
    pub peak_memory_bytes: u64,
    /// The settings as the file gave them.
    pub settings: Value,
    /// What the tables it read were, by content.
    pub inputs: BTreeMap<String, String>,
    /// The seed of the pipeline.
    pub seed: u64,
    /// What computed it: results are equal to the bit where these are.
    pub made_by: BTreeMap<String, String>,
}

/// What became of the rows of a source.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SourceCount {
    /// Rows that there were.
    pub rows_in: u64,
    /// Rows that went on.
    pub rows_out: u64,
    /// The others, by reason.
    pub drops: BTreeMap<Reason, u64>,
}

impl SourceCount {
    /// Adds what a task gave.
    pub fn add(&mut self, outcome: &Outcome) {
        self.rows_in += outcome.rows_in;
        self.rows_out += outcome.rows_out;
        for (reason, rows) in &outcome.drops {
            *self.drops.entry(*reason).or_default() += rows;
        }
    }

    /// The share of the rows that failed.
    #[must_use]
    pub fn failed_share(&self) -> f64 {
        share(self.rows_in - self.rows_out, self.rows_in)
    }
}

/// The share of some of all.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
pub fn share(some: u64, all: u64) -> f64 {
    some as f64 / all as f64
}
