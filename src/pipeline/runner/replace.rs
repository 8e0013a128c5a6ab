//! What a run says before it does dear work again.

use crate::pipeline::records::{Manifest, Planned};
use crate::pipeline::runner::options::Options;
use crate::pipeline::steps::Step;
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

/// Ingested images and vectors cost hours: a changed setting must not replace them by surprise.
pub fn refuse_to_replace(step: &Step, phase: Phase, planned: &Planned, before: Option<&Manifest>) -> Result<()> {
    let old = before.and_then(|manifest| manifest.tasks.get(phase.name)).map_or(&[][..], Vec::as_slice);
    let lost = old.iter().filter(|key| !planned.keys.contains(key)).count();
    if lost == 0 {
        return Ok(());
    }
    Err(Error::usage(
        format!(
            "{lost} of {} tasks of {}/{} would be done again, and what they gave replaced",
            old.len(),
            step.name,
            phase.name
        ),
        "a source or a setting changed (lvd plan says which): change it back, use another --work, or add --replace",
    ))
}
