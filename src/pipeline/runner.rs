//! Bringing steps up to date: plan a phase, run the tasks that are not done, go on with the next, report.
//!
//! Killed at any point, the same call goes on: what is done is known by its marker alone, and a task's key is the hash of all
//! that decides its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::json;

use crate::error::{Error, Result};
use crate::pipeline::check::{Pipeline, Step};
use crate::pipeline::engine;
use crate::pipeline::report::{self, Summary};
use crate::pipeline::status::{Survey, survey};
use crate::pipeline::store::{Manifest, Marker, Planned, Store, host};
use crate::stages::known::{Table, fingerprint};
use crate::stages::task::{Place, Task};
use crate::stages::{Order, Phase, PhasePlan, StageKind, run as run_stage};

/// Raised when the meaning of a spec or the layout of a part changes: old work is then stale.
pub const FORMAT: u32 = 1;

/// What happens, for whoever shows it.
pub enum Event<'a> {
    /// A step starts or goes on.
    StepBegins(&'a str),
    /// A phase has tasks to run.
    PhaseBegins {
        /// The step.
        step: &'a str,
        /// The phase.
        phase: &'a str,
        /// Its tasks, and how many of them are not done.
        tasks: usize,
        /// How many are to run now.
        to_run: usize,
    },
    /// Rows were done in the phase that is running.
    Rows(u64),
    /// A task of the running phase is done.
    TaskDone,
    /// The running phase is over.
    PhaseEnds,
    /// A step is whole; `false`: it was before.
    StepEnds(&'a Summary, bool),
    /// Something that a user should look at.
    Warning(String),
}

/// How to run.
pub struct Options<'a> {
    /// Threads of a task.
    pub threads: usize,
    /// Tasks at once.
    pub at_once: usize,
    /// Replace ingested images or vectors that the file no longer describes.
    pub replace: bool,
    /// Told what happens.
    pub tell: &'a (dyn Fn(Event) + Sync),
}

/// Gives every task of a plan its key.
pub fn with_keys(kind: StageKind, phase: &str, plan: PhasePlan) -> Result<Planned> {
    let key = |spec| {
        let key = fingerprint(&json!([FORMAT, kind.name(), phase, plan.common, spec]))?;
        Ok(key[..24].to_owned())
    };
    let keys = plan.tasks.iter().map(key).collect::<Result<Vec<_>>>()?;
    Ok(Planned { key: fingerprint(&keys)?, keys, plan })
}

/// Brings the steps in `range` (indices) up to date, in order.
pub fn run(pipeline: &Pipeline, steps: &[usize], options: &Options) -> Result<()> {
    let _lock = pipeline.store.lock()?;
    pipeline.store.record_datasets(pipeline.catalog.sources.keys())?;
    for &index in steps {
        run_step(pipeline, &pipeline.steps[index], options)?;
    }
    Ok(())
}

fn run_step(pipeline: &Pipeline, step: &Step, options: &Options) -> Result<()> {
    (options.tell)(Event::StepBegins(&step.name));
    let before = pipeline.store.manifest(&step.name)?;
    let mut ran = false;
    loop {
        match survey(pipeline, step)? {
            Survey::Waiting { table } => {
                let hint = format!("run its step first, or everything: lvd run {}", pipeline.path.display());
                return Err(Error::usage(
                    format!("step {:?} reads {table:?}, which is not there yet", step.name),
                    hint,
                ));
            }
            Survey::Open { phase, planned, done } => {
                if phase.costly && !options.replace {
                    refuse_to_replace(step, phase, &planned, before.as_ref())?;
                }
                ran = true;
                run_phase(pipeline, step, phase, &planned, &done, options)?;
            }
            Survey::Whole { phases } => return finish(pipeline, step, &phases, ran, options),
        }
    }
}

/// Ingested images and vectors cost hours: a changed setting must not replace them by surprise.
fn refuse_to_replace(step: &Step, phase: Phase, planned: &Planned, before: Option<&Manifest>) -> Result<()> {
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

fn run_phase(
    pipeline: &Pipeline,
    step: &Step,
    phase: Phase,
    planned: &Planned,
    done: &[Option<Marker>],
    options: &Options,
) -> Result<()> {
    pipeline.store.record_plan(&step.name, phase.name, planned)?;
    let missing: Vec<usize> = done.iter().enumerate().filter(|(_, marker)| marker.is_none()).map(|(i, _)| i).collect();
    (options.tell)(Event::PhaseBegins {
        step: &step.name,
        phase: phase.name,
        tasks: planned.keys.len(),
        to_run: missing.len(),
    });
    let progress = |rows| (options.tell)(Event::Rows(rows));
    // Every task may say the same.
    let said = Mutex::new(BTreeSet::new());
    let warn = |marker: Marker| {
        for warning in marker.outcome.warnings {
            if said.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone()) {
                (options.tell)(Event::Warning(format!("{}: {warning}", step.name)));
            }
        }
    };
    let failed = engine::local(&missing, options.at_once, &|number| {
        let result = run_task(pipeline, step, phase, planned, number, options.threads, &progress);
        (options.tell)(Event::TaskDone);
        result.map(warn)
    });
    (options.tell)(Event::PhaseEnds);
    let tasks = failed.len();
    let Some((number, error)) = failed.into_iter().next() else { return Ok(()) };
    let again = format!("lvd task {} {} {} {number}", pipeline.path.display(), step.name, phase.name);
    let hint = error.hint().map_or(format!("run it alone: {again}"), str::to_owned);
    Err(Error::usage(
        format!("{tasks} of {} tasks of {}/{} failed; task {number}: {error}", missing.len(), step.name, phase.name),
        hint,
    ))
}

/// Runs one task of a planned phase and publishes its marker.
pub fn run_task(
    pipeline: &Pipeline,
    step: &Step,
    phase: Phase,
    planned: &Planned,
    number: usize,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Marker> {
    let store = &pipeline.store;
    let (Some(key), Some(spec)) = (planned.keys.get(number), planned.plan.tasks.get(number)) else {
        let message = format!("{}/{} has {} tasks, and no task {number}", step.name, phase.name, planned.keys.len());
        return Err(Error::usage(message, "tasks are numbered from 0"));
    };
    let aside = store.aside(&step.name, phase.name, number);
    crate::io::publish::make_folder(&store.step(&step.name))?;
    sweep_attempt(&aside)?;
    let place = Place {
        work: store.work.clone(),
        step: step.name.clone(),
        number,
        aside: aside.clone(),
        checkpoint: store.checkpoint(&step.name, phase.name, key),
    };
    let mut task = Task::new(&pipeline.catalog, place, threads, progress);
    let order = Order { common: &planned.plan.common, knobs: &planned.plan.knobs, spec };
    let begin = Instant::now();
    let result = run_stage(step.stage.kind(), phase.name, order, &mut task);
    if let Err(error) = result {
        sweep_attempt(&aside)?;
        return Err(error);
    }
    let outcome = task.outcome;
    assert!(
        outcome.balances(),
        "{}/{} {number}: rows in are not rows out and drops: {outcome:?}",
        step.name,
        phase.name
    );
    let parts = outcome.parts.clone();
    let marker = Marker {
        key: key.clone(),
        outcome,
        seconds: begin.elapsed().as_secs_f64(),
        peak_memory_bytes: peak_memory(),
        host: host(),
        process: std::process::id(),
    };
    let stands = store.mark(&step.name, phase.name, marker, &aside)?;
    if phase.repeatable && stands.outcome.parts != parts {
        let message = format!("two attempts at {}/{} {number} gave different bytes", step.name, phase.name);
        return Err(Error::usage(message, "machines of different kinds? the first answer stands; please report this"));
    }
    Ok(stands)
}

/// Removes what an earlier attempt of this very process left behind.
fn sweep_attempt(aside: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (aside.parent(), aside.file_name()) else { return Ok(()) };
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        if entry.file_name().to_string_lossy().starts_with(&*name.to_string_lossy()) {
            std::fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
        }
    }
    Ok(())
}

/// Writes a whole step's reports and manifest, and removes what the manifest does not name.
fn finish(
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
    let manifest = Manifest { key: fingerprint(&keys)?, tasks, tables };
    let before = pipeline.store.manifest(&step.name)?;
    let fresh = ran || before.is_none_or(|before| before.key != manifest.key);
    let summary = report::summarise(pipeline, step, phases)?;
    if fresh {
        report::write(&pipeline.store.step(&step.name), &summary, phases, &manifest)?;
        crate::io::publish::replace_json(&pipeline.store.step(&step.name).join("_manifest.json"), &manifest)?;
    }
    pipeline.store.collect(&step.name, &manifest)?;
    (options.tell)(Event::StepEnds(&summary, fresh));
    match (summary.failed_share, step.stage.max_failed_share()) {
        (Some(share), Some(most)) if share > most => Err(Error::TooManyFailed {
            step: step.name.clone(),
            percent: 100.0 * share,
            most: 100.0 * most,
            report: format!("lvd report {} {}", pipeline.path.display(), step.name),
        }),
        _ => Ok(()),
    }
}

/// Highest resident memory of this process so far, in bytes; 0 where the system does not say.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: Option<u64> = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// The step and phase that `lvd task` names, with the plan a driver made.
pub fn planned_task<'a>(pipeline: &'a Pipeline, step: &str, phase: &str) -> Result<(&'a Step, Phase, Planned)> {
    let names: Vec<&str> = pipeline.steps.iter().map(|step| step.name.as_str()).collect();
    let found = pipeline.steps.iter().find(|known| known.name == step);
    let found = found.ok_or_else(|| {
        Error::usage(format!("there is no step {step:?}"), format!("steps are: {}", names.join(", ")))
    })?;
    let phases: Vec<&str> = found.stage.phases().iter().map(|phase| phase.name).collect();
    let known = found.stage.phases().iter().find(|known| known.name == phase).copied();
    let known = known.ok_or_else(|| {
        Error::usage(format!("{step} has no phase {phase:?}"), format!("phases are: {}", phases.join(", ")))
    })?;
    let store: &Store = &pipeline.store;
    let planned = store.planned(step, phase)?.ok_or_else(|| {
        Error::usage(
            format!("{step}/{phase} is not planned yet"),
            format!("a driver plans it: lvd run {}", pipeline.path.display()),
        )
    })?;
    Ok((found, known, planned))
}
