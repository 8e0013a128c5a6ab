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

/// The ids of those of a shard that are gone.
pub fn ids(gone: &[GoneRows], shard: Option<ShardId>, task: &Task) -> Result<HashSet<ImageId>> {
    let of_shard = gone.iter().find(|gone| gone.rows.shard == shard);
    let rows = of_shard.map(|gone| task.read_all::<Gone>(&gone.rows)).transpose()?;
    Ok(rows.into_iter().flatten().map(|row| row.id).collect())
}

/// How many of those that are gone had failed, by reason.
pub fn failures(gone: &[GoneRows], task: &Task) -> Result<BTreeMap<Reason, u64>> {
    let mut failures = BTreeMap::new();
    for rows in gone {
        let ids = ids(gone, rows.rows.shard, task)?;
        task.for_each::<Failure>(&rows.failed, |row| {
            if ids.contains(&row.id) {
                *failures.entry(row.reason).or_default() += 1;
            }
            Ok(())
        })?;
    }
    Ok(failures)
}

/// Takes out those of the shards of some parts.
pub fn of(parts: &[Part], gone: &mut BTreeMap<ShardId, GoneRows>) -> Vec<GoneRows> {
    parts.iter().filter_map(|part| gone.remove(&part.shard?)).collect()
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
