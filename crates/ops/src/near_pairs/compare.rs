//! The work of a join: pieces of blocks against each other, each pair once for both ends.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::block::Block;
use super::cell::{Cell, row_number};
use super::lost::Losses;
use super::meetings::{self, Meeting};
use lvd_kernels::codes::{Codes, ScanMode};
use lvd_kernels::dot::similarity;

/// Queries that are scanned together: they stay in the first-level cache.
pub(super) const PIECE: usize = 64;
/// Products that take as long as setting one row apart.
const SET_APART: usize = 30;

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
    /// Those with rows that probe the query's cell, if that cell comes before theirs: they meet
    /// there.
    ProbingBeforeCell,
}

impl Block {
    /// Compares the rows of this block with each other. Returns how many products were computed.
    #[expect(clippy::must_use_candidate, reason = "what it finds is in the blocks")]
    pub fn within(&self) -> u64 {
        let this = self;
        let between = |cell: &Cell| {
            let unsettled: Vec<u32> = (cell.rows.start..cell.first_settled).map(row_number).collect();
            let mode = this.mode(cell, this, cell);
            let own = unsettled.chunks(PIECE).map(|chosen| {
                let rows = Rows::Range(chosen[0] as usize + 1..cell.rows.end);
                Piece { queries: this, chosen: chosen.to_vec(), base: this, rows, seen: Seen::Before, mode }
            });
            own.chain(this.pieces(this.probing(cell.number), this, cell, Seen::ProbingBefore)).collect()
        };
        let pieces: Vec<Vec<Piece>> = self.cells.par_iter().map(between).collect();
        compare(&pieces)
    }

    /// Compares the rows of this block with those of another, which holds later cells, or later
    /// rows of this one's last.
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

    /// Compares visitors with this block: rows of cells that are held elsewhere, and that probe
    /// cells of this block. Rows of this block visit those cells in turn, so a pair may meet twice:
    /// the meeting in the earlier cell counts.
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

    /// The pieces of work between some rows of this block, ascending, and a cell of `base`.
    fn pieces<'a>(
        &'a self,
        rows: impl Iterator<Item = u32>,
        base: &'a Self,
        cell: &Cell,
        seen: Seen,
    ) -> Vec<Piece<'a>> {
        let rows: Vec<u32> = rows.collect();
        // What comes from few rows of a cell is scanned together: by whether they are settled, and
        // by how they are compared.
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
            let (unsettled, settled) = run.split_at(run.partition_point(|&row| (row as usize) < from.first_settled));
            for (settled, run) in [false, true].into_iter().zip([unsettled, settled]) {
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

    /// Those of `rows`, all of one cell, that no other piece compares with the rows `run` of the
    /// cell `from`. None where it takes less time to compare all of them.
    fn unseen(&self, run: &[u32], rows: Range<usize>, from: &Cell, seen: Seen) -> Option<Vec<u32>> {
        let first = *run.first()? as usize;
        match seen {
            Seen::Probing => {}
            Seen::ProbingBefore if rows.end <= first => {}
            _ => return None,
        }
        let all = self.all_probing(from.number);
        let within = |row: usize| all.partition_point(|&probing| (probing as usize) < row);
        let skipped = &all[within(rows.start)..within(rows.end)];
        let left = rows.len() - skipped.len();
        if skipped.len() * run.len() <= left * SET_APART {
            return None;
        }
        let mut skipped = skipped.iter().peekable();
        Some(rows.map(row_number).filter(|row| skipped.next_if_eq(&row).is_none()).collect())
    }

    /// How rows of two cells are compared: by sketches where few of them are near enough to need a
    /// second look.
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
        (self.chosen.len() * self.rows.len()) as u64 + meetings::settle(self.queries, self.base, meetings)
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
            if similarity < near.crowd && self.is_led(q, r) {
                meetings.push(Meeting { query: q, row: row_number(r), similarity });
            }
        };
        for chosen in self.chosen.chunks(PIECE) {
            let queries = (chosen, &self.queries.floors[..]);
            codes.scan(&self.queries.codes, queries, (rows.clone(), floors), self.mode, &mut found);
        }
    }

    /// Whether one of the two leads a crowd.
    fn is_led(&self, query: u32, row: usize) -> bool {
        self.queries.crowd(query).is_some() || self.base.crowd(row_number(row)).is_some()
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
                // A crowd of visitors is another one than that of its members' home: both ends
                // look.
                number(self.queries, query as usize) < number(self.base, row) && probing() && !self.is_led(query, row)
            }
        }
    }
}
