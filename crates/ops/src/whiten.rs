//! Whitening: vectors moved to a sample's mean, and stretched until all directions of the sample
//! vary alike.
//!
//! What most images of a pool have in common, and the few directions in which an encoder spreads
//! them most, then count no more than anything else, which is what tells copies from alike
//! pictures. The authors of SSCD (arXiv 2202.10261) whiten by principal components; the cosines are
//! the same by any whitening, so here it is by the Cholesky factor of the covariance. Sums are in a
//! fixed order.

use rayon::prelude::*;

use lvd_kernels::dot::normalise;
use lvd_kernels::multiversion;

/// Rows of one piece of parallel work.
const ROWS: usize = 64;
/// Rows of the covariance that are summed together.
const BAND: usize = 16;
/// Numbers of a vector that are computed together: their sums fill registers.
const LANES: usize = 16;
/// Vectors that are whitened together.
const TILE: usize = 4;
/// The share of the mean variance that is added to every direction, at least.
const SHRINKAGE: f64 = 0.01;

/// Vectors for each of their numbers, of fewer than which a whitening fits the copies among them,
/// too.
const A_NUMBER: usize = 4;

/// A fitted whitening.
#[derive(Clone, Debug, PartialEq)]
pub struct Whitening {
    mean: Vec<f32>,
    /// The columns of a lower triangular matrix, whole; d x d.
    columns: Vec<f32>,
    /// The same without the upper half, as it is multiplied: for every [`LANES`] rows what these
    /// have of each column.
    strips: Vec<Vec<[f32; LANES]>>,
}

impl Whitening {
    /// The fewest vectors of so many numbers that are to be whitened: of fewer, copies move apart.
    #[must_use]
    pub fn fewest(d: usize) -> usize {
        A_NUMBER * d
    }

    /// Fits one on vectors, row-major and `d` wide. Few vectors say little about a covariance, so
    /// directions are drawn together by half of d over their number, as a share of the mean
    /// variance, and by a hundredth at least. Vectors that are all one leave things as they are.
    #[must_use]
    pub fn fit(vectors: &[f32], d: usize) -> Self {
        let n = real(vectors.len() / d);
        let mut sums = vec![0.0f64; d];
        for vector in vectors.chunks_exact(d) {
            sums.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let mean: Vec<f64> = sums.iter().map(|sum| sum / n).collect();
        let mut covariance = vec![0.0f64; d * d];
        covariance.par_chunks_mut(BAND * d).enumerate().for_each(|(band, rows)| {
            let mut centred = vec![0.0f64; d];
            for vector in vectors.chunks_exact(d) {
                centred.iter_mut().zip(vector).zip(&mean).for_each(|((to, &x), mean)| *to = f64::from(x) - mean);
                for (row, sums) in rows.chunks_exact_mut(d).enumerate() {
                    add_scaled(sums, centred[band * BAND + row], &centred);
                }
            }
            for sum in rows {
                *sum /= n;
            }
        });
        let variance = (0..d).map(|i| covariance[i * d + i]).sum::<f64>() / real(d);
        if variance.is_nan() || variance <= f64::from(f32::EPSILON) {
            let columns = (0..d * d).map(|at| if at % (d + 1) == 0 { 1.0 } else { 0.0 }).collect();
            return Self::new(vec![0.0; d], columns);
        }
        let share = (real(d) / (2.0 * n)).clamp(SHRINKAGE, 1.0);
        (0..d).for_each(|i| covariance[i * d + i] += share * variance);
        let columns = inverse_of_factor(&covariance, d).into_iter().map(single).collect();
        Self::new(mean.into_iter().map(single).collect(), columns)
    }

    fn new(mean: Vec<f32>, columns: Vec<f32>) -> Self {
        let d = mean.len();
        let strip = |first: usize| {
            let end = d.min(first + LANES);
            let lanes =
                |column: &[f32]| std::array::from_fn(|lane| column[first..end].get(lane).copied().unwrap_or(0.0));
            columns.chunks_exact(d).take(end).map(lanes).collect()
        };
        let strips = (0..d).step_by(LANES).map(strip).collect();
        Self { mean, columns, strips }
    }

    /// Whitens vectors in place; they come out with unit norm.
    pub fn apply(&self, vectors: &mut [f32]) {
        let d = self.mean.len();
        vectors.par_chunks_mut(ROWS * d).for_each(|vectors| {
            let mut centred = vec![0.0f32; vectors.len()];
            for (centred, vector) in centred.chunks_exact_mut(d).zip(vectors.chunks_exact(d)) {
                centred.iter_mut().zip(vector).zip(&self.mean).for_each(|((to, x), mean)| *to = x - mean);
            }
            for (strip, first) in self.strips.iter().zip((0..d).step_by(LANES)) {
                multiply(strip, &centred, &mut vectors[first..], d);
            }
            for vector in vectors.chunks_exact_mut(d) {
                // The mean itself: all that are there are equal.
                if !normalise(vector) {
                    vector.fill(0.0);
                    vector[0] = 1.0;
                }
            }
        });
    }

    /// Numbers a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// The mean, and after it the columns: d + 1 rows of d.
    #[must_use]
    pub fn rows(&self) -> Vec<f32> {
        [&self.mean[..], &self.columns].concat()
    }

    /// One from its [`Whitening::rows`].
    #[must_use]
    pub fn from_rows(mut rows: Vec<f32>, d: usize) -> Self {
        let columns = rows.split_off(d.min(rows.len()));
        Self::new(rows, columns)
    }
}

multiversion! {
    fn add_scaled(sums: &mut [f64], times: f64, vector: &[f64]) {
        sums.iter_mut().zip(vector).for_each(|(sum, x)| *sum += times * x);
    }
}

multiversion! {
    /// The products of a strip with `vectors`, `d` wide, where each row of `out`, as wide, begins;
    /// summed column after column.
    fn multiply(strip: &[[f32; LANES]], vectors: &[f32], out: &mut [f32], d: usize) {
        // The rows of the strip: it ends with as many columns.
        let width = LANES.min(strip.len() - (strip.len() - 1) / LANES * LANES);
        for (vectors, out) in vectors.chunks(TILE * d).zip(out.chunks_mut(TILE * d)) {
            let mut sums = [[0.0f32; LANES]; TILE];
            if vectors.len() == TILE * d {
                let rows: [&[f32]; TILE] = std::array::from_fn(|row| &vectors[row * d..][..strip.len()]);
                for (k, weights) in strip.iter().enumerate() {
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += row[k] * weight);
                    }
                }
            } else {
                for (sums, row) in sums.iter_mut().zip(vectors.chunks(d)) {
                    for (x, weights) in row.iter().zip(strip) {
                        sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
                    }
                }
            }
            for (out, sums) in out.chunks_mut(d).zip(&sums) {
                out.iter_mut().zip(&sums[..width]).for_each(|(out, sum)| *out = *sum);
            }
        }
    }
}

/// The inverse of the Cholesky factor of a positive definite matrix, column after column.
fn inverse_of_factor(matrix: &[f64], d: usize) -> Vec<f64> {
    let mut factor = vec![0.0f64; d * d];
    for i in 0..d {
        for j in 0..=i {
            let known: f64 = factor[i * d..i * d + j].iter().zip(&factor[j * d..j * d + j]).map(|(a, b)| a * b).sum();
            let left = matrix[i * d + j] - known;
            factor[i * d + j] = if i == j { left.sqrt() } else { left / factor[j * d + j] };
        }
    }
    let mut inverse = vec![0.0f64; d * d];
    inverse.par_chunks_mut(d.max(1)).enumerate().for_each(|(k, column)| {
        for i in k..d {
            let known: f64 = factor[i * d + k..i * d + i].iter().zip(&column[k..i]).map(|(a, b)| a * b).sum();
            column[i] = (if i == k { 1.0 } else { 0.0 } - known) / factor[i * d + i];
        }
    });
    inverse
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn real(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, reason = "vectors are f32")]
fn single(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_kernels::dot::dot;
    use lvd_kernels::hash::Draw;

    const D: usize = 12;

    /// Unit vectors that share a direction, and vary most along few others.
    fn sample(n: usize) -> Vec<f32> {
        let draw = Draw::new(3, "whiten");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut vectors: Vec<f32> = (0..n * D)
            .map(|i| {
                let spread = if i % D < 2 { 1.0 } else { 0.1 };
                f32::from(u8::from(i % D == 5)) + spread * (draw.unit(i as u64) as f32 - 0.5)
            })
            .collect();
        vectors.chunks_mut(D).for_each(|vector| assert!(normalise(vector)));
        vectors
    }

    #[test]
    fn all_directions_vary_alike_about_nothing() {
        let vectors = sample(4000);
        let mut white = vectors.clone();
        Whitening::fit(&vectors, D).apply(&mut white);
        let n = f64::from(4000);
        let mean = |i: usize| white.chunks(D).map(|v| f64::from(v[i])).sum::<f64>() / n;
        let product = |i: usize, j: usize| white.chunks(D).map(|v| f64::from(v[i] * v[j])).sum::<f64>() / n;
        for i in 0..D {
            assert!(mean(i).abs() < 0.02, "mean {i}: {}", mean(i));
            for j in 0..D {
                let expected = if i == j { 1.0 / real(D) } else { 0.0 };
                // Unit norms were made of vectors that lie near a plane: one direction hardly
                // varies.
                assert!((product(i, j) - expected).abs() < 0.05, "{i} {j}: {}", product(i, j));
            }
        }
        assert!(dot(&vectors[..D], &vectors[D..2 * D]) > 0.5, "they were alike");
    }

    #[test]
    fn it_comes_back_from_its_rows() {
        let white = Whitening::fit(&sample(50), D);
        assert_eq!(Whitening::from_rows(white.rows(), D), white);
        assert_eq!(white.dimension(), D);
    }

    #[test]
    fn equal_vectors_stay_as_they_are() {
        let one = sample(1);
        let mut same = one.repeat(20);
        Whitening::fit(&same, D).apply(&mut same);
        for vector in same.chunks(D) {
            assert!(vector.iter().zip(&one).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
}
