//! Residuals: codes of what is left of rows once the mean that they share is taken off.

use std::ops::Range;

use rayon::prelude::*;

use super::coding::{Coding, encode, sum};
use super::kernel;
use super::line::{LANES, Line, pack};
use crate::dot::dot;

/// What packed codes are of, if not of whole vectors: of what is left of rows without their mean.
#[derive(Clone, Debug)]
pub struct Residual {
    means: Vec<Mean>,
    pub coding: Coding,
    /// The norm of what is coded of each row.
    norms: Vec<f32>,
}

/// The mean of some rows, as codes.
#[derive(Clone, Debug)]
pub struct Mean {
    rows: Range<usize>,
    codes: Vec<i8>,
    scale: f32,
    /// The square of its norm.
    pub square: f32,
}

impl Residual {
    /// Packs vectors, row-major and `d` wide: those of each of `ranges`, which are in order,
    /// without their mean.
    pub fn pack(vectors: &[f32], d: usize, ranges: &[Range<usize>], packed: &mut [Line]) -> Self {
        let (rows, width) = (vectors.len() / d, d.next_multiple_of(4));
        let mean = |rows: &Range<usize>| Mean::of(rows.clone(), &vectors[rows.start * d..rows.end * d], d);
        let means: Vec<Mean> = ranges.par_iter().map(mean).collect();
        let mut residual = Self { means, coding: Coding::of(rows), norms: vec![1.0; rows] };
        packed
            .par_chunks_mut(width / 4)
            .zip(residual.coding.groups())
            .zip(residual.norms.par_chunks_mut(LANES))
            .zip(vectors.par_chunks(LANES * d))
            .enumerate()
            .with_min_len(64)
            .for_each_init(
                || (vec![0; LANES * width], vec![0.0; d]),
                |(plain, rest), (group, (((packed, mut coding), norms), vectors))| {
                    for (row, (vector, codes)) in vectors.chunks(d).zip(plain.chunks_mut(width)).enumerate() {
                        rest.copy_from_slice(vector);
                        if let Some(mean) = at(&residual.means, group * LANES + row).1 {
                            mean.take_from(rest);
                            norms[row] = dot(rest, rest).sqrt();
                        }
                        coding.set(row, encode(rest, &mut codes[..d]));
                    }
                    pack(&plain[..norms.len() * width], width, packed);
                },
            );
        residual
    }

    /// Of some rows, ascending.
    pub fn of_rows(&self, rows: &[u32]) -> Self {
        let place = |row: usize| rows.partition_point(|&before| (before as usize) < row);
        let mean = |mean: &Mean| {
            let rows = place(mean.rows.start)..place(mean.rows.end);
            (!rows.is_empty()).then(|| Mean { rows, ..mean.clone() })
        };
        Self {
            means: self.means.iter().filter_map(mean).collect(),
            coding: self.coding.of_rows(rows),
            norms: rows.iter().map(|&row| self.norms[row as usize]).collect(),
        }
    }

    /// The mean of a row, and the row from which on others have another, or none.
    pub fn at(&self, row: usize) -> (usize, Option<&Mean>) {
        at(&self.means, row)
    }

    /// The largest norm of what is coded of some rows.
    pub fn norm(&self, rows: Range<usize>) -> f32 {
        self.norms[rows].iter().fold(0.0, |largest, &norm| norm.max(largest))
    }
}

fn at(means: &[Mean], row: usize) -> (usize, Option<&Mean>) {
    match means.get(means.partition_point(|mean| mean.rows.end <= row)) {
        Some(mean) if mean.rows.start <= row => (mean.rows.end, Some(mean)),
        Some(next) => (next.rows.start, None),
        None => (usize::MAX, None),
    }
}

impl Mean {
    /// Of `vectors`, which are those of `rows`.
    fn of(rows: Range<usize>, vectors: &[f32], d: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "few rows have a mean of their own")]
        let share = 1.0 / rows.len().max(1) as f32;
        let mut mean = vec![0.0f32; d];
        vectors.chunks(d).for_each(|vector| mean.iter_mut().zip(vector).for_each(|(mean, x)| *mean += share * x));
        let mut codes = vec![0; d.next_multiple_of(4)];
        // Of what is no number, or nothing, the scale is 0: then rows are coded whole.
        let (scale, ..) = encode(&mean, &mut codes[..d]);
        let mut mean = Self { rows, codes, scale, square: 0.0 };
        mean.square = mean.product(&mean);
        mean
    }

    /// Leaves of a vector what it is more than this.
    fn take_from(&self, vector: &mut [f32]) {
        vector.iter_mut().zip(&self.codes).for_each(|(x, &code)| *x -= self.scale * f32::from(code));
    }

    /// The product with another.
    pub fn product(&self, other: &Self) -> f32 {
        kernel::product(&self.codes, &other.codes, 128 * sum(&other.codes)) * (self.scale * other.scale)
    }

    /// The products with some queries: their codes, 128 times the sum of these, and their scale.
    pub fn products<'a>(
        &'a self,
        queries: impl Iterator<Item = (&'a [i8], i32, f32)> + Clone,
        products: &mut Vec<f32>,
    ) {
        kernel::products(queries.clone().map(|(codes, offset, _)| (&self.codes[..], codes, offset)), products);
        products.iter_mut().zip(queries).for_each(|(product, (.., scale))| *product *= self.scale * scale);
    }
}
