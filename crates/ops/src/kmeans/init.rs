//! First centroids: random points, greedy k-means++, or k-means||.

use std::ops::Range;

use rayon::prelude::*;

use super::params::{Init, KMeans};
use lvd_kernels::codes::Codes;
use lvd_kernels::dot::{dot, squared_distance};
use lvd_kernels::exact::nearest;
use lvd_kernels::hash::Draw;
use lvd_kernels::multiversion;

/// Rows whose squared distances are added together by one task.
const SUM_ROWS: usize = 4096;
/// Rounds of drawing of k-means||; each draws about `k` points.
const PARALLEL_ROUNDS: u64 = 5;

/// The first centroids, some of `points`.
pub(super) fn start(points: &[f32], d: usize, params: &KMeans) -> Vec<f32> {
    match params.init {
        Init::Random => random(points, d, params),
        Init::PlusPlus => {
            let weights = vec![1.0; points.len() / d];
            // 2 + ln k candidates, as Arthur and Vassilvitskii tried.
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count"
            )]
            let candidates = 2 + (params.k as f64).ln() as u64;
            plus_plus(points, &weights, d, params, candidates)
        }
        Init::Parallel => parallel(points, d, params),
    }
}

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

/// Greedy k-means++: of several points drawn by weighted squared distance, the one that lowers the
/// potential most.
fn plus_plus(points: &[f32], weights: &[f32], d: usize, params: &KMeans, candidates: u64) -> Vec<f32> {
    let draw = Draw::new(params.seed, "kmeans/plus-plus");
    let row = |row: usize| &points[row * d..][..d];
    let metric = Metric::new(points, d);
    let width = usize::try_from(candidates).unwrap_or(1);
    // What each block of rows would be at with each of the candidates: distances, and their
    // weighted sums.
    let blocks = weights.len().div_ceil(SUM_ROWS);
    let mut closer = vec![f32::INFINITY; blocks * width * SUM_ROWS];
    let mut sums = vec![0.0f64; blocks * width];
    let mut distances = vec![f32::INFINITY; weights.len()];
    let all: Vec<f64> = weights.chunks(SUM_ROWS).map(|some| some.iter().copied().map(f64::from).sum()).collect();
    let mut tried = vec![by_weight(weights, None, &all, draw.within(0).unit(0))];
    let mut chosen = Vec::with_capacity(params.k);
    loop {
        closer
            .par_chunks_mut(width * SUM_ROWS)
            .zip(sums.par_chunks_mut(width))
            .zip(distances.par_chunks(SUM_ROWS).zip(weights.par_chunks(SUM_ROWS)))
            .enumerate()
            .for_each(|(block, ((closer, sums), (distances, weights)))| {
                sums.fill(0.0);
                let first = block * SUM_ROWS;
                metric.squared(&tried, first..first + distances.len(), closer);
                for (closer, sum) in closer.chunks_mut(SUM_ROWS).zip(sums.iter_mut()).take(tried.len()) {
                    *sum = lowered(closer, distances, weights);
                }
            });
        // A strict comparison keeps the first of equals.
        let potential = |candidate: usize| sums.iter().skip(candidate).step_by(width).sum::<f64>();
        let best = (1..tried.len()).fold((0, potential(0)), |best, candidate| {
            let potential = potential(candidate);
            if potential < best.1 { (candidate, potential) } else { best }
        });
        chosen.push(tried[best.0]);
        for (block, distances) in distances.chunks_mut(SUM_ROWS).enumerate() {
            let from = (block * width + best.0) * SUM_ROWS;
            distances.copy_from_slice(&closer[from..from + distances.len()]);
        }
        if chosen.len() >= params.k {
            return chosen.into_iter().flat_map(row).copied().collect();
        }
        let totals: Vec<f64> = sums.iter().skip(best.0).step_by(width).copied().collect();
        let draw = draw.within(chosen.len() as u64);
        tried = (0..candidates).map(|i| by_weight(weights, Some(&distances), &totals, draw.unit(i))).collect();
    }
}

multiversion! {
    /// Lowers each of `closer` to what the point is at already; returns their weighted sum.
    fn lowered(closer: &mut [f32], distances: &[f32], weights: &[f32]) -> f64 {
        let mut lanes = [0.0f64; 8];
        let (closer, rest) = closer[..distances.len()].as_chunks_mut::<8>();
        let (nows, now_rest) = distances.as_chunks::<8>();
        let (factors, factor_rest) = weights.as_chunks::<8>();
        for ((closer, now), factor) in closer.iter_mut().zip(nows).zip(factors) {
            for lane in 0..8 {
                closer[lane] = if now[lane] < closer[lane] { now[lane] } else { closer[lane] };
                lanes[lane] += f64::from(factor[lane]) * f64::from(closer[lane]);
            }
        }
        for ((closer, &now), (&factor, lane)) in rest.iter_mut().zip(now_rest).zip(factor_rest.iter().zip(&mut lanes)) {
            *closer = if now < *closer { now } else { *closer };
            *lane += f64::from(factor) * f64::from(*closer);
        }
        lanes.iter().sum()
    }
}

/// Numbers a point from which on distances are taken from eight-bit codes: they need only be about
/// right to draw by.
const CODED_D: usize = 64;

/// Squared distances among points.
struct Metric<'a> {
    points: &'a [f32],
    d: usize,
    /// Codes and squared norms.
    coded: Option<(Codes, Vec<f32>)>,
}

impl<'a> Metric<'a> {
    fn new(points: &'a [f32], d: usize) -> Self {
        let coded = (d >= CODED_D)
            .then(|| (Codes::new(points, d), points.par_chunks(d).map(|point| dot(point, point)).collect()));
        Self { points, d, coded }
    }

    /// From each of `to` to each of `rows`: stretches of [`SUM_ROWS`].
    fn squared(&self, to: &[usize], rows: Range<usize>, out: &mut [f32]) {
        let row = |row: usize| &self.points[row * self.d..][..self.d];
        let Some((codes, squares)) = &self.coded else {
            for (&to, out) in to.iter().zip(out.chunks_mut(SUM_ROWS)) {
                for (from, out) in rows.clone().zip(out) {
                    *out = squared_distance(row(from), row(to));
                }
            }
            return;
        };
        #[expect(clippy::cast_possible_truncation, reason = "points are counted below 2^32")]
        let chosen: Vec<u32> = to.iter().map(|&to| to as u32).collect();
        let mut products = Vec::new();
        let stride = codes.products(codes, &chosen, &rows, &mut products);
        for ((&to, products), out) in to.iter().zip(products.chunks(stride)).zip(out.chunks_mut(SUM_ROWS)) {
            let scales = &codes.scales()[rows.clone()];
            from_products(products, scales, &squares[rows.clone()], (codes.scale(to), squares[to]), out);
        }
    }
}

multiversion! {
    #[expect(clippy::cast_precision_loss, reason = "about right")]
    fn from_products(products: &[i32], scales: &[f32], squares: &[f32], to: (f32, f32), out: &mut [f32]) {
        let (scale, square) = to;
        for (((out, &product), &other), &of_other) in out.iter_mut().zip(products).zip(scales).zip(squares) {
            let distance = square + of_other - 2.0 * (product as f32 * (scale * other));
            *out = if distance > 0.0 { distance } else { 0.0 };
        }
    }
}

/// k-means|| (Bahmani et al. 2012, algorithm 2): rounds that draw about `k` points each by squared
/// distance, all at once; then k-means++ among these, weighted by the points they are nearest to.
fn parallel(points: &[f32], d: usize, params: &KMeans) -> Vec<f32> {
    let draw = Draw::new(params.seed, "kmeans/parallel");
    let n = points.len() / d;
    let row = |row: usize| &points[row * d..][..d];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a draw")]
    let first = (draw.unit(0) * n as f64) as usize;
    let mut chosen = vec![first];
    let mut closest: Vec<(u32, f32)> = nearest(points, row(first), d);
    for round in 1..=PARALLEL_ROUNDS {
        let blocks = closest.par_chunks(SUM_ROWS).map(|some| some.iter().map(|&(_, x)| f64::from(x)).sum::<f64>());
        let potential: f64 = blocks.collect::<Vec<_>>().into_iter().sum();
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = params.k as f64 / potential;
        let draw = draw.within(round);
        let drawn: Vec<usize> =
            (0..n).filter(|&point| draw.unit(point as u64) < share * f64::from(closest[point].1)).collect();
        if drawn.is_empty() {
            break;
        }
        let values: Vec<f32> = drawn.iter().flat_map(|&drawn| row(drawn)).copied().collect();
        let before = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        let found = nearest(points, &values, d);
        closest.par_iter_mut().zip(found).for_each(|(closest, (candidate, distance))| {
            if distance < closest.1 {
                *closest = (before + candidate, distance);
            }
        });
        chosen.extend(drawn);
    }
    if chosen.len() <= params.k {
        // So few different points that random ones fill up what is missing.
        let mut values: Vec<f32> = chosen.iter().flat_map(|&chosen| row(chosen)).copied().collect();
        values.extend(random(points, d, params));
        values.truncate(params.k * d);
        return values;
    }
    let mut weights = vec![0.0f32; chosen.len()];
    for &(candidate, _) in &closest {
        weights[candidate as usize] += 1.0;
    }
    let values: Vec<f32> = chosen.iter().flat_map(|&chosen| row(chosen)).copied().collect();
    plus_plus(&values, &weights, d, params, 2)
}

/// The row at which the running sum of weights, times distances where there are any, passes `unit`
/// of the whole; the first when all are zero. `blocks` are the sums of blocks of rows.
fn by_weight(weights: &[f32], distances: Option<&[f32]>, blocks: &[f64], unit: f64) -> usize {
    let mut left = unit * blocks.iter().sum::<f64>();
    let passed = blocks.iter().position(|&sum| {
        let here = left < sum;
        left -= if here { 0.0 } else { sum };
        here
    });
    let Some(block) = passed else { return 0 };
    let rows = block * SUM_ROWS..weights.len().min((block + 1) * SUM_ROWS);
    let weight = |row: usize| f64::from(weights[row]) * distances.map_or(1.0, |distances| f64::from(distances[row]));
    let mut last = rows.start;
    for row in rows {
        let weight = weight(row);
        if left < weight {
            return row;
        }
        left -= weight;
        last = if weight > 0.0 { row } else { last };
    }
    last
}
