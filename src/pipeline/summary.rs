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

    /// Takes out the rows that `mark` found to be listed no longer.
    fn leave_out(&mut self, mark: &Outcome) {
        let went_on = mark.drops.get(&Reason::NoLongerListed).copied().unwrap_or(0);
        self.rows_out -= went_on;
        *self.drops.entry(Reason::NoLongerListed).or_default() += went_on;
        move_gone(&mut self.drops, &mark.gone, |reason| reason);
    }

    /// Rows that failed; those that are no longer listed have not.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.listed() - self.rows_out
    }

    /// Rows that are still listed.
    fn listed(&self) -> u64 {
        self.rows_in - self.drops.get(&Reason::NoLongerListed).copied().unwrap_or(0)
    }

    /// The share of the listed rows that failed.
    #[must_use]
    pub fn failed_share(&self) -> f64 {
        share_of_any(self.failed(), self.listed())
    }
}

impl Summary {
    /// Takes out the rows of a source that `mark` found to be listed no longer. What they had failed
    /// for is nobody's concern by now, and no part of the share that failed.
    pub fn leave_out(&mut self, source: &str, mark: &Outcome) {
        move_gone(&mut self.drops, &mark.gone, |reason| reason.name().to_owned());
        self.sources.entry(source.to_owned()).or_default().leave_out(mark);
        let sum = |of: fn(&SourceCount) -> u64| self.sources.values().map(of).sum::<u64>();
        self.failed_share = Some(share_of_any(sum(SourceCount::failed), sum(SourceCount::listed)));
    }
}

/// Counts rows that were dropped for other reasons as no longer listed.
fn move_gone<K: Ord>(drops: &mut BTreeMap<K, u64>, gone: &BTreeMap<Reason, u64>, key: impl Fn(Reason) -> K) {
    for (&reason, &rows) in gone {
        if let Some(known) = drops.get_mut(&key(reason)) {
            *known -= rows;
        }
        *drops.entry(key(Reason::NoLongerListed)).or_default() += rows;
    }
    drops.retain(|_, rows| *rows > 0);
}

/// The share of some of all, if there are any.
fn share_of_any(some: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { share(some, all) }
}

/// The share of some of all.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
pub fn share(some: u64, all: u64) -> f64 {
    some as f64 / all as f64
}
