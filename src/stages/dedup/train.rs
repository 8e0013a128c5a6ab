//! Fitting the cells on a sample, and drawing the images by which their recall is measured.

use serde::{Deserialize, Serialize};

use crate::stages::dedup::needs::Need;
use crate::stages::dedup::sampling::{Kind, draw, lowest};
use crate::stages::dedup::shards::Member;
use crate::stages::dedup::whiten;
use crate::stages::plan::broken;
use crate::stages::table::Part;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_io::centroids::{self, Level};
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::{dot, normalise};
use lvd_kernels::hash::Draw;
use lvd_ops::cells::Cells;

/// Training vectors a cell.
const TRAINING_ROWS: u64 = 16;
/// Cells for the square root of the number of vectors, at least.
const CELLS_A_ROOT: u64 = 3;
/// Vectors a cell, at most, as far as there may be so many cells.
const CELL_ROWS_AT_MOST: u64 = 333;
/// Cells at most: their centroids are held by every task and trained on 16 vectors each.
const CELLS_AT_MOST: u64 = 65_536;
/// Images by which recall is measured.
pub const QUERIES: u64 = 4096;
/// Rows of a region, about: what a join task reads at a time.
const REGION_ROWS: u64 = 65_536;

#[derive(Serialize, Deserialize)]
pub struct TrainCommon {
    pub members: Vec<Member>,
    /// How the vectors are whitened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitening: Option<Part>,
    /// Vectors up to which there is one cell.
    pub exact_up_to: u64,
    pub cell_images: u32,
    pub floor: f32,
    /// Images by which recall is measured, about.
    pub queries: u64,
    pub seed: u64,
}

impl TrainCommon {
    /// How many cells there are for so many vectors.
    fn cells(&self, rows: u64) -> u64 {
        if rows <= self.exact_up_to {
            return 1;
        }
        cells(rows, self.cell_images)
    }
}

/// As many cells that comparing a vector with all centroids takes about as long as comparing it
/// with the vectors of the cells that it probes; with `cell_images` vectors each, at least.
pub fn cells(rows: u64, cell_images: u32) -> u64 {
    let balanced = (CELLS_A_ROOT * rows.isqrt()).max(rows / CELL_ROWS_AT_MOST);
    (rows / u64::from(cell_images)).min(balanced).clamp(1, CELLS_AT_MOST)
}

/// What the planning of the phases after needs to know.
#[derive(Serialize, Deserialize)]
pub struct TrainTold {
    /// First cells of the regions, and the number of cells.
    pub regions: Vec<u32>,
}

/// Trains the cells.
pub fn run(common: &TrainCommon, task: &mut Task) -> Result<()> {
    let (training, drawing) = (Draw::new(common.seed, "dedup/train"), Draw::new(common.seed, "dedup/queries"));
    let at_most: u64 = common.members.iter().map(|member| member.shard.rows_at_most()).sum();
    let all = |_: &Member| true;
    let unsettled = |member: &Member| !member.settled;
    let kinds: [Kind; 2] =
        [(training, common.cells(at_most) * TRAINING_ROWS, &all), (drawing, common.queries, &unsettled)];
    let (rows, [training, drawing]) = lowest(&common.members, kinds, task)?;
    // What was dropped before makes fewer cells.
    let wanted = common.cells(rows);
    let training = training.of_lowest(wanted * TRAINING_ROWS);
    let wanted_of = |member: &Member, id: ImageId| [training.holds(id), unsettled(member) && drawing.holds(id)];
    let [mut sample, mut queries] = draw(&common.members, &wanted_of, task)?;
    if let Some(whitening) = whiten::read(common.whitening.as_ref(), task)? {
        // They are few of those that were read.
        whitening.apply(&mut sample.values);
        whitening.apply(&mut queries.values);
    }
    task.outcome.rows_in = rows;
    task.outcome.rows_out = task.outcome.rows_in;
    if sample.ids.is_empty() {
        return Err(Error::usage("there is no vector to compare", "look at the reports of the steps before"));
    }
    let d = sample.dimension;
    let cells = usize::try_from(wanted).unwrap_or(usize::MAX).min(sample.ids.len());
    let (cells, shares) = Cells::train(&sample.values, d, cells, common.seed)?;
    let districts = cells.districts().map_or(0, |districts| districts.cells.len());
    let facts = [("cells", cells.len()), ("districts", districts), ("trained_on", sample.ids.len())];
    for (name, value) in facts {
        task.outcome.facts.insert(name.into(), value.into());
    }
    task.tell(TrainTold { regions: regions(&shares, rows) })?;

    let mut writer = task.rows("planted")?;
    planted(&cells, &queries, common, |need| writer.push(need))?;
    let written = writer.finish()?;
    task.publish(written, "planted", None)?;
    let mut writer = task.vectors("queries", d)?;
    let unnamed = vec![String::new(); queries.ids.len()];
    writer.write(queries.ids, unnamed, &queries.values)?;
    let written = writer.finish()?;
    task.publish(written, "queries", None)?;
    let mut levels = vec![Level { parents: cells.parents(), values: cells.centroids().to_vec() }];
    if let Some(districts) = cells.districts() {
        let values = districts.cells.values.clone();
        levels.push(Level { parents: vec![None; values.len() / d], values });
    }
    let written = centroids::write(&task.aside("cells"), &levels, d)?;
    task.publish(written, "cells", None)
}

/// The cells that [`run`] wrote.
pub fn read(part: &Part, task: &Task) -> Result<Cells> {
    let mut levels = centroids::read(&task.open(part)?)?.into_iter();
    let cells = levels.next().ok_or_else(|| broken(format!("{} holds no cells", part.path)))?;
    let d = cells.values.len() / cells.parents.len().max(1);
    let parents: Vec<u32> = cells.parents.iter().copied().flatten().collect();
    let trained = Cells::new(cells.values, d);
    Ok(match levels.next() {
        Some(districts) => trained.with_districts(districts.values, &parents),
        None => trained,
    })
}

/// First cells of regions that hold about [`REGION_ROWS`] vectors each, and the number of cells at
/// the end.
fn regions(shares: &[usize], rows: u64) -> Vec<u32> {
    let total: usize = shares.iter().sum();
    let wanted = rows.div_ceil(REGION_ROWS).max(1);
    let full = u64::try_from(total).unwrap_or(u64::MAX).div_ceil(wanted);
    let (mut starts, mut held) = (vec![0], 0);
    for (cell, &share) in (0u32..).zip(shares) {
        if held >= full {
            starts.push(cell);
            held = 0;
        }
        held += share as u64;
    }
    starts.push(u32::try_from(shares.len()).unwrap_or(u32::MAX));
    starts
}

/// What pairs of made-up vectors at the floor need: each query, turned by that cosine towards where
/// two other queries differ. They stand in where the data has too few near pairs to measure by, and
/// are harder than most of those.
fn planted(
    cells: &Cells,
    queries: &Vectors,
    common: &TrainCommon,
    mut each: impl FnMut(Need) -> Result<()>,
) -> Result<()> {
    let (n, d) = (queries.ids.len(), queries.dimension);
    if n < 3 {
        return Ok(());
    }
    let draw = Draw::new(common.seed, "dedup/planted");
    let floor = common.floor.clamp(0.0, 1.0);
    let mut turned = Vec::with_capacity(queries.values.len());
    for row in 0..n {
        let other = |j: u64| usize::try_from(draw.bits(2 * row as u64 + j) % n as u64).unwrap_or(0);
        let (one, two) = (queries.row(other(0)), queries.row(other(1)));
        let query = queries.row(row);
        let mut away: Vec<f32> = one.iter().zip(two).map(|(a, b)| a - b).collect();
        let along = dot(&away, query);
        away.iter_mut().zip(query).for_each(|(x, q)| *x -= along * q);
        if !normalise(&mut away) {
            away.copy_from_slice(query);
        }
        let across = (1.0 - floor * floor).sqrt();
        turned.extend(query.iter().zip(&away).map(|(q, x)| floor * q + across * x));
    }
    let (here, there) = (cells.places(&queries.values), cells.places(&turned));
    for (row, &id) in queries.ids.iter().enumerate().filter(|_| d > 0) {
        let need = cells.need((&here, row), (&there, row));
        each(Need { id, neighbour: id, similarity: floor, need: need.cells, districts: need.districts })?;
    }
    Ok(())
}
