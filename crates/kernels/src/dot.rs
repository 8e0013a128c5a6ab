//! Dot products in one fixed order of operations: the numbers that decide thresholds and ties.
//!
//! Sixteen running sums, each over every sixteenth product, are added as a fixed tree. No operation
//! is fused or reordered, so the bits are the same on every processor; the compiler still turns the
//! lanes into vector instructions.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::multiversion;

const LANES: usize = 16;

/// Folds `term` over both slices in the fixed order: shared by the sums below, so that there is one
/// order.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for wide vectors only where it is inlined")]
fn fold(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors must have one length");
    let mut sums = [0.0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += term(a, b);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

multiversion! {
    /// The dot product of two vectors of one length.
    #[must_use]
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        fold(a, b, |a, b| a * b)
    }
}

multiversion! {
    /// The squared Euclidean distance of two vectors of one length.
    #[must_use]
    pub fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
        fold(a, b, |a, b| (a - b) * (a - b))
    }
}

/// What the product of a vector with itself is at least, of unit norm but for its numbers being in
/// half precision.
pub const WITH_ITSELF: f32 = 0.998;

/// The cosine of two such vectors: their product, but 1 for equal ones, and less than 1 for all
/// others.
#[must_use]
pub fn similarity(a: &[f32], b: &[f32]) -> f32 {
    const BELOW_ONE: f32 = 1.0f32.next_down();
    match dot(a, b) {
        product if product < WITH_ITSELF => product,
        _ if a == b => 1.0,
        product => product.min(BELOW_ONE),
    }
}

/// The cosine of two vectors of any norm; 0 when one of them is zero.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let norms = (f64::from(dot(a, a)) * f64::from(dot(b, b))).sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "a cosine is rounded to f32 at the end")]
    if norms > 0.0 { (f64::from(dot(a, b)) / norms) as f32 } else { 0.0 }
}

/// Scales a vector to norm 1. `false`, and the vector as it was, when it is zero or holds a NaN or
/// an infinity.
pub fn normalise(vector: &mut [f32]) -> bool {
    // Scaled by the largest magnitude first, so that squares neither overflow nor vanish.
    let largest = vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    if largest == 0.0 || !vector.iter().all(|x| x.is_finite()) {
        return false;
    }
    let squares: f64 = vector.iter().map(|&x| (f64::from(x) / f64::from(largest)).powi(2)).sum();
    let norm = squares.sqrt() * f64::from(largest);
    for x in vector {
        #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is the point")]
        let scaled = (f64::from(*x) / norm) as f32;
        *x = scaled;
    }
    true
}

/// Rounds to half precision, nearest even.
#[must_use]
pub fn to_f16(values: &[f32]) -> Vec<f16> {
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(values);
    halves
}

/// Widens from half precision; exact.
#[must_use]
pub fn to_f32(halves: &[f16]) -> Vec<f32> {
    let mut values = vec![0.0; halves.len()];
    halves.convert_to_f32_slice(&mut values);
    values
}

#[cfg(test)]
#[expect(clippy::float_cmp, clippy::cast_possible_truncation, reason = "bits are what is tested")]
mod tests {
    use super::*;

    fn vector(length: usize, seed: u64) -> Vec<f32> {
        let draw = crate::hash::Draw::new(seed, "dot");
        (0..length as u64).map(|i| draw.unit(i) as f32 - 0.5).collect()
    }

    #[test]
    fn dot_agrees_with_a_sum_in_f64() {
        for length in [0, 1, 15, 16, 17, 384, 1000] {
            let (a, b) = (vector(length, 1), vector(length, 2));
            let exact: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-5, "length {length}");
            let exact: f64 = a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
            assert!((f64::from(squared_distance(&a, &b)) - exact).abs() < 1e-4, "length {length}");
        }
    }

    #[test]
    fn the_order_of_the_sum_never_changes() {
        // Decisions that users have stored hang on these bits.
        assert_eq!(dot(&vector(771, 1), &vector(771, 2)).to_bits(), 0xc00b_ea28);
    }

    #[test]
    fn vectors_become_units_or_are_refused() {
        let mut tiny = vec![3e-30f32, 4e-30];
        assert!(normalise(&mut tiny));
        assert_eq!(tiny, [0.6, 0.8]);
        for mut bad in [vec![0.0, 0.0], vec![1.0, f32::NAN], vec![f32::INFINITY, 1.0], vec![]] {
            assert!(!normalise(&mut bad), "{bad:?}");
        }
        assert!((cosine(&[2.0, 0.0], &[5.0, 5.0]) - 0.5f32.sqrt()).abs() < 1e-7);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
    }

    #[test]
    fn only_equal_vectors_have_a_similarity_of_one() {
        for length in [2, 20, 64, 384, 512, 3072] {
            let (mut least, mut most) = (1.0f32, 1.0f32);
            for seed in 0..200 {
                let mut one = vector(length, seed);
                normalise(&mut one);
                let one = to_f32(&to_f16(&one));
                (least, most) = (least.min(dot(&one, &one)), most.max(dot(&one, &one)));
                assert_eq!(similarity(&one, &one), 1.0);
                let mut other = one.clone();
                other[0] = to_f32(&[f16::from_f32(one[0] * 1.001)])[0];
                assert_eq!(similarity(&one, &other) < 1.0, one != other, "{length} {seed}");
            }
            assert!(least < 1.0 && most > 1.0 && least > WITH_ITSELF, "{length}: {least} {most}");
        }
        assert_eq!(similarity(&[0.6, 0.8], &[0.8, 0.6]), dot(&[0.6, 0.8], &[0.8, 0.6]));
    }

    #[test]
    fn halves_round_trip() {
        let values = [0.0, 1.0, -0.5, 0.1];
        let back = to_f32(&to_f16(&values));
        assert!(values.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-4), "{back:?}");
    }
}
