//! The work folder: where plans, markers, manifests and parts lie, and who may write.
//!
//! ```text
//! STEP/part-*.parquet, STEP/TABLE/part-*.parquet   the rows
//! STEP/report.parquet, summary.json, ...           for people
//! STEP/_manifest.json                              what is whole: readers trust nothing else
//! STEP/_plan/PHASE.json                            the tasks of a phase
//! STEP/_done/PHASE/KEY.json                        a marker a task: it is done, and this is what it gave
//! datasets.json                                    numbers of the sources, never reused
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::publish;
use crate::stages::PhasePlan;
use crate::stages::known::Table;
use crate::stages::task::Outcome;

/// A task that is done: what it gave, and what it took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Marker {
    /// Its key.
    pub key: String,
    /// What it gave.
    pub outcome: Outcome,
    /// Wall time.
    pub seconds: f64,
    /// Highest resident memory of the process when the task ended.
    pub peak_memory_bytes: u64,
    /// Where it ran.
    pub host: String,
    /// The process that ran it.
    pub process: u32,
}

/// A phase as planned: the specs, and the key of each task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Planned {
    /// Hash of the keys.
    pub key: String,
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
        let file = File::create(&path).map_err(Error::io(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::usage(
                format!("another lvd is running in {}", self.work.display()),
                "wait for it, stop it, or choose another folder with --work",
            )),
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

    /// The plan of a phase that a driver made last.
    pub fn planned(&self, step: &str, phase: &str) -> Result<Option<Planned>> {
        publish::read_json(&self.step(step).join("_plan").join(format!("{phase}.json")))
    }

    /// Records the plan of a phase; unchanged, it is not written again.
    pub fn record_plan(&self, step: &str, phase: &str, planned: &Planned) -> Result<()> {
        let known = self.planned(step, phase)?;
        if known.is_some_and(|known| known.key == planned.key && known.plan.knobs == planned.plan.knobs) {
            return Ok(());
        }
        let folder = self.step(step).join("_plan");
        publish::make_folder(&folder)?;
        publish::replace_json(&folder.join(format!("{phase}.json")), planned)
    }

    /// The markers of a phase's tasks, in task order; `None` for a task that is not done, or whose parts are gone although they are
    /// `needed`.
    pub fn markers(&self, step: &str, phase: &str, keys: &[String], needed: bool) -> Result<Vec<Option<Marker>>> {
        let folder = self.step(step).join("_done").join(phase);
        let read = |key: &String| {
            let marker: Option<Marker> = publish::read_json(&folder.join(format!("{key}.json")))?;
            Ok(marker.filter(|marker| !needed || self.whole(&marker.outcome)))
        };
        if folder.exists() { keys.iter().map(read).collect() } else { Ok(vec![None; keys.len()]) }
    }

    /// Whether every part is there with its size.
    fn whole(&self, outcome: &Outcome) -> bool {
        let mut parts = outcome.parts.iter();
        parts.all(|part| fs::metadata(self.work.join(&part.path)).is_ok_and(|metadata| metadata.len() == part.bytes))
    }

    /// Publishes a marker. The marker that stands is returned: this one, or that of another attempt that was first.
    pub fn mark(&self, step: &str, phase: &str, marker: Marker, aside: &Path) -> Result<Marker> {
        let folder = self.step(step).join("_done").join(phase);
        publish::make_folder(&folder)?;
        let path = folder.join(format!("{}.json", marker.key));
        if let Some(stale) = publish::read_json::<Marker>(&path)?.filter(|known| !self.whole(&known.outcome)) {
            // Its parts were deleted: this attempt replaces it.
            debug_assert_eq!(stale.key, marker.key);
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
        let bytes = serde_json::to_vec_pretty(&marker).map_err(|e| Error::data(&path, e))?;
        if publish::write_new(aside, &path, &bytes)? {
            return Ok(marker);
        }
        publish::read_json(&path)?.ok_or_else(|| Error::data(&path, "was there a moment ago"))
    }

    /// Removes from a step's folder what its manifest does not name: earlier generations, scratch parts, temporaries.
    pub fn collect(&self, step: &str, manifest: &Manifest) -> Result<()> {
        let folder = self.step(step);
        let mut keep: BTreeSet<PathBuf> =
            manifest.tables.values().flat_map(|table| &table.parts).map(|part| self.work.join(&part.path)).collect();
        keep.extend(manifest.tasks.iter().flat_map(|(phase, keys)| {
            let done = folder.join("_done").join(phase);
            keys.iter().map(move |key| done.join(format!("{key}.json")))
        }));
        sweep(&folder, &keep, &|path| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let marker = path.parent().and_then(Path::parent) == Some(&folder.join("_done"));
            let checkpoint = path.parent() == Some(&folder.join(CHECKPOINTS));
            marker || checkpoint || name.starts_with("part-") || name.contains(".tmp-")
        })
    }

    /// Where all attempts at the task with this key keep what they have reached.
    #[must_use]
    pub fn checkpoint(&self, step: &str, phase: &str, key: &str) -> PathBuf {
        self.step(step).join(CHECKPOINTS).join(format!("{phase}-{key}"))
    }

    /// Where the temporaries of one attempt at a task go.
    #[must_use]
    pub fn aside(&self, step: &str, phase: &str, number: usize) -> PathBuf {
        self.step(step).join(format!("{phase}-{number}.tmp-{}-{}", host(), std::process::id()))
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
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}
