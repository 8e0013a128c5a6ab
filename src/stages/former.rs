//! What earlier tasks have given, for a task that need not do all of it again.
//!
//! Planning finds it among the markers of a step: those that its manifest names, and those of plans
//! that never became whole. It is no part of a task's key.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stages::plan::to_value;
use crate::stages::task::Outcome;
use lvd_base::error::Result;

/// A task that is done, of this plan or of an earlier one.
pub struct Done {
    /// Its key.
    pub key: String,
    /// What it gave.
    pub outcome: Outcome,
    /// Whether the step's manifest names it.
    pub whole: bool,
    /// Whether all its parts are there, with their sizes.
    pub there: bool,
}

/// What a task goes on from.
#[derive(Debug, Serialize, Deserialize)]
pub struct Former {
    /// The tasks that gave it.
    pub keys: Vec<String>,
    /// What the task is told of it.
    pub given: Value,
}

impl Former {
    /// What tasks with these keys gave, as the task that goes on from it understands it.
    pub fn new(keys: Vec<String>, given: impl Serialize) -> Result<Self> {
        Ok(Self { keys, given: to_value(given)? })
    }
}
