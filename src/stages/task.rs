//! A running task: the files it may read, the parts it publishes, and what it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::stages::catalog::Catalog;
use crate::stages::plan::to_value;
use crate::stages::table::{Part, Table};
use lvd_base::error::{Error, Result};
use lvd_base::types::{Reason, ShardId};
use lvd_io::checked::Stored;
use lvd_io::digest;
use lvd_io::images::ImageWriter;
use lvd_io::part::{FACTS, PartWriter, Written};
use lvd_io::row::{Row, RowWriter};
use lvd_io::vectors::VectorWriter;
use lvd_io::work_folder::WorkFolder;
use lvd_ops::histogram::Histogram;

/// What a task gave: the parts it published and the rows it accounts for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Rows it was given.
    pub rows_in: u64,
    /// Rows that go on.
    pub rows_out: u64,
    /// Rows that do not, by reason.
    pub drops: BTreeMap<Reason, u64>,
    /// Rows that an earlier phase dropped for these reasons and that are no longer listed: the
    /// summary counts them as such.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gone: BTreeMap<Reason, u64>,
    /// Other counts worth reporting.
    pub counters: BTreeMap<String, u64>,
    /// Distributions worth reporting.
    pub histograms: BTreeMap<String, Histogram>,
    /// Decisions taken on the way, for the summary.
    pub facts: BTreeMap<String, Value>,
    /// What a user should look at.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub warnings: BTreeSet<String>,
    /// What the planning of later phases needs to know, and nobody else: one struct a phase
    /// ([`Task::tell`]).
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub told: Value,
    /// The same in markers of earlier versions, which had some of it among `facts` and `counters`.
    #[serde(default, skip_serializing)]
    pub notes: BTreeMap<String, Value>,
    /// The parts it published.
    pub parts: Vec<Part>,
    /// The shard whose images it fetched or embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
}

impl Outcome {
    /// Whether every row that came in went out or has a reason.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.rows_in == self.rows_out + self.drops.values().sum::<u64>()
    }

    /// What the task told the planning of later phases, if anything ([`Task::tell`]).
    pub fn told<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let earlier = || {
            let counters = self.counters.iter().map(|(name, &n)| (name, Value::from(n)));
            let named = self.facts.iter().chain(&self.notes).map(|(name, value)| (name, value.clone()));
            counters.chain(named).map(|(name, value)| (name.clone(), value)).collect::<Map<String, Value>>()
        };
        let told = match &self.told {
            Value::Null if self.notes.is_empty() && self.facts.is_empty() => return Ok(None),
            Value::Null => Value::Object(earlier()),
            told => told.clone(),
        };
        let hint = "was it made by another version?";
        serde_json::from_value(told).map(Some).map_err(|e| Error::data("what a task told", format!("{e}: {hint}")))
    }
}

/// Rows of a task that are no more to do.
#[derive(Clone, Copy, Debug)]
pub enum Headway {
    /// So many were done since the last word.
    Done(u64),
    /// So many were done by an attempt that was stopped: they say nothing of how fast this one is.
    Before(u64),
}

/// A running task.
pub struct Task<'a> {
    /// Sources and embedders.
    pub catalog: &'a Catalog,
    /// Threads it may use.
    pub threads: usize,
    /// Told of rows, a few at a time.
    pub progress: &'a (dyn Fn(Headway) + Sync),
    /// What it gave so far.
    pub outcome: Outcome,
    place: Place,
    /// How many parts of each table it has published: a source has a part for each of its shards.
    published: BTreeMap<String, usize>,
}

/// Where a task reads and writes.
#[derive(Clone, Debug)]
pub struct Place {
    /// The work folder.
    pub work: WorkFolder,
    /// Where copies of a bucket's parts go, this task's own.
    pub copies: PathBuf,
    /// The step.
    pub step: String,
    /// Number of the task in its phase.
    pub number: usize,
    /// Where temporaries go, unique to this attempt.
    pub aside: PathBuf,
    /// Where checkpoints go, the same for every attempt.
    pub checkpoint: PathBuf,
}

impl<'a> Task<'a> {
    /// A task about to run.
    pub fn new(catalog: &'a Catalog, place: Place, threads: usize, progress: &'a (dyn Fn(Headway) + Sync)) -> Self {
        Self { catalog, threads, progress, outcome: Outcome::default(), place, published: BTreeMap::new() }
    }

    /// One that reads parts by the names in manifests, and publishes nothing.
    #[must_use]
    pub fn reader(catalog: &'a Catalog, work: &WorkFolder, threads: usize) -> Self {
        let root = || work.root().to_path_buf();
        let (work, copies) = (work.clone(), root());
        let place = Place { work, copies, step: String::new(), number: 0, aside: root(), checkpoint: root() };
        Self::new(catalog, place, threads, &|_| ())
    }

    /// The step it belongs to.
    #[must_use]
    pub fn step(&self) -> &str {
        &self.place.step
    }

    /// A part to read, which is checked as it is read.
    pub fn open(&self, part: &Part) -> Result<Stored> {
        Ok(part.stored(self.place.work.fetch(&part.path, &self.place.copies)?))
    }

    /// Whether a part is there with its size.
    pub fn is_there(&self, part: &Part) -> Result<bool> {
        Ok(self.place.work.size(&part.path)? == Some(part.bytes))
    }

    /// The file of a part for a library that reads it whole, after a look at all its bytes.
    pub fn whole(&self, part: &Part) -> Result<PathBuf> {
        let stored = self.open(part)?;
        let found = if stored.path.exists() { digest::sha256_of(&stored.path)? } else { String::new() };
        match found {
            sha256 if sha256 == part.sha256 => Ok(stored.path),
            sha256 if sha256.is_empty() => Err(stored.damaged("is gone")),
            _ => Err(stored.damaged("is not as it was written")),
        }
    }

    /// The rows of a part of facts.
    pub fn read<R: Row>(&self, part: &Part) -> Result<impl Iterator<Item = Result<Vec<R>>> + use<R>> {
        lvd_io::row::read(&self.open(part)?)
    }

    /// All rows of a part of facts: for parts that are a shard long at most.
    pub fn read_all<R: Row>(&self, part: &Part) -> Result<Vec<R>> {
        let mut rows = Vec::with_capacity(usize::try_from(part.rows).unwrap_or(0));
        for batch in self.read(part)? {
            rows.extend(batch?);
        }
        Ok(rows)
    }

    /// Calls `each` with every row of a table of facts, in order.
    pub fn for_each<R: Row>(&self, table: &Table, mut each: impl FnMut(R) -> Result<()>) -> Result<()> {
        for part in &table.parts {
            for batch in self.read(part)? {
                batch?.into_iter().try_for_each(&mut each)?;
            }
        }
        Ok(())
    }

    /// A folder that all tasks of the work folder share.
    #[must_use]
    pub fn shared_folder(&self, name: &str) -> PathBuf {
        self.place.work.root().join(name)
    }

    /// A new file aside, to be published later; `name` tells this task's files apart.
    #[must_use]
    pub fn aside(&self, name: &str) -> PathBuf {
        let mut path = self.place.aside.as_os_str().to_owned();
        path.push(format!("-{}", name.replace('/', "-")));
        PathBuf::from(path)
    }

    /// Where every attempt at this task keeps what it has reached; gone when the step is whole.
    #[must_use]
    pub fn checkpoint(&self, name: &str) -> PathBuf {
        let mut path = self.place.checkpoint.as_os_str().to_owned();
        path.push(format!("-{name}"));
        PathBuf::from(path)
    }

    /// A writer of facts; `name` tells this task's files apart.
    pub fn rows<R: Row>(&self, name: &str) -> Result<RowWriter<R>> {
        RowWriter::create(&self.aside(name), &FACTS)
    }

    /// A writer of vectors.
    pub fn vectors(&self, name: &str, dimension: usize) -> Result<VectorWriter> {
        VectorWriter::create(&self.aside(name), dimension)
    }

    /// A writer of images.
    pub fn images(&self, name: &str) -> Result<ImageWriter> {
        ImageWriter::create(&self.aside(name))
    }

    /// A writer of batches with a layout of their own.
    pub fn batches(
        &self,
        name: &str,
        schema: arrow::datatypes::SchemaRef,
        layout: &lvd_io::part::Layout,
    ) -> Result<PartWriter> {
        PartWriter::create(&self.aside(name), schema, layout)
    }

    /// Publishes a part of `table` (empty: the main one) under a name that carries its content.
    ///
    /// Two attempts with the same bytes give the same name, so the second changes nothing; which
    /// attempt's parts count is decided once, by the task's marker.
    pub fn publish(&mut self, written: Written, table: &str, shard: Option<ShardId>) -> Result<()> {
        self.publish_as(written, table, shard, "parquet")
    }

    /// Publishes a part again that was lost, if what was written is the same; `false` if it is not.
    pub fn publish_again(&mut self, written: &Written, lost: &Part) -> Result<bool> {
        if written.sha256 != lost.sha256 {
            return Ok(false);
        }
        self.place.work.publish(written, &lost.path)?;
        self.outcome.parts.push(lost.clone());
        Ok(true)
    }

    /// Publishes a file that is no table, such as an index.
    pub fn publish_file(&mut self, aside: &Path, table: &str, extension: &str) -> Result<()> {
        let bytes = std::fs::metadata(aside).map_err(Error::io(aside))?.len();
        let sha256 = digest::sha256_of(aside)?;
        self.publish_as(Written { path: aside.into(), rows: 0, bytes, sha256, tail: None }, table, None, extension)
    }

    /// Publishes a file under a name that carries its content and this extension.
    pub fn publish_as(&mut self, written: Written, table: &str, shard: Option<ShardId>, extension: &str) -> Result<()> {
        let step = &self.place.step;
        let folder = if table.is_empty() { step.clone() } else { format!("{step}/{table}") };
        let published = self.published.entry(table.to_owned()).or_default();
        let number = match *published {
            0 => format!("{:05}", self.place.number),
            earlier => format!("{:05}-{earlier}", self.place.number),
        };
        *published += 1;
        let path = format!("{folder}/part-{number}-{}.{extension}", &written.sha256[..8]);
        self.place.work.publish(&written, &path)?;
        self.outcome.parts.push(Part {
            table: table.to_owned(),
            path,
            rows: written.rows,
            bytes: written.bytes,
            sha256: written.sha256,
            tail: written.tail,
            shard,
        });
        Ok(())
    }

    /// Counts `rows` as dropped for `reason`.
    pub fn drop(&mut self, reason: Reason, rows: u64) {
        if rows > 0 {
            *self.outcome.drops.entry(reason).or_default() += rows;
        }
    }

    /// Adds to a named counter.
    pub fn count(&mut self, counter: &str, n: u64) {
        *self.outcome.counters.entry(counter.to_owned()).or_default() += n;
    }

    /// Tells the planning of later phases what it needs to know: one struct a phase.
    pub fn tell(&mut self, told: impl Serialize) -> Result<()> {
        self.outcome.told = to_value(told)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Told {
        regions: Vec<u32>,
        probes: u64,
    }

    fn told(marker: &str) -> Result<Option<Told>> {
        let outcome: Outcome = serde_json::from_str(marker).map_err(|e| Error::data("a marker", e))?;
        outcome.told()
    }

    #[test]
    fn what_a_task_told_is_read_from_its_marker() -> Result<()> {
        let expected = Told { regions: vec![0, 7], probes: 30 };
        let told_now = Outcome { told: to_value(&expected)?, ..Outcome::default() };
        let marker = serde_json::to_string(&told_now).map_err(|e| Error::data("a marker", e))?;
        assert!(!marker.contains("notes"), "{marker}");
        assert_eq!(told(&marker)?, Some(expected));
        Ok(())
    }

    #[test]
    fn markers_of_earlier_versions_tell_as_well() -> Result<()> {
        let rest = r#""rows_in": 1, "rows_out": 1, "drops": {}, "histograms": {}, "parts": []"#;
        let marker = |counters: &str, facts: &str, notes: &str| {
            format!(r#"{{ {rest}, "counters": {{{counters}}}, "facts": {{{facts}}}, "notes": {{{notes}}} }}"#)
        };
        let expected = Some(Told { regions: vec![0, 7], probes: 30 });
        assert_eq!(told(&marker(r#""probes": 30"#, "", r#""regions": [0, 7]"#))?, expected);
        assert_eq!(told(&marker("", r#""probes": 30, "regions": [0, 7]"#, ""))?, expected);
        assert_eq!(told(&marker("", "", ""))?, None, "a task without a row told nothing");
        assert!(told(&marker("", "", r#""regions": [0, 7]"#)).is_err(), "and half of it is an error");
        Ok(())
    }
}
