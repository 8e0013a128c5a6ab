//! The centroid of least Euclidean distance to each point.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::coded::{Coded, worth_coding};
use super::{BASE_ROWS, QUERY_ROWS, ROUNDOFF, SCAN, as_f32, row_number, rows, with_products};
use crate::native::codes::Codes;
use crate::native::wide::wide;
use crate::ops::dot::{dot, squared_distance};

/// Codes are too coarse for centroids of which more than one in so many have to be looked at again.
const LOOKED_AT: u64 = 10;

/// Scores of which only the least is looked at, unless it is among the best.
const STRETCH: usize = 128;

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
    let coded = worth_coding(d, k).then(|| Coded::new(centroids, d));
    let tally = Tally::default();
    points
        .par_chunks(QUERY_ROWS * d)
        .zip(squares.par_chunks(QUERY_ROWS))
        .zip(found.par_chunks_mut(QUERY_ROWS))
        .for_each(|((points, squares), found)| {
            let mut best: Vec<Closest> = squares.iter().map(|&square| Closest::new(square, longest, d)).collect();
            match coded.as_ref().filter(|_| tally.pays(k)) {
                Some(coded) => {
                    propose_by_codes(points, squares, coded, &half_squares, &mut best);
                    tally.add(&best);
                }
                None => propose(points, centroids, d, &half_squares, &mut best),
            }
            decide(points, centroids, d, &best, found);
        });
    found
}

/// Points looked at so far by codes, and the candidates for them.
#[derive(Default)]
struct Tally {
    points: AtomicU64,
    candidates: AtomicU64,
}

impl Tally {
    /// Whether the candidates so far were few enough of so many centroids. Only speed hangs on it.
    fn pays(&self, centroids: usize) -> bool {
        let (points, candidates) = (self.points.load(Ordering::Relaxed), self.candidates.load(Ordering::Relaxed));
        candidates * LOOKED_AT <= points * centroids as u64
    }

    fn add(&self, best: &[Closest]) {
        self.points.fetch_add(best.len() as u64, Ordering::Relaxed);
        self.candidates.fetch_add(best.iter().map(|best| best.close().count() as u64).sum(), Ordering::Relaxed);
    }
}

/// By eight-bit codes, all that may be the closest for all their errors.
fn propose_by_codes(points: &[f32], squares: &[f32], coded: &Coded, half_squares: &[f32], best: &mut [Closest]) {
    let queries = Codes::new(points, coded.d());
    for ((row, best), &square) in best.iter_mut().enumerate().zip(squares) {
        best.margin += coded.margin(&queries, row, square);
    }
    coded.products(&queries, &mut |point, first, products| {
        offer(&mut best[point], products, &half_squares[first as usize..][..products.len()], first);
    });
}

/// By matrix products.
fn propose(points: &[f32], centroids: &[f32], d: usize, half_squares: &[f32], best: &mut [Closest]) {
    for (block, centroids) in centroids.chunks(BASE_ROWS * d).enumerate() {
        let halves = &half_squares[block * BASE_ROWS..][..centroids.len() / d];
        with_products(points, centroids, d, |products| {
            for (best, products) in best.iter_mut().zip(products.chunks_mut(halves.len())) {
                offer(best, products, halves, row_number(block * BASE_ROWS));
            }
        });
    }
}

/// By distances in the fixed order, ties going to the lower centroid.
fn decide(points: &[f32], centroids: &[f32], d: usize, best: &[Closest], found: &mut [(u32, f32)]) {
    for ((best, point), found) in best.iter().zip(points.chunks(d)).zip(found) {
        let distance = |row: u32| squared_distance(point, &centroids[row as usize * d..][..d]);
        if let Some(nearest) = best.close().map(|row| (row, distance(row))).min_by(|a, b| a.1.total_cmp(&b.1)) {
            *found = nearest;
        }
    }
}

wide! {
    fn offer(best: &mut Closest, products: &mut [f32], halves: &[f32], first: u32) {
        best.offer(products, halves, first);
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

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for wide vectors only where it is inlined")]
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

    /// The candidates that are close enough to the least score in the end.
    fn close(&self) -> impl Iterator<Item = u32> + '_ {
        self.found.iter().filter(|candidate| candidate.0 <= self.least + self.margin).map(|&(_, row)| row)
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
