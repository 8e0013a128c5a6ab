//! Markers: which tasks are done, and whether what they gave is there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::pipeline::records::{Manifest, Marker};
use crate::pipeline::store::Store;
use crate::pipeline::store::paths::{DONE, marker};
use crate::stages::former::Done;
use crate::stages::table::Part;
use crate::stages::task::Outcome;
use lvd_base::error::{Error, Result};
use lvd_io::{publish, sealed};

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
pub struct Known {
    /// The markers of those that are done, in task order; `None` for a task that is not, or whose
    /// parts are gone.
    pub markers: Vec<Option<Marker>>,
    /// What was there and is not whole any more, so that its task counts as not done.
    pub damaged: Vec<String>,
}

impl Store {
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

    /// All tasks of a phase that are done, of this plan and of earlier ones. A marker or manifest
    /// that cannot be read tells of none.
    pub fn done_before(&self, step: &str, phase: &str) -> Result<Vec<Done>> {
        let manifest = match self.manifest(step) {
            Err(Error::Bookkeeping { .. }) => None,
            manifest => manifest?,
        };
        let whole = manifest.and_then(|mut manifest| manifest.tasks.remove(phase)).unwrap_or_default();
        let whole: HashSet<String> = whole.into_iter().collect();
        let mut keys: Vec<String> = self.done_keys(step, phase)?.into_iter().collect();
        keys.sort_unstable();
        let read = |key: String| match self.done(step, phase, &key) {
            Err(Error::Bookkeeping { .. }) => Ok(None),
            marker => marker?
                .map(|Marker { outcome, .. }| {
                    let there = self.wrong_sizes(&outcome)?.is_empty();
                    Ok(Done { whole: whole.contains(&key), there, key, outcome })
                })
                .transpose(),
        };
        let done = keys.into_par_iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok(done.into_iter().flatten().collect())
    }

    /// The markers of a phase's tasks. A task whose parts are needed and not there with their sizes
    /// is not done.
    pub fn markers(&self, step: &str, phase: &str, keys: &[String], parts: Parts) -> Result<Known> {
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
        Ok(Known { markers, damaged: damaged.into_iter().flatten().collect() })
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

    /// Publishes a marker. The marker that stands is returned: this one, or that of another attempt
    /// that was first.
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

    /// Removes the parts of an attempt that came second and that nobody reads: other than those
    /// that stand, or scratch of a step that is whole.
    pub fn withdraw(&self, step: &str, phase: &str, parts: &[Part], stands: &Marker) -> Result<()> {
        let open = self.is_open(step, phase)?;
        let manifest = match self.manifest(step) {
            // It may name them.
            Err(Error::Bookkeeping { .. }) if open => return Ok(()),
            manifest => manifest?,
        };
        for part in parts {
            let in_manifest = |manifest: &Manifest| manifest.tables.values().any(|table| table.parts.contains(part));
            let stands = open && stands.outcome.parts.contains(part);
            if !stands && !manifest.as_ref().is_some_and(in_manifest) {
                self.work.remove(&part.path)?;
            }
        }
        Ok(())
    }
}
