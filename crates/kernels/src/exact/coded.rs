//! Proposals by eight-bit codes: integer products are several times faster than `sgemm`, and what
//! they may be off by is bounded, so that all candidates within the bound, decided by products in
//! the fixed order, give the same answer.

use std::cell::RefCell;

use super::blocks::{BASE_ROWS, row_number};
use crate::codes::Codes;
use crate::dot::dot;
use crate::multiversion;

/// Numbers a vector, and rows of a base, from which on codes are worth their making.
const CODED_D: usize = 64;
const CODED_ROWS: usize = 64;
/// Queries whose products are computed together.
const QUERIES: usize = 128;

/// Whether codes pay for a base of `rows` vectors of `d` numbers.
pub fn worth_coding(d: usize, rows: usize) -> bool {
    d >= CODED_D && rows >= CODED_ROWS
}

thread_local! {
    /// The integer products of one block, kept between blocks.
    static INTEGERS: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
}

/// Base rows or centroids as codes.
pub struct Coded {
    codes: Codes,
    d: usize,
    /// The longest norm of a row, and the largest error.
    longest: f32,
    error: f32,
}

impl Coded {
    pub fn new(base: &[f32], d: usize) -> Self {
        let codes = Codes::new(base, d);
        let error = (0..codes.rows()).map(|row| codes.error(row)).fold(0.0f32, f32::max);
        let longest = base.chunks(d).map(|row| dot(row, row)).fold(0.0f32, f32::max).sqrt();
        Self { codes, d, longest, error }
    }

    pub fn d(&self) -> usize {
        self.d
    }

    /// How far the difference of two products with a query, of the given squared norm, may be off.
    pub fn margin(&self, queries: &Codes, query: usize, square: f32) -> f32 {
        // |xy - x'y'| <= |x - x'| |y| + |x'| |y - y'|, for both products.
        let (norm, off) = (square.sqrt(), queries.error(query));
        2.0 * (off * self.longest + (norm + off) * self.error)
    }

    /// How far one product with a query may be off; `norm` is the base row's.
    pub fn bound(&self, queries: &Codes, query: usize, square: f32, row: usize, norm: f32) -> f32 {
        let off = queries.error(query);
        off * norm + (square.sqrt() + off) * self.codes.error(row)
    }

    /// Calls `take(query, first row, products)` for stretches of up to [`BASE_ROWS`] rows, in order
    /// for each query.
    pub fn products(&self, queries: &Codes, take: &mut dyn FnMut(usize, u32, &mut [f32])) {
        let all: Vec<u32> = (0..row_number(queries.rows())).collect();
        INTEGERS.with_borrow_mut(|integers| {
            let mut products = [0.0; BASE_ROWS];
            for chosen in all.chunks(QUERIES) {
                for first in (0..self.codes.rows()).step_by(BASE_ROWS) {
                    let rows = first..self.codes.rows().min(first + BASE_ROWS);
                    let stride = self.codes.products(queries, chosen, &rows, integers);
                    for (&query, integers) in chosen.iter().zip(integers.chunks(stride)) {
                        let products = &mut products[..rows.len()];
                        scaled(integers, &self.codes.scales()[rows.clone()], queries.scale(query as usize), products);
                        take(query as usize, row_number(first), products);
                    }
                }
            }
        });
    }
}

multiversion! {
    #[expect(clippy::cast_precision_loss, reason = "the margin allows for it")]
    fn scaled(integers: &[i32], scales: &[f32], scale: f32, products: &mut [f32]) {
        for ((product, &integer), &other) in products.iter_mut().zip(integers).zip(scales) {
            *product = integer as f32 * (scale * other);
        }
    }
}
