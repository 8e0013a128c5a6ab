//! The finished data set: the images of the export step or, without one, of the last step that
//! keeps some.

use std::any::Any;

use crate::pipeline::steps::Pipeline;
use crate::stages::StageKind;
use crate::stages::catalog::Role;
use crate::stages::export::Export;
use crate::stages::pool::{self, Decision, Identity, VectorShard};
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;

use super::origin::rows_of;

/// The finished data set.
pub struct Finished {
    /// The step that it is of.
    pub step: String,
    /// The step that chose its images: of an export, the sample that it writes.
    pub chosen_by: String,
    held: Held,
}

/// Which images it has.
enum Held {
    /// Those of a table that names them, sorted: 8 bytes an image.
    Ids(Vec<ImageId>),
    /// Those that a selection keeps.
    Kept(Table),
}

/// The step whose images are the finished data set.
pub fn step(pipeline: &Pipeline) -> Result<(&str, StageKind)> {
    let last = |wanted: &dyn Fn(StageKind) -> bool| pipeline.steps.iter().rfind(|step| wanted(step.stage.kind()));
    let keeps = |kind| !matches!(kind, StageKind::Embed | StageKind::Cluster);
    let step = last(&|kind| kind == StageKind::Export).or_else(|| last(&keeps));
    let none = || Error::usage(format!("{} has no step that keeps images", pipeline.typed), "add [steps.dedup]");
    step.map(|step| (&*step.name, step.stage.kind())).ok_or_else(none)
}

impl Finished {
    /// That of a pipeline.
    ///
    /// # Errors
    /// When its step is not whole.
    pub fn of(pipeline: &Pipeline, task: &Task) -> Result<Self> {
        let (name, kind) = step(pipeline)?;
        let table = match kind {
            StageKind::Export => "data",
            StageKind::Ingest => "kept",
            _ => "",
        };
        let table = pipeline.tables(name)?.remove(table).unwrap_or_default();
        let held = match kind {
            StageKind::Ingest | StageKind::Dedup => Held::Kept(table),
            _ => {
                let mut ids = Vec::with_capacity(usize::try_from(table.rows()).unwrap_or(0));
                task.for_each::<Identity>(&table, |row| {
                    ids.push(row.id);
                    Ok(())
                })?;
                ids.sort_unstable();
                ids.dedup();
                Held::Ids(ids)
            }
        };
        let export = pipeline.steps.iter().find(|step| step.name == name).map(|step| step.stage.as_ref() as &dyn Any);
        let export = export.and_then(|stage| stage.downcast_ref::<Export>());
        let chosen_by = export.map_or(name, |export| export.sample.name()).to_owned();
        Ok(Self { step: name.to_owned(), chosen_by, held })
    }

    /// The shards of `vectors` that may have some of its images.
    pub fn shards(&self, vectors: &Table, task: &Task) -> Vec<VectorShard> {
        // Reference images are held out, though ingest keeps them.
        let wanted = |shard| task.catalog.role_of(shard) != Some(Role::Reference);
        match &self.held {
            Held::Ids(_) => pool::shards(vectors, None, wanted),
            Held::Kept(table) => pool::shards(vectors, Some(table), wanted),
        }
    }

    /// Its images by id, where the shards do not say it.
    pub fn ids(&self) -> Option<&[ImageId]> {
        match &self.held {
            Held::Ids(ids) => Some(ids),
            Held::Kept(_) => None,
        }
    }

    /// Those of `ids`, which are sorted, that it has.
    pub fn among(&self, ids: &[ImageId], task: &Task) -> Result<Vec<ImageId>> {
        let held = match &self.held {
            Held::Ids(all) => ids.iter().copied().filter(|id| all.binary_search(id).is_ok()).collect(),
            Held::Kept(table) => {
                let rows = rows_of(table, ids, |row: &Decision| row.id, task)?;
                rows.into_iter().filter(|row| row.kept).map(|row| row.id).collect()
            }
        };
        let is_out = |id: &ImageId| task.catalog.role_of(id.shard()) == Some(Role::Reference);
        let held: Vec<ImageId> = held;
        Ok(held.into_iter().filter(|id| !is_out(id)).collect())
    }
}
