//! Jobs of Slurm that are queued again when their time is up.

use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;

use crate::cli::say::say;
use crate::pipeline::attempter::Attempter;
use crate::pipeline::engine::slurm::cluster::{self, Answer};
use lvd_base::error::Error;

/// Asks Slurm to queue this job again, if it is one. Where it does not, the driver submits what is
/// left.
pub fn requeue(who: &Attempter) {
    let Some(job) = &who.job else { return };
    match cluster::requeue(job) {
        Ok(Answer::Yes(())) => say!("queued again"),
        Ok(Answer::Later(why)) => say!("not queued again: {why}"),
        Err(error) => say!("not queued again: {error}"),
    }
}

/// Asks for this driver to be queued again when its own time is up, if it is a job.
pub fn driver_in_time() -> Result<(), Error> {
    let Ok(job) = std::env::var("SLURM_JOB_ID") else { return Ok(()) };
    let mut signals = Signals::new([SIGUSR1]).map_err(Error::io("signals"))?;
    let listen = move || {
        for _ in &mut signals {
            say!("told that time is short: the driver is queued again, and goes on then");
            requeue(&Attempter { job: Some(job.clone()), ..Attempter::me() });
        }
    };
    std::thread::Builder::new().spawn(listen).map(drop).map_err(Error::thread)
}
