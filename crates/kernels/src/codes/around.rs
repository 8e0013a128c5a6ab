//! Codes of what rows are more than a centre that they share.

use std::ops::Range;

use rayon::prelude::*;

use super::coding::{Coding, encode, sum};
use super::{Codes, Depth, LANES, Line, kernel, pack};
use crate::dot::dot;

/// What packed codes are of, if not of whole vectors: of what rows are more than the centre of theirs.
#[derive(Clone, Debug)]
pub struct Around {
    centres: Vec<Centre>,
    pub coding: Coding,
    /// The norm of what is coded of each row.
    norms: Vec<f32>,
}

/// What some rows have in common, about: their mean, as codes.
#[derive(Clone, Debug)]
pub struct Centre {
    rows: Range<usize>,
    codes: Vec<i8>,
    scale: f32,
    /// The square of its norm.
    pub square: f32,
}

impl Around {
    /// Packs vectors, row-major and `d` wide: those of each of `ranges`, which are in order, around their mean.
    pub fn pack(vectors: &[f32], d: usize, ranges: &[Range<usize>], packed: &mut [Line]) -> Self {
        let (rows, width) = (vectors.len() / d, d.next_multiple_of(4));
        let centre = |rows: &Range<usize>| Centre::of(rows.clone(), &vectors[rows.start * d..rows.end * d], d);
        let centres: Vec<Centre> = ranges.par_iter().map(centre).collect();
        let mut around = Self { centres, coding: Coding::of(rows), norms: vec![1.0; rows] };
        packed
            .par_chunks_mut(width / 4)
            .zip(around.coding.groups())
            .zip(around.norms.par_chunks_mut(LANES))
            .zip(vectors.par_chunks(LANES * d))
            .enumerate()
            .with_min_len(64)
            .for_each_init(
                || (vec![0; LANES * width], vec![0.0; d]),
                |(plain, rest), (group, (((packed, mut coding), norms), vectors))| {
                    for (row, (vector, codes)) in vectors.chunks(d).zip(plain.chunks_mut(width)).enumerate() {
                        rest.copy_from_slice(vector);
                        if let Some(centre) = at(&around.centres, group * LANES + row).1 {
                            centre.take_from(rest);
                            norms[row] = dot(rest, rest).sqrt();
                        }
                        coding.set(row, encode(rest, &mut codes[..d]));
                    }
                    pack(&plain[..norms.len() * width], width, packed);
                },
            );
        around
    }

    /// Of some rows, ascending.
    pub fn of_rows(&self, rows: &[u32]) -> Self {
        let place = |row: usize| rows.partition_point(|&before| (before as usize) < row);
        let centre = |centre: &Centre| {
            let rows = place(centre.rows.start)..place(centre.rows.end);
            (!rows.is_empty()).then(|| Centre { rows, ..centre.clone() })
        };
        Self {
            centres: self.centres.iter().filter_map(centre).collect(),
            coding: self.coding.of_rows(rows),
            norms: rows.iter().map(|&row| self.norms[row as usize]).collect(),
        }
    }

    /// The centre of a row, and the row from which on others have another, or none.
    pub fn at(&self, row: usize) -> (usize, Option<&Centre>) {
        at(&self.centres, row)
    }

    /// The largest norm of what is coded of some rows.
    pub fn norm(&self, rows: Range<usize>) -> f32 {
        self.norms[rows].iter().fold(0.0, |largest, &norm| norm.max(largest))
    }
}

fn at(centres: &[Centre], row: usize) -> (usize, Option<&Centre>) {
    match centres.get(centres.partition_point(|centre| centre.rows.end <= row)) {
        Some(centre) if centre.rows.start <= row => (centre.rows.end, Some(centre)),
        Some(next) => (next.rows.start, None),
        None => (usize::MAX, None),
    }
}

impl Centre {
    /// Of `vectors`, which are those of `rows`.
    fn of(rows: Range<usize>, vectors: &[f32], d: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "few rows have a centre of their own")]
        let share = 1.0 / rows.len().max(1) as f32;
        let mut mean = vec![0.0f32; d];
        vectors.chunks(d).for_each(|vector| mean.iter_mut().zip(vector).for_each(|(mean, x)| *mean += share * x));
        let mut codes = vec![0; d.next_multiple_of(4)];
        // Of what is no number, or nothing, the scale is 0: then rows are coded whole.
        let (scale, ..) = encode(&mean, &mut codes[..d]);
        let mut centre = Self { rows, codes, scale, square: 0.0 };
        centre.square = centre.product(&centre);
        centre
    }

    /// Leaves of a vector what it is more than this.
    fn take_from(&self, vector: &mut [f32]) {
        vector.iter_mut().zip(&self.codes).for_each(|(x, &code)| *x -= self.scale * f32::from(code));
    }

    /// The product with another.
    pub fn product(&self, other: &Self) -> f32 {
        kernel::product(&self.codes, &other.codes, 128 * sum(&other.codes)) * (self.scale * other.scale)
    }

    /// The products with some queries.
    pub fn products(&self, queries: &Codes, chosen: &[u32], products: &mut Vec<f32>) {
        let rows = || chosen.iter().map(|&row| row as usize);
        let codes = rows().map(|row| (&self.codes[..], queries.code(row), queries.offset(row, Depth::Full)));
        kernel::products(codes, products);
        products.iter_mut().zip(rows()).for_each(|(product, row)| *product *= self.scale * queries.coding.scales[row]);
    }
}
