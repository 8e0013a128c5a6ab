//! What became of images of the pool on their way to the finished data set.

use std::fmt;

use serde::Serialize;

use super::finished::Finished;
use super::origin::{Image, of, origins, rows_of};
use crate::pipeline::steps::Pipeline;
use crate::stages::StageKind;
use crate::stages::catalog::Role;
use crate::stages::dedup::Group;
use crate::stages::sample::Sampled;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;

/// What became of an image.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Became {
    /// It is in the finished data set.
    InDataSet {
        /// The step that the set is of.
        step: String,
        /// `seed`, `retrieved` or `balanced`, where a sample step says so.
        why: Option<String>,
    },
    /// A dedup step dropped it as a copy.
    CopyOf {
        /// The step.
        step: String,
        /// The image that stays in its place, or the reference image that it is a copy of.
        image: Option<Image>,
        /// Cosine to that image, where the step knows it.
        similarity: Option<f32>,
    },
    /// It belongs to a reference set, and is held out.
    HeldOut,
    /// No step dropped it as a copy, and the step that chose the finished set has not taken it.
    NotTaken {
        /// That step.
        step: String,
    },
    /// No step has dropped it so far, and there is no finished set yet.
    Kept {
        /// The step that would make it.
        until: String,
    },
}

impl fmt::Display for Became {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InDataSet { why: Some(why), .. } => write!(f, "in the data set: {why}"),
            Self::InDataSet { why: None, .. } => f.write_str("in the data set"),
            Self::CopyOf { step, image, similarity } => {
                let other = image.as_ref().map_or("another", |image| &image.url);
                write!(f, "dropped by {step}: a copy of {other}")?;
                similarity.map_or(Ok(()), |similarity| write!(f, " ({similarity:.4})"))
            }
            Self::HeldOut => f.write_str("held out: a reference image"),
            Self::NotTaken { step } => write!(f, "not taken by {step}"),
            Self::Kept { until } => write!(f, "kept so far; {until} has not run"),
        }
    }
}

/// What became of images, sorted by id, in the order of `ids`. `images` is the table of the ingest
/// step, `finished` the set, where there is one yet, or the step that would make it.
pub fn became(
    pipeline: &Pipeline,
    ids: &[ImageId],
    facts: &Table,
    finished: std::result::Result<&Finished, &str>,
    task: &Task,
) -> Result<Vec<Became>> {
    let held = finished.map_or(Ok(Vec::new()), |finished| finished.among(ids, task))?;
    let sampled = sampled(pipeline, &held, task)?;
    let dropped = dropped(pipeline, ids, facts, task)?;
    let of_image = |&id: &ImageId| {
        if held.binary_search(&id).is_ok() {
            let why = of(&sampled, id, |row| row.id).map(|row| row.why.clone());
            let step = finished.map_or_else(str::to_owned, |finished| finished.step.clone());
            return Became::InDataSet { step, why };
        }
        if task.catalog.role_of(id.shard()) == Some(Role::Reference) {
            return Became::HeldOut;
        }
        match (of(&dropped, id, |(id, _)| *id), finished) {
            (Some((_, became)), _) => became.clone(),
            (None, Ok(finished)) => Became::NotTaken { step: finished.chosen_by.clone() },
            (None, Err(step)) => Became::Kept { until: step.into() },
        }
    };
    Ok(ids.iter().map(of_image).collect())
}

/// Why images are in the data set, by the last sample step that is whole.
fn sampled(pipeline: &Pipeline, ids: &[ImageId], task: &Task) -> Result<Vec<Sampled>> {
    let step = pipeline.steps.iter().rfind(|step| step.stage.kind() == StageKind::Sample);
    let table = step.map(|step| pipeline.store.manifest(&step.name)).transpose()?.flatten();
    let table = table.and_then(|mut manifest| manifest.tables.remove("")).unwrap_or_default();
    rows_of(&table, ids, |row: &Sampled| row.id, task)
}

/// The images that dedup steps dropped, by id: each by the first that did.
fn dropped(pipeline: &Pipeline, ids: &[ImageId], facts: &Table, task: &Task) -> Result<Vec<(ImageId, Became)>> {
    let mut gone: Vec<(&str, Group)> = Vec::new();
    for step in pipeline.steps.iter().filter(|step| step.stage.kind() == StageKind::Dedup) {
        let Some(manifest) = pipeline.store.manifest(&step.name)? else { continue };
        let groups = manifest.tables.get("").cloned().unwrap_or_default();
        let rows = rows_of(&groups, ids, |row: &Group| row.id, task)?;
        let new: Vec<_> =
            rows.into_iter().filter(|row| !row.kept && gone.iter().all(|(_, of)| of.id != row.id)).collect();
        gone.extend(new.into_iter().map(|row| (step.name.as_str(), row)));
    }
    let mut instead: Vec<ImageId> = gone.iter().filter_map(|(_, row)| row.representative).collect();
    instead.sort_unstable();
    instead.dedup();
    let origins = origins(facts, &instead, task)?;
    let became = |(step, row): (&str, Group)| {
        let image = row.representative.and_then(|id| of(&origins, id, |row| row.id)).map(Image::from);
        (row.id, Became::CopyOf { step: step.into(), image, similarity: row.similarity })
    };
    let mut all: Vec<_> = gone.into_iter().map(became).collect();
    all.sort_by_key(|(id, _)| *id);
    Ok(all)
}
