//! Centroids that vectors are compared with, all of them.

use rayon::prelude::*;

use super::assigned::{Assigned, number};
use lvd_kernels::codes::Codes;
use lvd_kernels::dot::normalise;

/// Cells that a vector probes at most, its own included.
pub const PROBES: usize = 512;
/// Vectors that look at all cells together.
const LOOKING: usize = 64;
/// Vectors of one task of [`assign_by`].
const BLOCK: usize = 1024;

/// Some centroids, of cells or of districts.
#[derive(Debug)]
pub struct Centroids {
    /// Row-major, of unit norm.
    pub values: Vec<f32>,
    /// Their width.
    pub(super) d: usize,
    pub(super) codes: Codes,
}

impl Centroids {
    /// Of these values, row-major, `d` wide, of unit norm.
    pub(super) fn new(values: Vec<f32>, d: usize) -> Self {
        let codes = Codes::new(&values, d);
        Self { values, d, codes }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.rows()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nearest to each vector, and those whose cosine is less by at most `margin`.
    pub(super) fn assign(&self, vectors: &[f32], margin: f32) -> Assigned {
        assign_by(vectors, self.d, |codes, rows| self.near(codes, rows, margin))
    }

    /// For each row those within `margin` of the nearest, the nearest first, at most [`PROBES`].
    pub(super) fn near(&self, codes: &Codes, rows: &[u32], margin: f32) -> Vec<Vec<(u32, f32)>> {
        let mut found = Vec::with_capacity(rows.len());
        for chosen in rows.chunks(LOOKING) {
            found.extend(self.codes.nearest(codes, chosen, margin).into_iter().map(best_first));
        }
        found
    }
}

/// Assigns vectors by `look`, which finds what is near to each of some rows, the nearest first.
pub(super) fn assign_by(
    vectors: &[f32],
    d: usize,
    look: impl Fn(&Codes, &[u32]) -> Vec<Vec<(u32, f32)>> + Sync,
) -> Assigned {
    let codes = Codes::new(vectors, d);
    let blocks: Vec<Vec<Vec<(u32, f32)>>> = (0..codes.rows().div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let rows: Vec<u32> = (block * BLOCK..codes.rows().min((block + 1) * BLOCK)).map(number).collect();
            look(&codes, &rows)
        })
        .collect();
    let mut assigned = Assigned::default();
    for seen in blocks.into_iter().flatten() {
        let (cell, best) = seen[0];
        assigned.cells.push(cell);
        assigned.probes.extend(seen[1..].iter().map(|&(cell, cosine)| (cell, best - cosine)));
        assigned.starts.push(number(assigned.probes.len()));
    }
    assigned
}

/// Best first, at most [`PROBES`].
pub(super) fn best_first(mut cells: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    if cells.len() > PROBES {
        cells.select_nth_unstable_by(PROBES - 1, nearer);
        cells.truncate(PROBES);
    }
    cells.sort_unstable_by(nearer);
    cells
}

/// Higher cosine first, then the lower number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what sorting calls")]
fn nearer(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The directions of the means of rows, summed in f64 in order; the first row where the mean has
/// none.
pub(super) fn means(points: &[f32], members: &[Vec<u32>], d: usize) -> Vec<f32> {
    let mut means = vec![0.0; members.len() * d];
    means.par_chunks_mut(d).zip(members.par_iter()).for_each(|(mean, members)| {
        let mut sums = vec![0.0f64; d];
        let point = |row: u32| &points[row as usize * d..][..d];
        for &row in members {
            sums.iter_mut().zip(point(row)).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        #[expect(clippy::cast_possible_truncation, reason = "centroids are f32")]
        mean.iter_mut().zip(&sums).for_each(|(mean, &sum)| *mean = sum as f32);
        if !normalise(mean) {
            mean.copy_from_slice(point(members[0]));
        }
    });
    means
}

/// Some rows of `points`, in this order.
pub(super) fn gather(points: &[f32], rows: &[u32], d: usize) -> Vec<f32> {
    rows.iter().flat_map(|&row| &points[row as usize * d..][..d]).copied().collect()
}
