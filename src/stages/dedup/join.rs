//! The self-join: the vectors of some regions against each other and against those of later regions that they are tied to.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::row::RowWriter;
use crate::io::runs::Run;
use crate::ops::forest::spanning_forest;
use crate::ops::histogram::Histogram;
use crate::ops::near_pairs::{Block, Near, Pair};
use crate::ops::rotate::Rotation;
use crate::stages::known::Part;
use crate::stages::task::Task;
use crate::table;
use crate::types::{CellRows, ImageId};

/// Rows of a block, but for what is over in its last cell.
const BLOCK_ROWS: u64 = 32_768;

table! {
    /// A near pair, written once from each end that has the other among its nearest; from the later end once more for each task.
    pub struct Edge {
        /// The image whose neighbour it is.
        pub id: ImageId,
        /// One of its nearest images.
        pub neighbour: ImageId,
        /// Cosine of the two vectors.
        pub similarity: f32,
        /// Whether it belongs to a maximum spanning forest of the pairs written with it: enough to find the components at any threshold.
        pub tree: bool,
    }
}

#[derive(Serialize, Deserialize)]
pub struct Common {
    pub runs: Vec<Part>,
    /// First cells of the regions, and the number of cells.
    pub regions: Vec<u32>,
    pub neighbours: usize,
    pub floor: f32,
    /// Vectors that are held at a time.
    pub held_rows: u64,
}

/// Seed of the rotation: what is compared does not depend on the pipeline's.
const ROTATION: u64 = 1;

/// Rows that are read together: some cells, or a piece of one large cell.
#[derive(Clone, Debug)]
struct Slice {
    cells: Range<u32>,
    /// Rows of these cells, counted over all runs.
    rows: Range<u64>,
}

/// How blocks are compared.
struct Looking {
    d: usize,
    near: Near,
    rotation: Option<Rotation>,
}

/// Joins the regions in `group`.
pub fn run(group: &Range<u32>, common: &Common, task: &mut Task) -> Result<()> {
    let runs = common.runs.iter().map(|part| Run::open(&task.path(part)?)).collect::<Result<Vec<_>>>()?;
    let d = runs.first().map_or(0, |run| run.d);
    if runs.iter().any(|run| run.d != d) {
        return Err(Error::usage("vectors of different dimensions", "embed the sources again with one model"));
    }
    let near = Near { k: common.neighbours, floor: common.floor };
    // One cell: every pair is wanted, and none may be missed.
    let rotation = (common.regions.last() > Some(&1)).then(|| Rotation::new(d, ROTATION));
    let looking = Looking { d, near, rotation };
    let mut slices = Vec::new();
    for region in group.clone() {
        slices.extend(cut(&runs, common.cells_of(region))?);
    }
    let own = slices.len();
    for region in tied(&runs, group) {
        slices.extend(cut(&runs, common.cells_of(region))?);
    }
    let mut out = Out {
        writer: task.rows("edges")?,
        similarities: Histogram::linear(f64::from(common.floor), 1.0, 60),
        edges: 0,
    };
    let (mut first, mut products, mut equal) = (0, 0, 0);
    while first < own {
        let mut held: Vec<Block> = Vec::new();
        let mut rows = 0;
        while first < own && (held.is_empty() || rows + slices[first].len() <= common.held_rows) {
            rows += slices[first].len();
            let mut block = load(&runs, &slices[first], &looking)?;
            products += block.within();
            for earlier in &mut held {
                products += earlier.with(&mut block);
            }
            held.push(block);
            first += 1;
        }
        // The next rows are read while these are compared.
        let mut next = slices.get(first).map(|slice| load(&runs, slice, &looking));
        for after in first + 1..=slices.len() {
            let Some(block) = next.take() else { break };
            let mut block = block?;
            let (compared, loaded) = rayon::join(
                || held.iter_mut().map(|held| held.with(&mut block)).sum::<u64>(),
                || slices.get(after).map(|slice| load(&runs, slice, &looking)),
            );
            products += compared;
            next = loaded;
            // Its equal vectors are the affair of the task that holds it.
            out.write(block.into_found())?;
        }
        for block in held {
            equal += block.left_out();
            out.write(block.into_pairs())?;
        }
        (task.progress)(rows);
        task.outcome.rows_in += rows;
    }
    task.outcome.rows_out = task.outcome.rows_in;
    task.count("products", products);
    task.count("equal_vectors", equal);
    task.count("edges", out.edges);
    task.outcome.histograms.insert("neighbour_similarity".into(), out.similarities);
    let written = out.writer.finish()?;
    task.publish(written, "edges", None)
}

impl Common {
    fn cells_of(&self, region: u32) -> Range<u32> {
        self.regions[region as usize]..self.regions[region as usize + 1]
    }
}

impl Slice {
    fn len(&self) -> u64 {
        self.rows.end - self.rows.start
    }
}

/// Where pairs go: each lot with a spanning forest of its own.
struct Out {
    writer: RowWriter<Edge>,
    similarities: Histogram,
    edges: u64,
}

impl Out {
    fn write(&mut self, pairs: impl Iterator<Item = Pair>) -> Result<()> {
        let pairs: Vec<Pair> = pairs.collect();
        for (pair, tree) in pairs.iter().zip(spanning_forest(&pairs)) {
            let &Pair { id, neighbour, similarity } = pair;
            self.similarities.add(f64::from(similarity));
            self.writer.push(Edge { id, neighbour, similarity, tree })?;
        }
        self.edges += pairs.len() as u64;
        Ok(())
    }
}

/// The later regions that share a pair of a row and a probed cell with the group, in order.
fn tied(runs: &[Run], group: &Range<u32>) -> BTreeSet<u32> {
    let ties = runs.iter().flat_map(|run| &run.ties);
    let later = |&(from, to): &(u32, u32)| match (group.contains(&from), group.contains(&to)) {
        (true, false) if to >= group.end => Some(to),
        (false, true) if from >= group.end => Some(from),
        _ => None,
    };
    ties.filter_map(later).collect()
}

/// Cuts some cells into slices of about [`BLOCK_ROWS`] rows.
fn cut(runs: &[Run], cells: Range<u32>) -> Result<Vec<Slice>> {
    let mut sizes = vec![0u64; cells.len()];
    for run in runs {
        for (size, bounds) in sizes.iter_mut().zip(run.starts(cells.clone())?.windows(2)) {
            *size += bounds[1] - bounds[0];
        }
    }
    let mut slices: Vec<Slice> = Vec::new();
    let mut open = false;
    for (cell, size) in cells.zip(sizes) {
        if let Some(slice) = slices.last_mut().filter(|slice| open && slice.len() + size <= BLOCK_ROWS) {
            slice.cells.end = cell + 1;
            slice.rows.end += size;
        } else {
            let starts = (0..size.max(1)).step_by(usize::try_from(BLOCK_ROWS).unwrap_or(usize::MAX));
            let end = |start: u64| size.min(start + BLOCK_ROWS);
            slices.extend(starts.map(|start| Slice { cells: cell..cell + 1, rows: start..end(start) }));
            open = size <= BLOCK_ROWS;
        }
    }
    slices.retain(|slice| slice.len() > 0);
    Ok(slices)
}

/// Reads a slice out of all runs.
fn load(runs: &[Run], slice: &Slice, looking: &Looking) -> Result<Block> {
    let mut rows = CellRows::default();
    let mut before = 0;
    for run in runs {
        let starts = run.starts(slice.cells.clone())?;
        let (first, last) = (starts[0], starts[starts.len() - 1]);
        let begin = slice.rows.start.saturating_sub(before).min(last - first);
        let end = slice.rows.end.saturating_sub(before).min(last - first);
        run.read(slice.cells.clone(), first + begin..first + end, &mut rows)?;
        before += last - first;
    }
    Ok(Block::new(&rows, looking.d, looking.near, looking.rotation.as_ref()))
}
