//! What is known when a phase is planned: the tables that are whole, and what the step's earlier phases gave.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::stages::catalog::Catalog;
use crate::stages::task::Outcome;
use lvd_base::error::{Error, Result};
use lvd_base::types::ShardId;
use lvd_io::checked::{Published, Stored, Tail};
use lvd_io::part::sha256;

/// A file of a table, whole and named by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The table within its step; empty for the step's main table.
    pub table: String,
    /// Relative to the work folder.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its end, with the checksums of its blocks; none in a part of an earlier version, or of a kind that is read whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// The shard of images whose facts it holds, for tables that follow the shards.
    pub shard: Option<ShardId>,
}

impl Part {
    /// The part as the file at `path`.
    #[must_use]
    pub fn stored(&self, path: PathBuf) -> Stored {
        let published = Published { name: self.path.clone(), bytes: self.bytes, tail: self.tail };
        Stored { path, published: Some(published) }
    }
}

/// A table: its parts in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its parts.
    pub parts: Vec<Part>,
}

impl Table {
    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// The part with the facts of `shard`.
    #[must_use]
    pub fn of_shard(&self, shard: ShardId) -> Option<&Part> {
        self.parts.iter().find(|part| part.shard == Some(shard))
    }
}

/// What planning may look at.
pub struct Known<'a> {
    /// Sources and embedders.
    pub catalog: &'a Catalog,
    /// The tables of [`crate::stages::Stage::inputs`], by the same names.
    pub inputs: &'a BTreeMap<String, Table>,
    /// The outcomes of this step's earlier phases, by phase, in task order.
    pub earlier: &'a BTreeMap<&'static str, Vec<Outcome>>,
}

impl Known<'_> {
    /// An input table.
    pub fn table(&self, name: &str) -> Result<&Table> {
        self.inputs.get(name).ok_or_else(|| Error::usage(format!("table {name:?} is missing"), "run its step first"))
    }

    /// What the tasks of an earlier phase gave.
    #[must_use]
    pub fn outcomes(&self, phase: &str) -> &[Outcome] {
        self.earlier.get(phase).map_or(&[], Vec::as_slice)
    }

    /// The parts of `table` that an earlier phase wrote, in task order.
    #[must_use]
    pub fn made(&self, phase: &str, table: &str) -> Table {
        let parts = self.outcomes(phase).iter().flat_map(|outcome| &outcome.parts);
        Table { parts: parts.filter(|part| part.table == table).cloned().collect() }
    }
}

/// The SHA-256 of a value as JSON: how keys are made.
pub fn fingerprint(value: &impl Serialize) -> Result<String> {
    Ok(sha256(&serde_json::to_vec(value).map_err(|e| Error::data("a fingerprint", e))?))
}
