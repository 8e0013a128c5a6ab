//! How vectors become codes of eight bits, and what is known of each row's.

use rayon::prelude::*;

use super::line::LANES;
use crate::dot::dot;
use crate::multiversion;

/// From here on, numbers of single precision are integers, and the lowest byte of their bits counts
/// them.
const INTEGERS_FROM: f32 = 12_582_912.0;

/// How rows are coded.
#[derive(Clone, Debug, Default)]
pub struct Coding {
    /// What the codes of each row are multiplied with; zeros fill up the last group.
    pub scales: Vec<f32>,
    /// How far a product with a row's codes may be off, in cosine: the errors of two rows add up.
    pub slack: Vec<f32>,
    /// The norm of what each row's codes are off by.
    pub errors: Vec<f32>,
}

impl Coding {
    /// Of rows that are still to be coded.
    pub fn of(rows: usize) -> Self {
        Self { scales: vec![0.0; rows.next_multiple_of(LANES)], slack: vec![0.0; rows], errors: vec![0.0; rows] }
    }

    /// Groups of [`LANES`] rows.
    pub fn groups(&mut self) -> impl IndexedParallelIterator<Item = CodingGroup<'_>> {
        let (slack, errors) = (self.slack.par_chunks_mut(LANES), self.errors.par_chunks_mut(LANES));
        let all = self.scales.par_chunks_mut(LANES).zip(slack).zip(errors);
        all.map(|((scales, slack), errors)| CodingGroup { scales, slack, errors })
    }

    /// Of some rows.
    pub fn of_rows(&self, rows: &[u32]) -> Self {
        let some = |from: &[f32]| -> Vec<f32> { rows.iter().map(|&row| from[row as usize]).collect() };
        let mut scales = some(&self.scales);
        scales.resize(rows.len().next_multiple_of(LANES), 0.0);
        Self { scales, slack: some(&self.slack), errors: some(&self.errors) }
    }
}

/// The coding of some rows.
pub struct CodingGroup<'a> {
    scales: &'a mut [f32],
    slack: &'a mut [f32],
    errors: &'a mut [f32],
}

impl CodingGroup<'_> {
    pub fn set(&mut self, row: usize, (scale, error, slack): (f32, f32, f32)) {
        (self.scales[row], self.errors[row], self.slack[row]) = (scale, error, slack);
    }
}

multiversion! {
    pub fn sum(codes: &[i8]) -> i32 {
        codes.iter().map(|&code| i32::from(code)).sum()
    }
}

multiversion! {
    /// Codes of one vector; its scale, the norm of the error, and the bound of a product's error.
    pub fn encode(vector: &[f32], codes: &mut [i8]) -> (f32, f32, f32) {
        // Whole chunks by themselves: their lanes stay in registers.
        let (whole, rest) = vector.as_chunks::<LANES>();
        let mut lanes = [0.0f32; LANES];
        for some in whole {
            for (largest, x) in lanes.iter_mut().zip(some) {
                *largest = if x.abs() > *largest { x.abs() } else { *largest };
            }
        }
        let largest =
            lanes.iter().chain(rest).fold(0.0f32, |largest, x| if x.abs() > largest { x.abs() } else { largest });
        // A NaN is passed over above, and makes the squares one.
        let squares = dot(vector, vector);
        if largest == 0.0 || !squares.is_finite() {
            // A row of zeros is coded exactly, and yet no row is near to it: its bound is NaN.
            codes.fill(0);
            return (0.0, if squares == 0.0 { 0.0 } else { f32::NAN }, f32::NAN);
        }
        let (scale, inverse) = (largest / 127.0, 127.0 / largest);
        let code = |x: f32, code: &mut i8, errors: &mut f32| {
            // Added to a number this large, a small one is rounded to the nearest integer, ties to
            // even: -127 to 127.
            let rounded = x * inverse + INTEGERS_FROM;
            #[expect(clippy::cast_possible_truncation, reason = "the lowest byte is the integer")]
            let integer = rounded.to_bits() as i8;
            *code = integer;
            let error = x - scale * (rounded - INTEGERS_FROM);
            *errors += error * error;
        };
        let (whole_codes, rest_codes) = codes.as_chunks_mut::<LANES>();
        let mut errors = [0.0f32; LANES];
        for (some, codes) in whole.iter().zip(whole_codes) {
            for lane in 0..LANES {
                code(some[lane], &mut codes[lane], &mut errors[lane]);
            }
        }
        for ((&x, to), errors) in rest.iter().zip(rest_codes).zip(&mut errors) {
            code(x, to, errors);
        }
        #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
        let rounding = 4.0 * vector.len() as f32 * f32::EPSILON;
        // |ab - a'b'| <= |a'| |b - b'| + |b| |a - a'|: with norms up to 1.002 and e the norm of a
        // row's error, a row adds at most 1.002 e + e^2. The sum over both rows covers the product
        // of the two errors, since 2 e f <= e^2 + f^2. The same holds of a' (c + b'), for b' the
        // codes of what is left of b without a mean c: c is what its codes say.
        let error = errors.iter().sum::<f32>().sqrt();
        let norm = squares.sqrt().max(1.002);
        (scale, error, norm * error + error * error + rounding)
    }
}
