//! What a run says before it does dear work again.

use std::collections::HashSet;

use crate::pipeline::records::{Manifest, Planned};
use crate::pipeline::runner::options::Options;
use crate::pipeline::steps::{Pipeline, Step};
use crate::stages::Phase;
use lvd_base::error::{Error, Result};

/// Most files that are named one by one.
const NAMED: usize = 10;

/// Names what is damaged, so far as a person reads it.
pub fn say_damaged(damaged: &[String], options: &Options) {
    for text in damaged.iter().take(NAMED) {
        options.warn(format!("{text}: its task is done again"));
    }
    if damaged.len() > NAMED {
        options.warn(format!("and {} more files are damaged or gone", damaged.len() - NAMED));
    }
}

/// Ingested images and vectors cost hours: a changed setting must not replace them by surprise. What
/// another task goes on from is not replaced.
pub fn refuse_to_replace(
    pipeline: &Pipeline,
    step: &Step,
    phase: Phase,
    planned: &Planned,
    before: Option<&Manifest>,
) -> Result<()> {
    let old = before.and_then(|manifest| manifest.tasks.get(phase.name)).map_or(&[][..], Vec::as_slice);
    let formers = planned.former.values().flat_map(|former| &former.keys);
    let stay: HashSet<&String> = planned.keys.iter().chain(formers).collect();
    let lost = old.iter().filter(|key| !stay.contains(key)).count();
    if lost == 0 {
        return Ok(());
    }
    let (step, phase, all, typed) = (&step.name, phase.name, old.len(), &pipeline.typed);
    Err(Error::usage(
        format!("what {lost} of {all} tasks of {step}/{phase} gave is no longer what the file describes: it would go"),
        format!(
            "lvd plan {typed} says what changed; change it back, keep both with --work, or do these tasks again: \
             lvd run {typed} --replace"
        ),
    ))
}
