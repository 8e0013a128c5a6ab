//! The seven kinds of work. A stage is a settings struct that can say what it reads, check itself,
//! and cut itself into phases of independent tasks; and a function that runs one task.
//!
//! Planning sees settings and the manifests of what is whole; a running task sees its spec, and what
//! earlier tasks gave that it goes on from (`former.rs`). Nothing else decides its bytes, and its key
//! is the hash of its spec. No stage keeps time, markers or folders: the runner does.

pub mod catalog;
pub mod context;
pub mod cost;
pub mod former;
pub mod kind;
pub mod phase;
pub mod plan;
pub mod pool;
pub mod scope;
pub mod stage;
pub mod table;
pub mod task;

pub mod cluster;
pub mod dedup;
pub mod embed;
pub mod export;
pub mod ingest;
pub mod retrieve;
pub mod sample;

pub use kind::StageKind;
pub use phase::Phase;
pub use plan::{PhasePlan, TaskInput};
pub use stage::{Stage, StageSettings};

use crate::stages::task::Task;
use lvd_base::error::Result;

/// Runs one task of the phase of this name.
pub fn run(kind: StageKind, phase: &str, input: TaskInput, task: &mut Task) -> Result<()> {
    match kind {
        StageKind::Ingest => stage::run::<ingest::Ingest>(phase, input, task),
        StageKind::Embed => stage::run::<embed::Embed>(phase, input, task),
        StageKind::Dedup => stage::run::<dedup::Dedup>(phase, input, task),
        StageKind::Cluster => stage::run::<cluster::Cluster>(phase, input, task),
        StageKind::Retrieve => stage::run::<retrieve::Retrieve>(phase, input, task),
        StageKind::Sample => stage::run::<sample::Sample>(phase, input, task),
        StageKind::Export => stage::run::<export::Export>(phase, input, task),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::phase::PhaseId;
    use super::stage::Phased;
    use super::*;

    fn check<S: Phased>() -> Result<()> {
        let names: Vec<&str> = S::Phase::all().into_iter().map(PhaseId::name).collect();
        assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
        for name in names {
            assert_eq!(S::Phase::named(name)?.name(), name);
        }
        let error = S::Phase::named("nothing").err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("there is no phase \"nothing\""));
        Ok(())
    }

    #[test]
    fn every_phase_is_found_by_its_name_and_no_other() -> Result<()> {
        check::<ingest::Ingest>()?;
        check::<embed::Embed>()?;
        check::<dedup::Dedup>()?;
        check::<cluster::Cluster>()?;
        check::<retrieve::Retrieve>()?;
        check::<sample::Sample>()?;
        check::<export::Export>()
    }
}
