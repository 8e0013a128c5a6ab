//! What became of the rows of sources that were listed before, in words: what a change of a list or
//! a folder comes to.

use std::collections::BTreeMap;

use indicatif::HumanCount;

use crate::pipeline::keys::with_keys;
use crate::pipeline::standing::{Standing, State};
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::store::markers::Parts;
use crate::stages::StageKind;
use crate::stages::context::PlanContext;
use crate::stages::ingest::{self, IngestPhase, ListTold};
use crate::stages::phase::PhaseId;
use crate::stages::plan::from_value;
use crate::stages::task::Task;
use lvd_base::error::Result;

/// Says of steps that wait for rows to be fetched which these are. With `look`, lists are compared
/// that no task has compared yet.
pub fn tell(pipeline: &Pipeline, standings: &mut [Standing], look: bool) -> Result<()> {
    let fetches = |state: &State| {
        let phases = [IngestPhase::List, IngestPhase::Fetch].map(PhaseId::name);
        state.open().is_some_and(|open| phases.contains(&open.phase))
    };
    for (standing, step) in standings.iter_mut().zip(&pipeline.steps) {
        if fetches(&standing.state) {
            let said = outlook(pipeline, step, look)?;
            if !said.is_empty() {
                standing.why = said.join("; ");
            }
        }
    }
    Ok(())
}

/// A sentence for each source of an ingest step of which rows were fetched before.
pub fn outlook(pipeline: &Pipeline, step: &Step, look: bool) -> Result<Vec<String>> {
    if step.stage.kind() != StageKind::Ingest {
        return Ok(Vec::new());
    }
    let phase = IngestPhase::List.phase();
    let context = PlanContext { catalog: &pipeline.catalog, inputs: &BTreeMap::new(), earlier: &BTreeMap::new() };
    let plan = step.stage.plan(phase.name, &context)?;
    let planned = with_keys(step.stage.kind(), phase, plan, &pipeline.catalog)?;
    let markers = pipeline.store.markers(&step.name, phase.name, &planned.keys, Parts::Unneeded)?.markers;
    let missing: Vec<usize> = (0..markers.len()).filter(|&number| markers[number].is_none()).collect();
    let done = |phase: &str| pipeline.store.done_before(&step.name, phase);
    let mut former = step.stage.former(phase.name, &planned.plan, &missing, &done)?;
    let task = Task::reader(&pipeline.catalog, &pipeline.store.work, 1);
    let mut said = Vec::new();
    for (number, (spec, marker)) in planned.plan.tasks.iter().zip(&markers).enumerate() {
        let told = match (marker, former.remove(&number)) {
            (Some(marker), _) => marker.outcome.told::<ListTold>()?,
            (None, Some(former)) if look => Some(ingest::look(spec, &from_value(&former.given)?, &task)?),
            _ => None,
        };
        said.extend(told.filter(|told| told.before + told.gone > 0).map(|told| in_words(&told)));
    }
    Ok(said)
}

fn in_words(ListTold { source, before, new, gone }: &ListTold) -> String {
    let rows = |(rows, what): (u64, &str)| format!("{} {what}", HumanCount(rows));
    let changes = [(*new, "new"), (*gone, "no longer listed")].into_iter().filter(|(rows, _)| *rows > 0);
    let said: Vec<String> = std::iter::once((*before, "rows as before")).chain(changes).map(rows).collect();
    format!("source {source:?}: {}", said.join(", "))
}
