//! First centroids: random points, or greedy k-means++.

use rayon::prelude::*;

use super::KMeans;
use crate::ops::dot::squared_distance;
use crate::ops::hash::Draw;

/// `k` different rows, all equally likely: those of the lowest random numbers.
pub(super) fn random(points: &[f32], d: usize, params: &KMeans) -> Vec<f32> {
    let draw = Draw::new(params.seed, "kmeans/random");
    let mut rows: Vec<_> = (0..points.len() / d).map(|row| (draw.bits(row as u64), row)).collect();
    if params.k < rows.len() {
        rows.select_nth_unstable(params.k);
    }
    rows.truncate(params.k);
    rows.sort_unstable();
    rows.into_iter().flat_map(|(_, row)| &points[row * d..][..d]).copied().collect()
}

/// Rows whose squared distances are added together by one task of k-means++.
const SUM_ROWS: usize = 4096;

/// Greedy k-means++: of several points drawn by squared distance, the one that lowers the potential most.
pub(super) fn plus_plus(points: &[f32], d: usize, params: &KMeans) -> Vec<f32> {
    let draw = Draw::new(params.seed, "kmeans/plus-plus");
    let n = points.len() / d;
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let candidates = 2 + (params.k as f64).ln() as u64;
    let row = |row: usize| &points[row * d..][..d];
    let first = by_weight(&vec![1.0; n], draw.within(0).unit(0));
    let mut centroids = row(first).to_vec();
    let mut distances: Vec<f32> = points.par_chunks(d).map(|point| squared_distance(point, row(first))).collect();
    for step in 1..params.k {
        // Rows in the order of the draws; a strict comparison below keeps the first of equals.
        let mut best: Option<(f64, usize)> = None;
        for candidate in 0..candidates {
            let chosen = by_weight(&distances, draw.within(step as u64).unit(candidate));
            let sums: Vec<f64> = points
                .par_chunks(SUM_ROWS * d)
                .zip(distances.par_chunks(SUM_ROWS))
                .map(|(points, distances)| {
                    let closer = |(point, &now): (&[f32], &f32)| squared_distance(point, row(chosen)).min(now);
                    points.chunks(d).zip(distances).map(closer).map(f64::from).sum()
                })
                .collect();
            let potential = sums.iter().sum();
            if best.is_none_or(|(least, _)| potential < least) {
                best = Some((potential, chosen));
            }
        }
        let (_, chosen) = best.expect("there are candidates");
        centroids.extend_from_slice(row(chosen));
        distances.par_iter_mut().zip(points.par_chunks(d)).for_each(|(distance, point)| {
            *distance = distance.min(squared_distance(point, row(chosen)));
        });
    }
    centroids
}

/// The index at which the running sum of the weights passes `unit` of the whole; the first when all weights are zero.
fn by_weight(weights: &[f32], unit: f64) -> usize {
    let target = unit * weights.iter().map(|&weight| f64::from(weight)).sum::<f64>();
    let mut sum = 0.0;
    let passed = weights.iter().position(|&weight| {
        sum += f64::from(weight);
        sum > target
    });
    passed.unwrap_or(0)
}
