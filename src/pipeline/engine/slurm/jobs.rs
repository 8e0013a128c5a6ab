//! The jobs of a work folder as a whole: seen, ended, and the driver's own.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::pipeline::engine::slurm::cluster::{self, Answer, Element};
use crate::pipeline::engine::slurm::directive::directive_fault;
use crate::pipeline::engine::slurm::patience::Patience;
use crate::pipeline::engine::slurm::script;
use crate::pipeline::engine::slurm::settings::AllSettings;
use crate::pipeline::event::Observer;
use crate::pipeline::store::Store;
use lvd_base::error::{Error, Result};
use lvd_io::part::sha256;
use lvd_io::publish;

/// How the jobs of a work folder are known.
#[must_use]
pub fn mark(place: &str) -> String {
    format!("lvd:{}:", &sha256(place.as_bytes())[..12])
}

/// The jobs of a work folder in the queue, the driver's own among them; `None` while Slurm does not
/// answer.
pub fn jobs(store: &Store) -> Result<Option<Vec<Element>>> {
    Ok(match cluster::queue(&mark(&store.work.absolute()?))? {
        Answer::Yes(found) => Some(found),
        Answer::Later(_) => None,
    })
}

/// Whether anything was ever submitted for this work folder.
#[must_use]
pub fn was_used(store: &Store, settings: &AllSettings) -> bool {
    settings.submissions(store).is_ok_and(|folder| folder.is_dir())
}

/// Ends all jobs of a work folder, the driver's first; the answer is how many. `observer` is told
/// when Slurm does not answer.
pub fn cancel(store: &Store, settings: &AllSettings, observer: &Observer) -> Result<usize> {
    let patience = Patience::new(&settings.of_all()?, observer);
    let prefix = mark(&store.work.absolute()?);
    let found = patience.with(|| cluster::queue(&prefix))?;
    let is_driver = |element: &&Element| element.comment == format!("{prefix}driver");
    let (drivers, others): (Vec<&Element>, Vec<&Element>) = found.iter().partition(is_driver);
    // Whole jobs, not element by element.
    for some in [drivers, others] {
        let jobs = some.iter().map(|element| element.id.split('_').next().unwrap_or(&element.id).to_owned());
        let jobs: BTreeSet<String> = jobs.collect();
        let jobs: Vec<String> = jobs.into_iter().collect();
        if !jobs.is_empty() {
            patience.with(|| cluster::cancel(&jobs))?;
        }
    }
    Ok(found.len())
}

/// Submits the driver itself; the answer is its job and its log. `observer` is told when Slurm does
/// not answer.
pub fn submit_driver(
    store: &Store,
    settings: &AllSettings,
    command: &[String],
    dry: bool,
    observer: &Observer,
) -> Result<(String, PathBuf)> {
    let folder = settings.submissions(store)?;
    let (log, comment) = (folder.join("driver.log"), format!("{}driver", mark(&store.work.absolute()?)));
    let here = std::env::current_dir().map_err(Error::io("the current folder"))?;
    if let Some(fault) = directive_fault(&here.to_string_lossy()) {
        let message = format!("the current folder, {:?}, {fault}", here.to_string_lossy());
        return Err(Error::usage(message, "run from another folder"));
    }
    let text = script::driver("lvd", &comment, &log, &here, command, &settings.driver()?);
    if dry {
        return Ok((text, log));
    }
    let patience = Patience::new(&settings.of_all()?, observer);
    let queued = patience.with(|| cluster::queue(&comment))?;
    if let Some(there) = queued.first() {
        let message = format!("a driver of this work folder is queued already: job {}", there.id);
        return Err(Error::usage(message, format!("tail -F {}; or end it with: lvd cancel", log.display())));
    }
    publish::make_folder(&folder)?;
    let path = folder.join("driver.sh");
    publish::replace(&path, text.as_bytes())?;
    let job = patience.with(|| cluster::submit(&path))?;
    Ok((job, log))
}
