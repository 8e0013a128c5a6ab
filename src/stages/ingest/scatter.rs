//! Sorting the hashes of a group of shards, and cutting them into slices of the space of hashes: a
//! file each, so that whoever looks through a slice reads nothing else.
//!
//! Copies within what is held at a time are found here. Of a picture that came a million times, few
//! hashes go on, and no slice is much larger than another.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::context::PlanContext;
use crate::stages::ingest::gone::{self, GoneRows};
use crate::stages::ingest::groups::{Group, Grouping};
use crate::stages::plan::PhasePlan;
use crate::stages::table::Part;
use crate::stages::task::{Headway, Task};
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_io::digest::unhex;
use lvd_io::part::Layout;
use lvd_io::row::RowWriter;
use lvd_io::table;

table! {
    /// An image that has the same bytes as one with a lower id.
    pub struct ExactCopy {
        /// The copy.
        pub id: ImageId,
        /// The image with the lowest id among those that were compared with it.
        pub copy_of: ImageId,
    }
}

table! {
    /// An image and its hash, for people.
    pub struct Hashed {
        /// Which image.
        pub id: ImageId,
        /// SHA-256 of the file.
        pub sha256: String,
    }
}

table! {
    /// The same for programs.
    pub struct Digest {
        /// SHA-256 of the file.
        pub sha256: [u8; 32],
        /// Which image.
        pub id: ImageId,
    }
}

/// How hashes are stored: no codec makes them smaller.
const LAYOUT: Layout = Layout { group_rows: 65_536, raw_columns: &["sha256"] };

/// The tables between the phases.
pub const HASHES: &str = "hashes";
pub const COPIES: &str = "copies";

/// A group of shards.
#[derive(Serialize, Deserialize)]
pub struct ScatterTask {
    facts: Vec<Part>,
    pool: bool,
    /// Rows that are no longer listed: they are nobody's copies.
    gone: Vec<GoneRows>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct ScatterCommon {
    /// Slices of the space of hashes.
    slices: u64,
    /// Hashes that are held at a time.
    held: u64,
}

/// What the planning of `match` needs to know.
#[derive(Serialize, Deserialize)]
pub struct ScatterTold {
    /// Whether its images are of the pool.
    pub pool: bool,
    /// The slice of each of the parts of hashes.
    pub slices: Vec<u64>,
}

/// A task for each group, in their order. `held`: hashes that a task of this phase or the next
/// holds.
pub fn plan(grouping: Grouping, held: u64, context: &PlanContext) -> Result<PhasePlan> {
    let groups = grouping.fetched(context)?;
    let pool = groups.iter().filter(|group| group.pool).map(Group::rows).sum::<u64>();
    let (slices, rows) = (pool.div_ceil(held), groups.iter().map(Group::rows).collect());
    let mut gone = gone::by_shard(context);
    let tasks = groups.into_iter().map(|group| {
        let gone = gone::of(&group.facts, &mut gone);
        ScatterTask { facts: group.facts, pool: group.pool, gone }
    });
    Ok(PhasePlan::new(ScatterCommon { slices, held }, tasks)?.with_rows(Some(rows)))
}

/// Scatters the hashes of a group.
pub fn run(spec: &ScatterTask, common: ScatterCommon, task: &mut Task) -> Result<()> {
    let rows = spec.facts.iter().map(|part| part.rows).sum::<u64>();
    let held = usize::try_from(common.held.min(rows)).unwrap_or(usize::MAX);
    let mut hashes: Vec<Digest> = Vec::with_capacity(held);
    let (mut copies, mut told) = (Vec::new(), ScatterTold { pool: spec.pool, slices: Vec::new() });
    for part in &spec.facts {
        let gone = gone::ids(&spec.gone, part.shard, task)?;
        for batch in task.read::<Hashed>(part)? {
            for row in batch?.into_iter().filter(|row| !gone.contains(&row.id)) {
                let no_hash = || Error::data(&part.path, format!("{:?} is no SHA-256", row.sha256));
                hashes.push(Digest { sha256: unhex(&row.sha256).ok_or_else(no_hash)?, id: row.id });
                if hashes.len() == held {
                    write(&mut hashes, &mut copies, common.slices, &mut told, task)?;
                }
            }
        }
        (task.progress)(Headway::Done(part.rows));
    }
    write(&mut hashes, &mut copies, common.slices, &mut told, task)?;
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    task.tell(told)?;
    write_copies(copies, task)
}

/// Writes hashes, slice by slice, and empties them; copies among those of a pool go to `copies`.
fn write(
    hashes: &mut Vec<Digest>,
    copies: &mut Vec<ExactCopy>,
    slices: u64,
    told: &mut ScatterTold,
    task: &mut Task,
) -> Result<()> {
    if told.pool {
        copies.extend(take_copies(hashes));
    } else {
        sort(hashes);
    }
    for slice in hashes.chunk_by(|a, b| slice_of(&a.sha256, slices) == slice_of(&b.sha256, slices)) {
        let mut writer = RowWriter::create(&task.aside(HASHES), &LAYOUT)?;
        slice.iter().try_for_each(|hash| writer.push(hash.clone()))?;
        task.publish(writer.finish()?, HASHES, None)?;
        told.slices.push(slice_of(&slice[0].sha256, slices));
    }
    hashes.clear();
    Ok(())
}

fn sort(hashes: &mut [Digest]) {
    hashes.par_sort_unstable_by(|a, b| a.sha256.cmp(&b.sha256).then(a.id.cmp(&b.id)));
}

/// Sorts hashes, and takes those out that came before with a lower id.
pub fn take_copies(hashes: &mut Vec<Digest>) -> Vec<ExactCopy> {
    let mut copies = Vec::new();
    sort(hashes);
    hashes.dedup_by(|next, first| {
        let same = next.sha256 == first.sha256;
        if same {
            copies.push(ExactCopy { id: next.id, copy_of: first.id });
        }
        same
    });
    copies
}

/// Publishes copies by id, where there are any.
pub fn write_copies(mut copies: Vec<ExactCopy>, task: &mut Task) -> Result<()> {
    if copies.is_empty() {
        return Ok(());
    }
    copies.par_sort_unstable_by_key(|copy| copy.id);
    let mut writer = task.rows(COPIES)?;
    copies.into_iter().try_for_each(|copy| writer.push(copy))?;
    task.publish(writer.finish()?, COPIES, None)
}

/// Which of `slices` a hash falls into: they are ranges, in the order of hashes.
fn slice_of(sha256: &[u8; 32], slices: u64) -> u64 {
    let first = sha256.iter().take(8).fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    u64::try_from((u128::from(first) * u128::from(slices)) >> 64).unwrap_or(0)
}
