//! Exact copies: pool images with the same SHA-256. The one with the lowest id goes on.
//!
//! A task reads one slice of the hashes, of all groups, and writes what it found by group. Pixels
//! are not touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stages::context::PlanContext;
use crate::stages::ingest::groups::Grouping;
use crate::stages::ingest::phases::IngestPhase;
use crate::stages::ingest::scatter::{Digest, HASHES, ScatterTold, take_copies, write_copies};
use crate::stages::plan::{PhasePlan, broken};
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ShardId;

/// A slice of the hashes.
#[derive(Default, Serialize, Deserialize)]
pub struct MatchTask {
    pool: Table,
    /// Seeds and references: which of them are in the pool, too.
    others: Table,
}

/// What the planning of `mark` needs to know.
#[derive(Serialize, Deserialize)]
pub struct MatchTold {
    /// The group of each part of copies.
    pub groups: Vec<ShardId>,
}

/// A task for each slice that holds an image of the pool.
pub fn plan(grouping: Grouping, context: &PlanContext) -> Result<PhasePlan> {
    let mut slices: BTreeMap<u64, MatchTask> = BTreeMap::new();
    for outcome in context.outcomes(IngestPhase::Scatter) {
        let told: Option<ScatterTold> = outcome.told()?;
        let told = told.ok_or_else(|| broken("a task of `scatter` told nothing"))?;
        for (part, slice) in outcome.parts.iter().filter(|part| part.table == HASHES).zip(told.slices) {
            let slice = slices.entry(slice).or_default();
            let table = if told.pool { &mut slice.pool } else { &mut slice.others };
            table.parts.push(part.clone());
        }
    }
    PhasePlan::new(grouping, slices.into_values().filter(|slice| !slice.pool.parts.is_empty()))
}

/// Finds the copies in a slice of the hashes.
pub fn run(spec: &MatchTask, grouping: Grouping, task: &mut Task) -> Result<()> {
    let rows = spec.pool.rows();
    let mut hashes: Vec<Digest> = Vec::with_capacity(usize::try_from(rows).unwrap_or(0));
    task.for_each(&spec.pool, |hash| {
        hashes.push(hash);
        Ok(())
    })?;
    let mut copies = take_copies(&mut hashes);
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    count_in_pool(&spec.others, &hashes, task)?;
    drop(hashes);
    copies.sort_unstable_by_key(|copy| copy.id);
    let mut groups = Vec::new();
    for group in copies.chunk_by(|a, b| grouping.of_image(a.id) == grouping.of_image(b.id)) {
        groups.push(grouping.of_image(group[0].id));
        write_copies(group.to_vec(), task)?;
    }
    task.tell(MatchTold { groups })
}

/// Counts images of seed and reference sets whose hashes are among those of the pool, which are
/// sorted.
fn count_in_pool(others: &Table, pool: &[Digest], task: &mut Task) -> Result<()> {
    let mut in_pool: BTreeMap<u16, u64> = BTreeMap::new();
    task.for_each::<Digest>(others, |other| {
        if pool.binary_search_by_key(&other.sha256, |hash| hash.sha256).is_ok() {
            *in_pool.entry(other.id.shard().dataset()).or_default() += 1;
        }
        Ok(())
    })?;
    for (number, images) in in_pool {
        let source = task.catalog.sources.iter().find(|(_, entry)| entry.number == number);
        if let Some(name) = source.map(|(name, _)| in_pool_counter(name)) {
            task.count(&name, images);
        }
    }
    Ok(())
}

/// The counter of images of a seed or reference set that are in the pool, too, byte for byte.
#[must_use]
pub fn in_pool_counter(source: &str) -> String {
    format!("also_in_pool/{source}")
}

/// The parts of copies that tasks of `match` wrote, by group.
pub fn by_group(context: &PlanContext) -> Result<BTreeMap<ShardId, Table>> {
    let mut groups: BTreeMap<ShardId, Table> = BTreeMap::new();
    for outcome in context.outcomes(IngestPhase::Match) {
        let told: Option<MatchTold> = outcome.told()?;
        let told = told.ok_or_else(|| broken("a task of `match` told nothing"))?;
        for (part, group) in outcome.parts.iter().zip(told.groups) {
            groups.entry(group).or_default().parts.push(part.clone());
        }
    }
    Ok(groups)
}
