//! The self-join: the vectors of some regions against each other, and against those of other
//! regions that probe their cells. A vector is read once for each group of regions that it looks
//! at.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::table::Part;
use crate::stages::task::{Headway, Task};
use lvd_base::error::{Error, Result};
use lvd_base::types::{CellRows, ImageId};
use lvd_io::readahead::Readers;
use lvd_io::row::RowWriter;
use lvd_io::runs::Run;
use lvd_io::table;
use lvd_kernels::rotate::Rotation;
use lvd_ops::forest::spanning_forest;
use lvd_ops::histogram::Histogram;
use lvd_ops::near_pairs::{Block, Lost, Near};
use lvd_ops::pair::Pair;

/// Rows of a block, but for what is over in its last cell.
const BLOCK_ROWS: u64 = 32_768;
/// Rows of a window of a run, which is looked through for visitors, and windows that are read at
/// once.
const WINDOW_ROWS: u64 = 4096;
const WINDOWS: usize = 8;
/// Numbers of the vectors of a block of visitors, about: enough that it pays to fetch each held
/// cell from memory for them.
const VISITING: usize = 1 << 25;

table! {
    /// A near pair, written once from each end that has the other among its nearest; from the later
    /// end once more for each task. Also those pairs that no list has room for and that components
    /// need.
    pub struct Edge {
        /// The image whose neighbour it is.
        pub id: ImageId,
        /// One of its nearest images.
        pub neighbour: ImageId,
        /// Cosine of the two vectors.
        pub similarity: f32,
        /// Whether it belongs to a maximum spanning forest of the pairs written with it. These are
        /// enough to find the components at any threshold.
        pub tree: bool,
        /// Whether the image is attached to the neighbour: equal to it, or one of many that are so
        /// near to it that few other pairs of the image are written.
        pub star: bool,
    }
}

#[derive(Serialize, Deserialize)]
pub struct JoinCommon {
    pub runs: Vec<Part>,
    /// First cells of the regions, and the number of cells.
    pub regions: Vec<u32>,
    pub neighbours: usize,
    pub floor: f32,
    /// The cosine from which many images may be attached to one of them.
    #[serde(rename = "clump")]
    pub crowd: f32,
    /// Vectors that are held at a time.
    pub held_rows: u64,
}

/// Memory of a row that is held: a vector in half precision and twice as codes, its probes, and
/// what else is known of it.
pub fn row_bytes(dimension: u64, bytes_of_probes: u64) -> u64 {
    4 * dimension + bytes_of_probes + 120
}

/// Seed of the rotation: what is compared does not depend on the pipeline's.
pub const ROTATION: u64 = 1;

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
    lost: Arc<Lost>,
}

/// Joins the regions in `group`.
pub fn run(group: &Range<u32>, common: &JoinCommon, task: &mut Task) -> Result<()> {
    let runs = common.runs.iter().map(|part| Run::open(&task.open(part)?)).collect::<Result<Vec<_>>>()?;
    let d = runs.first().map_or(0, |run| run.d);
    if runs.iter().any(|run| run.d != d) {
        return Err(Error::usage("vectors of different dimensions", "embed the sources again with one model"));
    }
    let near = Near { k: common.neighbours, floor: common.floor, crowd: common.crowd };
    // One cell: every pair is wanted, and none may be missed.
    let rotation = (common.regions.last() > Some(&1)).then(|| Rotation::new(d, ROTATION));
    let looking = Looking { d, near, rotation, lost: Arc::default() };
    let mut slices = Vec::new();
    for region in group.clone() {
        slices.extend(cut(&runs, common.cells_of(region), BLOCK_ROWS)?);
    }
    let windows = windows(&runs, group, common)?;
    let mut out = Out {
        writer: task.rows("edges")?,
        similarities: Histogram::linear(f64::from(common.floor), 1.0, 60),
        edges: 0,
    };
    let (mut first, mut products, mut equal, mut visitors) = (0, 0, 0, 0);
    let (mut crowds, mut in_crowds) = (0, 0);
    let readers = Readers::new()?;
    while first < slices.len() {
        let mut held: Vec<Block> = Vec::new();
        let (from, mut rows) = (first, 0);
        let mut next = Some(load(&runs, &slices[first]));
        while let Some(parts) = next {
            let block = looking.block(&parts?);
            rows += slices[first].len();
            first += 1;
            let compare = || -> u64 {
                let products = block.within();
                products + held.iter().map(|earlier| earlier.with(&block)).sum::<u64>()
            };
            let another = slices.get(first).filter(|slice| rows + slice.len() <= common.held_rows);
            let (compared, read) = readers.meanwhile(compare, || another.map(|slice| load(&runs, slice)));
            products += compared;
            held.push(block);
            next = read;
        }
        let cells = slices[from].cells.start..slices[first - 1].cells.end;
        let mut others = Others { runs: &runs, d, cells, later: &slices[first..], windows: &windows };
        let mut next = others.next();
        while let Some(other) = next {
            let other = other?.prepare(&looking);
            let compare = || -> u64 { held.iter().map(|held| other.meet(held)).sum() };
            let (compared, read) = readers.meanwhile(compare, || others.next());
            products += compared;
            visitors += other.visitors();
            next = read;
            // What is attached here may be attached elsewhere, or not at all, where it is held.
            out.write(other.into_block().into_pairs())?;
            out.write(looking.lost.take().into_iter())?;
        }
        for block in held {
            equal += block.left_out();
            let (some, members) = block.crowded();
            (crowds, in_crowds) = (crowds + some, in_crowds + members);
            out.write(block.into_pairs())?;
        }
        out.write(looking.lost.take().into_iter())?;
        (task.progress)(Headway::Done(rows));
        task.outcome.rows_in += rows;
    }
    task.outcome.rows_out = task.outcome.rows_in;
    task.count("products", products);
    task.count("visitors", visitors);
    task.count("equal_vectors", equal);
    task.count("clumps", crowds);
    task.count("in_clumps", in_crowds);
    task.count("edges", out.edges);
    task.outcome.histograms.insert("neighbour_similarity".into(), out.similarities);
    let written = out.writer.finish()?;
    task.publish(written, "edges", None)
}

impl JoinCommon {
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
            let &Pair { id, neighbour, similarity, attached } = pair;
            self.similarities.add(f64::from(similarity));
            self.writer.push(Edge { id, neighbour, similarity, tree, star: attached })?;
        }
        self.edges += pairs.len() as u64;
        Ok(())
    }
}

/// What the rows that are held are compared with: as it is read, then ready.
enum Other<T> {
    /// Later rows of the same regions.
    Later(T),
    /// Rows from elsewhere that probe some of the held cells.
    Visitors(T),
}

impl Other<Vec<CellRows>> {
    fn prepare(self, looking: &Looking) -> Other<Block> {
        match self {
            Self::Later(parts) => Other::Later(looking.block(&parts)),
            Self::Visitors(parts) => Other::Visitors(looking.block(&parts)),
        }
    }
}

impl Other<Block> {
    fn meet(&self, held: &Block) -> u64 {
        match self {
            Self::Later(block) => held.with(block),
            Self::Visitors(block) => held.visited(block),
        }
    }

    fn visitors(&self) -> u64 {
        match self {
            Self::Later(_) => 0,
            Self::Visitors(block) => block.rows() as u64,
        }
    }

    fn into_block(self) -> Block {
        match self {
            Self::Later(block) | Self::Visitors(block) => block,
        }
    }
}

/// What is still to be read for the rows that are held.
struct Others<'a> {
    runs: &'a [Run],
    d: usize,
    /// The cells that are held.
    cells: Range<u32>,
    later: &'a [Slice],
    windows: &'a [Window],
}

/// Some rows of one run that may visit.
struct Window {
    run: usize,
    slice: Slice,
}

impl Others<'_> {
    fn next(&mut self) -> Option<Result<Other<Vec<CellRows>>>> {
        if let Some((slice, later)) = self.later.split_first() {
            self.later = later;
            return Some(load(self.runs, slice).map(Other::Later));
        }
        let (mut parts, mut rows) = (Vec::new(), 0);
        while rows * self.d < VISITING && !self.windows.is_empty() {
            let (some, rest) = self.windows.split_at(self.windows.len().min(WINDOWS));
            self.windows = rest;
            let visits = |probes: &[u32]| probes.iter().any(|probe| self.cells.contains(probe));
            let read = |window: &Window| read(&self.runs[window.run..=window.run], &window.slice, visits);
            match some.par_iter().map(read).collect::<Result<Vec<_>>>() {
                Ok(read) => parts.extend(read.into_iter().flatten().filter(|part| !part.ids.is_empty())),
                Err(error) => return Some(Err(error)),
            }
            rows = parts.iter().map(|part| part.ids.len()).sum();
        }
        (rows > 0).then_some(Ok(Other::Visitors(parts)))
    }
}

/// The rows of other regions among which some may probe cells of the group: what the runs' ties
/// say.
fn windows(runs: &[Run], group: &Range<u32>, common: &JoinCommon) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let comes = |&&(from, to): &&(u32, u32)| group.contains(&to) && !group.contains(&from);
        let regions: BTreeSet<u32> = run.ties.iter().filter(comes).map(|&(from, _)| from).collect();
        for region in regions {
            let slices = cut(&runs[number..=number], common.cells_of(region), WINDOW_ROWS)?;
            windows.extend(slices.into_iter().map(|slice| Window { run: number, slice }));
        }
    }
    Ok(windows)
}

/// Cuts some cells into slices of about `most` rows.
fn cut(runs: &[Run], cells: Range<u32>, most: u64) -> Result<Vec<Slice>> {
    let mut sizes = vec![0u64; cells.len()];
    for run in runs {
        for (size, bounds) in sizes.iter_mut().zip(run.starts(cells.clone())?.windows(2)) {
            *size += bounds[1] - bounds[0];
        }
    }
    let mut slices: Vec<Slice> = Vec::new();
    let mut open = false;
    for (cell, size) in cells.zip(sizes) {
        if let Some(slice) = slices.last_mut().filter(|slice| open && slice.len() + size <= most) {
            slice.cells.end = cell + 1;
            slice.rows.end += size;
        } else {
            let starts = (0..size.max(1)).step_by(usize::try_from(most).unwrap_or(usize::MAX));
            let end = |start: u64| size.min(start + most);
            slices.extend(starts.map(|start| Slice { cells: cell..cell + 1, rows: start..end(start) }));
            open = size <= most;
        }
    }
    slices.retain(|slice| slice.len() > 0);
    Ok(slices)
}

/// Reads a slice out of all runs.
fn load(runs: &[Run], slice: &Slice) -> Result<Vec<CellRows>> {
    read(runs, slice, |_| true)
}

/// The rows of a slice whose probes are wanted, a part a run.
fn read(runs: &[Run], slice: &Slice, wanted: impl Fn(&[u32]) -> bool + Sync) -> Result<Vec<CellRows>> {
    let mut before = 0;
    let mut places = Vec::with_capacity(runs.len());
    for run in runs {
        let starts = run.starts(slice.cells.clone())?;
        let (first, last) = (starts[0], starts[starts.len() - 1]);
        let begin = slice.rows.start.saturating_sub(before).min(last - first);
        let end = slice.rows.end.saturating_sub(before).min(last - first);
        places.push((run, first + begin..first + end));
        before += last - first;
    }
    places.into_par_iter().map(|(run, rows)| run.read(slice.cells.clone(), rows, &wanted)).collect()
}

impl Looking {
    fn block(&self, rows: &[CellRows]) -> Block {
        Block::new(rows, self.d, self.near, self.rotation.as_ref(), &self.lost)
    }
}
