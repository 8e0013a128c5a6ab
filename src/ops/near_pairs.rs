//! All pairs of near vectors in cells that know of each other: codes propose, fixed-order products decide, each row keeps its
//! k nearest.
//!
//! What is found does not depend on threads: the k nearest of a row among all that it is compared with are a set with one
//! answer, whatever the order. A pair of cells is scored once, for both ends.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::dot::dot;
use super::rotate::Rotation;
use super::top_k::TopK;
use crate::native::codes::{Codes, Depth, sketch_pays};
use crate::types::{CellRows, ImageId, Neighbour};

/// Queries of one piece of parallel work.
const PIECE: usize = 64;

/// A near pair: `id` has `neighbour` among its k nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Whose neighbour it is.
    pub id: ImageId,
    /// The neighbour.
    pub neighbour: ImageId,
    /// Their cosine.
    pub similarity: f32,
}

/// What pairs are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// Neighbours a row keeps.
    pub k: usize,
    /// Pairs below this cosine are not kept.
    pub floor: f32,
}

/// Rows that are ready to be compared. Rows with equal vectors are there once.
pub struct Block {
    near: Near,
    d: usize,
    ids: Vec<ImageId>,
    halves: Vec<f16>,
    codes: Codes,
    /// Whether the codes are of turned vectors.
    turned: bool,
    cells: Vec<Cell>,
    /// For each row the index of its cell.
    homes: Vec<u32>,
    /// The rows that probe each cell.
    probes: Probes,
    /// The cosine that each row's neighbours must reach: the floor, or that of its k-th so far.
    floors: Vec<f32>,
    tops: Vec<Mutex<TopK>>,
    /// Rows that were left out, with the row they are equal to.
    equals: Vec<Pair>,
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

/// A row on its way into a block.
#[derive(Clone, Copy)]
struct Sorted<'a> {
    cell: u32,
    /// The first four numbers: equal vectors have equal ones.
    head: u64,
    settled: bool,
    /// Its place among all that came.
    place: u32,
    id: ImageId,
    vector: &'a [f16],
    probes: &'a [u32],
}

impl<'a> Sorted<'a> {
    fn new(part: &'a CellRows, row: usize, d: usize) -> Self {
        let vector = &part.halves[row * d..][..d];
        Self {
            cell: part.cells[row],
            head: vector.iter().take(4).fold(0, |head, x| head << 16 | u64::from(x.to_bits())),
            settled: part.settled[row],
            place: 0,
            id: part.ids[row],
            vector,
            probes: &part.probes[part.probe_starts[row]..part.probe_starts[row + 1]],
        }
    }
}

/// The rows of a cell: those that are not settled, then those that are.
struct Cell {
    number: u32,
    rows: Range<usize>,
    /// The first settled row.
    fresh: usize,
    /// The mean of its vectors: the product of two means is the mean cosine between two cells.
    mean: Vec<f32>,
}

impl Cell {
    /// What the rows `chosen` are compared with: all rows here, or the fresh ones if they are settled.
    fn for_settled(&self, settled: bool) -> Range<usize> {
        if settled { self.rows.start..self.fresh } else { self.rows.clone() }
    }
}

/// Some rows of one block against a range of rows of another.
struct Piece<'a> {
    queries: &'a Block,
    chosen: Vec<u32>,
    base: &'a Block,
    rows: Range<usize>,
    seen: Seen,
    depth: Depth,
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
    /// Prepares rows of width `d`, in any number of parts. With a rotation, cells that are far from each other are compared by sketches of
    /// the turned vectors, which miss one pair in hundreds just at the floor; without, every pair is found.
    ///
    /// # Panics
    /// When the columns have different lengths.
    #[must_use]
    pub fn new(parts: &[CellRows], d: usize, near: Near, rotation: Option<&Rotation>) -> Self {
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
        // Equal vectors side by side, the first of those that are not settled first.
        rows.par_sort_unstable_by_key(|row| (row.cell, row.head, row.settled, row.place));
        let (mut kept, mut equals) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut vector = vec![0.0; d];
        for same in rows.chunk_by(|a, b| (a.cell, a.head) == (b.cell, b.head)) {
            let first = kept.len();
            for &row in same {
                match kept[first..].iter().find(|earlier: &&Sorted| bits(earlier.vector) == bits(row.vector)) {
                    None => kept.push(row),
                    Some(earlier) => {
                        row.vector.convert_to_f32_slice(&mut vector);
                        let similarity = dot(&vector, &vector);
                        if similarity >= near.floor {
                            equals.push(Pair { id: row.id, neighbour: earlier.id, similarity });
                        }
                    }
                }
            }
        }
        // Settled rows last in their cells.
        kept.par_sort_unstable_by_key(|row| (row.cell, row.settled, row.place));
        let m = kept.len();
        let (mut halves, mut chosen) = (vec![f16::ZERO; m * d], vec![0.0; m * d]);
        halves.par_chunks_mut(d).zip(chosen.par_chunks_mut(d)).zip(&kept).with_min_len(256).for_each(
            |((half, vector), row)| {
                half.copy_from_slice(row.vector);
                row.vector.convert_to_f32_slice(vector);
            },
        );
        let mut cells: Vec<Cell> = Vec::new();
        let mut homes = Vec::with_capacity(m);
        for (place, row) in kept.iter().enumerate() {
            let number = row.cell;
            if cells.last().is_none_or(|cell| cell.number != number) {
                cells.push(Cell { number, rows: place..place, fresh: place, mean: vec![0.0; d] });
            }
            if let Some(cell) = cells.last_mut() {
                cell.rows.end = place + 1;
                cell.fresh += usize::from(!row.settled);
            }
            homes.push(row_number(cells.len() - 1));
        }
        let probes = Probes::new(kept.iter().map(|row| row.probes));
        cells.par_iter_mut().for_each(|cell| {
            #[expect(clippy::cast_precision_loss, reason = "a cell has few rows")]
            let share = 1.0 / cell.rows.len() as f32;
            for vector in chosen[cell.rows.start * d..cell.rows.end * d].chunks(d) {
                cell.mean.iter_mut().zip(vector).for_each(|(mean, x)| *mean += share * x);
            }
        });
        if let Some(rotation) = rotation {
            chosen.par_chunks_mut(64 * d).for_each(|some| some.chunks_mut(d).for_each(|vector| rotation.apply(vector)));
        }
        Self {
            near,
            d,
            ids: kept.iter().map(|row| row.id).collect(),
            codes: Codes::new(&chosen, d),
            turned: rotation.is_some(),
            halves,
            cells,
            homes,
            probes,
            floors: vec![near.floor; m],
            tops: (0..m).map(|_| Mutex::new(TopK::new(near.k))).collect(),
            equals,
        }
    }

    /// Compares the rows of this block with each other. Returns how many products were computed.
    pub fn within(&mut self) -> u64 {
        let this = &*self;
        let between = |cell: &Cell| {
            let fresh: Vec<u32> = (cell.rows.start..cell.fresh).map(row_number).collect();
            let depth = this.depth(cell, this, cell);
            let own = fresh.chunks(PIECE).map(|chosen| {
                let rows = chosen[0] as usize + 1..cell.rows.end;
                Piece { queries: this, chosen: chosen.to_vec(), base: this, rows, seen: Seen::Before, depth }
            });
            own.chain(this.pieces(this.probing(cell.number), this, cell, Seen::ProbingBefore)).collect()
        };
        let pieces: Vec<Vec<Piece>> = self.cells.par_iter().map(between).collect();
        let products = compare(&pieces);
        self.raise();
        products
    }

    /// Compares the rows of this block with those of another, which holds later cells, or later rows of this one's last.
    pub fn with(&mut self, other: &mut Self) -> u64 {
        let (here, there) = (&*self, &*other);
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
        let products = compare(&pieces);
        self.raise();
        other.raise();
        products
    }

    /// Compares rows that probe cells of this block with these cells. They are at home in cells that are held elsewhere, where rows of
    /// this block that probe those come by: of the two ends' ways to meet, the one into the earlier cell counts.
    pub fn visited(&mut self, visitors: &mut Self) -> u64 {
        let (here, there) = (&*self, &*visitors);
        let pieces: Vec<Vec<Piece>> = here
            .cells
            .par_iter()
            .map(|cell| there.pieces(there.probing(cell.number), here, cell, Seen::ProbingBeforeCell))
            .collect();
        let products = compare(&pieces);
        self.raise();
        visitors.raise();
        products
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

    /// The pairs that rows of this block keep: both ends of a pair may.
    pub fn into_pairs(mut self) -> impl Iterator<Item = Pair> {
        std::mem::take(&mut self.equals).into_iter().chain(self.into_found())
    }

    /// The same without those between equal vectors.
    pub fn into_found(self) -> impl Iterator<Item = Pair> {
        self.ids.into_iter().zip(self.tops).flat_map(|(id, top)| {
            let top = top.into_inner().unwrap_or_else(PoisonError::into_inner).into_sorted();
            top.into_iter().map(move |near| Pair { id, neighbour: near.id, similarity: near.similarity })
        })
    }

    /// Raises the floors of rows that have k neighbours: later scans let less through.
    fn raise(&mut self) {
        for (floor, top) in self.floors.iter_mut().zip(&mut self.tops) {
            if let Some(least) = top.get_mut().unwrap_or_else(PoisonError::into_inner).least() {
                *floor = floor.max(least);
            }
        }
    }

    fn vector(&self, row: usize, to: &mut [f32]) {
        self.halves[row * self.d..(row + 1) * self.d].convert_to_f32_slice(to);
    }

    fn offer(&self, row: usize, id: ImageId, similarity: f32) {
        let mut top = self.tops[row].lock().unwrap_or_else(PoisonError::into_inner);
        top.push(Neighbour { similarity, id });
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
        // By whether they are settled, and by how they are compared, which rows of one cell have in common.
        let mut chosen: [[Vec<u32>; 2]; 2] = Default::default();
        let mut last = None;
        for row in rows {
            let home = self.homes[row as usize];
            let depth = match last {
                Some((known, depth)) if known == home => depth,
                _ => self.depth(&self.cells[home as usize], base, cell),
            };
            last = Some((home, depth));
            let settled = row as usize >= self.cells[home as usize].fresh;
            chosen[usize::from(settled)][usize::from(depth == Depth::Sketch)].push(row);
        }
        let mut pieces = Vec::new();
        for (settled, chosen) in [false, true].into_iter().zip(chosen) {
            let rows = cell.for_settled(settled);
            for (depth, chosen) in [Depth::Full, Depth::Sketch].into_iter().zip(chosen) {
                let some = chosen.chunks(PIECE).filter(|_| !rows.is_empty());
                pieces.extend(some.map(|chosen| Piece {
                    queries: self,
                    chosen: chosen.to_vec(),
                    base,
                    rows: rows.clone(),
                    seen,
                    depth,
                }));
            }
        }
        pieces
    }

    /// How rows of two cells are compared: by sketches where few of them are near enough to need a second look.
    fn depth(&self, one: &Cell, base: &Self, other: &Cell) -> Depth {
        let pays = || sketch_pays(self.d, self.near.floor, dot(&one.mean, &other.mean));
        if self.turned && base.turned && pays() { Depth::Sketch } else { Depth::Full }
    }
}

/// Compares every piece, in parallel; returns the number of products.
fn compare(pieces: &[Vec<Piece>]) -> u64 {
    pieces.par_iter().flatten().map(Piece::compare).sum()
}

impl Piece<'_> {
    fn compare(&self) -> u64 {
        let d = self.queries.d;
        let (mut query, mut row) = (vec![0.0; d], vec![0.0; d]);
        let mut current = u32::MAX;
        let near = self.queries.near;
        let queries = (&self.chosen[..], &self.queries.floors[..]);
        let rows = (self.rows.clone(), &self.base.floors[..]);
        self.base.codes.scan(&self.queries.codes, queries, rows, self.depth, &mut |q, r| {
            if self.is_seen(q as usize, r) {
                return;
            }
            if current != q {
                self.queries.vector(q as usize, &mut query);
                current = q;
            }
            self.base.vector(r, &mut row);
            let similarity = dot(&query, &row);
            if similarity >= near.floor {
                self.queries.offer(q as usize, self.base.ids[r], similarity);
                self.base.offer(r, self.queries.ids[q as usize], similarity);
            }
        });
        (self.chosen.len() * self.rows.len()) as u64
    }

    /// Whether another piece compares this pair.
    fn is_seen(&self, query: usize, row: usize) -> bool {
        let probing = || {
            let home = &self.queries.cells[self.queries.homes[query] as usize];
            self.base.probes(row, home.number)
        };
        match self.seen {
            Seen::Never => false,
            Seen::Before => row <= query,
            Seen::ProbingBefore => row < query && probing(),
            Seen::Probing => probing(),
            Seen::ProbingBeforeCell => {
                let number = |block: &Block, row: usize| block.cells[block.homes[row] as usize].number;
                number(self.queries, query) < number(self.base, row) && probing()
            }
        }
    }
}

fn bits(vector: &[f16]) -> &[u16] {
    vector.reinterpret_cast()
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a block has fewer than 2^32 rows")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::dot::{normalise, to_f16, to_f32};
    use crate::ops::hash::Draw;
    use std::collections::{BTreeMap, BTreeSet};

    const D: usize = 20;
    const NEAR: Near = Near { k: 5, floor: 0.6 };

    /// Vectors around a few directions, some of them equal, in random cells with random probes.
    fn rows(n: usize, cells: u32, seed: u64) -> CellRows {
        let draw = Draw::new(seed, "near");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let number = |i: u64| draw.unit(i) as f32 - 0.5;
        let mut rows = CellRows { probe_starts: vec![0], ..CellRows::default() };
        for i in 0..n as u64 {
            let source = if i % 9 == 0 { 0 } else { i };
            let cloud = 1_000_000 + source % 6 * 100;
            let mut vector: Vec<f32> =
                (0..D as u64).map(|k| number(cloud + k) + 0.5 * number(2_000_000 + source * 100 + k)).collect();
            normalise(&mut vector);
            rows.halves.extend(to_f16(&vector));
            rows.ids.push(ImageId(1000 + i));
            let cell =
                |j: u64| u32::try_from(draw.bits(3_000_000 + source * 10 + j) % u64::from(cells)).expect("small");
            rows.cells.push(cell(0));
            rows.settled.push(draw.bits(4_000_000 + i).is_multiple_of(4));
            let probes: BTreeSet<u32> = (1..=draw.bits(i) % 3).map(cell).filter(|&probe| probe != cell(0)).collect();
            rows.probes.extend(probes);
            rows.probe_starts.push(rows.probes.len());
        }
        rows
    }

    fn take(rows: &CellRows, wanted: impl Fn(usize) -> bool) -> CellRows {
        let mut order: Vec<usize> = (0..rows.ids.len()).filter(|&row| wanted(row)).collect();
        order.sort_by_key(|&row| (rows.cells[row], row));
        let mut taken = CellRows { probe_starts: vec![0], ..CellRows::default() };
        for row in order {
            taken.ids.push(rows.ids[row]);
            taken.cells.push(rows.cells[row]);
            taken.settled.push(rows.settled[row]);
            taken.halves.extend(&rows.halves[row * D..(row + 1) * D]);
            taken.probes.extend(&rows.probes[rows.probe_starts[row]..rows.probe_starts[row + 1]]);
            taken.probe_starts.push(taken.probes.len());
        }
        taken
    }

    /// Who is whose neighbour, by every pair: rows that are equal to an earlier one of their cell are linked to it alone.
    fn oracle(rows: &CellRows) -> BTreeSet<(ImageId, ImageId)> {
        let n = rows.ids.len();
        let vector = |row: usize| to_f32(&rows.halves[row * D..(row + 1) * D]);
        let probes = |row: usize| &rows.probes[rows.probe_starts[row]..rows.probe_starts[row + 1]];
        let mut found = BTreeSet::new();
        let mut first: Vec<usize> = Vec::new();
        for row in 0..n {
            // Among equals the settled ones come last.
            let equals = (0..n).filter(|&other| rows.cells[other] == rows.cells[row] && vector(other) == vector(row));
            first.push(equals.min_by_key(|&other| (rows.settled[other], other)).expect("itself"));
        }
        let mut tops: BTreeMap<usize, Vec<(f32, ImageId)>> = BTreeMap::new();
        for a in 0..n {
            if first[a] != a {
                found.insert((rows.ids[a].min(rows.ids[first[a]]), rows.ids[a].max(rows.ids[first[a]])));
                continue;
            }
            for b in (0..n).filter(|&b| b != a && first[b] == b) {
                let met = rows.cells[a] == rows.cells[b]
                    || probes(a).contains(&rows.cells[b])
                    || probes(b).contains(&rows.cells[a]);
                let similarity = dot(&vector(a), &vector(b));
                if met && !(rows.settled[a] && rows.settled[b]) && similarity >= NEAR.floor {
                    tops.entry(a).or_default().push((similarity, rows.ids[b]));
                }
            }
        }
        for (row, mut top) in tops {
            top.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            top.truncate(NEAR.k);
            found.extend(top.into_iter().map(|(_, id)| (id.min(rows.ids[row]), id.max(rows.ids[row]))));
        }
        found
    }

    fn found(blocks: Vec<Block>) -> BTreeSet<(ImageId, ImageId)> {
        blocks
            .into_iter()
            .flat_map(Block::into_pairs)
            .map(|pair| (pair.id.min(pair.neighbour), pair.id.max(pair.neighbour)))
            .collect()
    }

    #[test]
    fn a_block_finds_the_nearest_of_every_row_among_the_cells_it_meets() {
        for (seed, cells) in [(1, 1), (2, 7), (3, 40)] {
            let rows = take(&rows(400, cells, seed), |_| true);
            let expected = oracle(&rows);
            assert!(expected.len() > 300, "{} pairs", expected.len());
            let mut block = Block::new(std::slice::from_ref(&rows), D, NEAR, None);
            block.within();
            assert_eq!(found(vec![block]), expected, "seed {seed}");
        }
    }

    #[test]
    fn blocks_find_together_what_one_finds() {
        let mut rows = rows(300, 12, 5);
        // No equal vectors: they are left out a block at a time.
        let apart: Vec<usize> = (0..300).filter(|row| row % 9 != 0 || *row == 0).collect();
        rows = take(&rows, |row| apart.contains(&row));
        let expected = oracle(&rows);
        // The second cut goes through a cell.
        let halves =
            [take(&rows, |row| row < 100), take(&rows, |row| (100..150).contains(&row)), take(&rows, |row| row >= 150)];
        let mut blocks: Vec<Block> =
            halves.iter().map(|rows| Block::new(std::slice::from_ref(rows), D, NEAR, None)).collect();
        for i in 0..3 {
            let (left, right) = blocks.split_at_mut(i + 1);
            left[i].within();
            for other in right {
                left[i].with(other);
            }
        }
        assert_eq!(found(blocks), expected);
    }

    #[test]
    fn groups_of_cells_find_apart_with_their_visitors_what_one_finds() {
        let all = rows(300, 12, 6);
        // No equal vectors: they are left out a block at a time.
        let rows = take(&all, |row| row % 9 != 0 || row == 0);
        let expected = oracle(&rows);
        let mut nearest: BTreeMap<ImageId, Vec<Neighbour>> = BTreeMap::new();
        for group in [0..4, 4..9, 9..12] {
            let probes = |row: usize| &rows.probes[rows.probe_starts[row]..rows.probe_starts[row + 1]];
            let home = |row: usize| group.contains(&rows.cells[row]);
            let comes = |row: usize| !home(row) && probes(row).iter().any(|probe| group.contains(probe));
            let block = |wanted: &dyn Fn(usize) -> bool| Block::new(&[take(&rows, wanted)], D, NEAR, None);
            let mut held = block(&home);
            held.within();
            let mut found = Vec::new();
            for parity in 0..2 {
                let mut visitors = block(&|row| comes(row) && row % 2 == parity);
                held.visited(&mut visitors);
                found.extend(visitors.into_found());
            }
            found.extend(held.into_pairs());
            for Pair { id, neighbour, similarity } in found {
                let of = nearest.entry(id).or_default();
                assert!(of.iter().all(|known| known.id != neighbour), "{id:?} met {neighbour:?} twice");
                of.push(Neighbour { similarity, id: neighbour });
            }
        }
        let mut found = BTreeSet::new();
        for (id, mut near) in nearest {
            near.sort();
            found.extend(near.iter().take(NEAR.k).map(|near| (id.min(near.id), id.max(near.id))));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_block_of_one_vector_many_times_is_compared_in_no_time() {
        let one = rows(1, 1, 9);
        let n = 200_000usize;
        let rows = CellRows {
            ids: (0..n as u64).map(ImageId).collect(),
            cells: vec![0; n],
            settled: vec![false; n],
            halves: one.halves.iter().copied().cycle().take(n * D).collect(),
            probe_starts: vec![0; n + 1],
            probes: Vec::new(),
        };
        let mut block = Block::new(&[rows], D, NEAR, None);
        assert_eq!((block.rows(), block.within()), (1, 0));
        assert_eq!(block.into_pairs().filter(|pair| pair.neighbour == ImageId(0)).count(), n - 1);
    }
}
