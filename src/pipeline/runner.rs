//! Bringing steps up to date: plan a phase, run the tasks that are not done, go on with the next, report.
//!
//! Killed at any point, the same call goes on: what is done is known by its marker alone, and a task's key is the hash of all
//! that decides its bytes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::pipeline::attempt::Work;
use crate::pipeline::check::{Pipeline, Step};
use crate::pipeline::engine::slurm::{Tell, script::quoted};
use crate::pipeline::engine::{self, Engine, Failure};
use crate::pipeline::report::{self, Summary};
use crate::pipeline::status::{Survey, survey};
use crate::pipeline::store::{Manifest, Marker, Planned, Store};
use crate::pipeline::usable;
use crate::stages::catalog::Catalog;
use crate::stages::plan::fingerprint;
use crate::stages::table::Table;
use crate::stages::{Phase, PhasePlan, StageKind};
use lvd_base::error::{Error, Result};
use lvd_io::work_folder::Lock;

/// Raised when the meaning of a stage's specs or the layout of its parts changes: old work of that stage is then stale.
#[must_use]
pub fn format(kind: StageKind) -> u32 {
    match kind {
        StageKind::Ingest | StageKind::Embed | StageKind::Export => 1,
        // Samples are of those that an earlier step has kept.
        StageKind::Dedup | StageKind::Cluster | StageKind::Retrieve | StageKind::Sample => 2,
    }
}

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
    /// Something to know.
    Note(String),
}

/// How to run.
pub struct Options<'a> {
    /// Where tasks run.
    pub engine: Engine,
    /// Wait for another driver to go, instead of giving up.
    pub wait: bool,
    /// Replace ingested images or vectors that the file no longer describes.
    pub replace: bool,
    /// Told what happens.
    pub tell: &'a (dyn Fn(Event) + Sync),
}

/// Gives every task of a plan its key.
pub fn with_keys(kind: StageKind, phase: Phase, plan: PhasePlan, catalog: &Catalog) -> Result<Planned> {
    let keys = plan.tasks.iter().map(|spec| key(kind, phase.name, &plan.common, spec)).collect::<Result<Vec<_>>>()?;
    let (repeatable, catalog) = (phase.repeatable, catalog.absolute()?);
    Ok(Planned { key: fingerprint(&keys)?, kind, repeatable, catalog, keys, plan })
}

/// A task's key: the hash of all that decides its bytes.
fn key(kind: StageKind, phase: &str, common: &Value, spec: &Value) -> Result<String> {
    Ok(fingerprint(&json!([format(kind), kind.name(), phase, common, spec]))?[..24].to_owned())
}

/// Refuses a plan that was read from the work folder and in which a task is not what its key says.
pub fn check_key(work: &Work, number: usize) -> Result<()> {
    let (planned, known) = (work.planned, work.key(number)?);
    let spec = planned.plan.tasks.get(number).unwrap_or(&Value::Null);
    if key(planned.kind, work.phase, &planned.plan.common, spec)? == known {
        return Ok(());
    }
    let message = format!("task {number} of {}/{} is not the one that was planned", work.step, work.phase);
    Err(Error::usage(message, "plan the phase again, with this version of lvd: lvd run FILE, or lvd plan FILE --tasks"))
}

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

/// Damaged parts that tasks came across and set aside: their steps make them again, each part once.
struct Mended {
    /// All that were ever set aside, as they are called now.
    seen: HashSet<String>,
    /// What this run makes again.
    parts: HashSet<String>,
}

impl Mended {
    fn new(pipeline: &Pipeline) -> Result<Self> {
        let mut seen = HashSet::new();
        for step in &pipeline.steps {
            seen.extend(pipeline.store.work.damaged(&step.name)?.into_iter().map(|(_, aside)| aside));
        }
        Ok(Self { seen, parts: HashSet::new() })
    }

    /// The place in `steps` from which to go on after `error`; `error` itself where no damage explains it.
    fn first_to_run_again(
        &mut self,
        pipeline: &Pipeline,
        steps: &[usize],
        error: Error,
        options: &Options,
    ) -> Result<usize> {
        let mut first: Option<usize> = None;
        for (index, step) in pipeline.steps.iter().enumerate() {
            for (part, aside) in pipeline.store.work.damaged(&step.name)? {
                if !self.seen.insert(aside.clone()) {
                    continue;
                }
                let place = steps.iter().position(|&known| known == index);
                if place.is_none() || !self.parts.insert(part.clone()) {
                    return Err(error);
                }
                let work = &pipeline.store.work;
                let (part, aside) = (work.named(&part), work.named(&aside));
                (options.tell)(Event::Warning(format!(
                    "{} was damaged: it is made again, and lies in {} for you to look at and remove",
                    part.display(),
                    aside.display()
                )));
                first = first.min(place).or(place);
            }
        }
        first.ok_or(error)
    }
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

/// Closes every step that is whole and opens every phase that can run, for a scheduler that runs the tasks itself. When nothing is
/// open, everything is up to date.
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
        match survey(pipeline, step)? {
            Survey::Waiting { .. } => {}
            Survey::Whole { phases } => finish(pipeline, step, &phases, false, options)?,
            Survey::Open { phase, planned, done, damaged } => {
                say_damaged(&damaged, options);
                if phase.costly && !options.replace {
                    let before = pipeline.store.manifest_to_replace(&step.name, &warning(options))?;
                    refuse_to_replace(step, phase, &planned, before.as_ref())?;
                }
                let missing: Vec<usize> = (0..done.len()).filter(|&number| done[number].is_none()).collect();
                pipeline.store.open_phase(&step.name, phase.name, &planned, &missing)?;
                open.push(OpenPhase { step: &step.name, phase: phase.name, missing, planned });
            }
        }
    }
    Ok(open)
}

/// A driver that was started again elsewhere waits until its predecessor, whose machine was given up, has gone.
fn lock(store: &Store, options: &Options) -> Result<Lock> {
    let mut told = false;
    loop {
        match store.lock() {
            Err(locked @ Error::Locked { .. }) if options.wait => {
                if !std::mem::replace(&mut told, true) {
                    (options.tell)(Event::Note(format!("{locked}; waiting for it to go")));
                }
                std::thread::sleep(Duration::from_secs(2));
            }
            locked => return locked,
        }
    }
}

fn run_step(pipeline: &Pipeline, step: &Step, options: &Options) -> Result<()> {
    (options.tell)(Event::StepBegins(&step.name));
    let before = pipeline.store.manifest_to_replace(&step.name, &warning(options))?;
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
            Survey::Open { phase, planned, done, damaged } => {
                say_damaged(&damaged, options);
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

/// Most files that are named one by one.
const NAMED: usize = 10;

fn say_damaged(damaged: &[String], options: &Options) {
    for text in damaged.iter().take(NAMED) {
        (options.tell)(Event::Warning(format!("{text}: its task is done again")));
    }
    if damaged.len() > NAMED {
        (options.tell)(Event::Warning(format!("and {} more files are damaged or gone", damaged.len() - NAMED)));
    }
}

fn warning<'a>(options: &'a Options) -> impl Fn(String) + 'a {
    |text| (options.tell)(Event::Warning(text))
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
    let missing: Vec<usize> = done.iter().enumerate().filter(|(_, marker)| marker.is_none()).map(|(i, _)| i).collect();
    pipeline.store.open_phase(&step.name, phase.name, planned, &missing)?;
    (options.tell)(Event::PhaseBegins {
        step: &step.name,
        phase: phase.name,
        tasks: planned.keys.len(),
        to_run: missing.len(),
    });
    // Every task may say the same.
    let said = Mutex::new(BTreeSet::new());
    let warn = |marker: Marker| {
        for warning in marker.outcome.warnings {
            if said.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone()) {
                (options.tell)(Event::Warning(format!("{}: {warning}", step.name)));
            }
        }
    };
    let work = Work { store: &pipeline.store, step: &step.name, phase: phase.name, planned };
    let failed: Vec<Failure> = match &options.engine {
        Engine::Local { threads, at_once } => {
            forget_ended(&work)?;
            pipeline.store.sweep(&step.name)?;
            let progress = |rows| (options.tell)(Event::Rows(rows));
            let failed = engine::local(&missing, phase.at_once.max(*at_once), &|number| {
                let result = work.attempt(number, *threads, &progress);
                (options.tell)(Event::TaskDone);
                result.map(|ended| warn(ended.marker()))
            });
            let failure = |(number, error): (usize, Error)| Failure {
                number,
                hint: error.hint().map(str::to_owned),
                error: error.to_string(),
                log: None,
            };
            failed.into_iter().map(failure).collect()
        }
        Engine::Slurm(slurm) => {
            let tell = Tell {
                done: &|marker| {
                    (options.tell)(Event::Rows(marker.outcome.rows_in));
                    (options.tell)(Event::TaskDone);
                    warn(marker);
                },
                note: &|text| (options.tell)(Event::Note(text)),
            };
            slurm.run(&work, &missing, &tell)?
        }
    };
    (options.tell)(Event::PhaseEnds);
    let tasks = failed.len();
    let Some(first) = failed.into_iter().next() else { return Ok(()) };
    let log = first.log.map_or(String::new(), |log| format!("; it printed {}", log.display()));
    let hint = first.hint.unwrap_or_else(|| format!("run it alone: {}{log}", again(&work, first.number)));
    Err(Error::usage(
        format!(
            "{tasks} of {} tasks of {}/{} failed; task {}: {}",
            missing.len(),
            step.name,
            phase.name,
            first.number,
            first.error
        ),
        hint,
    ))
}

/// The command that runs a task alone.
#[must_use]
pub fn again(work: &Work, number: usize) -> String {
    format!("lvd task {} {} {} {number}", quoted(&work.store.work.location()), work.step, work.phase)
}

/// Attempts that failed or died are no news to whoever starts anew; what another process has in hand stays.
fn forget_ended(work: &Work) -> Result<()> {
    for attempt in work.store.tries(work.step, work.phase)? {
        if (attempt.error.is_some() || attempt.who.is_dead_here())
            && let Ok(key) = work.key(attempt.number)
        {
            work.store.end_try(work.step, work.phase, key, &attempt.who)?;
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
    let mut manifest = Manifest { key: fingerprint(&keys)?, tasks, tables, reports: BTreeMap::new() };
    let before = pipeline.store.manifest_to_replace(&step.name, &|_| ())?;
    let before = before.filter(|before| before.key == manifest.key);
    let fresh = ran || before.is_none();
    let summary = report::summarise(pipeline, step, phases)?;
    let wrong = before.map_or(Ok(None), |before| report::first_wrong(&pipeline.store, &step.name, &before))?;
    if let Some(file) = wrong.as_ref().filter(|_| !fresh) {
        (options.tell)(Event::Note(format!(
            "{file} is not as it was written: the reports of the step are written again"
        )));
    }
    if fresh || wrong.is_some() {
        manifest.reports = report::write(&pipeline.store, &summary, phases, &manifest)?;
        pipeline.store.close(&step.name, &manifest)?;
    }
    pipeline.store.collect(&step.name, &manifest)?;
    (options.tell)(Event::StepEnds(&summary, fresh));
    for warning in usable::seeds_in_pool(pipeline, &summary) {
        (options.tell)(Event::Warning(warning));
    }
    match usable::fault(&summary, &pipeline.catalog, step.stage.max_failed_share()) {
        Some(failed) => {
            Err(Error::TooManyFailed { step: step.name.clone(), failed, report: usable::where_to_look(pipeline, step) })
        }
        None => Ok(()),
    }
}
