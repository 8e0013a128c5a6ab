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
//! datasets.json                                    numbers of the sources, never reused
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::publish;
use crate::pipeline::attempt::{Try, Who};
use crate::stages::catalog::Catalog;
use crate::stages::known::{Part, Table};
use crate::stages::task::Outcome;
use crate::stages::{PhasePlan, StageKind};

/// A task that is done: what it gave, and what it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Marker {
    /// Its key.
    pub key: String,
    /// What it gave.
    pub outcome: Outcome,
    /// Wall time.
    pub seconds: f64,
    /// Threads it had.
    #[serde(default = "one")]
    pub threads: u32,
    /// Highest resident memory of the process when the task ended.
    pub peak_memory_bytes: u64,
    /// Where it ran.
    pub host: String,
    /// The process that ran it.
    pub process: u32,
    /// The attempt that published it.
    #[serde(default)]
    pub attempt: String,
}

fn one() -> u32 {
    1
}

/// A phase as planned: the specs, the key of each task, and whatever else a task needs to run from the work folder alone.
#[derive(Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Hash of the keys.
    pub key: String,
    /// The kind of its stage.
    pub kind: StageKind,
    /// Whether the same spec gives the same bytes.
    pub repeatable: bool,
    /// Sources and models, with absolute paths.
    pub catalog: Catalog,
    /// A key a task.
    pub keys: Vec<String>,
    /// What the tasks are.
    pub plan: PhasePlan,
}

/// A step that is whole.
#[derive(Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Hash of its phases' keys.
    pub key: String,
    /// The keys of all its tasks, by phase.
    pub tasks: BTreeMap<String, Vec<String>>,
    /// Its tables by name; the main one is named by the empty string.
    pub tables: BTreeMap<String, Table>,
}

/// The folder of a step's checkpoints.
const CHECKPOINTS: &str = "_checkpoint";
/// The folder of its plans.
const PLANS: &str = "_plan";
/// The folder of its attempts.
const TRIES: &str = "_tries";
/// The folder of its markers.
const DONE: &str = "_done";
/// The folder of its temporaries.
const TEMPORARIES: &str = "_tmp";

/// A work folder.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its path.
    pub work: PathBuf,
}

impl Store {
    /// The work folder at `work`, which need not exist yet.
    #[must_use]
    pub fn new(work: &Path) -> Self {
        Self { work: work.to_path_buf() }
    }

    /// A step's folder.
    #[must_use]
    pub fn step(&self, step: &str) -> PathBuf {
        self.work.join(step)
    }

    /// Makes the work folder, and keeps every other driver out of it until the lock is dropped (by death, too).
    pub fn lock(&self) -> Result<File> {
        publish::make_folder(&self.work)?;
        let path = self.work.join(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => {
                let owner = format!("process {} on {}\n", std::process::id(), publish::host());
                file.set_len(0).and_then(|()| (&file).write_all(owner.as_bytes())).map_err(Error::io(&path))?;
                Ok(file)
            }
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&path).unwrap_or_default();
                let owner = if owner.is_empty() { String::new() } else { format!(": {}", owner.trim()) };
                Err(Error::Locked { work: self.work.clone(), owner })
            }
            Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
        }
    }

    /// The number of each named source: as recorded, or the next free one. Nothing is written.
    pub fn dataset_numbers<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<HashMap<String, u16>> {
        let mut numbers: HashMap<String, u16> =
            publish::read_json(&self.work.join("datasets.json"))?.unwrap_or_default();
        for name in names {
            let next = numbers.values().max().map_or(Some(0), |highest| highest.checked_add(1));
            let next =
                next.ok_or_else(|| Error::usage("more than 65,536 sources in one work folder", "use another folder"))?;
            numbers.entry(name.clone()).or_insert(next);
        }
        Ok(numbers)
    }

    /// Records the numbers of the sources for good.
    pub fn record_datasets<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<()> {
        let numbers: BTreeMap<String, u16> = self.dataset_numbers(names)?.into_iter().collect();
        let path = self.work.join("datasets.json");
        if publish::read_json::<BTreeMap<String, u16>>(&path)?.as_ref() == Some(&numbers) {
            return Ok(());
        }
        publish::replace_json(&path, &numbers)
    }

    /// The manifest of a step that is whole.
    pub fn manifest(&self, step: &str) -> Result<Option<Manifest>> {
        publish::read_json(&self.step(step).join("_manifest.json"))
    }

    /// The plan of a phase; none once the step is whole.
    pub fn planned(&self, step: &str, phase: &str) -> Result<Option<Planned>> {
        publish::read_json(&self.plan(step, phase))
    }

    fn plan(&self, step: &str, phase: &str) -> PathBuf {
        self.step(step).join(PLANS).join(format!("{phase}.json"))
    }

    /// Whether the phase is still planned: its step is not whole.
    #[must_use]
    pub fn is_open(&self, step: &str, phase: &str) -> bool {
        self.plan(step, phase).exists()
    }

    /// Opens a phase: records its plan, and forgets the markers of its `missing` tasks, whose parts are gone.
    pub fn open(&self, step: &str, phase: &str, planned: &Planned, missing: &[usize]) -> Result<()> {
        for &number in missing {
            remove_if_there(&self.marker(step, phase, &planned.keys[number]))?;
        }
        publish::make_folder(&self.step(step).join(PLANS))?;
        publish::replace_json(&self.plan(step, phase), planned)
    }

    fn marker(&self, step: &str, phase: &str, key: &str) -> PathBuf {
        self.step(step).join(DONE).join(phase).join(format!("{key}.json"))
    }

    /// The marker of a task, if it is done.
    pub fn done(&self, step: &str, phase: &str, key: &str) -> Result<Option<Marker>> {
        publish::read_json(&self.marker(step, phase, key))
    }

    /// The keys of all tasks of a phase that are done, of this plan and of earlier ones.
    pub fn done_keys(&self, step: &str, phase: &str) -> Result<HashSet<String>> {
        let names = names_in(&self.step(step).join(DONE).join(phase))?;
        Ok(names.into_iter().filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect())
    }

    /// The markers of a phase's tasks, in task order; `None` for a task that is not done, or whose parts are gone although they are
    /// `needed`.
    pub fn markers(&self, step: &str, phase: &str, keys: &[String], needed: bool) -> Result<Vec<Option<Marker>>> {
        let there = self.done_keys(step, phase)?;
        let read = |key: &String| {
            let marker = if there.contains(key) { self.done(step, phase, key)? } else { None };
            Ok(marker.filter(|marker| !needed || self.whole(&marker.outcome)))
        };
        keys.par_iter().map(read).collect()
    }

    /// Whether every part is there with its size.
    fn whole(&self, outcome: &Outcome) -> bool {
        let mut parts = outcome.parts.iter();
        parts.all(|part| fs::metadata(self.work.join(&part.path)).is_ok_and(|metadata| metadata.len() == part.bytes))
    }

    /// Publishes a marker. The marker that stands is returned: this one, or that of another attempt that was first.
    pub fn mark(&self, step: &str, phase: &str, marker: Marker, aside: &Path) -> Result<Marker> {
        let path = self.marker(step, phase, &marker.key);
        path.parent().map_or(Ok(()), publish::make_folder)?;
        let bytes = serde_json::to_vec_pretty(&marker).map_err(|e| Error::data(&path, e))?;
        if publish::write_new(aside, &path, &bytes)? {
            return Ok(marker);
        }
        publish::read_json(&path)?.ok_or_else(|| Error::data(&path, "was there a moment ago"))
    }

    /// Removes the parts of an attempt that came second and that nobody reads: other than those that stand, or scratch of a step
    /// that is whole.
    pub fn withdraw(&self, step: &str, phase: &str, parts: &[Part], stands: &Marker) -> Result<()> {
        let open = self.is_open(step, phase);
        let manifest = if open { None } else { self.manifest(step)? };
        for part in parts {
            let in_manifest = |manifest: &Manifest| manifest.tables.values().any(|table| table.parts.contains(part));
            let read =
                if open { stands.outcome.parts.contains(part) } else { manifest.as_ref().is_some_and(in_manifest) };
            if !read {
                remove_if_there(&self.work.join(&part.path))?;
            }
        }
        Ok(())
    }

    fn try_path(&self, step: &str, phase: &str, key: &str, who: &Who) -> PathBuf {
        self.step(step).join(TRIES).join(phase).join(format!("{key}.{}.json", who.name()))
    }

    /// Tells that an attempt runs, or why it failed.
    pub fn write_try(&self, step: &str, phase: &str, key: &str, attempt: &Try) -> Result<()> {
        let path = self.try_path(step, phase, key, &attempt.who);
        path.parent().map_or(Ok(()), publish::make_folder)?;
        publish::replace_json(&path, attempt)
    }

    /// Takes an attempt's file back: it succeeded, or does not count.
    pub fn end_try(&self, step: &str, phase: &str, key: &str, who: &Who) -> Result<()> {
        remove_if_there(&self.try_path(step, phase, key, who))
    }

    /// The attempts at a phase's tasks that run or did not succeed, in no order.
    pub fn tries(&self, step: &str, phase: &str) -> Result<Vec<Try>> {
        let folder = self.step(step).join(TRIES).join(phase);
        let mut tries = Vec::new();
        for name in names_in(&folder)? {
            // A file that has gone meanwhile is an attempt that has succeeded.
            if name.ends_with(".json")
                && let Some(attempt) = publish::read_json(&folder.join(name))?
            {
                tries.push(attempt);
            }
        }
        Ok(tries)
    }

    /// Removes from a step's folder what its manifest does not name: earlier generations, scratch parts, temporaries.
    pub fn collect(&self, step: &str, manifest: &Manifest) -> Result<()> {
        let folder = self.step(step);
        let mut keep: BTreeSet<PathBuf> =
            manifest.tables.values().flat_map(|table| &table.parts).map(|part| self.work.join(&part.path)).collect();
        keep.extend(manifest.tasks.iter().flat_map(|(phase, keys)| {
            let done = folder.join(DONE).join(phase);
            keys.iter().map(move |key| done.join(format!("{key}.json")))
        }));
        sweep(&folder, &keep, &|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let ours = [CHECKPOINTS, PLANS, TRIES, TEMPORARIES, DONE].map(|name| folder.join(name));
            ours.iter().any(|ours| path.starts_with(ours)) || name.starts_with("part-") || name.contains(".tmp-")
        })
    }

    /// Where all attempts at the task with this key keep what they have reached.
    #[must_use]
    pub fn checkpoint(&self, step: &str, phase: &str, key: &str) -> PathBuf {
        self.step(step).join(CHECKPOINTS).join(format!("{phase}-{key}"))
    }

    /// The folder of all attempts' temporaries.
    #[must_use]
    pub fn temporaries(&self, step: &str) -> PathBuf {
        self.step(step).join(TEMPORARIES)
    }
}

/// The names in a folder, in no order; none where there is no such folder.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(folder)(error)),
    };
    entries.map(|entry| Ok(entry.map_err(Error::io(folder))?.file_name().to_string_lossy().into_owned())).collect()
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
        _ => Ok(()),
    }
}

/// Removes the files below `folder` that `ours` recognises and `keep` does not hold.
fn sweep(folder: &Path, keep: &BTreeSet<PathBuf>, ours: &dyn Fn(&Path) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        if entry.file_type().map_err(Error::io(&path))?.is_dir() {
            sweep(&path, keep, ours)?;
        } else if ours(&path) && !keep.contains(&path) {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}
