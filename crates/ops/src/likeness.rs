//! How alike two pictures look from afar: the correlation of small grey ones. It needs no encoder,
//! so it can judge one.

use image::RgbImage;
use image::imageops;

/// Pixels a side of a small picture.
const SIDE: u32 = 32;

/// A picture of 32 x 32 grey pixels, whatever the proportions were: 1 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    grey: Vec<u8>,
}

impl Small {
    /// The picture from afar: means over areas.
    #[must_use]
    pub fn of(image: &RgbImage) -> Self {
        let small = imageops::thumbnail(image, SIDE, SIDE);
        Self { grey: imageops::grayscale(&small).into_raw() }
    }

    /// The same, mirrored left to right.
    fn mirrored(&self) -> Self {
        Self { grey: self.grey.chunks(SIDE as usize).flat_map(|row| row.iter().rev().copied()).collect() }
    }
}

/// The higher of two correlations (Pearson's, -1 to 1): of the two pictures, and of one with the
/// other mirrored. 1 for two pictures of one grey each, 0 for one such and another.
#[must_use]
pub fn likeness(a: &Small, b: &Small) -> f64 {
    correlation(&a.grey, &b.grey).max(correlation(&a.grey, &b.mirrored().grey))
}

/// Sums in whole numbers, so that their order does not matter.
#[expect(clippy::cast_precision_loss, reason = "1,024 values of a byte: below 2^53")]
fn correlation(a: &[u8], b: &[u8]) -> f64 {
    let n = a.iter().map(|_| 1i64).sum::<i64>();
    let sum =
        |of: &dyn Fn(i64, i64) -> i64| -> i64 { a.iter().zip(b).map(|(&a, &b)| of(i64::from(a), i64::from(b))).sum() };
    let (mean_a, mean_b) = (sum(&|a, _| a), sum(&|_, b| b));
    let covariance = n * sum(&|a, b| a * b) - mean_a * mean_b;
    let spread_a = n * sum(&|a, _| a * a) - mean_a * mean_a;
    let spread_b = n * sum(&|_, b| b * b) - mean_b * mean_b;
    match (spread_a, spread_b) {
        (0, 0) => 1.0,
        (0, _) | (_, 0) => 0.0,
        _ => covariance as f64 / (spread_a as f64 * spread_b as f64).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::draw::Chance;
    use crate::edits::Edit;
    use lvd_kernels::hash::Draw;

    /// A picture of blots at places of its own.
    fn picture(seed: u64) -> RgbImage {
        let draw = Draw::new(seed, "likeness");
        let blots: Vec<(u64, u64)> = (0..12).map(|i| (draw.bits(2 * i) % 150, draw.bits(2 * i + 1) % 100)).collect();
        RgbImage::from_fn(150, 100, |x, y| {
            let near = |&(u, v): &(u64, u64)| u64::from(x).abs_diff(u) + u64::from(y).abs_diff(v) < 18;
            if blots.iter().any(near) { Rgb([230, 200, 40]) } else { Rgb([20, 60, 90]) }
        })
    }

    #[test]
    fn copies_are_alike_and_others_are_not() {
        let image = picture(1);
        let like = |other: &RgbImage| likeness(&Small::of(&image), &Small::of(other));
        for edit in
            [Edit::Jpeg30, Edit::ResizeHalf, Edit::FlipHorizontal, Edit::Brighter, Edit::Grayscale, Edit::AspectTall]
        {
            let copy = edit.apply(&image, &image, &Chance::new(Draw::new(1, "likeness")));
            assert!(like(&copy) > 0.95, "{edit:?}: {}", like(&copy));
        }
        assert!((2..20).all(|seed| like(&picture(seed)) < 0.8));
    }

    #[test]
    fn flat_pictures_are_like_flat_ones_alone() {
        let flat = |level| Small::of(&RgbImage::from_pixel(40, 30, Rgb([level; 3])));
        assert!((likeness(&flat(10), &flat(200)) - 1.0).abs() < 1e-12);
        assert!(likeness(&flat(10), &Small::of(&picture(1))).abs() < 1e-12);
    }

    #[test]
    fn correlation_is_pearsons() {
        // The last: means 2 and 2, products (4, -2, 4) in all 6, squares 24 and 6: 6 / sqrt(24 *
        // 6).
        assert!((correlation(&[1, 2, 3], &[2, 4, 6]) - 1.0).abs() < 1e-12);
        assert!((correlation(&[1, 2, 3], &[6, 4, 2]) + 1.0).abs() < 1e-12);
        assert!((correlation(&[0, 0, 6], &[0, 3, 3]) - 0.5).abs() < 1e-12);
    }
}
