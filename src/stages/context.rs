//! What is known when a phase is planned: the tables that are whole, and what the step's earlier
//! phases gave.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::stages::catalog::Catalog;
use crate::stages::phase::PhaseId;
use crate::stages::table::Table;
use crate::stages::task::Outcome;
use lvd_base::error::{Error, Result};

/// What planning may look at.
pub struct PlanContext<'a> {
    /// Sources and embedders.
    pub catalog: &'a Catalog,
    /// The tables that the stage reads, by the names it gives them.
    pub inputs: &'a BTreeMap<String, Table>,
    /// The outcomes of this step's earlier phases, by phase, in task order.
    pub earlier: &'a BTreeMap<&'static str, Vec<Outcome>>,
}

impl PlanContext<'_> {
    /// An input table.
    pub fn table(&self, name: &str) -> Result<&Table> {
        self.inputs.get(name).ok_or_else(|| Error::usage(format!("table {name:?} is missing"), "run its step first"))
    }

    /// What the tasks of an earlier phase gave.
    #[must_use]
    pub fn outcomes(&self, phase: impl PhaseId) -> &[Outcome] {
        self.earlier.get(phase.name()).map_or(&[], Vec::as_slice)
    }

    /// What the tasks of an earlier phase told ([`crate::stages::task::Task::tell`]), in task
    /// order.
    pub fn told<T: DeserializeOwned>(&self, phase: impl PhaseId) -> Result<Vec<T>> {
        self.outcomes(phase).iter().filter_map(|outcome| outcome.told().transpose()).collect()
    }

    /// The parts of `table` that an earlier phase wrote, in task order.
    #[must_use]
    pub fn made(&self, phase: impl PhaseId, table: &str) -> Table {
        let parts = self.outcomes(phase).iter().flat_map(|outcome| &outcome.parts);
        Table { parts: parts.filter(|part| part.table == table).cloned().collect() }
    }
}
