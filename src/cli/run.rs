//! `lvd run` and the commands of a stage.

use crate::cli::args::{EngineName, RunArgs, StageArgs};
use crate::cli::choice::{decided, load_undecided, steps_of};
use crate::cli::progress::Progress;
use crate::cli::say::{self, say};
use crate::cli::stop::{Stop, stopped};
use crate::cli::threads::{MOST_THREADS, compute_on};
use crate::cli::{look, report, requeue, signals, slurm, table};
use crate::pipeline::attempt;
use crate::pipeline::engine::Engine;
use crate::pipeline::engine::slurm::submission::Slurm;
use crate::pipeline::event::Event;
use crate::pipeline::evidence;
use crate::pipeline::models;
use crate::pipeline::runner::{self, options::Options};
use crate::pipeline::steps::Pipeline;
use crate::pipeline::upstream;
use crate::stages::StageKind;
use lvd_base::error::Error;

/// Runs the steps of a stage.
pub fn run_stage(kind: StageKind, stage: &StageArgs) -> Result<(), Stop> {
    let mut pipeline = load_undecided(&stage.file, stage.run.threads)?;
    let steps = steps_of(kind, &pipeline, stage)?;
    decided(&mut pipeline, &steps)?;
    run_steps(&pipeline, &steps, &stage.run)
}

/// Runs steps, and prints what they did.
pub fn run_steps(pipeline: &Pipeline, steps: &[usize], run: &RunArgs) -> Result<(), Stop> {
    if !run.as_is {
        upstream::check(pipeline, steps).map_err(|error| match error {
            Error::Usage(_) => Stop::Usage(vec![error]),
            error => error.into(),
        })?;
    }
    let progress = Progress::new(run.quiet);
    let engine = match run.engine {
        EngineName::Slurm if run.dry_run => return slurm::rehearse(pipeline, steps),
        EngineName::Slurm => {
            requeue::driver_in_time()?;
            let slurm = Slurm::connect(pipeline.slurm.clone(), &|event| progress.tell(&event))?;
            Engine::Slurm(Box::new(slurm))
        }
        EngineName::Local if run.dry_run => {
            let hint = "lvd plan shows what a run here would do";
            return Err(Stop::usage("--dry-run is for --engine slurm", hint));
        }
        EngineName::Local => Engine::Local { threads: compute_on(run.threads)?, at_once: run.tasks_at_once },
    };
    if run.tasks_at_once > MOST_THREADS {
        let fact = format!("--tasks-at-once {}: more than {MOST_THREADS}", run.tasks_at_once);
        return Err(Stop::usage(fact, "give fewer: they share the threads, and each takes memory"));
    }
    // On Slurm models are for the nodes of the tasks: the driver's has neither their memory nor
    // their GPUs.
    if matches!(engine, Engine::Local { .. }) {
        let faults = models::faults_of_run(pipeline, steps);
        if !faults.is_empty() {
            return Err(Stop::Usage(faults));
        }
    }
    let options = Options {
        engine,
        wait: std::env::var_os("SLURM_RESTART_COUNT").is_some(),
        replace: run.replace,
        observer: &|event| {
            progress.tell(&event);
            if let Event::StepEnds(summary, true) = event
                && let Some(warning) = evidence::missing(pipeline, summary)
            {
                progress.tell(&Event::Warning(warning));
            }
        },
    };
    let result = signals::heard(
        &[],
        |signal| stop(pipeline, steps, run, &progress, signal),
        || runner::run(pipeline, steps, &options),
    )?;
    progress.clear();
    let summaries = progress.summaries();
    let printed = if summaries.is_empty() || run.quiet {
        Ok(())
    } else {
        let printed = table::print(&report::overview(&summaries));
        say::text(&report::where_next(pipeline, &summaries));
        printed
    };
    // What came of the work counts more than whether anybody read the table.
    result?;
    if run.look {
        let index = look::pages(pipeline, steps, run.threads, run.quiet)?;
        if !run.quiet {
            say!("open in a browser: {index}");
        }
    }
    Ok(printed?)
}

/// Takes back what is in hand and ends the process: it was told to.
fn stop(pipeline: &Pipeline, steps: &[usize], run: &RunArgs, progress: &Progress, signal: i32) {
    progress.clear();
    let steps = steps.iter().map(|&index| &pipeline.steps[index]);
    let phases =
        steps.flat_map(|step| step.stage.phases().into_iter().map(move |phase| (step.name.as_str(), phase.name)));
    if let Err(error) = attempt::give_up_all(&pipeline.store, phases) {
        say::error("", &error);
    }
    let more = match run.engine {
        EngineName::Local => "",
        EngineName::Slurm => "; its jobs do so meanwhile (lvd cancel ends them)",
    };
    stopped(progress, more, signal)
}
