//! How rows come into a block: equal vectors once, in the order of their cells, and the members of
//! crowds behind all cells.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::cell::{Cell, row_number};
use super::crowds::{self, Crowd, FoundCrowd};
use crate::pair::Pair;
use lvd_base::types::{CellRows, ImageId};
use lvd_kernels::codes::Codes;
use lvd_kernels::rotate::Rotation;

/// A row on its way into a block.
#[derive(Clone, Copy)]
pub(super) struct Sorted<'a> {
    cell: u32,
    /// The first four numbers: equal vectors have equal ones.
    head: u64,
    settled: bool,
    /// Its place among all that came.
    pub place: u32,
    pub id: ImageId,
    pub vector: &'a [f16],
    pub probes: &'a [u32],
}

impl<'a> Sorted<'a> {
    pub fn new(part: &'a CellRows, row: usize, d: usize) -> Self {
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

/// The rows without those that are equal to an earlier one of their cell, and pairs of these with
/// it. Ordered by cell, settled rows last.
pub(super) fn distinct(mut rows: Vec<Sorted<'_>>) -> (Vec<Sorted<'_>>, Vec<Pair>) {
    // Equal vectors side by side, the first of those that are not settled first.
    rows.par_sort_unstable_by_key(|row| (row.cell, row.head, row.settled, row.place));
    let (mut kept, mut equals) = (Vec::with_capacity(rows.len()), Vec::new());
    for same in rows.chunk_by(|a, b| (a.cell, a.head) == (b.cell, b.head)) {
        let first = kept.len();
        for &row in same {
            match kept[first..].iter().find(|earlier: &&Sorted| bits(earlier.vector) == bits(row.vector)) {
                None => kept.push(row),
                Some(earlier) => {
                    equals.push(Pair { id: row.id, neighbour: earlier.id, similarity: 1.0, attached: true });
                }
            }
        }
    }
    kept.par_sort_unstable_by_key(|row| (row.cell, row.settled, row.place));
    (kept, equals)
}

/// The vectors as they are, and their codes: where they are turned, around the means of their
/// cells.
pub(super) fn prepare(rows: &[Sorted], d: usize, cells: &[Cell], rotation: Option<&Rotation>) -> (Vec<f16>, Codes) {
    let (mut halves, mut vectors) = (vec![f16::ZERO; rows.len() * d], vec![0.0; rows.len() * d]);
    halves.par_chunks_mut(d).zip(vectors.par_chunks_mut(d)).zip(rows).with_min_len(256).for_each(
        |((half, vector), row)| {
            half.copy_from_slice(row.vector);
            row.vector.convert_to_f32_slice(vector);
            if let Some(rotation) = rotation {
                rotation.apply(vector);
            }
        },
    );
    let cells = cells.iter().filter(|_| rotation.is_some()).map(|cell| cell.rows.clone());
    (halves, Codes::residual(&vectors, d, &cells.collect::<Vec<_>>()))
}

/// The cells of rows that are ordered by them.
pub(super) fn cells(rows: &[Sorted]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for same in rows.chunk_by(|a, b| a.cell == b.cell) {
        let start = cells.last().map_or(0, |cell| cell.rows.end);
        let first_settled = start + same.partition_point(|row| !row.settled);
        cells.push(Cell { number: same[0].cell, rows: start..start + same.len(), first_settled });
    }
    cells
}

/// Takes the members of crowds out of the cells: the rows that are left, hubs first in their cells,
/// then the members by crowd. Returns also how many are left.
pub(super) fn apart<'a>(rows: &[Sorted<'a>], found: &[FoundCrowd]) -> (Vec<Sorted<'a>>, usize) {
    let (mut member, mut plain) = (vec![false; rows.len()], vec![true; rows.len()]);
    for crowd in found {
        plain[crowd.hub] = false;
        crowd.members.iter().for_each(|&(row, _)| member[row] = true);
    }
    let mut left: Vec<usize> = (0..rows.len()).filter(|&row| !member[row]).collect();
    left.sort_by_key(|&row| (rows[row].cell, plain[row]));
    let ordinary = left.len();
    left.extend(found.iter().flat_map(|crowd| crowd.members.iter().map(|&(row, _)| row)));
    (left.into_iter().map(|row| rows[row]).collect(), ordinary)
}

/// The crowds where `apart` has put them, and the pairs of members and hubs.
pub(super) fn attach(rows: &[Sorted], ordinary: usize, found: &[FoundCrowd]) -> (Vec<Crowd>, Vec<Pair>) {
    let (mut crowds, mut pairs) = (Vec::with_capacity(found.len()), Vec::new());
    let (mut hubs, mut start) = (0, ordinary);
    for FoundCrowd { members, .. } in found {
        let cell = rows[start].cell;
        // Hubs come in the same order, first in each cell.
        hubs += rows[hubs..ordinary].partition_point(|row| row.cell < cell);
        let hub = rows[hubs].id;
        let least = members.iter().fold(1.0f32, |least, &(_, similarity)| least.min(similarity));
        let end = start + members.len();
        crowds.push(Crowd { hub: row_number(hubs), members: start..end, radius: crowds::radius(least) });
        pairs.extend(rows[start..end].iter().zip(members).map(|(row, &(_, similarity))| Pair {
            id: row.id,
            neighbour: hub,
            similarity,
            attached: true,
        }));
        (hubs, start) = (hubs + 1, end);
    }
    (crowds, pairs)
}

/// Attaches what is equal to a member of a crowd to the hub too: no row is attached to an attached
/// one.
pub(super) fn attach_equals(equals: &mut [Pair], attached: &[Pair]) {
    let mut members: Vec<&Pair> = attached.iter().collect();
    members.par_sort_unstable_by_key(|pair| pair.id);
    for equal in equals {
        if let Ok(place) = members.binary_search_by_key(&equal.neighbour, |pair| pair.id) {
            (equal.neighbour, equal.similarity) = (members[place].neighbour, members[place].similarity);
        }
    }
}

/// What the rows of a crowd probe, together.
pub(super) fn union(crowd: &Crowd, rows: &[Sorted]) -> Vec<u32> {
    let members = crowd.members.clone().chain([crowd.hub as usize]);
    let mut probes: Vec<u32> = members.flat_map(|row| rows[row].probes).copied().collect();
    probes.sort_unstable();
    probes.dedup();
    probes
}

fn bits(vector: &[f16]) -> &[u16] {
    vector.reinterpret_cast()
}
