//! All pairs of near vectors in cells that know of each other: codes propose, fixed-order products decide, each row keeps its
//! k nearest, and what finds no room there leaves a spanning forest ([`lost`]).
//!
//! What is found does not depend on threads: the k nearest of a row among all that it is compared with are a set with one
//! answer, whatever the order. A pair of cells is scored once, for both ends. Crowds of equal vectors, and of near copies
//! ([`clumps`]), are compared with others as one row.

mod clumps;
mod lost;
mod rows;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use self::clumps::{Clump, Meeting};
use self::lost::Losses;
pub use self::lost::Lost;
use self::rows::{Sorted, apart, cells, distinct, hang, hang_equals, prepare, union};
use super::top_k::TopK;
use lvd_base::types::{CellRows, ImageId, Neighbour};
use lvd_kernels::codes::{Codes, ScanMode};
use lvd_kernels::dot::{WITH_ITSELF, similarity};
use lvd_kernels::rotate::Rotation;

/// Queries that are scanned together: they stay in the first-level cache.
const PIECE: usize = 64;
/// Products that take as long as setting one row apart.
const SET_APART: usize = 30;

/// A near pair: `id` has `neighbour` among its k nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Whose neighbour it is.
    pub id: ImageId,
    /// The neighbour.
    pub neighbour: ImageId,
    /// Their cosine.
    pub similarity: f32,
    /// Whether `id` hangs on `neighbour`, as an equal vector or as a near copy of it among many, and was compared with few others.
    pub star: bool,
}

/// What pairs are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// Neighbours a row keeps.
    pub k: usize,
    /// Pairs below this cosine are not kept.
    pub floor: f32,
    /// From this cosine on, many rows that are near one of them may hang on it alone: thresholds up to it give the components that all pairs
    /// would give. Above 1: never.
    pub clump: f32,
}

/// Rows that are ready to be compared: those of the cells, and after them the members of clumps. Rows with equal vectors are there once.
pub struct Block {
    near: Near,
    d: usize,
    ids: Vec<ImageId>,
    halves: Vec<f16>,
    codes: Codes,
    cells: Vec<Cell>,
    /// For each row the index of its cell.
    homes: Vec<u32>,
    /// The rows that probe each cell.
    probes: Probes,
    /// The product that each row's neighbours must reach: that of the floor; for leaders of clumps far less.
    floors: Vec<f32>,
    tops: Vec<Mutex<TopK>>,
    /// Where pairs go for which they have no room.
    lost: Arc<Lost>,
    /// By leader.
    clumps: Vec<Clump>,
    /// Rows that were left out, with the row they are equal to, or its leader.
    equals: Vec<Pair>,
    /// Members of clumps with their leaders.
    stars: Vec<Pair>,
}

/// Rows by the cells that they probe.
struct Probes {
    /// Where the rows of each cell begin, and the end of the last.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Probes {
    /// Of the cells that each row probes. Counted, not sorted.
    fn new<'a>(targets: impl Iterator<Item = &'a [u32]> + Clone) -> Self {
        let cells = targets.clone().flatten().max().map_or(0, |&last| last as usize + 1);
        let mut starts = vec![0u32; cells + 1];
        for &target in targets.clone().flatten() {
            starts[target as usize + 1] += 1;
        }
        for cell in 0..cells {
            starts[cell + 1] += starts[cell];
        }
        let mut places = starts.clone();
        let mut rows = vec![0; starts[cells] as usize];
        for (row, targets) in targets.enumerate() {
            for &target in targets {
                let place = &mut places[target as usize];
                rows[*place as usize] = row_number(row);
                *place += 1;
            }
        }
        Self { starts, rows }
    }

    /// The rows that probe `cell`, ascending.
    fn of(&self, cell: u32) -> &[u32] {
        match self.starts.get(cell as usize..cell as usize + 2) {
            Some(&[begin, end]) => &self.rows[begin as usize..end as usize],
            _ => &[],
        }
    }
}

/// The rows of a cell: those that are not settled, then those that are.
struct Cell {
    number: u32,
    rows: Range<usize>,
    /// The first settled row.
    fresh: usize,
}

impl Cell {
    /// What the rows `chosen` are compared with: all rows here, or the fresh ones if they are settled.
    fn for_settled(&self, settled: bool) -> Range<usize> {
        if settled { self.rows.start..self.fresh } else { self.rows.clone() }
    }
}

/// Some rows of one block against rows of a cell of another.
struct Piece<'a> {
    queries: &'a Block,
    chosen: Vec<u32>,
    base: &'a Block,
    rows: Rows,
    seen: Seen,
    mode: ScanMode,
}

/// Rows that lie together, or some that are to be set apart from others.
enum Rows {
    Range(Range<usize>),
    Some(Vec<u32>),
}

impl Rows {
    fn len(&self) -> usize {
        match self {
            Self::Range(rows) => rows.len(),
            Self::Some(rows) => rows.len(),
        }
    }
}

/// Which pairs of a piece another one compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// None.
    Never,
    /// Those with rows before the query: within a cell.
    Before,
    /// Those with rows before the query that probe its cell: between cells of one block.
    ProbingBefore,
    /// Those with rows that probe the query's cell: the way back between two blocks.
    Probing,
    /// Those with rows that probe the query's cell, if that cell comes before theirs: found by whoever holds it.
    ProbingBeforeCell,
}

impl Block {
    /// Prepares rows of width `d`, in any number of parts. With a rotation, cells are compared by sketches where these are less work, of
    /// the turned vectors, which miss one pair in hundreds just at the floor; without, every pair is found. Blocks that are compared with
    /// each other share what is `lost`.
    ///
    /// # Panics
    /// When the columns have different lengths.
    #[must_use]
    pub fn new(parts: &[CellRows], d: usize, near: Near, rotation: Option<&Rotation>, lost: &Arc<Lost>) -> Self {
        let mut rows: Vec<Sorted> = Vec::with_capacity(parts.iter().map(|part| part.ids.len()).sum());
        for part in parts {
            let n = part.ids.len();
            assert!(
                part.cells.len() == n && part.settled.len() == n && part.halves.len() == n * d,
                "columns of one length"
            );
            rows.par_extend((0..n).into_par_iter().map(|row| Sorted::new(part, row, d)));
        }
        rows.par_iter_mut().enumerate().for_each(|(place, row)| row.place = row_number(place));
        let (mut kept, mut equals) = distinct(rows);
        let mut cells = cells(&kept);
        let (mut halves, mut codes) = prepare(&kept, d, &cells, rotation);
        let fresh: Vec<Range<usize>> = cells.iter().map(|cell| cell.rows.start..cell.fresh).collect();
        let found = if near.clump > 1.0 { Vec::new() } else { clumps::find(&codes, &halves, &fresh, near) };
        let mut ordinary = kept.len();
        let (mut clumps, mut stars) = (Vec::new(), Vec::new());
        if !found.is_empty() {
            (kept, ordinary) = apart(&kept, &found);
            cells = self::rows::cells(&kept[..ordinary]);
            (halves, codes) = prepare(&kept, d, &cells, rotation);
            (clumps, stars) = hang(&kept, ordinary, &found);
            hang_equals(&mut equals, &stars);
        }
        let homes = (0u32..).zip(&cells).flat_map(|(home, cell)| cell.rows.clone().map(move |_| home)).collect();
        let unions: Vec<Vec<u32>> = clumps.par_iter().map(|clump| union(clump, &kept)).collect();
        let leads = |row| clumps.binary_search_by_key(&row_number(row), |clump| clump.leader).ok();
        let targets = |row: usize| leads(row).map_or(kept[row].probes, |clump| &unions[clump][..]);
        let probes = Probes::new((0..ordinary).map(targets));
        let mut floors = vec![near.floor.min(WITH_ITSELF); kept.len()];
        for clump in &clumps {
            // A scan takes the lower of two floors: that of the larger clump allows for two such clumps.
            floors[clump.leader as usize] = clumps::reach(near.floor, 2.0 * clump.radius);
        }
        Self {
            near,
            d,
            ids: kept.iter().map(|row| row.id).collect(),
            codes,
            halves,
            cells,
            homes,
            probes,
            floors,
            tops: kept.iter().map(|_| Mutex::new(TopK::new(near.k))).collect(),
            lost: Arc::clone(lost),
            clumps,
            equals,
            stars,
        }
    }

    /// Compares the rows of this block with each other. Returns how many products were computed.
    #[expect(clippy::must_use_candidate, reason = "what it finds is in the blocks")]
    pub fn within(&self) -> u64 {
        let this = self;
        let between = |cell: &Cell| {
            let fresh: Vec<u32> = (cell.rows.start..cell.fresh).map(row_number).collect();
            let mode = this.mode(cell, this, cell);
            let own = fresh.chunks(PIECE).map(|chosen| {
                let rows = Rows::Range(chosen[0] as usize + 1..cell.rows.end);
                Piece { queries: this, chosen: chosen.to_vec(), base: this, rows, seen: Seen::Before, mode }
            });
            own.chain(this.pieces(this.probing(cell.number), this, cell, Seen::ProbingBefore)).collect()
        };
        let pieces: Vec<Vec<Piece>> = self.cells.par_iter().map(between).collect();
        compare(&pieces)
    }

    /// Compares the rows of this block with those of another, which holds later cells, or later rows of this one's last.
    #[expect(clippy::must_use_candidate, reason = "what it finds is in the blocks")]
    pub fn with(&self, other: &Self) -> u64 {
        let (here, there) = (self, other);
        let forth = here.cells.par_iter().map(|cell| there.pieces(there.probing(cell.number), here, cell, Seen::Never));
        let back = there.cells.par_iter().map(|cell| {
            // A cell that was cut: all its rows are compared.
            let same = here.cells.iter().find(|own| own.number == cell.number).map(|own| own.rows.clone());
            let rows = same.into_iter().flatten().map(row_number);
            let mut pieces = here.pieces(rows, there, cell, Seen::Never);
            pieces.extend(here.pieces(here.probing(cell.number), there, cell, Seen::Probing));
            pieces
        });
        let pieces: Vec<Vec<Piece>> = forth.chain(back).collect();
        compare(&pieces)
    }

    /// Compares rows that probe cells of this block with these cells. They are at home in cells that are held elsewhere, where rows of
    /// this block that probe those come by: of the two ends' ways to meet, the one into the earlier cell counts.
    #[expect(clippy::must_use_candidate, reason = "what it finds is in the blocks")]
    pub fn visited(&self, visitors: &Self) -> u64 {
        let (here, there) = (self, visitors);
        let pieces: Vec<Vec<Piece>> = here
            .cells
            .par_iter()
            .map(|cell| there.pieces(there.probing(cell.number), here, cell, Seen::ProbingBeforeCell))
            .collect();
        compare(&pieces)
    }

    /// How many distinct vectors there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// How many rows were left out because an earlier one of their cell is equal to them.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.equals.len() as u64
    }

    /// How many clumps of near copies there are, and how many rows hang on their leaders.
    #[must_use]
    pub fn clumped(&self) -> (u64, u64) {
        (self.clumps.len() as u64, self.stars.len() as u64)
    }

    /// The pairs that rows of this block keep: both ends of a pair may.
    pub fn into_pairs(self) -> impl Iterator<Item = Pair> {
        let found = self.ids.into_iter().zip(self.tops).flat_map(|(id, top)| {
            let top = top.into_inner().unwrap_or_else(PoisonError::into_inner).into_sorted();
            top.into_iter().map(move |near| Pair { id, neighbour: near.id, similarity: near.similarity, star: false })
        });
        self.equals.into_iter().chain(self.stars).chain(found)
    }

    fn vector(&self, row: usize, to: &mut [f32]) {
        self.halves[row * self.d..(row + 1) * self.d].convert_to_f32_slice(to);
    }

    fn offer(&self, row: usize, id: ImageId, similarity: f32, losses: &mut Losses) {
        let mut top = self.tops[row].lock().unwrap_or_else(PoisonError::into_inner);
        let out = top.push(Neighbour { similarity, id });
        drop(top);
        if let Some(out) = out {
            losses.add(self.ids[row], out.id, out.similarity);
        }
    }

    /// The clump that a row leads.
    fn clump(&self, row: u32) -> Option<&Clump> {
        let found = self.clumps.binary_search_by_key(&row, |clump| clump.leader);
        found.ok().map(|place| &self.clumps[place])
    }

    /// The rows that probe the cell `target`, ascending.
    fn probing(&self, target: u32) -> impl Iterator<Item = u32> {
        self.probes.of(target).iter().copied()
    }

    /// Whether a row probes the cell `target`.
    fn probes(&self, row: usize, target: u32) -> bool {
        self.probes.of(target).binary_search(&row_number(row)).is_ok()
    }

    /// The pieces of work between some rows of this block, ascending, and a cell of `base`.
    fn pieces<'a>(
        &'a self,
        rows: impl Iterator<Item = u32>,
        base: &'a Self,
        cell: &Cell,
        seen: Seen,
    ) -> Vec<Piece<'a>> {
        let rows: Vec<u32> = rows.collect();
        // What comes from few rows of a cell is scanned together: by whether they are settled, and by how they are compared.
        let mut mixed: BTreeMap<(bool, ScanMode), Vec<u32>> = BTreeMap::new();
        let mut pieces = Vec::new();
        let piece = |chosen: &[u32], rows: Rows, mode: ScanMode| Piece {
            queries: self,
            chosen: chosen.to_vec(),
            base,
            rows,
            seen,
            mode,
        };
        let home = |row: &u32| self.homes[*row as usize];
        for run in rows.chunk_by(|a, b| home(a) == home(b)) {
            let from = &self.cells[home(&run[0]) as usize];
            let mode = self.mode(from, base, cell);
            let (fresh, old) = run.split_at(run.partition_point(|&row| (row as usize) < from.fresh));
            for (settled, run) in [false, true].into_iter().zip([fresh, old]) {
                match base.unseen(run, cell.for_settled(settled), from, seen) {
                    Some(rows) if rows.is_empty() => {}
                    Some(rows) => pieces.push(piece(run, Rows::Some(rows), mode)),
                    None => mixed.entry((settled, mode)).or_default().extend(run),
                }
            }
        }
        for ((settled, mode), chosen) in mixed {
            let rows = cell.for_settled(settled);
            let some = chosen.chunks(PIECE).filter(|_| !rows.is_empty());
            pieces.extend(some.map(|chosen| piece(chosen, Rows::Range(rows.clone()), mode)));
        }
        pieces
    }

    /// Those of `rows`, all of one cell, that no other piece compares with the rows `run` of the cell `from`: where it takes less time to set
    /// them apart than to compare the others again.
    fn unseen(&self, run: &[u32], rows: Range<usize>, from: &Cell, seen: Seen) -> Option<Vec<u32>> {
        let first = *run.first()? as usize;
        match seen {
            Seen::Probing => {}
            Seen::ProbingBefore if rows.end <= first => {}
            _ => return None,
        }
        let all = self.probes.of(from.number);
        let within = |row: usize| all.partition_point(|&probing| (probing as usize) < row);
        let skipped = &all[within(rows.start)..within(rows.end)];
        let left = rows.len() - skipped.len();
        if skipped.len() * run.len() <= left * SET_APART {
            return None;
        }
        let mut skipped = skipped.iter().peekable();
        Some(rows.map(row_number).filter(|row| skipped.next_if_eq(&row).is_none()).collect())
    }

    /// How rows of two cells are compared: by sketches where few of them are near enough to need a second look.
    fn mode(&self, one: &Cell, base: &Self, other: &Cell) -> ScanMode {
        let means = self.codes.mean_cosine(one.rows.start, &base.codes, other.rows.start);
        means.map_or(ScanMode::Full, |(cosine, square)| {
            ScanMode::cheapest(self.d, self.near.floor - cosine, 0.0, square)
        })
    }
}

/// Compares every piece, in parallel; returns the number of products.
fn compare(pieces: &[Vec<Piece>]) -> u64 {
    pieces.par_iter().flatten().map(Piece::compare).sum()
}

impl Piece<'_> {
    fn compare(&self) -> u64 {
        let mut meetings = Vec::new();
        let mut losses = Losses::to(&self.queries.lost);
        match &self.rows {
            Rows::Range(rows) => {
                self.scan(&self.base.codes, (rows.clone(), &self.base.floors), |row| row, &mut meetings, &mut losses);
            }
            Rows::Some(rows) => {
                let floors: Vec<f32> = rows.iter().map(|&row| self.base.floors[row as usize]).collect();
                let codes = self.base.codes.of_rows(rows);
                self.scan(&codes, (0..rows.len(), &floors), |row| rows[row] as usize, &mut meetings, &mut losses);
            }
        }
        (self.chosen.len() * self.rows.len()) as u64 + clumps::settle(self.queries, self.base, meetings)
    }

    /// Scans `rows` of `codes`, whose rows of the base `number` tells.
    fn scan(
        &self,
        codes: &Codes,
        (rows, floors): (Range<usize>, &[f32]),
        number: impl Fn(usize) -> usize,
        meetings: &mut Vec<Meeting>,
        losses: &mut Losses,
    ) {
        let d = self.queries.d;
        let (mut query, mut row) = (vec![0.0; d], vec![0.0; d]);
        let mut current = u32::MAX;
        let near = self.queries.near;
        let mut found = |q: u32, r: usize| {
            let r = number(r);
            if self.is_seen(q, r) {
                return;
            }
            if current != q {
                self.queries.vector(q as usize, &mut query);
                current = q;
            }
            self.base.vector(r, &mut row);
            let similarity = similarity(&query, &row);
            if similarity >= near.floor {
                self.queries.offer(q as usize, self.base.ids[r], similarity, losses);
                self.base.offer(r, self.queries.ids[q as usize], similarity, losses);
            }
            if similarity < near.clump && self.is_led(q, r) {
                meetings.push(Meeting { query: q, row: row_number(r), similarity });
            }
        };
        for chosen in self.chosen.chunks(PIECE) {
            let queries = (chosen, &self.queries.floors[..]);
            codes.scan(&self.queries.codes, queries, (rows.clone(), floors), self.mode, &mut found);
        }
    }

    /// Whether one of the two leads a clump.
    fn is_led(&self, query: u32, row: usize) -> bool {
        self.queries.clump(query).is_some() || self.base.clump(row_number(row)).is_some()
    }

    /// Whether another piece compares this pair.
    fn is_seen(&self, query: u32, row: usize) -> bool {
        let probing = || {
            let home = &self.queries.cells[self.queries.homes[query as usize] as usize];
            self.base.probes(row, home.number)
        };
        match self.seen {
            Seen::Never => false,
            Seen::Before => row <= query as usize,
            Seen::ProbingBefore => row < query as usize && probing(),
            Seen::Probing => probing(),
            Seen::ProbingBeforeCell => {
                let number = |block: &Block, row: usize| block.cells[block.homes[row] as usize].number;
                // A clump of visitors is not the one that its members belong to where they are at home: both ends look.
                number(self.queries, query as usize) < number(self.base, row) && probing() && !self.is_led(query, row)
            }
        }
    }
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a block has fewer than 2^32 rows")
}

#[cfg(test)]
mod tests;
