//! The pipeline and the steps that a command line names.

use crate::cli::args::{FileArgs, StageArgs};
use crate::cli::stop::Stop;
use crate::cli::threads::use_threads;
use crate::pipeline::check;
use crate::pipeline::steps::Pipeline;
use crate::stages::StageKind;
use lvd_base::error::Error;

/// The pipeline of a command that works: all that it names is there.
pub fn load(file: &FileArgs, threads: Option<usize>) -> Result<Pipeline, Stop> {
    use_threads(threads)?;
    complete(check::load(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)?)
}

/// The same, where steps may lack what is found by looking at those above.
pub fn load_undecided(file: &FileArgs, threads: Option<usize>) -> Result<Pipeline, Stop> {
    use_threads(threads)?;
    present(check::load(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)?)
}

/// The pipeline of a command that only looks at the work folder.
pub fn glance(file: &FileArgs) -> Result<Pipeline, Stop> {
    use_threads(None)?;
    check::glance(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)
}

/// What is there to plan by is not enough for anything else.
fn present(mut pipeline: Pipeline) -> Result<Pipeline, Stop> {
    let missing = std::mem::take(&mut pipeline.missing);
    if missing.is_empty() { Ok(pipeline) } else { Err(Stop::Usage(missing)) }
}

/// The same, and every step has what it needs.
pub fn complete(mut pipeline: Pipeline) -> Result<Pipeline, Stop> {
    pipeline.missing.extend(std::mem::take(&mut pipeline.undecided).into_iter().map(|(_, fault)| fault));
    present(pipeline)
}

/// Refuses steps that lack what is found by looking at those above.
pub fn decided(pipeline: &mut Pipeline, steps: &[usize]) -> Result<(), Stop> {
    let named: Vec<&str> = steps.iter().map(|&step| pipeline.steps[step].name.as_str()).collect();
    let (of_these, others) =
        std::mem::take(&mut pipeline.undecided).into_iter().partition(|(step, _)| named.contains(&step.as_str()));
    pipeline.undecided = others;
    let faults: Vec<(String, Error)> = of_these;
    if faults.is_empty() { Ok(()) } else { Err(Stop::Usage(faults.into_iter().map(|(_, fault)| fault).collect())) }
}

/// The steps of a stage, or the one that is named.
pub fn steps_of(kind: StageKind, pipeline: &Pipeline, stage: &StageArgs) -> Result<Vec<usize>, Stop> {
    let of_kind = |index: &usize| pipeline.steps[*index].stage.kind() == kind;
    let steps: Vec<usize> = match &stage.step {
        Some(name) => vec![position(pipeline, name)?].into_iter().filter(of_kind).collect(),
        None => (0..pipeline.steps.len()).filter(of_kind).collect(),
    };
    if steps.is_empty() {
        let fact = format!("{} has no such {} step", pipeline.path.display(), kind.name());
        return Err(Stop::usage(fact, "lvd plan lists the steps"));
    }
    Ok(steps)
}

/// The steps from one name to another, both included.
pub fn steps_between(pipeline: &Pipeline, from: Option<&str>, to: Option<&str>) -> Result<Vec<usize>, Stop> {
    let first = from.map_or(Ok(0), |name| position(pipeline, name))?;
    let last = to.map_or(Ok(pipeline.steps.len().saturating_sub(1)), |name| position(pipeline, name))?;
    if pipeline.steps.is_empty() || first > last {
        let fact = if pipeline.steps.is_empty() { "the pipeline has no steps" } else { "--from is after --to" };
        return Err(Stop::usage(fact, "lvd plan lists the steps in order"));
    }
    Ok((first..=last).collect())
}

/// The place of a step.
pub fn position(pipeline: &Pipeline, name: &str) -> Result<usize, Stop> {
    pipeline.position(name).map_err(|error| Stop::Usage(vec![error]))
}
