//! A step that is whole, and how its tables are read: as a stream, never as a whole.

use std::any::Any;
use std::path::PathBuf;

use crate::pipeline::records::Manifest;
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::summary::Summary;
use crate::stages::StageKind;
use crate::stages::catalog::Role;
use crate::stages::table::Table;
use crate::stages::task::{Place, Task};
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_io::row::Row;
use lvd_kernels::hash::Draw;

/// A step that is whole.
pub struct Whole<'a> {
    /// The pipeline it belongs to.
    pub pipeline: &'a Pipeline,
    /// Its name and settings.
    pub step: &'a Step,
    /// What it did.
    pub summary: Summary,
    /// What reads tables.
    pub task: Task<'a>,
    manifest: Manifest,
}

impl<'a> Whole<'a> {
    /// The step, if it is whole.
    pub fn open(pipeline: &'a Pipeline, step: &'a Step, threads: usize) -> Result<Option<Self>> {
        let (Some(manifest), Some(summary)) =
            (pipeline.store.manifest(&step.name)?, pipeline.store.summary(&step.name)?)
        else {
            return Ok(None);
        };
        // It reads parts by the names in manifests, and publishes nothing.
        let root = || PathBuf::from(pipeline.store.work.root());
        let work = pipeline.store.work.clone();
        let place =
            Place { work, copies: root(), step: step.name.clone(), number: 0, aside: root(), checkpoint: root() };
        let task = Task::new(&pipeline.catalog, place, threads, &|_| ());
        Ok(Some(Self { pipeline, step, summary, task, manifest }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.step.name
    }

    /// Its settings, of the kind they are.
    pub fn settings<S: Any>(&self) -> Result<&S> {
        let stage: &dyn Any = self.step.stage.as_ref();
        let other = || Error::usage(format!("step {:?} is of another kind", self.name()), "");
        stage.downcast_ref().ok_or_else(other)
    }

    /// A table of its own; empty where it had no row for it.
    pub fn table(&self, name: &str) -> Table {
        self.manifest.tables.get(name).cloned().unwrap_or_default()
    }

    /// The names of its tables.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.manifest.tables.keys().map(String::as_str)
    }

    /// A table of another step, `STEP` or `STEP/TABLE`.
    pub fn other(&self, name: &str) -> Result<Table> {
        let (step, table) = name.split_once('/').unwrap_or((name, ""));
        let manifest = self.pipeline.store.manifest(step)?;
        let gone = || Error::usage(format!("step {step:?} is not whole any more"), "lvd run FILE");
        Ok(manifest.ok_or_else(gone)?.tables.remove(table).unwrap_or_default())
    }

    /// The images of all ingest steps.
    pub fn ingested(&self) -> Result<Table> {
        let mut all = Table::default();
        for step in self.pipeline.steps.iter().filter(|step| step.stage.kind() == StageKind::Ingest) {
            all.parts.extend(self.other(&step.name)?.parts);
        }
        Ok(all)
    }

    /// Calls `each` with every row of a table of its own.
    pub fn for_each<R: Row>(&self, table: &str, mut each: impl FnMut(R)) -> Result<()> {
        self.task.for_each::<R>(&self.table(table), |row| {
            each(row);
            Ok(())
        })
    }

    /// The draw of a purpose.
    pub fn draw(&self, purpose: &str) -> Draw {
        Draw::new(self.summary.seed, &format!("look/{purpose}"))
    }

    /// The source an image is of.
    pub fn source(&self, id: ImageId) -> &str {
        self.pipeline.catalog.source_of(id.shard()).map_or("?", |(name, _)| name)
    }

    /// Whether an image is of a seed or reference set.
    pub fn is_given(&self, id: ImageId) -> bool {
        self.pipeline.catalog.role_of(id.shard()).is_some_and(|role| role != Role::Pool)
    }

    /// A command about this pipeline: `plan --set ...` as it is typed.
    pub fn command(&self, command: &str, rest: &str) -> String {
        format!("lvd {command} {} {rest}", self.pipeline.typed).trim_end().to_owned()
    }
}
