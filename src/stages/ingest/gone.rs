//! Rows that were fetched and that the source no longer lists: they stay where they are, and do not
//! go on.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::stages::context::PlanContext;
use crate::stages::ingest::phases::IngestPhase;
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Reason, ShardId};
use lvd_io::table;

/// The table of such rows.
pub const GONE: &str = "gone";

table! {
    /// A row that its source listed before and lists no longer. It keeps its id; listed again, it is
    /// this row again.
    pub struct Gone {
        /// Which row.
        pub id: ImageId,
    }
}

table! {
    /// A row that gave no image, and why.
    pub struct Failure {
        /// Which row.
        pub id: ImageId,
        /// The drop reason.
        pub reason: Reason,
    }
}

/// Of a shard, the rows that are gone, and those that had failed.
#[derive(Clone, Serialize, Deserialize)]
pub struct GoneRows {
    rows: Part,
    failed: Table,
}

impl GoneRows {
    /// The shard.
    pub fn shard(&self) -> Option<ShardId> {
        self.rows.shard
    }

    /// The ids of those that are gone.
    pub fn ids(&self, task: &Task) -> Result<HashSet<ImageId>> {
        Ok(task.read_all::<Gone>(&self.rows)?.into_iter().map(|row| row.id).collect())
    }

    /// How many of those that are gone had failed, by reason.
    pub fn failures(&self, ids: &HashSet<ImageId>, task: &Task) -> Result<BTreeMap<Reason, u64>> {
        let mut failures = BTreeMap::new();
        task.for_each::<Failure>(&self.failed, |row| {
            if ids.contains(&row.id) {
                *failures.entry(row.reason).or_default() += 1;
            }
            Ok(())
        })?;
        Ok(failures)
    }
}

/// The rows that are gone, for each shard that has some.
pub fn by_shard(context: &PlanContext) -> BTreeMap<ShardId, GoneRows> {
    let gone = context.made(IngestPhase::List, GONE).parts;
    let mut gone: BTreeMap<ShardId, GoneRows> =
        gone.into_iter().filter_map(|rows| Some((rows.shard?, GoneRows { rows, failed: Table::default() }))).collect();
    for part in context.made(IngestPhase::Fetch, "failed").parts {
        if let Some(of_shard) = part.shard.and_then(|shard| gone.get_mut(&shard)) {
            of_shard.failed.parts.push(part);
        }
    }
    gone
}
