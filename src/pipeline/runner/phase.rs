//! The tasks of a phase, on the engine that was asked for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::pipeline::attempt::Work;
use crate::pipeline::engine::Engine;
use crate::pipeline::engine::failure::Failure;
use crate::pipeline::engine::local::local;
use crate::pipeline::event::Event;
use crate::pipeline::records::{Marker, Planned};
use crate::pipeline::runner::options::Options;
use crate::pipeline::steps::{Pipeline, Step};
use crate::stages::Phase;
use crate::stages::task::Headway;
use lvd_base::error::{Error, Result};

/// Runs the tasks of a phase that are not done.
pub fn run_phase(
    pipeline: &Pipeline,
    step: &Step,
    phase: Phase,
    planned: &Planned,
    done: &[Option<Marker>],
    options: &Options,
) -> Result<()> {
    let missing: Vec<usize> = (0..done.len()).filter(|&number| done[number].is_none()).collect();
    pipeline.store.open_phase(&step.name, phase.name, planned, &missing)?;
    let tell = options.observer;
    tell(Event::PhaseBegins {
        step: &step.name,
        phase: phase.name,
        tasks: planned.keys.len(),
        to_run: missing.len(),
        rows: planned.plan.rows_of(&missing),
    });
    let all_rows = AtomicU64::new(0);
    let rows = |rows| match rows {
        Headway::Done(rows) => tell(Event::Rows(all_rows.fetch_add(rows, Ordering::Relaxed) + rows)),
        Headway::Before(rows) => tell(Event::RowsBefore(rows)),
    };
    // Every task may say the same.
    let said = Mutex::new(BTreeSet::new());
    let ended = |marker: Marker| {
        tell(Event::TaskDone { rows: marker.outcome.rows_in, dropped: marker.outcome.drops.values().sum() });
        for warning in marker.outcome.warnings {
            if said.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.clone()) {
                options.warn(format!("{}: {warning}", step.name));
            }
        }
    };
    let work = Work { store: &pipeline.store, step: &step.name, phase: phase.name, planned };
    let failed = match &options.engine {
        Engine::Local { threads, at_once } => {
            forget_ended(&work)?;
            pipeline.store.sweep(&step.name)?;
            let failed = local(&missing, phase.at_once.max(*at_once), &|number| {
                let told = AtomicU64::new(0);
                let tell = |some| {
                    let (Headway::Done(n) | Headway::Before(n)) = some;
                    told.fetch_add(n, Ordering::Relaxed);
                    rows(some);
                };
                let end = work.attempt(number, *threads, &tell)?;
                // Rows that the task passed over are no more to do, either.
                let planned = planned.plan.rows.get(number).copied().unwrap_or(0);
                rows(Headway::Done(planned.saturating_sub(told.into_inner())));
                ended(end.marker());
                Ok(())
            });
            failed.into_iter().map(|(number, error)| Failure::of(number, &error)).collect()
        }
        Engine::Slurm(slurm) => {
            let done = |marker: Marker| {
                rows(Headway::Done(marker.outcome.rows_in));
                ended(marker);
            };
            slurm.run(&work, &missing, &done, tell)?
        }
    };
    tell(Event::PhaseEnds);
    verdict(&work, missing.len(), failed)
}

/// The error of a phase of which tasks failed.
fn verdict(work: &Work, tried: usize, failed: Vec<Failure>) -> Result<()> {
    let tasks = failed.len();
    let Some(first) = failed.into_iter().next() else { return Ok(()) };
    let log = first.log.map_or(String::new(), |log| format!("; it printed {}", log.display()));
    let hint = first.hint.unwrap_or_else(|| format!("run it alone: {}{log}", work.again(first.number)));
    let (step, phase, number, error) = (work.step, work.phase, first.number, first.error);
    Err(Error::usage(format!("{tasks} of {tried} tasks of {step}/{phase} failed; task {number}: {error}"), hint))
}

/// Attempts that failed or died are no news to whoever starts anew; what another process has in
/// hand stays.
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
