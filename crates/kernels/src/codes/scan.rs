//! Scans: which rows of codes may be as near to a query as a floor asks.

use std::cell::RefCell;
use std::ops::Range;

use super::kernel::sink::Hits;
use super::line::LANES;
use super::residual::Mean;
use super::{Codes, ScanMode, kernel, scan_mode};

/// Base rows of one block of a scan.
const SPAN: usize = 1024;

/// What a scan needs again and again.
#[derive(Default)]
pub(super) struct Scratch {
    floors: Vec<f32>,
    slack: Vec<f32>,
    pub(super) thresholds: Vec<f32>,
    hits: Vec<(u32, u32)>,
    products: Vec<f32>,
    common: Vec<f32>,
}

thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());

impl Codes {
    /// Calls `found(query, row)` for every pair of a chosen query and a row in `rows` whose cosine
    /// may reach the lower of the two floors; a few of them do not.
    pub fn scan(
        &self,
        queries: &Self,
        (chosen, query_floors): (&[u32], &[f32]),
        (rows, row_floors): (Range<usize>, &[f32]),
        mode: ScanMode,
        found: &mut impl FnMut(u32, usize),
    ) {
        let floors = (|place: usize| query_floors[chosen[place] as usize], |row: usize| row_floors[row]);
        self.scan_by((queries, chosen), rows, &floors, mode, &mut |place, row| found(chosen[place], row));
    }

    /// Calls `found(place, row)` for every row in `rows` whose cosine with the chosen query at
    /// `place` may reach that one's floor: there is a floor for each place, not for each row of
    /// `queries`.
    pub fn scan_from(
        &self,
        queries: &Self,
        (chosen, floors): (&[u32], &[f32]),
        rows: Range<usize>,
        found: &mut impl FnMut(usize, usize),
    ) {
        let floors = (|place: usize| floors[place], |_: usize| f32::INFINITY);
        self.scan_by((queries, chosen), rows, &floors, ScanMode::Full, found);
    }

    /// The scan, with floors by the place of a query among the chosen ones, and by row.
    fn scan_by(
        &self,
        (queries, chosen): (&Self, &[u32]),
        rows: Range<usize>,
        floors: &(impl Fn(usize) -> f32, impl Fn(usize) -> f32),
        mode: ScanMode,
        found: &mut impl FnMut(usize, usize),
    ) {
        let is_there = |mode: &ScanMode| scan_mode::sketches(self.width).any(|codes| *mode == ScanMode::Sketch(codes));
        let mode = Some(mode).filter(is_there).unwrap_or(ScanMode::Full);
        // Taken out, for `found` may scan too.
        let mut scratch = SCRATCH.take();
        let mut start = rows.start;
        while start < rows.end {
            let (end, mean) = self.mean_at(start);
            let span = start..rows.end.min(end).min((start / LANES * LANES) + SPAN);
            let groups = self.groups(&span);
            scratch.hits.clear();
            self.thresholds((queries, chosen), (&span, mean), floors, mode, &mut scratch);
            let scales = &self.packing().scales[groups.start * LANES..groups.end * LANES];
            let Scratch { thresholds, hits, products, .. } = &mut scratch;
            self.multiply(queries, chosen, &groups, mode, &mut Hits { scales, thresholds, found: hits });
            let first = u32::try_from(groups.start * LANES).expect("fewer than 2^32 rows");
            for (_, row) in &mut *hits {
                *row += first;
            }
            hits.retain(|&(_, row)| span.contains(&(row as usize)));
            self.rescore(queries, chosen, hits, products);
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

    /// What a product, times the row's scale, has to reach for each of the chosen queries and the
    /// groups of a span.
    pub(super) fn thresholds(
        &self,
        (queries, chosen): (&Self, &[u32]),
        (span, mean): (&Range<usize>, Option<&Mean>),
        (query_floor, row_floor): &(impl Fn(usize) -> f32, impl Fn(usize) -> f32),
        mode: ScanMode,
        scratch: &mut Scratch,
    ) {
        let Scratch { floors, slack, thresholds, common, .. } = scratch;
        common.clear();
        match mean {
            Some(mean) => mean.products(chosen.iter().map(|&row| queries.plain_row(row as usize)), common),
            None => common.resize(chosen.len(), 0.0),
        }
        floors.clear();
        slack.clear();
        thresholds.clear();
        for group in self.groups(span) {
            let rows = span.start.max(group * LANES)..span.end.min((group + 1) * LANES);
            floors.push(rows.clone().map(row_floor).fold(f32::INFINITY, f32::min));
            slack.push(match mode {
                ScanMode::Full => self.packing().slack[rows].iter().copied().fold(0.0, f32::max),
                ScanMode::Sketch(_) => 0.0,
            });
        }
        let norm = self.residual.as_ref().map_or(1.0, |residual| residual.norm(span.clone()));
        for (place, (&query, &common)) in chosen.iter().zip(&*common).enumerate() {
            let q = query as usize;
            let (floor, scale) = (query_floor(place), queries.coding.scales[q]);
            let (own, gain) = match mode {
                ScanMode::Full => (queries.coding.slack[q], 1.0),
                ScanMode::Sketch(codes) => {
                    let sketch = scan_mode::slack(codes, self.width, norm * norm, floor - common);
                    // The query's product with the mean is known as well as its codes are.
                    let rounding = scan_mode::rounding(queries.coding.errors[q], self.width);
                    (sketch + rounding, scan_mode::gain(codes, self.width))
                }
            };
            let (less, inverse) = (common + own, 1.0 / (scale * gain));
            thresholds
                .extend(floors.iter().zip(&*slack).map(|(&other, &slack)| (floor.min(other) - less - slack) * inverse));
        }
    }

    /// The most that the cosines of some chosen queries and rows can be, by all of their codes.
    fn rescore(&self, queries: &Self, chosen: &[u32], pairs: &[(u32, u32)], most: &mut Vec<f32>) {
        let rows = |&(place, row): &(u32, u32)| (chosen[place as usize] as usize, row as usize);
        let codes = |pair: &(u32, u32)| {
            let (query, row) = rows(pair);
            (self.code(row), queries.code(query), queries.offset(query, ScanMode::Full))
        };
        most.clear();
        kernel::products(pairs.iter().map(codes), most);
        for (most, pair) in most.iter_mut().zip(pairs) {
            let (query, row) = rows(pair);
            let estimate = *most * (queries.coding.scales[query] * self.coding.scales[row]);
            *most = estimate + queries.coding.slack[query] + self.coding.slack[row];
        }
    }
}
