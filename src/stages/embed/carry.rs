//! Vectors that an earlier task computed of the same files by the same models. When other images of
//! a shard go on than before, these are taken over as they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stages::embed::spec::{EmbedCommon, EmbedTask};
use crate::stages::former::{Done, Former};
use crate::stages::plan::{PhasePlan, fingerprint, from_value, to_value};
use crate::stages::pool::Identity;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::vectors::{StoredRows, VectorWriter};

/// What planning needs to know of a shard that was embedded.
#[derive(Serialize, Deserialize)]
pub struct EmbedTold {
    /// Hash of its files and its models.
    pub of: String,
}

impl EmbedTold {
    pub fn new(spec: &EmbedTask, common: &EmbedCommon) -> Result<Self> {
        Ok(Self { of: fingerprint(&(to_value(common)?, to_value(&spec.images)?))? })
    }
}

/// The vectors that tasks go on from.
pub fn former(plan: &PhasePlan, missing: &[usize], done: Vec<Done>) -> Result<BTreeMap<usize, Former>> {
    let common: EmbedCommon = from_value(&plan.common)?;
    let mut known: BTreeMap<String, Done> = BTreeMap::new();
    // A marker of an earlier version tells nothing.
    for done in done.into_iter().filter(|done| done.there && !done.outcome.told.is_null()) {
        if let Some(EmbedTold { of }) = done.outcome.told()?
            && (done.whole || !known.contains_key(&of))
        {
            known.insert(of, done);
        }
    }
    let mut formers = BTreeMap::new();
    for &number in missing {
        let of = EmbedTold::new(&from_value(&plan.tasks[number])?, &common)?.of;
        if let Some(Done { key, outcome, .. }) = known.remove(&of) {
            formers.insert(number, Former::new(vec![key], Table { parts: outcome.parts })?);
        }
    }
    Ok(formers)
}

/// The vectors that are taken over.
#[derive(Default)]
pub struct Carried {
    /// Of which images, sorted.
    pub ids: Vec<ImageId>,
    /// Tells these vectors from others.
    pub name: String,
    /// A table for each embedder.
    tables: Vec<StoredRows>,
}

impl Carried {
    /// Those of the images that go on.
    pub fn of(former: Option<&Table>, kept: &[ImageId], common: &EmbedCommon, task: &Task) -> Result<Self> {
        let Some(former) = former.filter(|former| !former.parts.is_empty()) else { return Ok(Self::default()) };
        let mut carried = Self { name: fingerprint(former)?[..8].to_owned(), ..Self::default() };
        for embedder in &common.embedders {
            // Each has the vectors of the same images.
            let Some(part) = former.parts.iter().find(|part| part.table == embedder.name) else {
                return Ok(Self::default());
            };
            carried.tables.push(StoredRows::open(&task.open(part)?)?);
            carried.ids = task.read_all::<Identity>(part)?.into_iter().map(|row| row.id).collect();
        }
        carried.ids.retain(|id| kept.binary_search(id).is_ok());
        Ok(carried)
    }

    /// Writes those of images before `end`, or all that are left.
    pub fn write_before(
        &mut self,
        end: Option<ImageId>,
        writers: &mut [Option<VectorWriter>],
        common: &EmbedCommon,
        task: &Task,
    ) -> Result<()> {
        for ((table, writer), embedder) in self.tables.iter_mut().zip(writers).zip(&common.embedders) {
            while let Some(rows) = table.next_before(end, |id| self.ids.binary_search(&id).is_ok())? {
                if writer.is_none() {
                    *writer = Some(task.vectors(&embedder.name, rows.dimension())?);
                }
                if let Some(writer) = writer {
                    writer.write_stored(&rows)?;
                }
            }
        }
        Ok(())
    }
}
