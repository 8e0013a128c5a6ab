//! What every search shares: the sizes of blocks, and the products of two of them.

use std::cell::RefCell;

use crate::blas;

/// Queries (or points) a block: the unit of parallel work, and of a matrix product.
pub const QUERY_ROWS: usize = 512;
/// Base rows (or centroids) a matrix product: with 512 queries 2 MB of products, which about stay
/// in the second-level cache.
pub const BASE_ROWS: usize = 1024;
/// Scores are compared this many at a time, which the compiler turns into vector instructions.
pub const SCAN: usize = 32;

/// The unit roundoff of f32.
pub const ROUNDOFF: f32 = f32::EPSILON / 2.0;

thread_local! {
    /// The products of one block, kept between blocks: fresh pages cost more than the scan.
    static PRODUCTS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Whether a condition holds for any of the values; without an early exit, so that it is done in
/// vectors.
#[inline]
pub fn any(values: &[f32; SCAN], holds: impl Fn(f32) -> bool) -> bool {
    values.iter().fold(false, |any, &value| any | holds(value))
}

/// Hands the products of two blocks of rows to `then`, in memory that the thread keeps.
pub fn with_products(a: &[f32], b: &[f32], d: usize, then: impl FnOnce(&mut [f32])) {
    PRODUCTS.with_borrow_mut(|memory| {
        let length = (a.len() / d) * (b.len() / d);
        if memory.len() < length {
            memory.resize(length, 0.0);
        }
        blas::products(a, b, d, &mut memory[..length]);
        then(&mut memory[..length]);
    });
}

pub fn rows(vectors: &[f32], d: usize) -> usize {
    assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
    vectors.len() / d
}

#[expect(clippy::cast_possible_truncation, reason = "rows are counted below 2^32 where the search begins")]
pub fn row_number(row: usize) -> u32 {
    row as u32
}

#[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
pub fn as_f32(d: usize) -> f32 {
    d as f32
}
