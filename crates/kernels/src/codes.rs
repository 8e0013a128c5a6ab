//! Eight-bit codes of unit vectors: integer products of blocks, several times faster than `sgemm`, and a bound of their error.
//!
//! A product of codes is a sum of integers: the same bits from every kernel and every cut into blocks. With the bound, a scan of
//! the codes misses no pair whose true cosine reaches a floor; the few pairs it lets through are then decided by
//! [`crate::dot`]. So the scan is exact, not approximate.
//!
//! Rows that lie together may be coded around their mean ([`Codes::around`]): what they have in common is one number for each query,
//! and only the rest is scanned. Sketches ([`Depth`]) then tell far better who is near whom.

mod around;
mod coding;
mod depth;
mod kernel;

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

pub use depth::Depth;
pub use kernel::name as kernel_name;

use self::around::{Around, Centre};
use self::coding::{Coding, encode, sum};
use self::kernel::{Best, Hits, Looking, Operands, Store};

/// Rows of codes that lie interleaved: a vector register holds four codes of each.
pub const LANES: usize = 16;
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

/// Vectors as codes: `x` is about `scale * code`, a scale a row.
#[derive(Clone, Debug, Default)]
pub struct Codes {
    rows: usize,
    /// Codes a row, a multiple of 4; those beyond the dimension are 0.
    width: usize,
    /// Row after row.
    plain: Vec<i8>,
    coding: Coding,
    /// 128 times the sum of each row's codes, and of those of each of its sketches: what the offset of packed codes adds to a product.
    offsets: Vec<i32>,
    /// Groups of [`LANES`] rows, a line for every four codes, each plus 128.
    packed: Vec<Line>,
    /// If what is packed is not what is plain.
    around: Option<Around>,
}

/// What a scan needs again and again.
#[derive(Default)]
struct Scratch {
    floors: Vec<f32>,
    slack: Vec<f32>,
    thresholds: Vec<f32>,
    hits: Vec<(u32, u32)>,
    products: Vec<f32>,
    common: Vec<f32>,
}

thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());

impl Codes {
    /// Codes of `vectors`: row-major, `d` wide, of unit norm (fp16 rounding is allowed for).
    ///
    /// # Panics
    /// When the length is not a multiple of `d`.
    #[must_use]
    pub fn new(vectors: &[f32], d: usize) -> Self {
        Self::around(vectors, d, &[])
    }

    /// The same, with the rows of each of some ranges, in order, packed around their mean. For scans alone: what else looks at packed codes
    /// wants them of whole vectors.
    ///
    /// # Panics
    /// When the length is not a multiple of `d`, or a row is not there.
    #[must_use]
    pub fn around(vectors: &[f32], d: usize, ranges: &[Range<usize>]) -> Self {
        assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
        let (rows, width) = (vectors.len() / d, d.next_multiple_of(4));
        let mut codes = Self {
            rows,
            width,
            plain: vec![0; rows * width],
            coding: Coding::of(rows),
            offsets: vec![0; rows * offsets(width)],
            packed: vec![Line::default(); rows.div_ceil(LANES) * width / 4],
            around: None,
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
                    for (offset, used) in offsets.iter_mut().zip([width].into_iter().chain(depth::sketches(width))) {
                        *offset = 128 * sum(&codes[..used]);
                    }
                }
            });
        if ranges.is_empty() {
            let groups = codes.packed.par_chunks_mut(width / 4).zip(codes.plain.par_chunks(LANES * width));
            groups.with_min_len(64).for_each(|(packed, plain)| pack(plain, width, packed));
        } else {
            codes.around = Some(Around::pack(vectors, d, ranges, &mut codes.packed));
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
            around: self.around.as_ref().map(|around| around.of_rows(rows)),
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
    /// When the widths differ, a row is not there, or packed codes are not of whole vectors.
    pub fn products(&self, queries: &Self, chosen: &[u32], rows: &Range<usize>, out: &mut Vec<i32>) -> usize {
        assert!(self.around.is_none(), "codes of whole vectors");
        let groups = self.groups(rows);
        let stride = groups.len() * LANES;
        out.resize(chosen.len() * stride, 0);
        self.multiply(queries, chosen, &groups, Depth::Full, &mut Store { out, stride });
        stride
    }

    /// Estimates of the cosines behind integer products: what to multiply those of a row with.
    #[must_use]
    pub fn scale(&self, row: usize) -> f32 {
        self.coding.scales[row]
    }

    /// The norm of what a row's codes are off by: a bound of errors by Cauchy and Schwarz, whatever the vectors' norms. NaN for a row that
    /// holds no numbers.
    #[must_use]
    pub fn error(&self, row: usize) -> f32 {
        self.coding.errors[row]
    }

    /// [`Codes::scale`] of every row, and zeros to a whole group.
    #[must_use]
    pub fn scales(&self) -> &[f32] {
        &self.coding.scales
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
        let is_there = |depth: &Depth| depth::sketches(self.width).any(|codes| *depth == Depth::Sketch(codes));
        let depth = Some(depth).filter(is_there).unwrap_or(Depth::Full);
        // Taken out, for `found` may scan too.
        let mut scratch = SCRATCH.take();
        let mut start = rows.start;
        while start < rows.end {
            let (end, centre) = self.centre_at(start);
            let span = start..rows.end.min(end).min((start / LANES * LANES) + SPAN);
            let groups = self.groups(&span);
            scratch.hits.clear();
            self.thresholds((queries, chosen), (&span, centre), floors, depth, &mut scratch);
            let scales = &self.packing().scales[groups.start * LANES..groups.end * LANES];
            let Scratch { thresholds, hits, products, .. } = &mut scratch;
            self.multiply(queries, chosen, &groups, depth, &mut Hits { scales, thresholds, found: hits });
            let first = u32::try_from(groups.start * LANES).expect("fewer than 2^32 rows");
            for (_, row) in &mut *hits {
                *row += first;
            }
            hits.retain(|&(_, row)| span.contains(&(row as usize)));
            self.look(queries, chosen, hits, products);
            for (&(place, row), &most) in hits.iter().zip(&*products) {
                let (place, row) = (place as usize, row as usize);
                if most >= floors.0(place).min(floors.1(row)) {
                    found(place, row);
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
        assert!(self.around.is_none(), "codes of whole vectors");
        let mut scales = self.coding.scales.clone();
        // What fills up the last group is nobody's nearest.
        scales[self.rows..].fill(f32::NAN);
        // Products are compared without the query's own scale; it is 0 for one without a direction.
        let own = |query: u32| queries.coding.scales[query as usize];
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
        (span, centre): (&Range<usize>, Option<&Centre>),
        (query_floor, row_floor): &(impl Fn(usize) -> f32, impl Fn(usize) -> f32),
        depth: Depth,
        scratch: &mut Scratch,
    ) {
        let Scratch { floors, slack, thresholds, common, .. } = scratch;
        common.clear();
        match centre {
            Some(centre) => centre.products(queries, chosen, common),
            None => common.resize(chosen.len(), 0.0),
        }
        floors.clear();
        slack.clear();
        thresholds.clear();
        for group in self.groups(span) {
            let rows = span.start.max(group * LANES)..span.end.min((group + 1) * LANES);
            floors.push(rows.clone().map(row_floor).fold(f32::INFINITY, f32::min));
            slack.push(match depth {
                Depth::Full => self.packing().slack[rows].iter().copied().fold(0.0, f32::max),
                Depth::Sketch(_) => 0.0,
            });
        }
        let norm = self.around.as_ref().map_or(1.0, |around| around.norm(span.clone()));
        for (place, (&query, &common)) in chosen.iter().zip(&*common).enumerate() {
            let q = query as usize;
            let (floor, scale) = (query_floor(place), queries.coding.scales[q]);
            let (own, gain) = match depth {
                Depth::Full => (queries.coding.slack[q], 1.0),
                Depth::Sketch(codes) => {
                    let sketch = depth::slack(codes, self.width, norm * norm, floor - common);
                    // What the query has in common with the centre is known as well as its codes are.
                    let rounding = depth::rounding(queries.coding.errors[q], self.width);
                    (sketch + rounding, depth::gain(codes, self.width))
                }
            };
            let (less, inverse) = (common + own, 1.0 / (scale * gain));
            thresholds
                .extend(floors.iter().zip(&*slack).map(|(&other, &slack)| (floor.min(other) - less - slack) * inverse));
        }
    }

    /// The most that the cosines of some chosen queries and rows can be.
    fn look(&self, queries: &Self, chosen: &[u32], pairs: &[(u32, u32)], most: &mut Vec<f32>) {
        let rows = |&(place, row): &(u32, u32)| (chosen[place as usize] as usize, row as usize);
        let codes = |pair: &(u32, u32)| {
            let (query, row) = rows(pair);
            (self.code(row), queries.code(query), queries.offset(query, Depth::Full))
        };
        most.clear();
        kernel::products(pairs.iter().map(codes), most);
        for (most, pair) in most.iter_mut().zip(pairs) {
            let (query, row) = rows(pair);
            let estimate = *most * (queries.coding.scales[query] * self.coding.scales[row]);
            *most = estimate + queries.coding.slack[query] + self.coding.slack[row];
        }
    }

    /// About the mean cosine of the rows around the centre of row `one` with those around the centre of row `two` of `other`, and the mean
    /// square of what the latter are more than theirs. None without centres.
    #[must_use]
    pub fn likeness(&self, one: usize, other: &Self, two: usize) -> Option<(f32, f32)> {
        let (one, two) = (self.centre_at(one).1?, other.centre_at(two).1?);
        Some((one.product(two), (1.0 - two.square).max(0.0)))
    }

    /// The centre of a row, and the first row that does not share it, or its having none.
    fn centre_at(&self, row: usize) -> (usize, Option<&Centre>) {
        self.around.as_ref().map_or((self.rows, None), |around| around.at(row))
    }

    /// How the packed codes are coded.
    fn packing(&self) -> &Coding {
        self.around.as_ref().map_or(&self.coding, |around| &around.coding)
    }

    fn code(&self, row: usize) -> &[i8] {
        &self.plain[row * self.width..][..self.width]
    }

    /// What the products of a row with packed codes are too large by.
    fn offset(&self, row: usize, depth: Depth) -> i32 {
        let place = match depth {
            Depth::Full => 0,
            Depth::Sketch(codes) => {
                1 + depth::sketches(self.width).position(|length| length == codes).expect("a sketch")
            }
        };
        self.offsets[row * offsets(self.width) + place]
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
        let used = if let Depth::Sketch(codes) = depth { codes / 4 } else { lines };
        let codes: Vec<&[i8]> = chosen.iter().map(|&row| queries.code(row as usize)).collect();
        let offsets: Vec<i32> = chosen.iter().map(|&row| queries.offset(row as usize, depth)).collect();
        let packed = &self.packed[groups.start * lines..groups.end * lines];
        kernel::multiply(&Operands { codes: &codes, offsets: &offsets, packed, lines, used }, sink);
    }
}

/// Offsets a row: of all codes, and of each sketch.
fn offsets(width: usize) -> usize {
    1 + depth::sketches(width).count()
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
mod tests;
