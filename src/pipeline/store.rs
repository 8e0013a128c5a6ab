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
//! ```
//!
//! Bookkeeping tells by itself whether it is whole (`io::sealed`), and parts are checked by whoever reads them (`io::checked`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::pipeline::attempt::{Try, Who};
use crate::pipeline::report::Summary;
use crate::stages::catalog::{Catalog, Model};
use crate::stages::table::{Part, Table};
use crate::stages::task::Outcome;
use crate::stages::{PhasePlan, StageKind};
use lvd_base::error::{Error, Result};
use lvd_io::checked::Stored;
use lvd_io::secret::{owner_only, redacted};
use lvd_io::work_folder::{DAMAGED, Lock, WorkFolder};
use lvd_io::{publish, sealed};

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
    /// SHA-256 of its files for people, by name.
    #[serde(default)]
    pub reports: BTreeMap<String, String>,
}

/// Whether a phase's parts have to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// They were for phases that are done.
    Unneeded,
    /// They have to be there, and are gone once the step was whole.
    Scratch,
    /// They have to be there, and one that is gone was lost.
    Lasting,
}

/// A part that is not there with its size.
struct WrongSize {
    path: PathBuf,
    /// Its size; none where it is gone.
    found: Option<u64>,
    written: u64,
}

impl std::fmt::Display for WrongSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, written) = (self.path.display(), self.written);
        match self.found {
            Some(bytes) => write!(f, "{path} has {bytes} bytes, and {written} were written"),
            None => write!(f, "{path} is gone"),
        }
    }
}

/// What is known of a phase's tasks.
#[derive(Debug, Default)]
pub struct Done {
    /// The markers of those that are done, in task order; `None` for a task that is not, or whose parts are gone.
    pub markers: Vec<Option<Marker>>,
    /// What was there and is not whole any more, so that its task counts as not done.
    pub damaged: Vec<String>,
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
/// Where the numbers of the sources are.
const DATASETS: &str = "datasets.json";

/// What to do where the numbers cannot be read: ids are made of them.
const NO_DATASETS: &str = "ids are made of these numbers: put the file back from a copy, or use another --work";

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

    /// The number of each named source: as recorded, or the next free one. Nothing is written.
    pub fn dataset_numbers<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<HashMap<String, u16>> {
        let mut numbers: HashMap<String, u16> = self.work.read_json(DATASETS, NO_DATASETS)?.unwrap_or_default();
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
        if self.work.read_json::<BTreeMap<String, u16>>(DATASETS, NO_DATASETS)?.as_ref() == Some(&numbers) {
            return Ok(());
        }
        self.work.replace_json(DATASETS, &numbers)
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

    /// Opens a phase: records its plan, and forgets the markers of its `missing` tasks, whose parts are gone.
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

    /// The marker of a task, if it is done.
    pub fn done(&self, step: &str, phase: &str, key: &str) -> Result<Option<Marker>> {
        let hint = "lvd run FILE does its task again";
        self.work.read_json(&marker(step, phase, key), hint)
    }

    /// The keys of all tasks of a phase that are done, of this plan and of earlier ones.
    pub fn done_keys(&self, step: &str, phase: &str) -> Result<HashSet<String>> {
        let names = self.work.names(&format!("{step}/{DONE}/{phase}"))?;
        Ok(names.into_iter().filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect())
    }

    /// The markers of a phase's tasks. A task whose parts are needed and not there with their sizes is not done.
    pub fn markers(&self, step: &str, phase: &str, keys: &[String], parts: Parts) -> Result<Done> {
        let there = self.done_keys(step, phase)?;
        let read = |key: &String| -> Result<(Option<Marker>, Vec<String>)> {
            let marker = if there.contains(key) { self.done(step, phase, key) } else { Ok(None) };
            match marker {
                Err(damaged @ Error::Bookkeeping { .. }) => Ok((None, vec![damaged.to_string()])),
                Ok(Some(marker)) if parts != Parts::Unneeded => {
                    let mut wrong = self.wrong_sizes(&marker.outcome)?;
                    let marker = Some(marker).filter(|_| wrong.is_empty());
                    wrong.retain(|wrong| wrong.found.is_some() || parts == Parts::Lasting);
                    Ok((marker, wrong.iter().map(ToString::to_string).collect()))
                }
                marker => Ok((marker?, Vec::new())),
            }
        };
        let found = keys.par_iter().map(read).collect::<Result<Vec<_>>>()?;
        let (markers, damaged): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Ok(Done { markers, damaged: damaged.into_iter().flatten().collect() })
    }

    /// The parts that are not there with their sizes.
    fn wrong_sizes(&self, outcome: &Outcome) -> Result<Vec<WrongSize>> {
        let mut wrong = Vec::new();
        for part in &outcome.parts {
            let found = self.work.size(&part.path)?;
            if found != Some(part.bytes) {
                wrong.push(WrongSize { path: self.work.named(&part.path), found, written: part.bytes });
            }
        }
        Ok(wrong)
    }

    /// The parts of all markers in a step's folder that can be read.
    pub fn marked_parts(&self, step: &str) -> Result<Vec<Part>> {
        let folder = format!("{step}/{DONE}");
        if !self.work.is_bucket() && !self.work.root().join(&folder).is_dir() {
            return Ok(Vec::new());
        }
        let mut parts = Vec::new();
        for (path, _) in self.work.files(&folder)? {
            let marker: Result<Option<Marker>> = self.work.read_json(&path, "lvd run FILE does its task again");
            parts.extend(marker?.into_iter().flat_map(|marker| marker.outcome.parts));
        }
        Ok(parts)
    }

    /// Publishes a marker. The marker that stands is returned: this one, or that of another attempt that was first.
    pub fn mark(&self, step: &str, phase: &str, mine: Marker, aside: &Path) -> Result<Marker> {
        let path = marker(step, phase, &mine.key);
        let bytes = sealed::seal(&mine).map_err(|e| Error::data(self.work.named(&path), e))?;
        publish::write_aside(aside, &bytes)?;
        if self.work.create(aside, &path)? {
            return Ok(mine);
        }
        let stands = self.done(step, phase, &mine.key)?;
        stands.ok_or_else(|| Error::data(self.work.named(&path), "was there a moment ago"))
    }

    /// Removes the parts of an attempt that came second and that nobody reads: other than those that stand, or scratch of a step
    /// that is whole.
    pub fn withdraw(&self, step: &str, phase: &str, parts: &[Part], stands: &Marker) -> Result<()> {
        let open = self.is_open(step, phase)?;
        let manifest = if open { None } else { self.manifest(step)? };
        for part in parts {
            let in_manifest = |manifest: &Manifest| manifest.tables.values().any(|table| table.parts.contains(part));
            let read =
                if open { stands.outcome.parts.contains(part) } else { manifest.as_ref().is_some_and(in_manifest) };
            if !read {
                self.work.remove(&part.path)?;
            }
        }
        Ok(())
    }

    /// Tells that an attempt runs, or why it failed.
    pub fn write_try(&self, step: &str, phase: &str, key: &str, attempt: &Try) -> Result<()> {
        self.work.replace_json(&try_path(step, phase, key, &attempt.who), attempt)
    }

    /// Takes an attempt's file back: it succeeded, or does not count.
    pub fn end_try(&self, step: &str, phase: &str, key: &str, who: &Who) -> Result<()> {
        self.work.remove(&try_path(step, phase, key, who))
    }

    /// The attempts at a phase's tasks that run or did not succeed, in no order.
    pub fn tries(&self, step: &str, phase: &str) -> Result<Vec<Try>> {
        let folder = format!("{step}/{TRIES}/{phase}");
        let mut tries = Vec::new();
        let names = self.work.names(&folder)?;
        for name in names.iter().filter(|name| !name.contains(".tmp-")) {
            // A file that has gone meanwhile is an attempt that has succeeded.
            // One that cannot be read says nothing.
            match self.work.read_json(&format!("{folder}/{name}"), "") {
                Err(Error::Bookkeeping { .. }) | Ok(None) => {}
                attempt => tries.extend(attempt?),
            }
        }
        Ok(tries)
    }

    /// Removes from a step's folder what its manifest does not name: earlier generations, scratch parts, attempts, temporaries.
    pub fn collect(&self, step: &str, manifest: &Manifest) -> Result<()> {
        let mut keep: HashSet<String> =
            manifest.tables.values().flat_map(|table| &table.parts).map(|part| part.path.clone()).collect();
        let tasks = manifest.tasks.iter();
        keep.extend(tasks.flat_map(|(phase, keys)| keys.iter().map(|key| marker(step, phase, key))));
        let ours = [CHECKPOINTS, PLANS, TRIES, TEMPORARIES, DONE].map(|name| format!("{step}/{name}/"));
        for (path, _) in self.work.files(step)? {
            let name = path.rsplit('/').next().unwrap_or(&path);
            let is_ours =
                ours.iter().any(|ours| path.starts_with(ours)) || name.starts_with("part-") || name.contains(".tmp-");
            let is_damaged = path.starts_with(&format!("{step}/{DAMAGED}/"));
            if is_ours && !is_damaged && !keep.contains(&path) {
                self.work.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes what processes that are no more have left in a step's folder.
    pub fn sweep(&self, step: &str) -> Result<()> {
        if self.work.is_bucket() || !self.work.root().join(step).is_dir() {
            return Ok(());
        }
        for (path, _) in self.work.files(step)? {
            if publish::is_left_behind(path.rsplit('/').next().unwrap_or(&path)) {
                self.work.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Where all attempts at the task with this key keep what they have reached. For a bucket, those of one process.
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

fn plan(step: &str, phase: &str) -> String {
    format!("{step}/{PLANS}/{phase}.json")
}

fn marker(step: &str, phase: &str, key: &str) -> String {
    format!("{step}/{DONE}/{phase}/{key}.json")
}

fn try_path(step: &str, phase: &str, key: &str, who: &Who) -> String {
    format!("{step}/{TRIES}/{phase}/{key}.{}.json", who.name())
}
