//! The centroid of least Euclidean distance to each point.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::blocks::{BASE_ROWS, QUERY_ROWS, ROUNDOFF, SCAN, as_f32, row_number, rows, with_products};
use super::coded::{Coded, worth_coding};
use crate::codes::Codes;
use crate::dot::{dot, squared_distance};
use crate::multiversion;

/// Codes are too coarse for centroids of which more than one in so many have to be looked at again.
const LOOKED_AT: u64 = 10;

/// Scores of which only the least is looked at, unless it is among the best.
const STRETCH: usize = 128;

/// The nearest centroid of each point and its squared Euclidean distance; ties go to the lower
/// centroid, a point with a NaN to centroid 0 at distance NaN. For vectors of unit norm this is the
/// centroid of highest cosine, at distance 2 - 2 cosine.
///
/// # Panics
/// When a length is not a multiple of `d`, or there are no centroids, or 2^32 - 1 of them or more.
#[must_use]
pub fn nearest(points: &[f32], centroids: &[f32], d: usize) -> Vec<(u32, f32)> {
    Centroids::new(centroids, d).nearest(points)
}

/// Centroids, made ready for many points.
pub struct Centroids<'a> {
    values: &'a [f32],
    d: usize,
    half_squares: Vec<f32>,
    longest_square: f32,
    coded: Option<Coded>,
    tally: Tally,
}

impl<'a> Centroids<'a> {
    /// Row-major centroids of `d` numbers.
    ///
    /// # Panics
    /// When the length is not a multiple of `d`, or there are none, or 2^32 - 1 or more.
    #[must_use]
    pub fn new(values: &'a [f32], d: usize) -> Self {
        let k = rows(values, d);
        assert!(k > 0 && k < u32::MAX as usize, "the nearest of {k} centroids is not defined");
        let half_squares: Vec<f32> = values.par_chunks(d).map(|centroid| 0.5 * dot(centroid, centroid)).collect();
        let longest_square = half_squares.iter().fold(0.0f32, |longest, &half| longest.max(half)) * 2.0;
        let coded = worth_coding(d, k).then(|| Coded::new(values, d));
        Self { values, d, half_squares, longest_square, coded, tally: Tally::default() }
    }

    /// See [`nearest`].
    ///
    /// # Panics
    /// When the length is not a multiple of the centroids' dimension.
    #[must_use]
    pub fn nearest(&self, points: &[f32]) -> Vec<(u32, f32)> {
        let mut found = vec![(0, f32::NAN); rows(points, self.d)];
        points.par_chunks(QUERY_ROWS * self.d).zip(found.par_chunks_mut(QUERY_ROWS)).for_each(|(points, found)| {
            let squares: Vec<f32> = points.chunks(self.d).map(|point| dot(point, point)).collect();
            let closest = |&square: &f32| Closest::new(square, self.longest_square, self.d);
            let mut best: Vec<Closest> = squares.iter().map(closest).collect();
            match self.coded.as_ref().filter(|_| self.tally.pays(self.half_squares.len())) {
                Some(coded) => {
                    self.propose_by_codes(points, &squares, coded, &mut best);
                    self.tally.add(&best);
                }
                None => self.propose(points, &mut best),
            }
            self.decide(points, &best, found);
        });
        found
    }

    /// By eight-bit codes, all that may be the closest for all their errors.
    fn propose_by_codes(&self, points: &[f32], squares: &[f32], coded: &Coded, best: &mut [Closest]) {
        let queries = Codes::new(points, self.d);
        let margins: Vec<f32> = best.iter().map(|best| best.margin).collect();
        for ((row, best), &square) in best.iter_mut().enumerate().zip(squares) {
            best.margin += coded.margin(&queries, row, square);
        }
        coded.products(&queries, &mut |point, first, products| {
            offer(&mut best[point], products, &self.half_squares[first as usize..][..products.len()], first);
        });
        // What each centroid may be off by is less than what the worst may.
        for (row, ((best, margin), &square)) in best.iter_mut().zip(margins).zip(squares).enumerate() {
            best.refine(margin, |centroid| {
                let norm = (2.0 * self.half_squares[centroid as usize]).sqrt();
                coded.bound(&queries, row, square, centroid as usize, norm)
            });
        }
    }

    /// By matrix products.
    fn propose(&self, points: &[f32], best: &mut [Closest]) {
        for (block, centroids) in self.values.chunks(BASE_ROWS * self.d).enumerate() {
            let halves = &self.half_squares[block * BASE_ROWS..][..centroids.len() / self.d];
            with_products(points, centroids, self.d, |products| {
                for (best, products) in best.iter_mut().zip(products.chunks_mut(halves.len())) {
                    offer(best, products, halves, row_number(block * BASE_ROWS));
                }
            });
        }
    }

    /// By distances in the fixed order, ties going to the lower centroid.
    fn decide(&self, points: &[f32], best: &[Closest], found: &mut [(u32, f32)]) {
        let d = self.d;
        for ((best, point), found) in best.iter().zip(points.chunks(d)).zip(found) {
            let distance = |row: u32| squared_distance(point, &self.values[row as usize * d..(row as usize + 1) * d]);
            let decided = best.close().map(|row| (row, distance(row)));
            if let Some(nearest) = decided.min_by(|a, b| a.1.total_cmp(&b.1)) {
                *found = nearest;
            }
        }
    }
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

multiversion! {
    fn offer(best: &mut Closest, products: &mut [f32], halves: &[f32], first: u32) {
        best.offer(products, halves, first);
    }
}

/// The centroids that may be the closest to one point: all whose score, half a squared centroid
/// less the product, comes within `margin` of the least so far.
struct Closest {
    margin: f32,
    least: f32,
    found: Vec<(f32, u32)>,
}

impl Closest {
    fn new(point_square: f32, longest_square: f32, d: usize) -> Self {
        // The errors of a product (d roundoffs of both norms) and of a half square, in BLAS and in
        // the fixed order.
        let scale = (point_square.sqrt() + longest_square.sqrt()) * longest_square.sqrt();
        Self { margin: 4.0 * as_f32(d) * ROUNDOFF * scale, least: f32::INFINITY, found: Vec::new() }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "compiled for wide vectors only where it is inlined")]
    fn offer(&mut self, products: &mut [f32], halves: &[f32], first: u32) {
        // The least score of each stretch tells which stretches need a second look: one or two of
        // them.
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

    /// Keeps the candidates that may be the closest when each score is off by its own `bound` at
    /// most, beside `margin`.
    fn refine(&mut self, margin: f32, bound: impl Fn(u32) -> f32) {
        let limit = self.least + self.margin;
        self.found.retain(|candidate| candidate.0 <= limit);
        let most = self.found.iter().map(|&(score, row)| score + bound(row)).fold(f32::INFINITY, f32::min);
        self.found.retain(|&(score, row)| score - bound(row) <= most + margin);
        self.margin = f32::INFINITY;
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

/// The lesser of two numbers, the second where one is NaN: one vector instruction, which `f32::min`
/// is not.
#[inline]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

/// The least of all lanes, by halves: a chain of comparisons one after the other would take longer
/// than the stretch.
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
