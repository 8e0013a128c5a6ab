//! Eight-bit codes of unit vectors: integer products of blocks, several times faster than `sgemm`, and a bound of their error.
//!
//! A product of codes is a sum of integers: the same bits from every kernel and every cut into blocks. With the bound, a scan of
//! the codes misses no pair whose true cosine reaches a floor; the few pairs it lets through are then decided by
//! [`crate::ops::dot`]. So the scan is exact, not approximate.

mod kernel;

use rayon::prelude::*;

pub use kernel::name as kernel_name;

use super::wide::widest;
use crate::ops::dot::dot;

/// Rows of codes that lie interleaved: a vector register holds four codes of each.
pub const LANES: usize = 16;
/// Base rows of one block of a scan: with it, the products of 64 queries stay in the second-level cache.
const SPAN: usize = 1024;

/// Four codes of each of [`LANES`] rows.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u8; 4 * LANES]);

impl Default for Line {
    fn default() -> Self {
        Self([128; 4 * LANES])
    }
}

/// Vectors as codes: `x` is about `scale * code`, a scale a row.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    rows: usize,
    /// Codes a row, a multiple of 4; those beyond the dimension are 0.
    width: usize,
    /// Row after row.
    plain: Vec<i8>,
    /// Groups of [`LANES`] rows, a line for every four codes, each plus 128.
    packed: Vec<Line>,
    /// What the codes of each row are multiplied with.
    scales: Vec<f32>,
    /// How far a product with a row's codes may be off, in cosine: the errors of two rows add up.
    slack: Vec<f32>,
    /// 128 times the sum of each row's codes: what the offset of the packed codes adds to a product.
    offsets: Vec<i32>,
}

impl Codes {
    /// Codes of `vectors`: row-major, `d` wide, of unit norm (fp16 rounding is allowed for).
    ///
    /// # Panics
    /// When the length is not a multiple of `d`.
    #[must_use]
    pub fn new(vectors: &[f32], d: usize) -> Self {
        assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
        let (rows, width) = (vectors.len() / d, d.next_multiple_of(4));
        let mut codes = Self {
            rows,
            width,
            plain: vec![0; rows * width],
            packed: vec![Line::default(); rows.div_ceil(LANES) * width / 4],
            scales: vec![0.0; rows],
            slack: vec![0.0; rows],
            offsets: vec![0; rows],
        };
        codes
            .packed
            .par_chunks_mut(width / 4)
            .zip(codes.plain.par_chunks_mut(LANES * width))
            .zip(codes.scales.par_chunks_mut(LANES).zip(codes.slack.par_chunks_mut(LANES)))
            .zip(codes.offsets.par_chunks_mut(LANES))
            .zip(vectors.par_chunks(LANES * d))
            .with_min_len(64)
            .for_each(|((((packed, plain), (scales, slack)), offsets), vectors)| {
                for (row, (vector, codes)) in vectors.chunks(d).zip(plain.chunks_mut(width)).enumerate() {
                    (scales[row], slack[row]) = widest(|| encode(vector, &mut codes[..d]));
                    offsets[row] = 128 * codes.iter().map(|&code| i32::from(code)).sum::<i32>();
                }
                pack(plain, width, packed);
            });
        codes
    }

    /// How many vectors there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The integer products of rows of `queries` with `rows` of these codes, rounded out to whole groups: row `i` of `out` has
    /// those of query `i`, beginning at the group of the first row.
    ///
    /// # Panics
    /// When the widths differ, or a row is not there.
    pub fn products(&self, queries: &Self, chosen: &[u32], rows: &std::ops::Range<usize>, out: &mut Vec<i32>) -> usize {
        assert_eq!(self.width, queries.width, "codes of one width");
        assert!(rows.start <= rows.end && rows.end <= self.rows, "{rows:?} of {} rows", self.rows);
        let groups = rows.start / LANES..rows.end.div_ceil(LANES);
        let stride = groups.len() * LANES;
        out.resize(chosen.len() * stride, 0);
        let lines = self.width / 4;
        let packed = &self.packed[groups.start * lines..groups.end * lines];
        let codes: Vec<&[i8]> =
            chosen.iter().map(|&row| &queries.plain[row as usize * self.width..][..self.width]).collect();
        let offsets: Vec<i32> = chosen.iter().map(|&row| queries.offsets[row as usize]).collect();
        kernel::products(&codes, &offsets, packed, self.width, out);
        stride
    }

    /// Estimates of the cosines behind integer products: what to multiply those of `query` and `row` with.
    #[must_use]
    pub fn scale(&self, row: usize) -> f32 {
        self.scales[row]
    }

    /// [`Codes::scale`] of every row.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Calls `found(query, row)` for every pair of a chosen query and a row in `rows` whose cosine may reach the lower of
    /// the two floors; a few of them do not.
    pub fn scan(
        &self,
        queries: &Self,
        (chosen, query_floors): (&[u32], &[f32]),
        (rows, row_floors): (std::ops::Range<usize>, &[f32]),
        found: &mut impl FnMut(u32, usize),
    ) {
        thread_local!(static PRODUCTS: std::cell::RefCell<Vec<i32>> = const { std::cell::RefCell::new(Vec::new()) });
        PRODUCTS.with_borrow_mut(|products| {
            let mut start = rows.start;
            while start < rows.end {
                let span = start..rows.end.min((start / LANES * LANES) + SPAN);
                let stride = self.products(queries, chosen, &span, products);
                for (&query, products) in chosen.iter().zip(products.chunks(stride.max(1))) {
                    let q = query as usize;
                    let (scale, least) = (queries.scales[q], query_floors[q] - queries.slack[q]);
                    let products = &products[span.start % LANES..][..span.len()];
                    let lanes = Lanes {
                        scales: &self.scales[span.clone()],
                        slack: &self.slack[span.clone()],
                        floors: &row_floors[span.clone()],
                    };
                    widest(|| {
                        lanes.over(products, scale, least, queries.slack[q], |row| found(query, span.start + row));
                    });
                }
                start = span.end;
            }
        });
    }
}

/// What is known of the base rows of a scan.
struct Lanes<'a> {
    scales: &'a [f32],
    slack: &'a [f32],
    floors: &'a [f32],
}

impl Lanes<'_> {
    /// Calls `found` for the rows whose estimate, with both slacks, reaches the query's floor (`least` is that less the query's
    /// slack) or their own.
    #[inline]
    fn over(&self, products: &[i32], scale: f32, least: f32, query_slack: f32, mut found: impl FnMut(usize)) {
        let reaches = |lane: usize| {
            #[expect(clippy::cast_precision_loss, reason = "the slack allows for it")]
            let estimate = products[lane] as f32 * (scale * self.scales[lane]) + self.slack[lane];
            u8::from(estimate >= least) | u8::from(estimate + query_slack >= self.floors[lane])
        };
        for start in (0..products.len()).step_by(LANES) {
            let end = (start + LANES).min(products.len());
            let mut any = 0;
            for lane in start..end {
                any |= reaches(lane);
            }
            if any > 0 {
                (start..end).filter(|&lane| reaches(lane) > 0).for_each(&mut found);
            }
        }
    }
}

/// Codes of one vector; its scale, and the bound of the error.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for the widest vectors only where it is inlined")]
fn encode(vector: &[f32], codes: &mut [i8]) -> (f32, f32) {
    let largest = vector.iter().fold(0.0f32, |largest, x| if x.abs() > largest { x.abs() } else { largest });
    if largest == 0.0 || !largest.is_finite() {
        return (0.0, f32::NAN);
    }
    let (scale, inverse) = (largest / 127.0, 127.0 / largest);
    let mut squares = 0.0;
    for (&x, code) in vector.iter().zip(codes.iter_mut()) {
        #[expect(clippy::cast_possible_truncation, reason = "rounded to -127 ..= 127")]
        let rounded = (x * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
        *code = rounded;
        let error = x - scale * f32::from(rounded);
        squares += error * error;
    }
    #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
    let rounding = 4.0 * vector.len() as f32 * f32::EPSILON;
    // |ab - a'b'| <= |a'| |b - b'| + |b| |a - a'|: with norms up to 1.002 and e the norm of a row's error, a row adds at most
    // 1.002 e + e^2. The sum over both rows covers the product of the two errors, since 2 e f <= e^2 + f^2.
    let error = squares.sqrt();
    let norm = dot(vector, vector).sqrt().max(1.002);
    (scale, norm * error + error * error + rounding)
}

/// Interleaves up to [`LANES`] rows.
fn pack(plain: &[i8], width: usize, packed: &mut [Line]) {
    for (lane, codes) in plain.chunks(width).enumerate() {
        for (line, codes) in packed.iter_mut().zip(codes.as_chunks::<4>().0) {
            line.0[4 * lane..][..4].copy_from_slice(&codes.map(|code| code.cast_unsigned() ^ 0x80));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::dot::normalise;
    use crate::ops::hash::Draw;

    fn units(n: usize, d: usize, seed: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "codes");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut vectors: Vec<f32> = (0..n * d).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
        // A few numbers far larger than the rest: what codes with one scale a row do worst.
        vectors.chunks_mut(d).step_by(3).for_each(|vector| vector[0] *= 9.0);
        vectors.chunks_mut(d).for_each(|vector| assert!(normalise(vector)));
        vectors
    }

    #[test]
    fn the_scan_lets_every_pair_over_the_floor_through_and_few_others() {
        for (n, m, d) in [(1, 1, 1), (9, 33, 5), (70, 2100, 40), (33, 100, 512)] {
            let (a, b) = (units(n, d, 1), units(m, d, 2));
            let (queries, base) = (Codes::new(&a, d), Codes::new(&b, d));
            let chosen: Vec<u32> = (0..).step_by(2).take(n.div_ceil(2)).collect();
            for floor in [-0.1, 0.05, 0.3] {
                let (query_floors, row_floors) = (vec![floor; n], vec![floor; m]);
                let rows = m / 3..m;
                let mut found = Vec::new();
                let mut take = |query, row| found.push((query, row));
                base.scan(&queries, (&chosen, &query_floors), (rows.clone(), &row_floors), &mut take);
                let mut extra = found.len();
                for &q in &chosen {
                    for row in rows.clone() {
                        let cosine = dot(&a[q as usize * d..][..d], &b[row * d..][..d]);
                        let there = found.iter().filter(|&&pair| pair == (q, row)).count();
                        assert!(there == 1 || (there == 0 && cosine < floor), "{q} {row} {cosine} {floor} {there}");
                        extra -= usize::from(there == 1 && cosine >= floor);
                    }
                }
                assert!(extra * 4 <= chosen.len() * rows.len() || d < 40, "{extra} pairs too many");
            }
        }
    }

    #[test]
    fn a_pair_that_only_one_end_wants_is_found() {
        let vectors = units(2, 64, 3);
        let codes = Codes::new(&vectors, 64);
        for (floors, expected) in [([-1.0, 2.0], 1), ([2.0, -1.0], 1), ([2.0, 2.0], 0)] {
            let mut found = 0;
            codes.scan(&codes, (&[0], &floors), (1..2, &floors), &mut |_, _| found += 1);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_no_vector_is_found_by_nobody() {
        let codes = Codes::new(&[0.0, 0.0, 1.0, 0.0], 2);
        codes.scan(&codes, (&[1], &[-1.0, -1.0]), (0..1, &[-1.0, -1.0]), &mut |_, _| panic!("found"));
    }
}
