//! What a phase is submitted as: tasks cut into the elements of a job array, and its script.

use std::path::PathBuf;

use crate::pipeline::attempt::Work;
use crate::pipeline::engine::slurm::cluster;
use crate::pipeline::engine::slurm::jobs::mark;
use crate::pipeline::engine::slurm::patience::Patience;
use crate::pipeline::engine::slurm::script::Array;
use crate::pipeline::engine::slurm::settings::{AllSettings, Settings};
use crate::pipeline::event::Observer;
use lvd_base::error::{Error, Result};

/// The most elements of an array that a driver makes by itself.
const ELEMENTS: usize = 1000;

/// A cluster, seen from a work folder.
pub struct Slurm {
    /// What jobs ask for.
    pub settings: AllSettings,
    /// This program.
    pub program: PathBuf,
    /// The most elements of an array.
    elements: usize,
}

impl Slurm {
    /// The cluster this machine belongs to; `observer` is told when it does not answer.
    pub fn connect(settings: AllSettings, observer: &Observer) -> Result<Self> {
        let patience = Patience::new(&settings.of_all()?, observer);
        let longest = patience.with(cluster::max_array_size)?;
        Ok(Self { elements: longest.clamp(1, ELEMENTS), ..Self::unasked(settings)? })
    }

    /// The same, without asking the cluster how long an array may be.
    pub fn unasked(settings: AllSettings) -> Result<Self> {
        let program = std::env::current_exe().map_err(Error::io("this program"))?;
        Ok(Self { settings, program, elements: ELEMENTS })
    }

    /// The tasks of each element of an array.
    #[must_use]
    pub fn elements(&self, settings: &Settings, tasks: &[usize]) -> Vec<Vec<usize>> {
        let least = tasks.len().div_ceil(self.elements);
        let each = settings.tasks_per_element.map_or(1, |each| each as usize).max(least).max(1);
        tasks.chunks(each).map(<[usize]>::to_vec).collect()
    }

    /// The script and the list of tasks that a phase would be submitted with.
    pub fn rehearse(&self, work: &Work, numbers: &[usize]) -> Result<(String, String)> {
        let settings = self.settings.of(work.planned.kind.name(), work.step, work.phase)?;
        let (place, submissions) = (work.store.work.absolute()?, self.settings.submissions(work.store)?);
        let submission = format!("{}.{}.1", work.step, work.phase);
        let elements = self.elements(&settings, numbers);
        let array = Array {
            name: &format!("{}/{}", work.step, work.phase),
            comment: &format!("{}{submission}", mark(&place)),
            folder: &submissions.join(&submission),
            work: &place,
            elements: &elements,
            program: &self.program,
            settings: &settings,
        };
        Ok((array.text(), array.tasks()))
    }
}
