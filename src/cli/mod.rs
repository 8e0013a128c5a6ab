//! The command line: arguments, progress, printing. The only room that prints.
//!
//! stdout is data, stderr is progress and messages. Exit codes: 0 all went well; 1 a step or task
//! failed; 2 the command line or the pipeline file is wrong, or what the command reads is not there
//! yet; 3 a step is whole, but more of its rows failed than the file allows; 4 an audit found
//! images; 128 and a signal's number: it was told to stop.

mod advice;
mod args;
mod audit;
mod bench;
mod calibrate;
mod choice;
mod doctor;
mod estimate;
mod example;
mod find;
mod init;
mod look;
mod man;
mod model;
mod plan;
mod progress;
mod rate;
mod report;
mod requeue;
mod run;
mod say;
mod signals;
mod slurm;
mod status;
mod stop;
mod table;
mod task;
mod tasks;
mod threads;
mod vectors;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::args::{Args, Command};
use crate::cli::choice::{complete, decided, glance, load, load_undecided, steps_between};
use crate::cli::run::{run_stage, run_steps};
use crate::cli::stop::Stop;
use crate::cli::table::counted;
use crate::cli::threads::use_threads;
use crate::pipeline::{check, reference};
use crate::stages::StageKind;
use lvd_base::error::{Error, Fault};
use lvd_example::make::Options;
use say::say;

/// Runs the command line of this process.
#[must_use]
pub fn main(slow_kernel: Option<Fault>) -> ExitCode {
    let args = Args::parse();
    if let Some(fault) = slow_kernel.filter(|_| !matches!(args.command, Command::Doctor { .. })) {
        say::fault("warning: ", &fault, fault.hint());
    }
    match dispatch(args.command) {
        Ok(()) | Err(Stop::Closed) => ExitCode::SUCCESS,
        Err(Stop::Found) => ExitCode::from(4),
        Err(Stop::Usage(errors)) => {
            for error in &errors {
                say::error("", error);
            }
            ExitCode::from(2)
        }
        Err(Stop::Failed(error)) => {
            say::error("", &error);
            ExitCode::from(if matches!(error, Error::TooManyFailed(_)) { 3 } else { 1 })
        }
    }
}

fn dispatch(command: Command) -> Result<(), Stop> {
    match command {
        Command::Run { file, run, from, to } => {
            let mut pipeline = load_undecided(&file, run.threads)?;
            let steps = steps_between(&pipeline, from.as_deref(), to.as_deref())?;
            decided(&mut pipeline, &steps)?;
            run_steps(&pipeline, &steps, &run)
        }
        Command::Ingest(stage) => run_stage(StageKind::Ingest, &stage),
        Command::Embed(embed) => match embed.bench {
            Some(seconds) => bench::bench(&embed, seconds),
            None => run_stage(StageKind::Embed, &embed.stage),
        },
        Command::Dedup(stage) => run_stage(StageKind::Dedup, &stage),
        Command::Cluster(stage) => run_stage(StageKind::Cluster, &stage),
        Command::Retrieve(stage) => run_stage(StageKind::Retrieve, &stage),
        Command::Sample(stage) => run_stage(StageKind::Sample, &stage),
        Command::Export(stage) => run_stage(StageKind::Export, &stage),
        Command::Check { file } => {
            let pipeline = check::examine(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)?;
            let pipeline = complete(pipeline)?;
            say!("{}: {}, no fault found", pipeline.path.display(), counted(pipeline.steps.len() as u64, "step"));
            Ok(())
        }
        Command::Plan { file, tasks: Some(format), replace, .. } => tasks::tasks(&load(&file, None)?, format, replace),
        Command::Plan { file, json, estimate, .. } => {
            use_threads(None)?;
            let mut pipeline = check::load(&file.pipeline, &file.set, file.work.as_deref()).map_err(Stop::Usage)?;
            let all: Vec<usize> = (0..pipeline.steps.len()).collect();
            decided(&mut pipeline, &all)?;
            if estimate.estimate {
                return estimate::print_estimate(&pipeline, &estimate, json);
            }
            plan::plan(&pipeline, json)
        }
        Command::Status { file, json } => status::status(&glance(&file)?, json),
        Command::Report { file, step, format } => report::report(&glance(&file)?, step.as_deref(), &format),
        Command::Look { file, step, threads } => look::look(&glance(&file)?, step.as_deref(), threads),
        Command::Verify { file, step, set_aside, json } => {
            verify::verify(&glance(&file)?, step.as_deref(), set_aside, json)
        }
        Command::Calibrate(args) => calibrate::calibrate(&load_undecided(&args.file, args.threads)?, &args),
        Command::Find(args) => find::find(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Vectors { file, table, out } => vectors::vectors(&glance(&file)?, &table, &out),
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
        Command::Init(args) => init::init(args),
        Command::Config => Ok(table::print(&reference::settings())?),
        Command::Tables => Ok(table::print(&reference::tables())?),
        Command::Model(model::ModelCommand::Add(args)) => model::add(&args),
        Command::Man { folder } => man::man(folder.as_deref()),
        Command::Completions { shell } => {
            let mut command = <Args as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "lvd", &mut script);
            Ok(table::print(&String::from_utf8_lossy(&script))?)
        }
    }
}
