//! Moving every vector once: into a run sorted by cell, with the cells it probes.

use serde::{Deserialize, Serialize};

use crate::stages::dedup::shards::Member;
use crate::stages::dedup::{needs, train, whiten};
use crate::stages::table::{Part, Table};
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::CellRows;
use lvd_io::runs;
use lvd_kernels::dot::to_f16;
use lvd_ops::cells::{Assigned, PROBES};

#[derive(Serialize, Deserialize)]
pub struct MoveCommon {
    /// How the vectors are whitened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitening: Option<Part>,
    /// Everything lies in one cell without them.
    pub cells: Option<Part>,
    pub needs: Table,
    pub planted: Table,
    pub neighbours: usize,
    pub recall: f64,
    /// First cells of the regions, and the number of cells.
    pub regions: Vec<u32>,
}

/// What the planning of the join needs to know.
#[derive(Serialize, Deserialize)]
pub struct MoveTold {
    /// Vectors in each region.
    pub rows_by_region: Vec<u64>,
    /// Numbers a vector.
    pub dimension: u64,
    /// Cells that the vectors look at, their own included.
    pub probes: u64,
}

/// Moves the vectors of some shards.
pub fn run(members: &[Member], common: &MoveCommon, task: &mut Task) -> Result<()> {
    let tuned = needs::margin(&common.needs, &common.planted, common.neighbours, common.recall, task)?;
    let whitening = whiten::read(common.whitening.as_ref(), task)?;
    let mut cells = common.cells.as_ref().map(|part| train::read(part, task)).transpose()?;
    if let Some(cells) = &mut cells {
        cells.look_as_far_as(tuned.districts);
    }
    let mut rows = CellRows { probe_starts: vec![0], ..CellRows::default() };
    let mut d = 0;
    let most = members.iter().map(|member| member.shard.rows_at_most()).sum::<u64>();
    let most = usize::try_from(most).unwrap_or(0);
    for member in members {
        let mut blocks = member.shard.whitened(whitening.as_ref()).blocks(task)?;
        let mut next = blocks.next();
        while let Some(block) = next.take() {
            let block = block?;
            d = block.dimension;
            rows.halves.reserve_exact((most * d).saturating_sub(rows.halves.len()));
            let n = block.ids.len();
            let assign = || match &cells {
                Some(cells) => cells.assign(&block.values, tuned.margin),
                None => Assigned { cells: vec![0; n], starts: vec![0; n + 1], probes: Vec::new() },
            };
            // The next block is read meanwhile.
            let (assigned, (halves, read)) = rayon::join(assign, || (to_f16(&block.values), blocks.next()));
            next = read;
            for row in 0..n {
                rows.probes.extend(assigned.of(row).iter().map(|&(cell, _)| cell));
                rows.probe_starts.push(rows.probes.len());
            }
            rows.cells.extend(assigned.cells);
            rows.halves.extend(halves);
            rows.settled.extend(std::iter::repeat_n(member.settled, n));
            rows.ids.extend(block.ids);
            (task.progress)(Headway::Done(n as u64));
        }
    }
    let count = rows.ids.len() as u64;
    (task.outcome.rows_in, task.outcome.rows_out) = (count, count);
    if count == 0 {
        return Ok(());
    }
    let capped = rows.probe_starts.windows(2).filter(|ends| ends[1] - ends[0] + 1 >= PROBES).count();
    let probes = rows.probes.len() as u64 + count;
    task.count("probes", probes);
    task.count("probes_capped", capped as u64);
    let region = |cell: u32| common.regions.partition_point(|&first| first <= cell) - 1;
    let mut by_region = vec![0u64; common.regions.len() - 1];
    let regions: Vec<usize> = (0..common.regions[by_region.len()]).map(region).collect();
    let mut meets = vec![vec![false; by_region.len()]; by_region.len()];
    for (row, &cell) in rows.cells.iter().enumerate() {
        let home = regions[cell as usize];
        by_region[home] += 1;
        for &probe in &rows.probes[rows.probe_starts[row]..rows.probe_starts[row + 1]] {
            meets[home][regions[probe as usize]] = true;
        }
    }
    let pairs = (0u32..).zip(&meets).flat_map(|(from, row)| (0u32..).zip(row).map(move |(to, &met)| (from, to, met)));
    let ties: Vec<(u32, u32)> = pairs.filter(|pair| pair.2).map(|(from, to, _)| (from, to)).collect();
    task.tell(MoveTold { rows_by_region: by_region, dimension: d as u64, probes })?;
    let facts = &mut task.outcome.facts;
    if cells.is_some() {
        facts.insert("margin".into(), tuned.margin.into());
        facts.insert("margin_of_districts".into(), tuned.districts.into());
        facts.insert("measured_pairs".into(), tuned.pairs.into());
        facts.insert("measured_recall".into(), tuned.recall.into());
        if let Some(recall) = tuned.recall.filter(|&recall| recall < common.recall) {
            let warning = format!(
                "cells find {recall:.4} of the measured pairs, {} were wanted: raise `cell_images`, or `exact_up_to`",
                common.recall
            );
            task.outcome.warnings.insert(warning);
        }
    }
    let written = runs::write(&task.aside("run"), &rows, d, common.regions[common.regions.len() - 1], &ties)?;
    task.publish_as(written, "runs", None, "run")
}
