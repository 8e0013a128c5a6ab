//! Eight-bit codes of unit vectors: integer products of blocks, several times faster than `sgemm`,
//! and a bound of their error.
//!
//! A product of codes is a sum of integers: the same bits from every kernel and every cut into
//! blocks. With the bound, a scan of the codes misses no pair whose true cosine reaches a floor;
//! the few pairs it lets through are then decided by [`crate::dot`]. So the scan is exact, not
//! approximate.
//!
//! Rows that lie together may be packed as residuals ([`Codes::residual`]): without their mean,
//! whose product with a query is computed once for all of them. Sketches ([`ScanMode`]) then tell
//! far better who is near whom.

mod coding;
mod kernel;
mod line;
mod nearest;
mod residual;
mod scan;
mod scan_mode;

use std::ops::Range;

use rayon::prelude::*;

pub use kernel::name as kernel_name;
pub use line::LANES;
pub use scan_mode::ScanMode;

use self::coding::{Coding, encode, sum};
use self::kernel::operands::Operands;
use self::kernel::sink::{Sink, Store};
use self::line::{Line, pack};
use self::residual::{Mean, Residual};

/// Vectors as codes: `x` is about `scale * code`, a scale a row.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    rows: usize,
    /// Codes a row, a multiple of 4; those beyond the dimension are 0.
    width: usize,
    /// Row after row.
    plain: Vec<i8>,
    coding: Coding,
    /// 128 times the sum of each row's codes, and of those of each of its sketches: what the offset
    /// of packed codes adds to a product.
    offsets: Vec<i32>,
    /// Groups of [`LANES`] rows, a line for every four codes, each plus 128.
    packed: Vec<Line>,
    /// If what is packed is not what is plain.
    residual: Option<Residual>,
}

impl Codes {
    /// Codes of `vectors`: row-major, `d` wide, of unit norm (fp16 rounding is allowed for).
    ///
    /// # Panics
    /// When the length is not a multiple of `d`.
    #[must_use]
    pub fn new(vectors: &[f32], d: usize) -> Self {
        Self::residual(vectors, d, &[])
    }

    /// The same, with the rows of each of some ranges, in order, packed without their mean. For
    /// scans alone: what else reads packed codes wants them of whole vectors.
    ///
    /// # Panics
    /// When the length is not a multiple of `d`, or a row is not there.
    #[must_use]
    pub fn residual(vectors: &[f32], d: usize, ranges: &[Range<usize>]) -> Self {
        assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
        let (rows, width) = (vectors.len() / d, d.next_multiple_of(4));
        let mut codes = Self {
            rows,
            width,
            plain: vec![0; rows * width],
            coding: Coding::of(rows),
            offsets: vec![0; rows * offsets(width)],
            packed: vec![Line::default(); rows.div_ceil(LANES) * width / 4],
            residual: None,
        };
        codes
            .plain
            .par_chunks_mut(LANES * width)
            .zip(codes.coding.groups())
            .zip(codes.offsets.par_chunks_mut(LANES * offsets(width)))
            .zip(vectors.par_chunks(LANES * d))
            .with_min_len(64)
            .for_each(|(((plain, mut coding), all), vectors)| {
                let rows = vectors.chunks(d).zip(plain.chunks_mut(width)).zip(all.chunks_mut(offsets(width)));
                for (row, ((vector, codes), offsets)) in rows.enumerate() {
                    coding.set(row, encode(vector, &mut codes[..d]));
                    for (offset, used) in offsets.iter_mut().zip([width].into_iter().chain(scan_mode::sketches(width)))
                    {
                        *offset = 128 * sum(&codes[..used]);
                    }
                }
            });
        if ranges.is_empty() {
            let groups = codes.packed.par_chunks_mut(width / 4).zip(codes.plain.par_chunks(LANES * width));
            groups.with_min_len(64).for_each(|(packed, plain)| pack(plain, width, packed));
        } else {
            codes.residual = Some(Residual::pack(vectors, d, ranges, &mut codes.packed));
        }
        codes
    }

    /// The codes of some rows, ascending.
    #[must_use]
    pub fn of_rows(&self, rows: &[u32]) -> Self {
        let (width, lines) = (self.width, self.width / 4);
        let each = || rows.iter().map(|&row| row as usize);
        let mut plain = Vec::with_capacity(rows.len() * width);
        each().for_each(|row| plain.extend_from_slice(&self.plain[row * width..][..width]));
        let mut packed = vec![Line::default(); rows.len().div_ceil(LANES) * lines];
        for (to, row) in each().enumerate() {
            let from = &self.packed[row / LANES * lines..][..lines];
            for (to_line, from) in packed[to / LANES * lines..].iter_mut().zip(from) {
                to_line.0[to % LANES * 4..][..4].copy_from_slice(&from.0[row % LANES * 4..][..4]);
            }
        }
        let offsets = offsets(width);
        Self {
            rows: rows.len(),
            width,
            plain,
            coding: self.coding.of_rows(rows),
            offsets: each().flat_map(|row| &self.offsets[row * offsets..][..offsets]).copied().collect(),
            packed,
            residual: self.residual.as_ref().map(|residual| residual.of_rows(rows)),
        }
    }

    /// How many vectors there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The integer products of rows of `queries` with `rows` of these codes, rounded out to whole
    /// groups: row `i` of `out` has those of query `i`, beginning at the group of the first row.
    /// Returns the length of a row.
    ///
    /// # Panics
    /// When the widths differ, a row is not there, or packed codes are not of whole vectors.
    pub fn products(&self, queries: &Self, chosen: &[u32], rows: &Range<usize>, out: &mut Vec<i32>) -> usize {
        assert!(self.residual.is_none(), "codes of whole vectors");
        let groups = self.groups(rows);
        let stride = groups.len() * LANES;
        out.resize(chosen.len() * stride, 0);
        self.multiply(queries, chosen, &groups, ScanMode::Full, &mut Store { out, stride });
        stride
    }

    /// Estimates of the cosines behind integer products: what to multiply those of a row with.
    #[must_use]
    pub fn scale(&self, row: usize) -> f32 {
        self.coding.scales[row]
    }

    /// The norm of what a row's codes are off by: a bound of errors by Cauchy and Schwarz, whatever
    /// the vectors' norms. NaN for a row that holds no numbers.
    #[must_use]
    pub fn error(&self, row: usize) -> f32 {
        self.coding.errors[row]
    }

    /// [`Codes::scale`] of every row, and zeros to a whole group.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.coding.scales
    }

    /// About the mean cosine of the rows that share the mean of row `one` with those that share the
    /// mean of row `two` of `other`, and the mean square of the residuals of the latter. None
    /// without means.
    #[must_use]
    pub fn mean_cosine(&self, one: usize, other: &Self, two: usize) -> Option<(f32, f32)> {
        let (one, two) = (self.mean_at(one).1?, other.mean_at(two).1?);
        Some((one.product(two), (1.0 - two.square).max(0.0)))
    }

    /// The mean of a row, and the first row that does not share it, or its having none.
    fn mean_at(&self, row: usize) -> (usize, Option<&Mean>) {
        self.residual.as_ref().map_or((self.rows, None), |residual| residual.at(row))
    }

    /// How the packed codes are coded.
    fn packing(&self) -> &Coding {
        self.residual.as_ref().map_or(&self.coding, |residual| &residual.coding)
    }

    fn code(&self, row: usize) -> &[i8] {
        &self.plain[row * self.width..][..self.width]
    }

    /// All that a product with a row needs: its codes, 128 times their sum, and their scale.
    fn plain_row(&self, row: usize) -> (&[i8], i32, f32) {
        (self.code(row), self.offset(row, ScanMode::Full), self.coding.scales[row])
    }

    /// What the products of a row with packed codes are too large by.
    fn offset(&self, row: usize, mode: ScanMode) -> i32 {
        let place = match mode {
            ScanMode::Full => 0,
            ScanMode::Sketch(codes) => {
                1 + scan_mode::sketches(self.width).position(|length| length == codes).expect("a sketch")
            }
        };
        self.offsets[row * offsets(self.width) + place]
    }

    /// The groups that hold `rows`.
    fn groups(&self, rows: &Range<usize>) -> Range<usize> {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "{rows:?} of {} rows", self.rows);
        rows.start / LANES..rows.end.div_ceil(LANES)
    }

    fn multiply(&self, queries: &Self, chosen: &[u32], groups: &Range<usize>, mode: ScanMode, sink: &mut impl Sink) {
        assert_eq!(self.width, queries.width, "codes of one width");
        let lines = self.width / 4;
        let used = if let ScanMode::Sketch(codes) = mode { codes / 4 } else { lines };
        let codes: Vec<&[i8]> = chosen.iter().map(|&row| queries.code(row as usize)).collect();
        let offsets: Vec<i32> = chosen.iter().map(|&row| queries.offset(row as usize, mode)).collect();
        let packed = &self.packed[groups.start * lines..groups.end * lines];
        kernel::multiply(&Operands { codes: &codes, offsets: &offsets, packed, lines, used }, sink);
    }
}

/// Offsets a row: of all codes, and of each sketch.
fn offsets(width: usize) -> usize {
    1 + scan_mode::sketches(width).count()
}

#[cfg(test)]
mod tests;
