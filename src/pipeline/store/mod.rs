//! The work folder: where plans, markers, manifests and parts lie, and who may write.
//!
//! ```text
//! STEP/part-*.parquet, STEP/TABLE/part-*.parquet   the rows
//! STEP/report.parquet, summary.json, ...           for people
//! STEP/_manifest.json                              what is whole: readers trust nothing else
//! STEP/_plan/PHASE.json                            the tasks of a phase, while the step is open
//! STEP/_tries/PHASE/KEY.WHO.json                   an attempt that runs, was killed, or failed; gone when it succeeds
//! STEP/_done/PHASE/KEY.json                        a marker a task: it is done, and this is what it gave
//! _slurm/STEP.PHASE.N/                             a submission: its script, its tasks, its logs
//! STEP/_damaged/...                                parts that were not as they were written; nobody reads them
//! datasets.json                                    numbers of the sources, never reused
//! sources.json                                     fingerprints of the sources, as last seen
//! ```
//!
//! Bookkeeping tells by itself whether it is whole (`io::sealed`), and parts are checked by whoever
//! reads them (`io::checked`).

mod datasets;
pub mod markers;
mod paths;
mod tidy;
mod tries;

use std::path::PathBuf;

use crate::pipeline::records::{Manifest, Planned};
use crate::pipeline::summary::Summary;
use crate::stages::catalog::Model;
use crate::stages::table::Part;
use lvd_base::error::{Error, Result};
use lvd_io::checked::Stored;
use lvd_io::secret::{owner_only, redacted};
use lvd_io::work_folder::{Lock, WorkFolder};
use paths::{CHECKPOINTS, TEMPORARIES, marker, plan};

/// A work folder with its steps.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its files.
    pub work: WorkFolder,
}

impl Store {
    /// The work folder at `location`, a path or `s3://BUCKET/PREFIX`, which need not exist yet.
    pub fn open(location: &str) -> Result<Self> {
        Ok(Self { work: WorkFolder::open(location)? })
    }

    /// Keeps every other driver out of the work folder until the lock is dropped (by death, too).
    pub fn lock(&self) -> Result<Lock> {
        self.work.lock()
    }

    /// A part that can be opened: where it lies, or a copy.
    pub fn part(&self, part: &Part) -> Result<Stored> {
        Ok(part.stored(self.work.fetch(&part.path, self.work.root())?))
    }

    /// A file of a step that can be opened; `None` where there is none.
    pub fn file(&self, step: &str, name: &str) -> Result<Option<PathBuf>> {
        let path = format!("{step}/{name}");
        if self.work.size(&path)?.is_none() {
            return Ok(None);
        }
        self.work.fetch(&path, self.work.root()).map(Some)
    }

    /// The summary of a step that is whole.
    pub fn summary(&self, step: &str) -> Result<Option<Summary>> {
        self.work.read_json(&format!("{step}/summary.json"), "lvd run FILE writes it again")
    }

    /// The manifest of a step that is whole.
    pub fn manifest(&self, step: &str) -> Result<Option<Manifest>> {
        let hint = "lvd run FILE writes it again, from the markers of its tasks";
        self.work.read_json(&format!("{step}/_manifest.json"), hint)
    }

    /// The same, for whoever is about to write it anew: a damaged one is none, and `warn` is told.
    pub fn manifest_to_replace(&self, step: &str, warn: &dyn Fn(String)) -> Result<Option<Manifest>> {
        match self.manifest(step) {
            Err(damaged @ Error::Bookkeeping { .. }) => {
                warn(format!("{damaged}: it is written again"));
                Ok(None)
            }
            read => read,
        }
    }

    /// Makes a step whole.
    pub fn close(&self, step: &str, manifest: &Manifest) -> Result<()> {
        self.work.replace_json(&format!("{step}/_manifest.json"), manifest)
    }

    /// The plan of a phase; none once the step is whole.
    pub fn planned(&self, step: &str, phase: &str) -> Result<Option<Planned>> {
        let hint = "plan the phase again: lvd run FILE, or lvd plan FILE --tasks";
        self.work.read_json(&plan(step, phase), hint)
    }

    /// Whether the phase is still planned: its step is not whole.
    pub fn is_open(&self, step: &str, phase: &str) -> Result<bool> {
        Ok(self.work.size(&plan(step, phase))?.is_some())
    }

    /// Opens a phase: records its plan, and forgets the markers of its `missing` tasks, whose parts
    /// are gone.
    pub fn open_phase(&self, step: &str, phase: &str, planned: &Planned, missing: &[usize]) -> Result<()> {
        let known = self.done_keys(step, phase)?;
        for key in missing.iter().map(|&number| &planned.keys[number]).filter(|key| known.contains(*key)) {
            self.work.remove(&marker(step, phase, key))?;
        }
        let path = plan(step, phase);
        self.work.replace_json(&path, planned)?;
        // Whoever runs its tasks is whoever planned them.
        let has_secret = |model: &Model| matches!(model, Model::Url { url, .. } if redacted(url) != *url);
        let secret = planned.catalog.embedders.values().any(|embedder| has_secret(&embedder.model));
        if secret && !self.work.is_bucket() { owner_only(&self.work.named(&path)) } else { Ok(()) }
    }

    /// Where all attempts at the task with this key keep what they have reached. For a bucket,
    /// those of one process.
    #[must_use]
    pub fn checkpoint(&self, step: &str, phase: &str, key: &str) -> PathBuf {
        self.work.root().join(step).join(CHECKPOINTS).join(format!("{phase}-{key}"))
    }

    /// The folder of all attempts' temporaries.
    #[must_use]
    pub fn temporaries(&self, step: &str) -> PathBuf {
        self.work.root().join(step).join(TEMPORARIES)
    }
}
