//! The base rows of highest dot product for each query.

use rayon::prelude::*;

use super::blocks::{BASE_ROWS, QUERY_ROWS, ROUNDOFF, SCAN, any, as_f32, row_number, rows, with_products};
use super::coded::{Coded, worth_coding};
use crate::codes::Codes;
use crate::dot::dot;
use crate::multiversion;

/// Queries from which on a base is worth coding.
const CODED_QUERIES: usize = 32;

/// The nearest rows of each query, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Places a query.
    pub k: usize,
    /// Base rows, `k` a query; [`Knn::NONE`] where fewer were found.
    pub rows: Vec<u32>,
    /// Their similarities; NaN where fewer were found.
    pub similarities: Vec<f32>,
}

impl Knn {
    /// Marks a place without a row.
    pub const NONE: u32 = u32::MAX;

    /// The (row, similarity) found for one query, best first.
    pub fn of(&self, query: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
        let places = query * self.k..(query + 1) * self.k;
        let rows = self.rows[places.clone()].iter().copied();
        rows.zip(self.similarities[places].iter().copied()).take_while(|&(row, _)| row != Self::NONE)
    }

    /// How many queries were answered.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.rows.len() / self.k
    }

    /// Of so many queries, none of which has found anything yet.
    #[must_use]
    pub fn empty(queries: usize, k: usize) -> Self {
        Self { k, rows: vec![Self::NONE; queries * k], similarities: vec![f32::NAN; queries * k] }
    }
}

/// The `k` base rows of highest dot product for each query, by brute force; `queries` and `base`
/// are row-major, `d` wide, of unit norm. Ties go to the lower row; a row with a NaN is never
/// found. Cost: 2 n m d operations, near the peak of BLAS.
///
/// # Panics
/// When a length is not a multiple of `d`, `k` is 0, or the base has 2^32 - 1 rows or more.
#[must_use]
pub fn knn_ip(queries: &[f32], base: &[f32], d: usize, k: usize) -> Knn {
    let n = rows(queries, d);
    assert!(k > 0 && rows(base, d) < Knn::NONE as usize, "k must be 1 or more, and a base smaller than 2^32 - 1 rows");
    let mut found = Knn::empty(n, k);
    let coded = (worth_coding(d, rows(base, d)) && n >= CODED_QUERIES).then(|| Coded::new(base, d));
    queries
        .par_chunks(QUERY_ROWS * d)
        .zip(found.rows.par_chunks_mut(QUERY_ROWS * k))
        .zip(found.similarities.par_chunks_mut(QUERY_ROWS * k))
        .for_each(|((queries, rows), similarities)| {
            let n = queries.len() / d;
            // The error of a product of unit vectors is below d roundoffs, in BLAS as in the fixed
            // order; two products are compared.
            let margin = 4.0 * as_f32(d) * ROUNDOFF;
            let mut best: Vec<_> = (0..n).map(|_| Candidates::new(k, margin)).collect();
            let few = coded.as_ref().is_some_and(|coded| propose_by_codes(queries, coded, &mut best));
            if !few {
                best = (0..n).map(|_| Candidates::new(k, margin)).collect();
                propose(queries, base, d, &mut best);
            }
            decide(queries, base, d, best, rows, similarities);
        });
    found
}

/// By eight-bit codes, all that may be among the best for all their errors. `false`: too many, and
/// some were lost.
fn propose_by_codes(queries: &[f32], coded: &Coded, best: &mut [Candidates]) -> bool {
    let squares: Vec<f32> = queries.chunks(coded.d()).map(|query| dot(query, query)).collect();
    let queries = Codes::new(queries, coded.d());
    for ((row, best), &square) in best.iter_mut().enumerate().zip(&squares) {
        best.margin += coded.margin(&queries, row, square);
    }
    coded.products(&queries, &mut |query, first, products| offer(&mut best[query], products, first));
    best.iter().all(|best| !best.lost)
}

/// By matrix products.
fn propose(queries: &[f32], base: &[f32], d: usize, best: &mut [Candidates]) {
    for (block, base) in base.chunks(BASE_ROWS * d).enumerate() {
        with_products(queries, base, d, |products| {
            for (best, products) in best.iter_mut().zip(products.chunks(base.len() / d)) {
                offer(best, products, row_number(block * BASE_ROWS));
            }
        });
    }
}

/// By products in the fixed order, ties going to the lower row.
fn decide(queries: &[f32], base: &[f32], d: usize, best: Vec<Candidates>, rows: &mut [u32], similarities: &mut [f32]) {
    let k = rows.len() / best.len();
    for (i, best) in best.into_iter().enumerate() {
        let query = &queries[i * d..][..d];
        let decided = best.decide(|row| dot(query, &base[row as usize * d..][..d]));
        for (j, (similarity, row)) in decided.into_iter().enumerate() {
            rows[i * k + j] = row;
            similarities[i * k + j] = similarity;
        }
    }
}

multiversion! {
    fn offer(best: &mut Candidates, products: &[f32], first: u32) {
        best.offer(products, first);
    }
}

/// What may be among the `k` best of one query: all that come within `margin` of the k-th best
/// product so far.
struct Candidates {
    k: usize,
    margin: f32,
    /// Products at or below this need no look.
    floor: f32,
    found: Vec<(f32, u32)>,
    /// Whether some were left out for want of room.
    lost: bool,
}

impl Candidates {
    /// Rows kept beyond `k` when more than that lie within the margin (masses of equal vectors):
    /// the lowest rows stay.
    const SLACK: usize = 1024;

    fn new(k: usize, margin: f32) -> Self {
        Self { k, margin, floor: f32::NEG_INFINITY, found: Vec::with_capacity(3 * k + SCAN), lost: false }
    }

    /// Takes the products of the rows from `first` on.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for wide vectors only where it is inlined")]
    fn offer(&mut self, products: &[f32], first: u32) {
        let (chunks, rest) = products.as_chunks::<SCAN>();
        for (row, products) in (first..).step_by(SCAN).zip(chunks) {
            if any(products, |product| product > self.floor) {
                self.take(products, row);
            }
        }
        self.take(rest, first + row_number(products.len() - rest.len()));
    }

    #[cold]
    fn take(&mut self, products: &[f32], first: u32) {
        let floor = self.floor;
        let rows = (first..).zip(products).filter(|&(_, &product)| product > floor);
        self.found.extend(rows.map(|(row, &product)| (product, row)));
        if self.found.len() + SCAN > self.found.capacity() {
            self.shrink();
        }
    }

    /// Drops what can no longer be among the best.
    fn shrink(&mut self) {
        if self.found.len() <= self.k {
            return;
        }
        let (_, &mut (kth, _), _) = self.found.select_nth_unstable_by(self.k - 1, better);
        // One step below, since the floor itself is not looked at.
        let floor = (kth - self.margin).next_down();
        self.floor = floor;
        self.found.retain(|&(product, _)| product > floor);
        if self.found.len() > self.k + Self::SLACK {
            self.lost = true;
            // Of those that the margin cannot tell apart, the lowest rows: equal vectors need not
            // have equal products here.
            let sure = kth + self.margin;
            let order = |a: &(f32, u32), b: &(f32, u32)| (b.0 > sure).cmp(&(a.0 > sure)).then(a.1.cmp(&b.1));
            self.found.select_nth_unstable_by(self.k + Self::SLACK - 1, order);
            self.found.truncate(self.k + Self::SLACK);
        }
        self.found.reserve(2 * self.k + SCAN);
    }

    /// The `k` best by the `exact` product.
    fn decide(mut self, exact: impl Fn(u32) -> f32) -> Vec<(f32, u32)> {
        self.shrink();
        for (product, row) in &mut self.found {
            *product = exact(*row);
        }
        self.found.sort_unstable_by(better);
        self.found.truncate(self.k);
        self.found
    }
}

/// Higher product first, then lower row.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what sorting calls")]
pub(super) fn better(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
