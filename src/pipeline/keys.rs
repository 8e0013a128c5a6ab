//! Keys of tasks: the hash of all that decides a task's bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::pipeline::records::Planned;
use crate::stages::catalog::Catalog;
use crate::stages::plan::fingerprint;
use crate::stages::{Phase, PhasePlan, StageKind};
use lvd_base::error::{Error, Result};

/// Raised when the meaning of a stage's specs or the layout of its parts changes: old work of that
/// stage is then stale.
#[must_use]
pub fn format(kind: StageKind) -> u32 {
    match kind {
        StageKind::Embed | StageKind::Export => 1,
        // Listed rows have versions, and facts lie beside the pixels. Samples are of those that an
        // earlier step has kept.
        StageKind::Ingest | StageKind::Dedup | StageKind::Cluster | StageKind::Retrieve | StageKind::Sample => 2,
    }
}

/// Gives every task of a plan its key.
pub fn with_keys(kind: StageKind, phase: Phase, plan: PhasePlan, catalog: &Catalog) -> Result<Planned> {
    let keys = plan.tasks.iter().map(|spec| key(kind, phase.name, &plan.common, spec)).collect::<Result<Vec<_>>>()?;
    let (repeatable, catalog) = (phase.repeatable, catalog.absolute()?);
    Ok(Planned { key: fingerprint(&keys)?, kind, repeatable, catalog, keys, plan, former: BTreeMap::new() })
}

/// A task's key: the hash of all that decides its bytes.
fn key(kind: StageKind, phase: &str, common: &Value, spec: &Value) -> Result<String> {
    Ok(fingerprint(&json!([format(kind), kind.name(), phase, common, spec]))?[..24].to_owned())
}

/// Refuses a plan that was read from the work folder and in which a task is not what its key says.
pub fn check_key(planned: &Planned, step: &str, phase: &str, number: usize) -> Result<()> {
    let known = planned.task(step, phase, number)?;
    let spec = planned.plan.tasks.get(number);
    if spec.map(|spec| key(planned.kind, phase, &planned.plan.common, spec)).transpose()?.as_deref() == Some(known) {
        return Ok(());
    }
    let message = format!("task {number} of {step}/{phase} is not the one that was planned");
    Err(Error::usage(message, "plan the phase again, with this version of lvd: lvd run FILE, or lvd plan FILE --tasks"))
}
