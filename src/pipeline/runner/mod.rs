//! Bringing steps up to date: plan a phase, run the tasks that are not done, go on with the next,
//! report.
//!
//! Killed at any point, the same call goes on: what is done is known by its marker alone, and a
//! task's key is the hash of all that decides its bytes.

mod finish;
mod mended;
pub mod options;
mod phase;
mod replace;

use std::time::Duration;

use crate::pipeline::event::Event;
use crate::pipeline::outlook::outlook;
use crate::pipeline::records::Planned;
use crate::pipeline::status::{Survey, survey};
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::store::Store;
use finish::finish;
use lvd_base::error::{Error, Result};
use lvd_io::work_folder::Lock;
use mended::Mended;
use options::Options;
use phase::run_phase;
use replace::{refuse_to_replace, say_damaged};

/// Brings the steps in `range` (indices) up to date, in order.
pub fn run(pipeline: &Pipeline, steps: &[usize], options: &Options) -> Result<()> {
    let _lock = lock(&pipeline.store, options)?;
    pipeline.store.work.sweep()?;
    pipeline.store.record_datasets(pipeline.catalog.sources.keys())?;
    let mut mended = Mended::new(pipeline)?;
    let mut place = 0;
    while let Some(&index) = steps.get(place) {
        match run_step(pipeline, &pipeline.steps[index], options) {
            Ok(()) => place += 1,
            Err(error) => place = mended.first_to_run_again(pipeline, steps, error, options)?,
        }
    }
    Ok(())
}

/// A phase whose tasks somebody else is to run.
pub struct OpenPhase<'a> {
    /// Its step.
    pub step: &'a str,
    /// Its name.
    pub phase: &'static str,
    /// Its tasks that are not done.
    pub missing: Vec<usize>,
    /// Its plan.
    pub planned: Planned,
}

/// Closes every step that is whole and opens every phase that can run, for a scheduler that runs
/// the tasks itself. When nothing is open, everything is up to date.
pub fn advance<'a>(pipeline: &'a Pipeline, steps: &[usize], options: &Options) -> Result<Vec<OpenPhase<'a>>> {
    let _lock = lock(&pipeline.store, options)?;
    pipeline.store.record_datasets(pipeline.catalog.sources.keys())?;
    let mut open: Vec<OpenPhase> = Vec::new();
    for &index in steps {
        let step = &pipeline.steps[index];
        let reads = step.stage.inputs();
        let unsettled = |name: &String| open.iter().any(|open| name.split('/').next() == Some(open.step));
        // What a step reads is settled first, and what is not there yet waits for its own step.
        if reads.iter().any(unsettled) {
            continue;
        }
        match look(pipeline, step)? {
            Survey::Waiting { .. } => {}
            Survey::Whole { phases } => finish(pipeline, step, &phases, false, options)?,
            Survey::Open { phase, planned, done, damaged } => {
                say_damaged(&damaged, options);
                if phase.costly && !options.replace {
                    let before = pipeline.store.manifest_to_replace(&step.name, &|text| options.warn(text))?;
                    refuse_to_replace(pipeline, step, phase, &planned, before.as_ref())?;
                }
                let missing: Vec<usize> = (0..done.len()).filter(|&number| done[number].is_none()).collect();
                pipeline.store.open_phase(&step.name, phase.name, &planned, &missing)?;
                open.push(OpenPhase { step: &step.name, phase: phase.name, missing, planned });
            }
        }
    }
    Ok(open)
}

/// A driver that was started again elsewhere waits until its predecessor, whose machine was given
/// up, has gone.
fn lock(store: &Store, options: &Options) -> Result<Lock> {
    let mut told = false;
    loop {
        match store.lock() {
            Err(locked @ Error::Locked { .. }) if options.wait => {
                if !std::mem::replace(&mut told, true) {
                    options.note(format!("{locked}; waiting for it to go"));
                }
                std::thread::sleep(Duration::from_secs(2));
            }
            locked => return locked,
        }
    }
}

fn run_step(pipeline: &Pipeline, step: &Step, options: &Options) -> Result<()> {
    (options.observer)(Event::StepBegins(&step.name));
    let before = pipeline.store.manifest_to_replace(&step.name, &|text| options.warn(text))?;
    let mut ran = false;
    loop {
        match look(pipeline, step)? {
            Survey::Waiting { table } => {
                let hint = format!("run its step first, or everything: lvd run {}", pipeline.typed);
                return Err(Error::usage(
                    format!("step {:?} reads {table:?}, which is not there yet", step.name),
                    hint,
                ));
            }
            Survey::Open { phase, planned, done, damaged } => {
                say_damaged(&damaged, options);
                if phase.costly && !options.replace {
                    refuse_to_replace(pipeline, step, phase, &planned, before.as_ref())?;
                }
                if phase.costly {
                    outlook(pipeline, step, false)?.into_iter().for_each(|said| options.note(said));
                }
                ran = true;
                run_phase(pipeline, step, phase, &planned, &done, options)?;
            }
            Survey::Whole { phases } => return finish(pipeline, step, &phases, ran, options),
        }
    }
}

/// Where a step stands, by its sources as they are now. What was seen of them is recorded.
fn look(pipeline: &Pipeline, step: &Step) -> Result<Survey> {
    let survey = survey(pipeline, step)?;
    pipeline.store.record_seen(&pipeline.catalog)?;
    Ok(survey)
}
