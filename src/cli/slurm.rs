//! `lvd submit`, `lvd cancel`, and `--dry-run`: the parts of a cluster run that do not wait for it.

use crate::cli::args::FileArgs;
use crate::cli::choice::{glance, load, steps_between};
use crate::cli::progress::Progress;
use crate::cli::say::{self, say};
use crate::cli::stop::Stop;
use crate::cli::table::print;
use crate::pipeline::attempt::Work;
use crate::pipeline::engine::slurm::jobs;
use crate::pipeline::engine::slurm::submission::Slurm;
use crate::pipeline::event::Event;
use crate::pipeline::status::{Survey, survey};
use crate::pipeline::steps::Pipeline;
use lvd_base::error::Error;

/// Submits the driver as a job.
pub fn submit(file: &FileArgs, from: Option<&str>, to: Option<&str>, replace: bool, dry_run: bool) -> Result<(), Stop> {
    let pipeline = load(file, None)?;
    steps_between(&pipeline, from, to)?;
    let program = std::env::current_exe().map_err(Error::io("this program"))?;
    let mut command = vec![program.to_string_lossy().into_owned(), "run".into(), "--engine".into(), "slurm".into()];
    let mut option = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            command.extend([name.to_owned(), value.to_owned()]);
        }
    };
    option("--from", from);
    option("--to", to);
    option("--work", file.work.as_deref());
    file.set.iter().for_each(|set| option("--set", Some(set)));
    if replace {
        command.push("--replace".into());
    }
    command.push(file.pipeline.to_string_lossy().into_owned());
    let progress = Progress::new(false);
    let observer = |event: Event| progress.tell(&event);
    let (job, log) = jobs::submit_driver(&pipeline.store, &pipeline.slurm, &command, dry_run, &observer)?;
    print(&format!("{}\n", job.trim_end()))?;
    if !dry_run {
        say!("job {job} drives the pipeline; tail -F {}", log.display());
        say!("lvd status {0} shows how far it is, lvd cancel {0} ends it", pipeline.typed);
    }
    Ok(())
}

/// Ends all jobs of a work folder.
pub fn cancel(file: &FileArgs) -> Result<(), Stop> {
    let pipeline = glance(file)?;
    let progress = Progress::new(false);
    let ended = jobs::cancel(&pipeline.store, &pipeline.slurm, &|event| progress.tell(&event))?;
    say!("{ended} elements were queued or ran, and are cancelled; what is done stays done");
    Ok(())
}

/// Prints the script that the next phase would be submitted with.
pub fn rehearse(pipeline: &Pipeline, steps: &[usize]) -> Result<(), Stop> {
    let slurm = Slurm::unasked(pipeline.slurm.clone())?;
    for &index in steps {
        let step = &pipeline.steps[index];
        match survey(pipeline, step)? {
            Survey::Whole { .. } => {}
            Survey::Waiting { table } => {
                say!("{}: reads {table}, which is not there yet", step.name);
                return Ok(());
            }
            Survey::Open { phase, planned, done, .. } => {
                let missing: Vec<usize> = (0..done.len()).filter(|&number| done[number].is_none()).collect();
                let work = Work { store: &pipeline.store, step: &step.name, phase: phase.name, planned: &planned };
                let (script, tasks) = slurm.rehearse(&work, &missing)?;
                say!("{}/{}: {} tasks; tasks.txt would be:", step.name, phase.name, missing.len());
                say::text(&tasks);
                return Ok(print(&script)?);
            }
        }
    }
    say!("everything is up to date");
    Ok(())
}
