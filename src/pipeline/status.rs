//! Where a step stands, found by planning it against what is on disk. Nothing is written.

use std::collections::BTreeMap;

use crate::pipeline::keys::with_keys;
use crate::pipeline::records::{Marker, Planned};
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::store::markers::{Known, Parts};
use crate::stages::Phase;
use crate::stages::context::PlanContext;
use crate::stages::table::Table;
use crate::stages::task::Outcome;
use lvd_base::error::Result;

/// Where a step stands.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Survey {
    /// A table it reads is not there.
    Waiting {
        /// Its name.
        table: String,
    },
    /// A phase has tasks to run; those after it are planned when it is whole.
    Open {
        /// The phase.
        phase: Phase,
        /// Its tasks.
        planned: Planned,
        /// The markers of those that are done.
        done: Vec<Option<Marker>>,
        /// What is not whole any more, in words.
        damaged: Vec<String>,
    },
    /// Everything is done.
    Whole {
        /// Every phase with its tasks and markers.
        phases: Vec<(Phase, Planned, Vec<Marker>)>,
    },
}

/// The tables a step reads, or the name of one that is not there.
pub fn inputs(pipeline: &Pipeline, step: &Step) -> Result<std::result::Result<BTreeMap<String, Table>, String>> {
    let mut tables = BTreeMap::new();
    for name in step.stage.inputs() {
        let (of, table) = name.split_once('/').unwrap_or((&name, ""));
        match pipeline.store.manifest(of)? {
            // A whole step without this table had no row for it.
            Some(mut manifest) => tables.insert(name.clone(), manifest.tables.remove(table).unwrap_or_default()),
            None => return Ok(Err(name)),
        };
    }
    Ok(Ok(tables))
}

/// Where `step` stands.
pub fn survey(pipeline: &Pipeline, step: &Step) -> Result<Survey> {
    let inputs = match inputs(pipeline, step)? {
        Ok(inputs) => inputs,
        Err(table) => return Ok(Survey::Waiting { table }),
    };
    // Scratch parts go when the step is whole, and are only missed by the next phase that is no
    // scratch itself.
    let all = step.stage.phases();
    let mut survey = walk(pipeline, step, &inputs, all.len())?;
    if let Survey::Open { phase, .. } = survey {
        let before = all.iter().take_while(|known| known.name != phase.name);
        let lasting = before.enumerate().filter(|(_, phase)| !phase.scratch).last();
        survey = walk(pipeline, step, &inputs, lasting.map_or(0, |(lasting, _)| lasting + 1))?;
    }
    if let Survey::Open { phase, planned, done, .. } = &mut survey {
        let missing: Vec<usize> = (0..done.len()).filter(|&number| done[number].is_none()).collect();
        let done = |phase: &str| pipeline.store.done_before(&step.name, phase);
        planned.former = step.stage.former(phase.name, &planned.plan, &missing, &done)?;
    }
    Ok(survey)
}

/// Plans phase after phase, up to the first with a task to do. The scratch parts of the phases from
/// `needed_from` on have to be there.
fn walk(pipeline: &Pipeline, step: &Step, inputs: &BTreeMap<String, Table>, needed_from: usize) -> Result<Survey> {
    let mut earlier: BTreeMap<&'static str, Vec<Outcome>> = BTreeMap::new();
    let mut phases = Vec::new();
    for (number, &phase) in step.stage.phases().iter().enumerate() {
        let context = PlanContext { catalog: &pipeline.catalog, inputs, earlier: &earlier };
        let planned = with_keys(step.stage.kind(), phase, step.stage.plan(phase.name, &context)?, &pipeline.catalog)?;
        let parts = if phase.scratch && number < needed_from {
            Parts::Unneeded
        } else if phase.scratch {
            Parts::Scratch
        } else {
            Parts::Lasting
        };
        let Known { markers: done, damaged } = pipeline.store.markers(&step.name, phase.name, &planned.keys, parts)?;
        if done.iter().any(Option::is_none) {
            return Ok(Survey::Open { phase, planned, done, damaged });
        }
        let markers: Vec<Marker> = done.into_iter().flatten().collect();
        earlier.insert(phase.name, markers.iter().map(|marker| marker.outcome.clone()).collect());
        phases.push((phase, planned, markers));
    }
    Ok(Survey::Whole { phases })
}
