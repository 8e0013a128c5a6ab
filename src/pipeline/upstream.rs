//! Whether what a command builds on is what the file describes. A step that is run by itself takes the steps above it as they
//! are, and a data set made of an older pool looks like any other.

use std::collections::BTreeSet;

use crate::pipeline::standing::{State, standings};
use crate::pipeline::steps::Pipeline;
use crate::pipeline::usable;
use lvd_base::error::{Error, Fault, Result};

/// Refuses to run `steps` (indices) on a step above them, not among them, that is whole but no longer what the file describes, or of
/// which too many rows have failed.
pub fn check(pipeline: &Pipeline, steps: &[usize]) -> Result<()> {
    let above = above(pipeline, steps);
    if above.is_empty() || !pipeline.missing.is_empty() {
        return Ok(());
    }
    let standings = standings(pipeline)?;
    for step in pipeline.steps.iter().filter(|step| above.contains(step.name.as_str())) {
        let file = &pipeline.typed;
        let Some(summary) = pipeline.store.summary(&step.name)? else { continue };
        let stale =
            standings.iter().find(|known| known.step == step.name && !matches!(known.state, State::Done { .. }));
        // One that was never whole is missed by whoever reads it, who says so.
        if let Some(standing) = stale.filter(|_| pipeline.store.manifest(&step.name).is_ok_and(|whole| whole.is_some()))
        {
            let message = format!("step {:?} is older than the file: {}", step.name, standing.why);
            let hint = format!("lvd run {file} brings all steps up to date; --as-is takes it as it is");
            return Err(Error::usage(message, hint));
        }
        if let Some(failed) = usable::fault(&summary, &pipeline.catalog, step.stage.max_failed_share()) {
            let report =
                format!("{}; --as-is goes on with what there is", usable::where_to_look(pipeline, step, &summary));
            return Err(Error::TooManyFailed(Fault::new(failed, report).at(&step.name)));
        }
    }
    Ok(())
}

/// The steps that `steps` read, and those that these read, but for `steps` themselves.
fn above<'a>(pipeline: &'a Pipeline, steps: &[usize]) -> BTreeSet<&'a str> {
    let mut read: BTreeSet<String> = BTreeSet::new();
    let mut above = BTreeSet::new();
    // A step reads steps above it only.
    for (index, step) in pipeline.steps.iter().enumerate().rev() {
        let runs = steps.contains(&index);
        if runs || read.contains(&step.name) {
            let inputs = step.stage.inputs();
            read.extend(inputs.iter().map(|table| table.split('/').next().unwrap_or(table).to_owned()));
            if !runs {
                above.insert(step.name.as_str());
            }
        }
    }
    above
}
