//! Blocks against brute force.

use super::compare::PIECE;
use super::{Block, Near};
use crate::pair::Pair;
use lvd_base::types::{CellRows, ImageId, Neighbour};
use lvd_kernels::dot::{normalise, similarity, to_f16, to_f32};
use lvd_kernels::hash::Draw;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) const D: usize = 20;
const NEAR: Near = Near { k: 5, floor: 0.6, crowd: 2.0 };

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
        let cell = |j: u64| u32::try_from(draw.bits(3_000_000 + source * 10 + j) % u64::from(cells)).expect("small");
        rows.cells.push(cell(0));
        rows.settled.push(draw.bits(4_000_000 + i).is_multiple_of(4));
        let probes: BTreeSet<u32> = (1..=draw.bits(i) % 3).map(cell).filter(|&probe| probe != cell(0)).collect();
        rows.probes.extend(probes);
        rows.probe_starts.push(rows.probes.len());
    }
    rows
}

pub(super) fn take(rows: &CellRows, wanted: impl Fn(usize) -> bool) -> CellRows {
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

/// Who is whose neighbour, by every pair: rows that are equal to an earlier one of their cell are
/// linked to it alone.
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
            let similarity = similarity(&vector(a), &vector(b));
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

fn block(rows: &CellRows) -> Block {
    Block::new(std::slice::from_ref(rows), D, NEAR, None, &Arc::default())
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
    for (seed, cells) in [(1, 1), (2, 7), (3, 40), (4, 2)] {
        let rows = take(&rows(400, cells, seed), |_| true);
        let expected = oracle(&rows);
        assert!(expected.len() > 300, "{} pairs", expected.len());
        let block = block(&rows);
        block.within();
        assert_eq!(found(vec![block]), expected, "seed {seed}");
    }
}

#[test]
fn two_cells_that_probe_each_other_compare_a_pair_once() {
    let mut rows = rows(200, 1, 8);
    // Two cells of a hundred rows, half of which probe the other cell.
    rows.cells = (0..200).map(|row| row / 100).collect();
    rows.probes = (0..200).filter(|row| row % 2 == 0).map(|row| 1 - row / 100).collect();
    rows.probe_starts = (0..=200_usize).map(|row| row.div_ceil(2)).collect();
    rows.settled = vec![false; 200];
    let distinct = take(&rows, |row| row % 9 != 0);
    let expected = oracle(&distinct);
    let block = block(&distinct);
    let size = |cell: u32| distinct.cells.iter().filter(|&&home| home == cell).count();
    let probes = |row: usize| distinct.probe_starts[row] < distinct.probe_starts[row + 1];
    let probing = |cell: u32| (0..distinct.ids.len()).filter(|&row| distinct.cells[row] == cell && probes(row)).count();
    let own = |n: usize| (0..n).step_by(PIECE).map(|first| PIECE.min(n - first) * (n - first - 1)).sum::<usize>();
    let (first, second) = (probing(0), probing(1));
    let between = first * size(1) + second * (size(0) - first);
    assert_eq!(block.within(), (own(size(0)) + own(size(1)) + between) as u64);
    assert_eq!(found(vec![block]), expected);
}

#[test]
fn blocks_find_together_what_one_finds() {
    for (cells, seed) in [(12, 5), (2, 7)] {
        several_blocks(rows(300, cells, seed));
    }
}

fn several_blocks(mut rows: CellRows) {
    // No equal vectors: they are left out a block at a time.
    let apart: Vec<usize> = (0..300).filter(|row| row % 9 != 0 || *row == 0).collect();
    rows = take(&rows, |row| apart.contains(&row));
    let expected = oracle(&rows);
    // The second cut goes through a cell.
    let halves =
        [take(&rows, |row| row < 100), take(&rows, |row| (100..150).contains(&row)), take(&rows, |row| row >= 150)];
    let blocks: Vec<Block> = halves.iter().map(block).collect();
    for i in 0..3 {
        blocks[i].within();
        for other in &blocks[i + 1..] {
            blocks[i].with(other);
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
        let block = |wanted: &dyn Fn(usize) -> bool| block(&take(&rows, wanted));
        let held = block(&home);
        held.within();
        let mut found = Vec::new();
        for parity in 0..2 {
            let visitors = block(&|row| comes(row) && row % 2 == parity);
            held.visited(&visitors);
            found.extend(visitors.into_pairs());
        }
        found.extend(held.into_pairs());
        for Pair { id, neighbour, similarity, .. } in found {
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
    let block = block(&rows);
    assert_eq!((block.rows(), block.within()), (1, 0));
    assert_eq!(block.into_pairs().filter(|pair| pair.neighbour == ImageId(0)).count(), n - 1);
}
