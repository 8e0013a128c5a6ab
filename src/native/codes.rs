//! Eight-bit codes of unit vectors: integer products of blocks, several times faster than `sgemm`, and a bound of their error.
//!
//! A product of codes is a sum of integers: the same bits from every kernel and every cut into blocks. With the bound, a scan of
//! the codes misses no pair whose true cosine reaches a floor; the few pairs it lets through are then decided by
//! [`crate::ops::dot`]. So the scan is exact, not approximate.

mod kernel;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

pub use kernel::name as kernel_name;

use self::kernel::{Best, Hits, Looking, Operands, Store};
use super::wide::wide;
use crate::ops::dot::dot;

/// Rows of codes that lie interleaved: a vector register holds four codes of each.
pub const LANES: usize = 16;
/// Codes of a sketch.
pub const SKETCH: usize = 128;
/// How many standard deviations a sketch may be off before it misses a pair: one in 700 just at the floor, fewer above.
const DEVIATIONS: f32 = 3.0;
/// From here on, numbers of single precision are integers, and the lowest byte of their bits counts them.
const INTEGERS_FROM: f32 = 12_582_912.0;
/// Base rows of one block of a scan.
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

/// How much of the codes a scan looks at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// All of them: no pair is missed.
    Full,
    /// The first [`SKETCH`], then all of them where these are near enough. For vectors that were turned in a random way
    /// ([`crate::ops::rotate`]), of which any part is like the whole.
    Sketch,
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
    /// What the codes of each row are multiplied with; zeros fill up the last group.
    scales: Vec<f32>,
    /// How far a product with a row's codes may be off, in cosine: the errors of two rows add up.
    slack: Vec<f32>,
    /// The norm of what each row's codes are off by.
    errors: Vec<f32>,
    /// 128 times the sum of each row's codes: what the offset of the packed codes adds to a product.
    offsets: Vec<i32>,
    /// The same of the first [`SKETCH`] codes.
    sketch_offsets: Vec<i32>,
}

/// What a scan needs again and again.
#[derive(Default)]
struct Scratch {
    floors: Vec<f32>,
    slack: Vec<f32>,
    thresholds: Vec<f32>,
    hits: Vec<(u32, u32)>,
}

thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());

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
            scales: vec![0.0; rows.next_multiple_of(LANES)],
            slack: vec![0.0; rows],
            errors: vec![0.0; rows],
            offsets: vec![0; rows],
            sketch_offsets: vec![0; rows],
        };
        codes
            .packed
            .par_chunks_mut(width / 4)
            .zip(codes.plain.par_chunks_mut(LANES * width))
            .zip(codes.scales.par_chunks_mut(LANES).zip(codes.slack.par_chunks_mut(LANES)))
            .zip(codes.errors.par_chunks_mut(LANES))
            .zip(codes.offsets.par_chunks_mut(LANES).zip(codes.sketch_offsets.par_chunks_mut(LANES)))
            .zip(vectors.par_chunks(LANES * d))
            .with_min_len(64)
            .for_each(|(((((packed, plain), (scales, slack)), errors), (offsets, sketch_offsets)), vectors)| {
                for (row, (vector, codes)) in vectors.chunks(d).zip(plain.chunks_mut(width)).enumerate() {
                    (scales[row], errors[row], slack[row]) = encode(vector, &mut codes[..d]);
                    let offset = |codes: &[i8]| 128 * codes.iter().map(|&code| i32::from(code)).sum::<i32>();
                    (offsets[row], sketch_offsets[row]) = (offset(codes), offset(&codes[..SKETCH.min(width)]));
                }
                pack(plain, width, packed);
            });
        codes
    }

    /// The codes of some rows, in their order.
    #[must_use]
    pub fn of_rows(&self, rows: &[u32]) -> Self {
        let width = self.width;
        let each = || rows.iter().map(|&row| row as usize);
        let mut plain = Vec::with_capacity(rows.len() * width);
        each().for_each(|row| plain.extend_from_slice(&self.plain[row * width..][..width]));
        let mut packed = vec![Line::default(); rows.len().div_ceil(LANES) * width / 4];
        for (plain, packed) in plain.chunks(LANES * width).zip(packed.chunks_mut(width / 4)) {
            pack(plain, width, packed);
        }
        let mut scales: Vec<f32> = each().map(|row| self.scales[row]).collect();
        scales.resize(rows.len().next_multiple_of(LANES), 0.0);
        Self {
            rows: rows.len(),
            width,
            plain,
            packed,
            scales,
            slack: each().map(|row| self.slack[row]).collect(),
            errors: each().map(|row| self.errors[row]).collect(),
            offsets: each().map(|row| self.offsets[row]).collect(),
            sketch_offsets: each().map(|row| self.sketch_offsets[row]).collect(),
        }
    }

    /// How many vectors there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The integer products of rows of `queries` with `rows` of these codes, rounded out to whole groups: row `i` of `out` has
    /// those of query `i`, beginning at the group of the first row. Returns the length of a row.
    ///
    /// # Panics
    /// When the widths differ, or a row is not there.
    pub fn products(&self, queries: &Self, chosen: &[u32], rows: &Range<usize>, out: &mut Vec<i32>) -> usize {
        let groups = self.groups(rows);
        let stride = groups.len() * LANES;
        out.resize(chosen.len() * stride, 0);
        self.multiply(queries, chosen, &groups, Depth::Full, &mut Store { out, stride });
        stride
    }

    /// Estimates of the cosines behind integer products: what to multiply those of a row with.
    #[must_use]
    pub fn scale(&self, row: usize) -> f32 {
        self.scales[row]
    }

    /// The norm of what a row's codes are off by: a bound of errors by Cauchy and Schwarz, whatever the vectors' norms. NaN for a row that
    /// holds no numbers.
    #[must_use]
    pub fn error(&self, row: usize) -> f32 {
        self.errors[row]
    }

    /// [`Codes::scale`] of every row, and zeros to a whole group.
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
        (rows, row_floors): (Range<usize>, &[f32]),
        depth: Depth,
        found: &mut impl FnMut(u32, usize),
    ) {
        let floors = (|place: usize| query_floors[chosen[place] as usize], |row: usize| row_floors[row]);
        self.scan_by((queries, chosen), rows, &floors, depth, &mut |place, row| found(chosen[place], row));
    }

    /// Calls `found(place, row)` for every row in `rows` whose cosine with the chosen query at `place` may reach that one's floor: there is
    /// a floor for each place, not for each row of `queries`.
    pub fn scan_from(
        &self,
        queries: &Self,
        (chosen, floors): (&[u32], &[f32]),
        rows: Range<usize>,
        found: &mut impl FnMut(usize, usize),
    ) {
        let floors = (|place: usize| floors[place], |_: usize| f32::INFINITY);
        self.scan_by((queries, chosen), rows, &floors, Depth::Full, found);
    }

    /// The scan, with floors by the place of a query among the chosen ones, and by row.
    fn scan_by(
        &self,
        (queries, chosen): (&Self, &[u32]),
        rows: Range<usize>,
        floors: &(impl Fn(usize) -> f32, impl Fn(usize) -> f32),
        depth: Depth,
        found: &mut impl FnMut(usize, usize),
    ) {
        let depth = if self.width > SKETCH { depth } else { Depth::Full };
        // Taken out, for `found` may scan too.
        let mut scratch = SCRATCH.take();
        let mut start = rows.start;
        while start < rows.end {
            let span = start..rows.end.min((start / LANES * LANES) + SPAN);
            let groups = self.groups(&span);
            scratch.hits.clear();
            self.thresholds((queries, chosen), &span, floors, depth, &mut scratch);
            let scales = &self.scales[groups.start * LANES..groups.end * LANES];
            let Scratch { thresholds, hits, .. } = &mut scratch;
            self.multiply(queries, chosen, &groups, depth, &mut Hits { scales, thresholds, found: hits });
            for &(place, row) in &*hits {
                let (place, row) = (place as usize, groups.start * LANES + row as usize);
                if span.contains(&row) {
                    let floor = floors.0(place).min(floors.1(row));
                    if self.most(queries, chosen[place] as usize, row) >= floor {
                        found(place, row);
                    }
                }
            }
            start = span.end;
        }
        SCRATCH.set(scratch);
    }

    /// For each chosen query the rows whose estimated cosine is less than that of the nearest by at most `margin`, in order, each with
    /// the estimate.
    #[must_use]
    pub fn nearest(&self, queries: &Self, chosen: &[u32], margin: f32) -> Vec<Vec<(u32, f32)>> {
        let everyone = (0..).take(chosen.len()).collect();
        self.nearest_among(queries, chosen, margin, &[(0..self.rows, everyone)])
    }

    /// The same where each chosen query looks at some ranges of rows only (and at those that share a group with them): each range comes
    /// with the places among `chosen` of those that look at it.
    #[must_use]
    pub fn nearest_among(
        &self,
        queries: &Self,
        chosen: &[u32],
        margin: f32,
        ranges: &[(Range<usize>, Vec<u32>)],
    ) -> Vec<Vec<(u32, f32)>> {
        let mut scales = self.scales.clone();
        // What fills up the last group is nobody's nearest.
        scales[self.rows..].fill(f32::NAN);
        // Products are compared without the query's own scale; it is 0 for one without a direction.
        let own = |query: u32| queries.scales[query as usize];
        let of = |&query: &u32| Looking::new(if own(query) > 0.0 { margin / own(query) } else { 0.0 });
        let mut looking: Vec<Looking> = chosen.iter().map(of).collect();
        for (rows, places) in ranges {
            let groups = self.groups(rows);
            let some: Vec<u32> = places.iter().map(|&place| chosen[place as usize]).collect();
            let mut theirs: Vec<Looking> = places
                .iter()
                .map(|&place| std::mem::replace(&mut looking[place as usize], Looking::new(0.0)))
                .collect();
            let scales = &scales[groups.start * LANES..groups.end * LANES];
            let first = groups.start * LANES;
            self.multiply(queries, &some, &groups, Depth::Full, &mut Best { scales, first, looking: &mut theirs });
            for (&place, their) in places.iter().zip(theirs) {
                looking[place as usize] = their;
            }
        }
        let counts = |(&query, Looking { mut found, least, .. }): (&u32, Looking)| {
            found.retain(|&(_, value)| value >= least);
            if ranges.len() > 1 {
                // Two ranges may share a group.
                found.sort_unstable_by_key(|&(row, _)| row);
                found.dedup_by_key(|&mut (row, _)| row);
            }
            for (_, value) in &mut found {
                *value *= own(query);
            }
            found
        };
        chosen.iter().zip(looking).map(counts).collect()
    }

    /// What a product, times the row's scale, has to reach for each of the chosen queries and the groups of a span.
    fn thresholds(
        &self,
        (queries, chosen): (&Self, &[u32]),
        span: &Range<usize>,
        (query_floor, row_floor): &(impl Fn(usize) -> f32, impl Fn(usize) -> f32),
        depth: Depth,
        scratch: &mut Scratch,
    ) {
        let Scratch { floors, slack, thresholds, .. } = scratch;
        floors.clear();
        slack.clear();
        thresholds.clear();
        for group in self.groups(span) {
            let rows = span.start.max(group * LANES)..span.end.min((group + 1) * LANES);
            floors.push(rows.clone().map(row_floor).fold(f32::INFINITY, f32::min));
            slack.push(self.slack[rows].iter().copied().fold(0.0, f32::max));
        }
        let gain = if depth == Depth::Sketch { ratio(self.width, SKETCH) } else { 1.0 };
        for (place, &query) in chosen.iter().enumerate() {
            let q = query as usize;
            let (floor, own, inverse) = (query_floor(place), queries.slack[q], 1.0 / (queries.scales[q] * gain));
            let groups = floors.iter().zip(&*slack);
            match depth {
                Depth::Full => {
                    thresholds.extend(groups.map(|(&other, &slack)| (floor.min(other) - own - slack) * inverse));
                }
                Depth::Sketch => thresholds.extend(groups.map(|(&other, _)| {
                    let floor = floor.min(other);
                    (floor - sketch_slack(self.width, floor)) * inverse
                })),
            }
        }
    }

    /// The most that the cosine of a query and a row can be.
    fn most(&self, queries: &Self, query: usize, row: usize) -> f32 {
        let (a, b) =
            (&queries.plain[query * self.width..][..self.width], &self.plain[row * self.width..][..self.width]);
        let product = product(a, b);
        #[expect(clippy::cast_precision_loss, reason = "the slack allows for it")]
        let estimate = product as f32 * (queries.scales[query] * self.scales[row]);
        estimate + queries.slack[query] + self.slack[row]
    }

    /// The groups that hold `rows`.
    fn groups(&self, rows: &Range<usize>) -> Range<usize> {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "{rows:?} of {} rows", self.rows);
        rows.start / LANES..rows.end.div_ceil(LANES)
    }

    fn multiply(
        &self,
        queries: &Self,
        chosen: &[u32],
        groups: &Range<usize>,
        depth: Depth,
        sink: &mut impl kernel::Sink,
    ) {
        assert_eq!(self.width, queries.width, "codes of one width");
        let lines = self.width / 4;
        let (used, offsets) = match depth {
            Depth::Full => (lines, &queries.offsets),
            Depth::Sketch => (SKETCH / 4, &queries.sketch_offsets),
        };
        let codes: Vec<&[i8]> =
            chosen.iter().map(|&row| &queries.plain[row as usize * self.width..][..self.width]).collect();
        let offsets: Vec<i32> = chosen.iter().map(|&row| offsets[row as usize]).collect();
        let packed = &self.packed[groups.start * lines..groups.end * lines];
        kernel::multiply(&Operands { codes: &codes, offsets: &offsets, packed, lines, used }, sink);
    }
}

/// Whether a scan by sketches is less work than one by all codes, where vectors of `width` numbers have the mean cosine `mean` and
/// those from `floor` on are wanted: some twenty-fifth may need the second look, which costs as much as ten whole products.
#[must_use]
pub fn sketch_pays(width: usize, floor: f32, mean: f32) -> bool {
    let slack = sketch_slack(width, floor);
    // The estimates of unlike pairs are spread by the sketch and by the pairs themselves.
    let spread = (slack / DEVIATIONS).hypot(0.05);
    width >= 2 * SKETCH && mean < floor - slack - 1.75 * spread
}

/// How much less than a cosine `s` its estimate from a sketch of vectors of `width` numbers may be. For a random rotation the
/// estimate's variance is (1 - m/d) (1 + s^2) / m, of m numbers out of d.
fn sketch_slack(width: usize, s: f32) -> f32 {
    DEVIATIONS * ((1.0 - ratio(SKETCH, width)).max(0.0) * (1.0 + s * s) / ratio(SKETCH, 1)).sqrt()
}

#[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
fn ratio(a: usize, b: usize) -> f32 {
    a as f32 / b as f32
}

wide! {
    fn product(a: &[i8], b: &[i8]) -> i32 {
        a.iter().zip(b).map(|(&a, &b)| i32::from(i16::from(a) * i16::from(b))).sum()
    }
}

wide! {
    /// Codes of one vector; its scale, the norm of the error, and the bound of a product's error.
    fn encode(vector: &[f32], codes: &mut [i8]) -> (f32, f32, f32) {
        let mut lanes = [0.0f32; LANES];
        for some in vector.chunks(LANES) {
            for (largest, x) in lanes.iter_mut().zip(some) {
                *largest = if x.abs() > *largest { x.abs() } else { *largest };
            }
        }
        let largest = lanes.iter().fold(0.0f32, |largest, &x| if x > largest { x } else { largest });
        // A NaN is passed over above, and makes the squares one.
        let squares = dot(vector, vector);
        if largest == 0.0 || !squares.is_finite() {
            // Nothing is exactly nothing, but near to nobody.
            return (0.0, if squares == 0.0 { 0.0 } else { f32::NAN }, f32::NAN);
        }
        let (scale, inverse) = (largest / 127.0, 127.0 / largest);
        let mut errors = [0.0f32; LANES];
        for (some, codes) in vector.chunks(LANES).zip(codes.chunks_mut(LANES)) {
            for ((&x, code), errors) in some.iter().zip(codes).zip(&mut errors) {
                // Added to a number this large, a small one is rounded to the nearest integer, ties to even: -127 to 127.
                let rounded = x * inverse + INTEGERS_FROM;
                #[expect(clippy::cast_possible_truncation, reason = "the lowest byte is the integer")]
                let integer = rounded.to_bits() as i8;
                *code = integer;
                let error = x - scale * (rounded - INTEGERS_FROM);
                *errors += error * error;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "dimensions are small")]
        let rounding = 4.0 * vector.len() as f32 * f32::EPSILON;
        // |ab - a'b'| <= |a'| |b - b'| + |b| |a - a'|: with norms up to 1.002 and e the norm of a row's error, a row adds at
        // most 1.002 e + e^2. The sum over both rows covers the product of the two errors, since 2 e f <= e^2 + f^2.
        let error = errors.iter().sum::<f32>().sqrt();
        let norm = squares.sqrt().max(1.002);
        (scale, error, norm * error + error * error + rounding)
    }
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
    use crate::ops::rotate::Rotation;

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
                base.scan(&queries, (&chosen, &query_floors), (rows.clone(), &row_floors), Depth::Full, &mut take);
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
    fn sketches_of_turned_vectors_miss_next_to_nothing() {
        const D: usize = 384;
        let rotation = Rotation::new(D, 5);
        let mut vectors = units(3000, D, 4);
        // Pairs at cosines from the floor on: a vector, and what it is turned into.
        for pair in vectors.chunks_exact_mut(2 * D) {
            let (a, b) = pair.split_at_mut(D);
            let along = dot(a, b);
            a.iter().zip(b.iter_mut()).for_each(|(a, b)| *b -= along * a);
            assert!(normalise(b));
            a.iter().zip(b.iter_mut()).for_each(|(a, b)| *b = 0.62 * a + (1.0f32 - 0.62 * 0.62).sqrt() * *b);
        }
        rotation.apply_to_all(&mut vectors);
        let codes = Codes::new(&vectors, D);
        let (chosen, floors): (Vec<u32>, _) = ((0..3000).collect(), vec![0.6; 3000]);
        let mut found = 0;
        codes.scan(&codes, (&chosen, &floors), (0..3000, &floors), Depth::Sketch, &mut |a, b| {
            found += usize::from(a as usize / 2 == b / 2 && a as usize % 2 < b % 2);
        });
        assert!((1495..=1500).contains(&found), "{found} of 1500");
    }

    #[test]
    fn a_pair_that_only_one_end_wants_is_found() {
        let vectors = units(2, 64, 3);
        let codes = Codes::new(&vectors, 64);
        for (floors, expected) in [([-1.0, 2.0], 1), ([2.0, -1.0], 1), ([2.0, 2.0], 0)] {
            let mut found = 0;
            codes.scan(&codes, (&[0], &floors), (1..2, &floors), Depth::Full, &mut |_, _| found += 1);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_is_no_vector_is_found_by_nobody() {
        let codes = Codes::new(&[0.0, 0.0, 1.0, 0.0], 2);
        codes.scan(&codes, (&[1], &[-1.0, -1.0]), (0..1, &[-1.0, -1.0]), Depth::Full, &mut |_, _| panic!("found"));
    }
}
