//! Exact search by matrix products: the nearest base rows of queries, the nearest centroid of points.
//!
//! BLAS proposes every candidate that rounding could make the best; dot products in a fixed order decide among them, ties
//! going to the lower row. So an answer depends neither on how the blocks are cut nor on the kernel of the BLAS.

use std::cell::RefCell;

use rayon::prelude::*;

use super::blas;
use super::wide::widest;
use crate::ops::dot::{dot, squared_distance};

/// Queries (or points) a block: the unit of parallel work, and of a matrix product.
const QUERY_ROWS: usize = 512;
/// Base rows (or centroids) a matrix product: with 512 queries 2 MB of products, which about stay in the second-level cache.
const BASE_ROWS: usize = 1024;
/// Scores are compared this many at a time, which the compiler turns into vector instructions.
const SCAN: usize = 32;
/// Scores of which only the least is looked at, unless it is among the best.
const STRETCH: usize = 128;

/// The unit roundoff of f32.
const ROUNDOFF: f32 = f32::EPSILON / 2.0;

thread_local! {
    /// The products of one block, kept between blocks: fresh pages cost more than the scan.
    static PRODUCTS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

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

    pub(super) fn empty(queries: usize, k: usize) -> Self {
        Self { k, rows: vec![Self::NONE; queries * k], similarities: vec![f32::NAN; queries * k] }
    }
}

/// The `k` base rows of highest dot product for each query, by brute force; `queries` and `base` are row-major, `d` wide,
/// of unit norm. Ties go to the lower row; a row with a NaN is never found. Cost: 2 n m d operations, near the peak of BLAS.
///
/// # Panics
/// When a length is not a multiple of `d`, `k` is 0, or the base has 2^32 - 1 rows or more.
#[must_use]
pub fn knn_ip(queries: &[f32], base: &[f32], d: usize, k: usize) -> Knn {
    let n = rows(queries, d);
    assert!(k > 0 && rows(base, d) < Knn::NONE as usize, "k must be 1 or more, and a base smaller than 2^32 - 1 rows");
    let mut found = Knn::empty(n, k);
    queries
        .par_chunks(QUERY_ROWS * d)
        .zip(found.rows.par_chunks_mut(QUERY_ROWS * k))
        .zip(found.similarities.par_chunks_mut(QUERY_ROWS * k))
        .for_each(|((queries, rows), similarities)| knn_block(queries, base, d, rows, similarities));
    found
}

fn knn_block(queries: &[f32], base: &[f32], d: usize, rows: &mut [u32], similarities: &mut [f32]) {
    let n = queries.len() / d;
    let k = rows.len() / n;
    // The error of a product of unit vectors is below d roundoffs, in BLAS as in the fixed order; two products are compared.
    let margin = 4.0 * as_f32(d) * ROUNDOFF;
    let mut best: Vec<_> = (0..n).map(|_| Candidates::new(k, margin)).collect();
    for (block, base) in base.chunks(BASE_ROWS * d).enumerate() {
        with_products(queries, base, d, |products| {
            for (best, products) in best.iter_mut().zip(products.chunks(base.len() / d)) {
                widest(|| best.offer(products, row_number(block * BASE_ROWS)));
            }
        });
    }
    for (i, best) in best.into_iter().enumerate() {
        let query = &queries[i * d..][..d];
        let decided = best.decide(|row| dot(query, &base[row as usize * d..][..d]));
        for (j, (similarity, row)) in decided.into_iter().enumerate() {
            rows[i * k + j] = row;
            similarities[i * k + j] = similarity;
        }
    }
}

/// What may be among the `k` best of one query: all that come within `margin` of the k-th best product so far.
struct Candidates {
    k: usize,
    margin: f32,
    /// Products at or below this need no look.
    floor: f32,
    found: Vec<(f32, u32)>,
}

impl Candidates {
    /// Rows kept beyond `k` when more than that lie within the margin (masses of equal vectors): the lowest rows stay.
    const SLACK: usize = 1024;

    fn new(k: usize, margin: f32) -> Self {
        Self { k, margin, floor: f32::NEG_INFINITY, found: Vec::with_capacity(3 * k + SCAN) }
    }

    /// Takes the products of the rows from `first` on.
    #[inline]
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
            self.found.select_nth_unstable_by(self.k + Self::SLACK - 1, better);
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
fn better(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The nearest centroid of each point and its squared Euclidean distance; ties go to the lower centroid, a point with a NaN
/// to centroid 0 at distance NaN. For vectors of unit norm this is the centroid of highest cosine, at distance 2 - 2 cosine.
///
/// # Panics
/// When a length is not a multiple of `d`, or there are no centroids, or 2^32 - 1 of them or more.
#[must_use]
pub fn nearest(points: &[f32], centroids: &[f32], d: usize) -> Vec<(u32, f32)> {
    nearest_of(points, &squares(points, d), centroids, d)
}

/// The squared norm of each row: of points whose nearest centroids are asked for many times.
pub(crate) fn squares(vectors: &[f32], d: usize) -> Vec<f32> {
    vectors.par_chunks(d).with_min_len(QUERY_ROWS).map(|vector| dot(vector, vector)).collect()
}

/// [`nearest`] of points whose [`squares`] are known.
pub(crate) fn nearest_of(points: &[f32], squares: &[f32], centroids: &[f32], d: usize) -> Vec<(u32, f32)> {
    let (n, k) = (rows(points, d), rows(centroids, d));
    assert_eq!(squares.len(), n, "a square a point");
    assert!(k > 0 && k < u32::MAX as usize, "the nearest of {k} centroids is not defined");
    let half_squares: Vec<f32> = centroids.par_chunks(d).map(|centroid| 0.5 * dot(centroid, centroid)).collect();
    let longest = half_squares.iter().fold(0.0f32, |longest, &half| longest.max(half)) * 2.0;
    let mut found = vec![(0, f32::NAN); n];
    points
        .par_chunks(QUERY_ROWS * d)
        .zip(squares.par_chunks(QUERY_ROWS))
        .zip(found.par_chunks_mut(QUERY_ROWS))
        .for_each(|((points, squares), found)| {
            let best = squares.iter().map(|&square| Closest::new(square, longest, d)).collect();
            nearest_block(points, centroids, d, &half_squares, best, found);
        });
    found
}

fn nearest_block(
    points: &[f32],
    centroids: &[f32],
    d: usize,
    half_squares: &[f32],
    mut best: Vec<Closest>,
    found: &mut [(u32, f32)],
) {
    for (block, centroids) in centroids.chunks(BASE_ROWS * d).enumerate() {
        let halves = &half_squares[block * BASE_ROWS..][..centroids.len() / d];
        with_products(points, centroids, d, |products| {
            for (best, products) in best.iter_mut().zip(products.chunks_mut(halves.len())) {
                widest(|| best.offer(products, halves, row_number(block * BASE_ROWS)));
            }
        });
    }
    for ((best, point), found) in best.iter().zip(points.chunks(d)).zip(found) {
        let decided = best.found.iter().filter(|candidate| candidate.0 <= best.least + best.margin);
        let distance = |row: u32| squared_distance(point, &centroids[row as usize * d..][..d]);
        if let Some(nearest) = decided.map(|&(_, row)| (row, distance(row))).min_by(|a, b| a.1.total_cmp(&b.1)) {
            *found = nearest;
        }
    }
}

/// The centroids that may be the closest to one point: all whose score, half a squared centroid less the product, comes
/// within `margin` of the least so far.
struct Closest {
    margin: f32,
    least: f32,
    found: Vec<(f32, u32)>,
}

impl Closest {
    fn new(point_square: f32, longest_square: f32, d: usize) -> Self {
        // The errors of a product (d roundoffs of both norms) and of a half square, in BLAS and in the fixed order.
        let scale = (point_square.sqrt() + longest_square.sqrt()) * longest_square.sqrt();
        Self { margin: 4.0 * as_f32(d) * ROUNDOFF * scale, least: f32::INFINITY, found: Vec::new() }
    }

    #[inline]
    fn offer(&mut self, products: &mut [f32], halves: &[f32], first: u32) {
        // The least score of each stretch tells which stretches need a second look: one or two of them.
        let mut leasts = [f32::INFINITY; BASE_ROWS / STRETCH];
        let stretches = products.chunks_mut(STRETCH).zip(halves.chunks(STRETCH));
        for ((products, halves), least) in stretches.zip(&mut leasts) {
            let mut lanes = [f32::INFINITY; SCAN];
            let (chunks, rest) = products.as_chunks_mut::<SCAN>();
            let (half_chunks, half_rest) = halves.as_chunks::<SCAN>();
            for (products, halves) in chunks.iter_mut().zip(half_chunks) {
                for lane in 0..SCAN {
                    products[lane] = halves[lane] - products[lane];
                    lanes[lane] = lesser(products[lane], lanes[lane]);
                }
            }
            for ((product, half), lane) in rest.iter_mut().zip(half_rest).zip(&mut lanes) {
                *product = half - *product;
                *lane = lesser(*product, *lane);
            }
            *least = least_of(lanes);
        }
        self.least = leasts.into_iter().fold(self.least, lesser);
        let limit = self.least + self.margin;
        for ((scores, least), row) in products.chunks(STRETCH).zip(leasts).zip((first..).step_by(STRETCH)) {
            if least <= limit {
                self.take(scores, row);
            }
        }
    }

    #[cold]
    fn take(&mut self, scores: &[f32], first: u32) {
        let limit = self.least + self.margin;
        let rows = (first..).zip(scores).filter(|&(_, &score)| score <= limit);
        self.found.extend(rows.map(|(row, &score)| (score, row)));
    }
}

/// The lesser of two numbers, the second where one is NaN: one vector instruction, which `f32::min` is not.
#[inline]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The least of all lanes, by halves: a chain of comparisons one after the other would take longer than the stretch.
#[inline]
fn least_of(mut lanes: [f32; SCAN]) -> f32 {
    let mut width = SCAN / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lesser(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Whether a condition holds for any of the values; without an early exit, so that it is done in vectors.
#[inline]
fn any(values: &[f32; SCAN], holds: impl Fn(f32) -> bool) -> bool {
    values.iter().fold(false, |any, &value| any | holds(value))
}

/// Hands the products of two blocks of rows to `then`, in memory that the thread keeps.
fn with_products(a: &[f32], b: &[f32], d: usize, then: impl FnOnce(&mut [f32])) {
    PRODUCTS.with_borrow_mut(|memory| {
        let length = (a.len() / d) * (b.len() / d);
        if memory.len() < length {
            memory.resize(length, 0.0);
        }
        blas::products(a, b, d, &mut memory[..length]);
        then(&mut memory[..length]);
    });
}

fn rows(vectors: &[f32], d: usize) -> usize {
    assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
    vectors.len() / d
}

#[expect(clippy::cast_possible_truncation, reason = "rows are counted below 2^32 where the search begins")]
fn row_number(row: usize) -> u32 {
    row as u32
}

#[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
fn as_f32(d: usize) -> f32 {
    d as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::dot::normalise;
    use crate::ops::hash::Draw;

    fn units(n: usize, d: usize, seed: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "exact");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut vectors: Vec<f32> = (0..n * d).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
        vectors.chunks_mut(d).for_each(|vector| assert!(normalise(vector)));
        vectors
    }

    /// Every pair in the fixed order, sorted: what the search must equal to the bit.
    fn oracle(queries: &[f32], base: &[f32], d: usize, k: usize) -> Knn {
        let mut knn = Knn { k, rows: Vec::new(), similarities: Vec::new() };
        for query in queries.chunks(d) {
            let mut all: Vec<_> = (0..).zip(base.chunks(d)).map(|(row, base)| (dot(query, base), row)).collect();
            all.sort_by(better);
            all.resize(all.len().max(k), (f32::NAN, Knn::NONE));
            knn.rows.extend(all[..k].iter().map(|&(_, row)| row));
            knn.similarities.extend(all[..k].iter().map(|&(similarity, _)| similarity));
        }
        knn
    }

    fn bits(knn: &Knn) -> (Vec<u32>, Vec<u32>) {
        (knn.rows.clone(), knn.similarities.iter().map(|x| x.to_bits()).collect())
    }

    #[test]
    fn knn_equals_brute_force_to_the_bit() {
        for (n, m, d, k) in [(1, 1, 1, 1), (3, 5, 2, 9), (300, 5000, 24, 7), (257, 2049, 33, 64), (5, 0, 8, 2)] {
            let (queries, base) = (units(n, d, 1), units(m, d, 2));
            assert_eq!(bits(&knn_ip(&queries, &base, d, k)), bits(&oracle(&queries, &base, d, k)), "{n} {m} {d} {k}");
        }
    }

    #[test]
    fn equal_vectors_are_found_lowest_row_first() {
        let d = 48;
        let one = units(1, d, 3);
        let base: Vec<f32> = one.iter().copied().cycle().take(6000 * d).collect();
        let rows: Vec<u32> = knn_ip(&one, &base, d, 40).of(0).map(|(row, _)| row).collect();
        assert_eq!(rows, (0..40).collect::<Vec<_>>());
        assert_eq!(nearest(&one, &base, d), [(0, 0.0)]);
    }

    #[test]
    fn vectors_that_are_no_numbers_are_never_found() {
        let base = [f32::NAN, 0.0, 0.6, 0.8];
        assert_eq!(knn_ip(&[1.0, 0.0], &base, 2, 2).of(0).collect::<Vec<_>>(), [(1, 0.6)]);
        assert_eq!(knn_ip(&[f32::NAN, 0.0], &base, 2, 2).of(0).count(), 0);
        let lost = nearest(&[f32::NAN, 0.0], &[0.0, 0.0, 1.0, 1.0], 2);
        assert!(lost[0].0 == 0 && lost[0].1.is_nan(), "{lost:?}");
    }

    #[test]
    fn nearest_equals_brute_force_to_the_bit() {
        for (n, k, d, scale) in [(300, 2100, 16, 1.0), (1000, 7, 40, 1.0), (400, 333, 33, 100.0)] {
            let scaled = |seed| units(n.max(k), d, seed).into_iter().map(|x| x * scale).collect::<Vec<_>>();
            let (points, centroids) = (&scaled(4)[..n * d], &scaled(5)[..k * d]);
            let expected: Vec<(u32, f32)> = points
                .chunks(d)
                .map(|point| {
                    let distances = (0..).zip(centroids.chunks(d)).map(|(i, c)| (i, squared_distance(point, c)));
                    distances.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are centroids")
                })
                .collect();
            assert_eq!(nearest(points, centroids, d), expected, "{n} {k} {d}");
        }
    }

    #[test]
    fn answers_do_not_depend_on_the_number_of_threads() {
        let (queries, base) = (units(700, 20, 6), units(900, 20, 7));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| (bits(&knn_ip(&queries, &base, 20, 5)), nearest(&queries, &base, 20)))
        };
        assert_eq!(on(1), on(3));
    }
}
