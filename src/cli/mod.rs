//! The command line: arguments, progress, printing. The only room that prints.
//!
//! stdout is data, stderr is progress and messages. Exit codes: 0 all went well; 1 a step or task failed; 2 the command line or
//! the pipeline file is wrong; 3 a step is whole, but more of its rows failed than the file allows; 128 and a signal's number:
//! it was told to stop.

mod args;
mod bench;
mod calibrate;
mod doctor;
mod estimate;
mod evidence;
mod example;
mod forecast;
mod plan;
mod progress;
mod report;
mod say;
mod signals;
mod slurm;
mod standing;
mod status;
mod table;
mod task;
mod tasks;
mod upstream;
mod vectors;
mod verify;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::args::{Args, Command, EngineName, FileArgs, RunArgs};
use crate::cli::progress::Progress;
use crate::cli::say::say;
use crate::pipeline::attempt;
use crate::pipeline::check::{self, Pipeline};
use crate::pipeline::engine::Engine;
use crate::pipeline::engine::slurm::Slurm;
use crate::pipeline::models;
use crate::pipeline::reference;
use crate::pipeline::runner::{self, Event};
use crate::stages::StageKind;
use lvd_base::error::{Error, choices};
use lvd_example::make::Options;
use lvd_kernels::blas::{self, Warning};

/// The most threads that can be asked for where there are not as many processors. More would be mistyped, and each takes memory.
const MOST_THREADS: usize = 256;

/// What ends a command early.
pub(crate) enum Stop {
    /// The command line or the pipeline file is wrong.
    Usage(Vec<Error>),
    /// It went wrong while it ran.
    Failed(Error),
    /// Standard output was closed: whoever read it has seen enough.
    Closed,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(Error::io("standard output")(error)),
        }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main(slow_kernel: Option<Warning>) -> ExitCode {
    let args = Args::parse();
    if let Some(warning) = slow_kernel.filter(|_| !matches!(args.command, Command::Doctor { .. })) {
        say!("warning: {}\n  hint: {}", warning.fact, warning.cure);
    }
    match dispatch(args.command) {
        Ok(()) | Err(Stop::Closed) => ExitCode::SUCCESS,
        Err(Stop::Usage(errors)) => {
            for error in &errors {
                say::error("", error);
            }
            ExitCode::from(2)
        }
        Err(Stop::Failed(error)) => {
            say::error("", &error);
            ExitCode::from(if matches!(error, Error::TooManyFailed { .. }) { 3 } else { 1 })
        }
    }
}

fn dispatch(command: Command) -> Result<(), Stop> {
    match command {
        Command::Run { file, run, from, to } => {
            let pipeline = load(&file, run.threads)?;
            let steps = steps_between(&pipeline, from.as_deref(), to.as_deref())?;
            run_steps(&pipeline, &steps, &run)
        }
        Command::Ingest(stage) => run_stage(StageKind::Ingest, &stage),
        Command::Embed(embed) => match embed.bench {
            Some(seconds) => bench_steps(&embed, seconds),
            None => run_stage(StageKind::Embed, &embed.stage),
        },
        Command::Dedup(stage) => run_stage(StageKind::Dedup, &stage),
        Command::Cluster(stage) => run_stage(StageKind::Cluster, &stage),
        Command::Retrieve(stage) => run_stage(StageKind::Retrieve, &stage),
        Command::Sample(stage) => run_stage(StageKind::Sample, &stage),
        Command::Export(stage) => run_stage(StageKind::Export, &stage),
        Command::Check { file } => {
            let mut pipeline = check::examine(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)?;
            complete(&mut pipeline)?;
            say!("{}: {} steps, no fault found", pipeline.path.display(), pipeline.steps.len());
            Ok(())
        }
        Command::Plan { file, tasks: Some(format), replace, .. } => tasks::tasks(&load(&file, None)?, format, replace),
        Command::Plan { file, json, estimate, .. } => {
            use_threads(None)?;
            let pipeline = check::load(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)?;
            if estimate.estimate {
                return estimate::print_estimate(&pipeline, &estimate, json);
            }
            plan::plan(&pipeline, json)
        }
        Command::Status { file, json } => status::status(&load(&file, None)?, json),
        Command::Report { file, step, format } => report::report(&load(&file, None)?, step.as_deref(), &format),
        Command::Verify { file, step, set_aside, json } => {
            verify::verify(&load(&file, None)?, step.as_deref(), set_aside, json)
        }
        Command::Calibrate(args) => calibrate::calibrate(&load(&args.file, args.threads)?, &args),
        Command::Vectors { file, table, out } => vectors::vectors(&load(&file, None)?, &table, &out),
        Command::Task(args) => task::task(&args),
        Command::Submit { file, from, to, replace, dry_run } => {
            slurm::submit(&file, from.as_deref(), to.as_deref(), replace, dry_run)
        }
        Command::Cancel { file } => slurm::cancel(&file),
        Command::Doctor { json } => doctor::doctor(json),
        Command::Example { folder, seed, images, score } => {
            use_threads(None)?;
            let default = Options::default();
            let options = Options { seed: seed.unwrap_or(default.seed), images: images.unwrap_or(default.images) };
            example::example(&folder, &options, score)
        }
        Command::Config => Ok(table::print(&reference::settings())?),
        Command::Tables => Ok(table::print(&reference::tables())?),
        Command::Completions { shell } => {
            let mut command = <Args as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "lvd", &mut script);
            Ok(table::print(&String::from_utf8_lossy(&script))?)
        }
    }
}

fn load(file: &FileArgs, threads: Option<usize>) -> Result<Pipeline, Stop> {
    use_threads(threads)?;
    let mut pipeline = check::load(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)?;
    complete(&mut pipeline)?;
    Ok(pipeline)
}

/// What is there to plan by is not enough for anything else.
fn complete(pipeline: &mut Pipeline) -> Result<(), Stop> {
    let missing = std::mem::take(&mut pipeline.missing);
    if missing.is_empty() { Ok(()) } else { Err(Stop::Usage(missing)) }
}

/// Gives rayon its threads, once a process: what the system does not give is said before work starts.
fn use_threads(threads: Option<usize>) -> Result<usize, Stop> {
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.filter(|&n| n > 0).unwrap_or(here);
    let most = MOST_THREADS.max(here);
    if threads > most {
        let fact = format!("--threads {threads}: more than {most}, on {here} processors");
        return Err(Stop::Usage(vec![Error::usage(fact, format!("leave it out, or give --threads {here}"))]));
    }
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        // Without a cause, the pool is there already, which the same call made.
        Err(error) if std::error::Error::source(&error).is_some() => Err(Error::thread(error).into()),
        _ => Ok(threads),
    }
}

/// The same, with the buffers that BLAS will want of each thread.
fn compute_on(threads: Option<usize>) -> Result<usize, Stop> {
    let threads = use_threads(threads)?;
    blas::reserve(threads)?;
    Ok(threads)
}

fn run_stage(kind: StageKind, stage: &args::StageArgs) -> Result<(), Stop> {
    let pipeline = load(&stage.file, stage.run.threads)?;
    let steps = steps_of(kind, &pipeline, stage)?;
    run_steps(&pipeline, &steps, &stage.run)
}

fn bench_steps(args: &args::EmbedArgs, seconds: f64) -> Result<(), Stop> {
    if !(0.0..=3600.0).contains(&seconds) {
        let message = format!("--bench={seconds}: no time to measure for");
        return Err(Stop::Usage(vec![Error::usage(message, "give seconds, for instance --bench=3")]));
    }
    let pipeline = load(&args.stage.file, args.stage.run.threads)?;
    let threads = compute_on(args.stage.run.threads)?;
    for index in steps_of(StageKind::Embed, &pipeline, &args.stage)? {
        bench::embed(&pipeline, &pipeline.steps[index], seconds, threads, args.json)?;
    }
    Ok(())
}

/// The steps of a stage, or the one that is named.
fn steps_of(kind: StageKind, pipeline: &Pipeline, stage: &args::StageArgs) -> Result<Vec<usize>, Stop> {
    let of_kind = |index: &usize| pipeline.steps[*index].stage.kind() == kind;
    let steps: Vec<usize> = match &stage.step {
        Some(name) => vec![position(pipeline, name)?].into_iter().filter(of_kind).collect(),
        None => (0..pipeline.steps.len()).filter(of_kind).collect(),
    };
    if steps.is_empty() {
        let message = format!("{} has no such {} step", pipeline.path.display(), kind.name());
        return Err(Stop::Usage(vec![Error::usage(message, "lvd plan lists the steps")]));
    }
    Ok(steps)
}

fn run_steps(pipeline: &Pipeline, steps: &[usize], run: &RunArgs) -> Result<(), Stop> {
    if !run.as_is {
        upstream::check(pipeline, steps)?;
    }
    let engine = match run.engine {
        EngineName::Slurm if run.dry_run => return slurm::rehearse(pipeline, steps),
        EngineName::Slurm => {
            task::requeue_driver_in_time()?;
            Engine::Slurm(Box::new(Slurm::connect(pipeline.slurm.clone(), &|why| say::line(&why))?))
        }
        EngineName::Local if run.dry_run => {
            let hint = "lvd plan shows what a run here would do";
            return Err(Stop::Usage(vec![Error::usage("--dry-run is for --engine slurm", hint)]));
        }
        EngineName::Local => Engine::Local { threads: compute_on(run.threads)?, at_once: run.tasks_at_once },
    };
    if run.tasks_at_once > MOST_THREADS {
        let fact = format!("--tasks-at-once {}: more than {MOST_THREADS}", run.tasks_at_once);
        return Err(Stop::Usage(vec![Error::usage(fact, "give fewer: they share the threads, and each takes memory")]));
    }
    // On Slurm models are for the nodes of the tasks: the driver's has neither their memory nor their GPUs.
    if matches!(engine, Engine::Local { .. }) {
        let faults = models::faults_of_run(pipeline, steps);
        if !faults.is_empty() {
            return Err(Stop::Usage(faults));
        }
    }
    let progress = Progress::new(run.quiet);
    let options = runner::Options {
        engine,
        wait: std::env::var_os("SLURM_RESTART_COUNT").is_some(),
        replace: run.replace,
        tell: &|event| {
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
    Ok(printed?)
}

/// Takes back what is in hand and ends the process: it was told to.
fn stop(pipeline: &Pipeline, steps: &[usize], run: &RunArgs, progress: &Progress, signal: i32) {
    progress.clear();
    let steps = steps.iter().map(|&index| &pipeline.steps[index]);
    let phases = steps.flat_map(|step| step.stage.phases().into_iter().map(|phase| (step.name.as_str(), phase.name)));
    if let Err(error) = attempt::give_up_all(&pipeline.store, phases) {
        say::error("", &error);
    }
    say!(
        "stopped: run the same command to go on{}",
        match run.engine {
            EngineName::Local => "",
            EngineName::Slurm => "; its jobs do so meanwhile (lvd cancel ends them)",
        }
    );
    signals::end(128 + signal);
}

/// The steps from one name to another, both included.
fn steps_between(pipeline: &Pipeline, from: Option<&str>, to: Option<&str>) -> Result<Vec<usize>, Stop> {
    let first = from.map_or(Ok(0), |name| position(pipeline, name))?;
    let last = to.map_or(Ok(pipeline.steps.len().saturating_sub(1)), |name| position(pipeline, name))?;
    if pipeline.steps.is_empty() || first > last {
        let message = if pipeline.steps.is_empty() { "the pipeline has no steps" } else { "--from is after --to" };
        return Err(Stop::Usage(vec![Error::usage(message, "lvd plan lists the steps in order")]));
    }
    Ok((first..=last).collect())
}

fn position(pipeline: &Pipeline, name: &str) -> Result<usize, Stop> {
    let names: Vec<&str> = pipeline.steps.iter().map(|step| step.name.as_str()).collect();
    pipeline.steps.iter().position(|step| step.name == name).ok_or_else(|| {
        Stop::Usage(vec![Error::usage(
            format!("there is no step {name:?}"),
            choices(name, &format!("steps are: {}", names.join(", ")), names.iter().copied()),
        )])
    })
}

/// A path as a person would type it after `lvd run`.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
