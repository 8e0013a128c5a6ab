//! The decision about every image: whether it goes on, shard by shard.

use serde::{Deserialize, Serialize};

use crate::stages::context::PlanContext;
use crate::stages::ingest::exact;
use crate::stages::ingest::gone::{self, GoneRows};
use crate::stages::ingest::groups::{Group, Grouping};
use crate::stages::ingest::phases::IngestPhase;
use crate::stages::ingest::scatter::{COPIES, ExactCopy, Hashed};
use crate::stages::plan::PhasePlan;
use crate::stages::table::{Part, Table};
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Reason};
use lvd_io::table;

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

/// A group of shards.
#[derive(Serialize, Deserialize)]
pub struct MarkTask {
    facts: Vec<Part>,
    /// Copies of images that `scatter` held with them.
    within: Table,
    /// Those of these images that are copies of others.
    across: Table,
    /// Rows that are no longer listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<GoneRows>,
}

/// A task for each group, in their order.
pub fn plan(grouping: Grouping, context: &PlanContext) -> Result<PhasePlan> {
    let mut across = exact::by_group(context)?;
    // One for each group as well, or none at all.
    let mut scattered = context.outcomes(IngestPhase::Scatter).iter();
    let groups = grouping.fetched(context)?;
    let rows = groups.iter().map(Group::rows).collect();
    let mut gone = gone::by_shard(context);
    let tasks = groups.into_iter().map(|group| {
        let parts = scattered.next().into_iter().flat_map(|outcome| &outcome.parts);
        let within = Table { parts: parts.filter(|part| part.table == COPIES).cloned().collect() };
        let (across, gone) = (across.remove(&group.name).unwrap_or_default(), gone::of(&group.facts, &mut gone));
        MarkTask { facts: group.facts, within, across, gone }
    });
    Ok(PhasePlan::new((), tasks)?.with_rows(Some(rows)))
}

/// Says of each image of a group whether it goes on.
pub fn run(spec: &MarkTask, task: &mut Task) -> Result<()> {
    let (within, across) = (Copies::read(&spec.within, task)?, Copies::read(&spec.across, task)?);
    let (mut copies, mut no_longer_listed) = (0, 0);
    for facts in &spec.facts {
        let gone = gone::ids(&spec.gone, facts.shard, task)?;
        let mut writer = task.rows("kept")?;
        for batch in task.read::<Hashed>(facts)? {
            for Hashed { id, sha256 } in batch? {
                let duplicate_of = Some(across.first(within.first(id))).filter(|&first| first != id);
                let gone = gone.contains(&id);
                copies += u64::from(duplicate_of.is_some());
                no_longer_listed += u64::from(gone);
                writer.push(Kept { id, sha256, kept: duplicate_of.is_none() && !gone, duplicate_of })?;
            }
        }
        task.outcome.rows_in += facts.rows;
        task.publish(writer.finish()?, "kept", facts.shard)?;
        (task.progress)(Headway::Done(facts.rows));
    }
    task.outcome.rows_out = task.outcome.rows_in - copies - no_longer_listed;
    task.drop(Reason::ExactDuplicate, copies);
    task.drop(Reason::NoLongerListed, no_longer_listed);
    task.outcome.gone = gone::failures(&spec.gone, task)?;
    Ok(())
}

/// Copies, by id.
struct Copies(Vec<ExactCopy>);

impl Copies {
    fn read(table: &Table, task: &Task) -> Result<Self> {
        let mut copies = Vec::with_capacity(usize::try_from(table.rows()).unwrap_or(0));
        task.for_each(table, |copy: ExactCopy| {
            copies.push(copy);
            Ok(())
        })?;
        copies.sort_unstable_by_key(|copy| copy.id);
        Ok(Self(copies))
    }

    /// The image that an image is a copy of, or itself.
    fn first(&self, id: ImageId) -> ImageId {
        self.0.binary_search_by_key(&id, |copy| copy.id).map_or(id, |at| self.0[at].copy_of)
    }
}
