//! Exact copies: pool images with the same SHA-256. The one with the lowest id goes on.
//!
//! `match` cuts the space of hashes into slices, so that a task holds the hashes of its slice only;
//! `mark` turns what it found into decisions shard by shard. Pixels are not touched.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::stages::catalog::Role;
use crate::stages::context::PlanContext;
use crate::stages::ingest::gone::{self, GoneRows};
use crate::stages::ingest::phases::IngestPhase;
use crate::stages::plan::PhasePlan;
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Reason, ShardId};
use lvd_io::table;

/// Images a slice of the hashes, about.
pub const SLICE_IMAGES: u64 = 1 << 20;

table! {
    /// An image that has the same bytes as one with a lower id.
    pub struct ExactCopy {
        /// The copy.
        pub id: ImageId,
        /// The image that stays.
        pub copy_of: ImageId,
    }
}

table! {
    /// Whether an ingested image goes on.
    pub struct Kept {
        /// Which image.
        pub id: ImageId,
        /// SHA-256 of the file.
        pub sha256: String,
        /// Whether it goes on.
        pub kept: bool,
        /// The image with the same bytes that goes on in its place.
        pub duplicate_of: Option<ImageId>,
    }
}

table! {
    /// An image and its hash.
    pub struct Hashed {
        /// Which image.
        pub id: ImageId,
        /// SHA-256 of the file.
        pub sha256: String,
    }
}

#[derive(Serialize, Deserialize)]
pub struct MatchCommon {
    images: Table,
    /// Seeds and references: which of them are in the pool, too.
    #[serde(default)]
    others: Table,
    slices: u64,
    /// Rows that are no longer listed: they are nobody's copies.
    gone: Vec<GoneRows>,
}

#[derive(Serialize, Deserialize)]
pub struct MarkTask {
    images: Part,
    copies: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<GoneRows>,
}

pub fn plan_match(context: &PlanContext) -> Result<PhasePlan> {
    let mut fetched = context.made(IngestPhase::Fetch, "");
    fetched.parts.sort_by_key(|part| part.shard);
    let (images, others) = fetched.parts.into_iter().partition(|part| is_pool(context, part.shard));
    let (images, others) = (Table { parts: images }, Table { parts: others });
    let slices = images.rows().div_ceil(SLICE_IMAGES);
    let gone = gone::by_shard(context).into_values().collect();
    PhasePlan::new(MatchCommon { images, others, slices, gone }, 0..slices)
}

pub fn plan_mark(context: &PlanContext) -> Result<PhasePlan> {
    let mut gone = gone::by_shard(context);
    let fetched = context.made(IngestPhase::Fetch, "").parts;
    let rows = fetched.iter().map(|images| images.rows).collect();
    let tasks = fetched.into_iter().map(|images| {
        let (copies, gone) = (is_pool(context, images.shard), images.shard.and_then(|shard| gone.remove(&shard)));
        MarkTask { images, copies, gone }
    });
    Ok(PhasePlan::new(context.made(IngestPhase::Match, "copies"), tasks)?.with_rows(Some(rows)))
}

/// Finds the copies in one slice of the hashes.
pub fn run_match(slice: u64, common: &MatchCommon, task: &mut Task) -> Result<()> {
    let mut first: HashMap<String, ImageId> = HashMap::new();
    let mut copies = Vec::new();
    let mut rows = 0;
    for_each_listed(&common.images, &common.gone, task, |row| {
        if slice_of(&row.sha256, common.slices)? != slice {
            return Ok(());
        }
        rows += 1;
        // Parts and rows come in the order of ids, so the first one seen is the one that stays.
        match first.get(&row.sha256) {
            Some(&copy_of) => copies.push(ExactCopy { id: row.id, copy_of }),
            None => drop(first.insert(row.sha256, row.id)),
        }
        Ok(())
    })?;
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    let mut in_pool: BTreeMap<u16, u64> = BTreeMap::new();
    for_each_listed(&common.others, &common.gone, task, |row| {
        if first.contains_key(&row.sha256) {
            *in_pool.entry(row.id.shard().dataset()).or_default() += 1;
        }
        Ok(())
    })?;
    for (number, images) in in_pool {
        let source = task.catalog.sources.iter().find(|(_, entry)| entry.number == number);
        if let Some(name) = source.map(|(name, _)| in_pool_counter(name)) {
            task.count(&name, images);
        }
    }
    copies.sort_unstable_by_key(|copy| copy.id);
    let mut writer = task.rows("copies")?;
    copies.into_iter().try_for_each(|copy| writer.push(copy))?;
    task.publish(writer.finish()?, "copies", None)
}

/// Calls `each` with the images of a table that are still listed.
fn for_each_listed(
    images: &Table,
    gone: &[GoneRows],
    task: &Task,
    mut each: impl FnMut(Hashed) -> Result<()>,
) -> Result<()> {
    let gone: HashMap<Option<ShardId>, &GoneRows> = gone.iter().map(|gone| (gone.shard(), gone)).collect();
    for part in &images.parts {
        let gone = gone.get(&part.shard).map(|gone| gone.ids(task)).transpose()?.unwrap_or_default();
        for row in task.read_all::<Hashed>(part)?.into_iter().filter(|row| !gone.contains(&row.id)) {
            each(row)?;
        }
    }
    Ok(())
}

/// The counter of images of a seed or reference set that are in the pool, too, byte for byte.
#[must_use]
pub fn in_pool_counter(source: &str) -> String {
    format!("also_in_pool/{source}")
}

/// Which of `slices` a hash falls into: by its first 32 bits.
fn slice_of(sha256: &str, slices: u64) -> Result<u64> {
    let first = sha256.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let first = first.ok_or_else(|| Error::data("the table of images", format!("{sha256:?} is no SHA-256")))?;
    Ok(first % slices.max(1))
}

/// Says of each image of a shard whether it goes on.
pub fn run_mark(spec: &MarkTask, copies: &Table, task: &mut Task) -> Result<()> {
    let mut copy_of = HashMap::new();
    if spec.copies {
        task.for_each::<ExactCopy>(copies, |copy| {
            if Some(copy.id.shard()) == spec.images.shard {
                copy_of.insert(copy.id, copy.copy_of);
            }
            Ok(())
        })?;
    }
    let gone = spec.gone.as_ref().map(|gone| gone.ids(task)).transpose()?.unwrap_or_default();
    let (mut copies, mut no_longer_listed) = (0, 0);
    let mut writer = task.rows("kept")?;
    for row in task.read_all::<Hashed>(&spec.images)? {
        let duplicate_of = copy_of.get(&row.id).copied();
        let gone = gone.contains(&row.id);
        copies += u64::from(duplicate_of.is_some());
        no_longer_listed += u64::from(gone);
        writer.push(Kept { id: row.id, sha256: row.sha256, kept: duplicate_of.is_none() && !gone, duplicate_of })?;
    }
    task.outcome.rows_in = spec.images.rows;
    task.outcome.rows_out = spec.images.rows - copies - no_longer_listed;
    task.drop(Reason::ExactDuplicate, copies);
    task.drop(Reason::NoLongerListed, no_longer_listed);
    if let Some(rows) = &spec.gone {
        task.outcome.gone = rows.failures(&gone, task)?;
    }
    task.publish(writer.finish()?, "kept", spec.images.shard)
}

/// Whether a shard's exact copies are looked for.
fn is_pool(context: &PlanContext, shard: Option<ShardId>) -> bool {
    shard.and_then(|shard| context.catalog.role_of(shard)) == Some(Role::Pool)
}
