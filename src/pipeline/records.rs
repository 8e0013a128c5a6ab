//! What the work folder keeps about phases, tasks and steps: plans, markers, manifests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stages::catalog::Catalog;
use crate::stages::former::Former;
use crate::stages::table::Table;
use crate::stages::task::Outcome;
use crate::stages::{PhasePlan, StageKind};
use lvd_base::error::{Error, Result};

/// A task that is done: what it gave, and what it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Marker {
    /// Its key.
    pub key: String,
    /// What it gave.
    pub outcome: Outcome,
    /// Wall time.
    pub seconds: f64,
    /// Threads it had.
    #[serde(default = "one")]
    pub threads: u32,
    /// Highest resident memory of the process when the task ended.
    pub peak_memory_bytes: u64,
    /// Where it ran.
    pub host: String,
    /// The process that ran it.
    pub process: u32,
    /// The attempt that published it.
    #[serde(default)]
    pub attempt: String,
}

fn one() -> u32 {
    1
}

/// A phase as planned: the specs, the key of each task, and whatever else a task needs to run from
/// the work folder alone.
#[derive(Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Hash of the keys.
    pub key: String,
    /// The kind of its stage.
    pub kind: StageKind,
    /// Whether the same spec gives the same bytes.
    pub repeatable: bool,
    /// Sources and models, with absolute paths.
    pub catalog: Catalog,
    /// A key a task.
    pub keys: Vec<String>,
    /// What the tasks are.
    pub plan: PhasePlan,
    /// What tasks go on from, by their numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub former: BTreeMap<usize, Former>,
}

impl Planned {
    /// The key of a task.
    pub fn task(&self, step: &str, phase: &str, number: usize) -> Result<&str> {
        self.keys.get(number).map(String::as_str).ok_or_else(|| {
            let tasks = self.keys.len();
            let message = format!("{step}/{phase} has {tasks} tasks, and no task {number}");
            Error::usage(message, "tasks are numbered from 0")
        })
    }
}

/// A step that is whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Hash of its phases' keys.
    pub key: String,
    /// The keys of all its tasks, by phase.
    pub tasks: BTreeMap<String, Vec<String>>,
    /// Its tables by name; the main one is named by the empty string.
    pub tables: BTreeMap<String, Table>,
    /// SHA-256 of its files for people, by name.
    #[serde(default)]
    pub reports: BTreeMap<String, String>,
}
