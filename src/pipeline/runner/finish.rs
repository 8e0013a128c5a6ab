//! A step that is whole: its reports, its manifest, and what goes.

use std::collections::BTreeMap;

use crate::pipeline::event::Event;
use crate::pipeline::records::{Manifest, Marker, Planned};
use crate::pipeline::report;
use crate::pipeline::runner::options::Options;
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::usable;
use crate::stages::Phase;
use crate::stages::plan::fingerprint;
use crate::stages::table::Table;
use lvd_base::error::{Error, Fault, Result};

/// Writes a whole step's reports and manifest, and removes what the manifest does not name.
pub fn finish(
    pipeline: &Pipeline,
    step: &Step,
    phases: &[(Phase, Planned, Vec<Marker>)],
    ran: bool,
    options: &Options,
) -> Result<()> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for (_, _, markers) in phases.iter().filter(|(phase, ..)| !phase.scratch) {
        for part in markers.iter().flat_map(|marker| &marker.outcome.parts) {
            tables.entry(part.table.clone()).or_default().parts.push(part.clone());
        }
    }
    let keys: Vec<&str> = phases.iter().map(|(_, planned, _)| planned.key.as_str()).collect();
    let tasks = phases.iter().map(|(phase, planned, _)| (phase.name.to_owned(), planned.keys.clone())).collect();
    let mut manifest = Manifest { key: fingerprint(&keys)?, tasks, tables, reports: BTreeMap::new() };
    let before = pipeline.store.manifest_to_replace(&step.name, &|_| ())?;
    let before = before.filter(|before| before.key == manifest.key);
    let fresh = ran || before.is_none();
    let summary = report::summarise(pipeline, step, phases)?;
    let wrong = before.map_or(Ok(None), |before| report::first_wrong(&pipeline.store, &step.name, &before))?;
    if let Some(file) = wrong.as_ref().filter(|_| !fresh) {
        options.note(format!("{file} is not as it was written: the reports of the step are written again"));
    }
    if fresh || wrong.is_some() {
        manifest.reports = report::write(&pipeline.store, &summary, phases, &manifest)?;
        pipeline.store.close(&step.name, &manifest)?;
    }
    pipeline.store.collect(&step.name, &manifest)?;
    (options.observer)(Event::StepEnds(&summary, fresh));
    for warning in usable::seeds_in_pool(pipeline, &summary) {
        (options.observer)(Event::Warning(warning));
    }
    match usable::fault(&summary, &pipeline.catalog, step.stage.max_failed_share()) {
        Some(failed) => {
            let fault = Fault::new(failed, usable::where_to_look(pipeline, step, &summary));
            Err(Error::TooManyFailed(fault.at(&step.name)))
        }
        None => Ok(()),
    }
}
