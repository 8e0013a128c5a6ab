//! The tasks of a phase: as they are planned, and as one that runs is given its own.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use lvd_base::error::{Error, Result};
use lvd_io::part::sha256;

/// The tasks of a phase. A task's key is the hash of `common` and its spec, and of nothing else.
#[derive(Debug, Serialize, Deserialize)]
pub struct PhasePlan {
    /// What every task of the phase shares.
    pub common: Value,
    /// Settings that may change speed but never bytes (time-outs, memory): no part of the key.
    #[serde(alias = "knobs")]
    pub unhashed: Value,
    /// A spec a task.
    pub tasks: Vec<Value>,
    /// The rows of each task, where they are known: for whoever watches. No part of the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<u64>,
}

impl PhasePlan {
    /// A plan of `tasks`, which share `common`.
    pub fn new<S: Serialize>(common: impl Serialize, tasks: impl IntoIterator<Item = S>) -> Result<Self> {
        let tasks = tasks.into_iter().map(to_value).collect::<Result<_>>()?;
        Ok(Self { common: to_value(common)?, unhashed: Value::Null, tasks, rows: Vec::new() })
    }

    /// The same with settings that are no part of the key.
    pub fn with_unhashed(self, unhashed: impl Serialize) -> Result<Self> {
        Ok(Self { unhashed: to_value(unhashed)?, ..self })
    }

    /// The same, of so many rows a task, where that is known of all.
    #[must_use]
    pub fn with_rows(self, rows: Option<Vec<u64>>) -> Self {
        Self { rows: rows.unwrap_or_default(), ..self }
    }

    /// The rows of some tasks together, where they are known.
    #[must_use]
    pub fn rows_of(&self, tasks: &[usize]) -> Option<u64> {
        tasks.iter().map(|&task| self.rows.get(task)).sum()
    }

    /// A phase with nothing to do.
    #[must_use]
    pub fn empty() -> Self {
        Self { common: Value::Null, unhashed: Value::Null, tasks: Vec::new(), rows: Vec::new() }
    }
}

/// What a running task is given; see [`PhasePlan`].
#[derive(Clone, Copy)]
pub struct TaskInput<'a> {
    /// Shared by the phase.
    pub common: &'a Value,
    /// Settings of speed only.
    pub unhashed: &'a Value,
    /// This task's own.
    pub spec: &'a Value,
    /// What earlier tasks gave that this one goes on from, if anything.
    pub former: Option<&'a Value>,
}

impl TaskInput<'_> {
    /// What the tasks of the phase share.
    pub fn common<T: DeserializeOwned>(self) -> Result<T> {
        from_value(self.common)
    }

    /// The settings that are no part of the key.
    pub fn unhashed<T: DeserializeOwned>(self) -> Result<T> {
        from_value(self.unhashed)
    }

    /// What earlier tasks gave, where this one goes on from it: no part of the key.
    pub fn former<T: DeserializeOwned>(self) -> Result<Option<T>> {
        self.former.map(from_value).transpose()
    }

    /// What is this task's own.
    pub fn spec<T: DeserializeOwned>(self) -> Result<T> {
        from_value(self.spec)
    }
}

/// The SHA-256 of a value as JSON: how keys are made.
pub fn fingerprint(value: &impl Serialize) -> Result<String> {
    Ok(sha256(&serde_json::to_vec(value).map_err(|e| Error::data("a fingerprint", e))?))
}

/// A spec as it is kept.
pub fn to_value(value: impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::data("a task's spec", e))
}

/// Reads a spec back as the type it was written from.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|e| Error::data("a task's spec", format!("{e}: was it planned by another version?")))
}

/// What can only be if this program has a fault.
pub fn broken(fact: impl Into<String>) -> Error {
    Error::usage(fact, "this is a fault of lvd: please report it, with the pipeline file")
}
