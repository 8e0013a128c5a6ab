//! Cells: a partition of unit vectors such that near ones lie in one cell or in cells that each knows of.
//!
//! A vector lies in the cell of its nearest centroid, and *probes* the cells whose centroids are nearly as near; two
//! vectors are compared when either probes the other's cell. Where cells are many, near ones are joined to *districts*, and a vector looks
//! only at the cells of the districts that are nearly as near to it as the nearest. What "nearly" has to be for a wanted recall depends on
//! the data, and is measured ([`Cells::need`]), not guessed: where districts say little about their cells, all of them are looked at. (A
//! fixed number of districts, or sketches of a few dimensions, lost a tenth of the copies just over a threshold.)

mod districts;

use std::ops::Range;

use rayon::prelude::*;

pub use districts::Districts;

use lvd_base::error::{Error, Result};
use lvd_kernels::codes::Codes;
use lvd_kernels::dot::normalise;
use lvd_kernels::hash::Draw;

/// Cells that a vector probes at most, its own included.
pub const PROBES: usize = 512;
/// Rounds of k-means, from random points: cells need not be good clusters.
const ROUNDS: usize = 2;
/// Vectors that look at all cells together.
const LOOKING: usize = 64;
/// Vectors of one task of [`Cells::assign`].
const BLOCK: usize = 1024;
/// The widest margin that is measured.
pub const WIDEST: f32 = 0.6;

/// A trained partition.
#[derive(Debug)]
pub struct Cells {
    /// The centroids; n x d.
    pub centroids: Vec<f32>,
    d: usize,
    codes: Codes,
    districts: Option<Districts>,
}

/// How far a vector has to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// The least margin of cells; infinite when none does.
    pub cells: f32,
    /// The least margin of districts that goes with it; infinite when none does.
    pub districts: f32,
}

/// Where vectors lie among all cells and all districts.
#[derive(Debug, Default)]
pub struct Places {
    cells: Assigned,
    districts: Assigned,
}

impl Places {
    /// How many vectors they are of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.cells.len()
    }

    /// Whether they are of none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends those of other vectors.
    pub fn extend(&mut self, more: &Self) {
        self.cells.extend(&more.cells);
        self.districts.extend(&more.districts);
    }
}

/// Where vectors belong.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The cell of each vector.
    pub cells: Vec<u32>,
    /// Where each vector's probes begin, and the end of the last.
    pub starts: Vec<u32>,
    /// The cells that each vector probes beside its own, nearest first, each with how much less its cosine is.
    pub probes: Vec<(u32, f32)>,
}

impl Default for Assigned {
    fn default() -> Self {
        Self { cells: Vec::new(), starts: vec![0], probes: Vec::new() }
    }
}

impl Assigned {
    fn extend(&mut self, more: &Self) {
        let held = number(self.probes.len());
        self.cells.extend(&more.cells);
        self.starts.extend(more.starts[1..].iter().map(|start| held + start));
        self.probes.extend(&more.probes);
    }

    /// The probes of one vector.
    #[must_use]
    pub fn of(&self, row: usize) -> &[(u32, f32)] {
        &self.probes[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

impl Cells {
    /// Fits at most `cells` cells on `sample` (row-major, `d` wide, unit norm): fewer where the vectors cannot be told apart.
    /// Also returns how many vectors of the sample lie in each. The bits do not depend on the number of threads. Cost: 6 n k d
    /// operations on codes.
    ///
    /// # Errors
    /// When there are no vectors.
    pub fn train(sample: &[f32], d: usize, cells: usize, seed: u64) -> Result<(Self, Vec<usize>)> {
        let n = sample.len() / d;
        if n == 0 || cells == 0 {
            return Err(Error::usage(format!("{n} vectors are too few for {cells} cells"), "make more vectors"));
        }
        let draw = Draw::new(seed, "cells");
        let mut rows: Vec<u32> = (0..).take(n).collect();
        rows.sort_by_key(|&row| (draw.bits(u64::from(row)), row));
        let first = neighbourly(&gather(sample, &rows[..cells.min(n)], d), d);
        let mut trained = Self::new(first, d).in_districts(sample);
        for round in 0..=ROUNDS {
            let mut members = vec![Vec::new(); trained.len()];
            for (row, &cell) in (0u32..).zip(&trained.assign(sample, 0.0).cells) {
                members[cell as usize].push(row);
            }
            if round == ROUNDS {
                return Ok((trained, members.iter().map(Vec::len).collect()));
            }
            // A cell that no vector is nearest to would only be looked at for nothing.
            members.retain(|members| !members.is_empty());
            trained = Self::new(means(sample, &members, d), d).in_districts(sample);
        }
        unreachable!("the last round returns")
    }

    /// A partition from its centroids, row-major, `d` wide, of unit norm.
    #[must_use]
    pub fn new(centroids: Vec<f32>, d: usize) -> Self {
        let codes = Codes::new(&centroids, d);
        Self { centroids, d, codes, districts: None }
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.rows()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of each vector (row-major, of the same width), and the cells whose cosine is less by at most `margin`: at
    /// most [`PROBES`]. Where there are districts, among the cells of those that are near enough. Cost: 2 n k d operations on codes, for the
    /// cells that are looked at.
    #[must_use]
    pub fn assign(&self, vectors: &[f32], margin: f32) -> Assigned {
        self.assign_by(vectors, |codes, rows| self.look(codes, rows, margin))
    }

    /// Where vectors lie among all cells and all districts, as far as [`WIDEST`].
    #[must_use]
    pub fn places(&self, vectors: &[f32]) -> Places {
        let cells = self.assign_by(vectors, |codes, rows| self.look_at_all(codes, rows, WIDEST));
        let districts =
            self.districts.as_ref().map(|districts| districts.cells.assign(vectors, WIDEST)).unwrap_or_default();
        Places { cells, districts }
    }

    fn assign_by(&self, vectors: &[f32], look: impl Fn(&Codes, &[u32]) -> Vec<Vec<(u32, f32)>> + Sync) -> Assigned {
        let codes = Codes::new(vectors, self.d);
        let blocks: Vec<Vec<Vec<(u32, f32)>>> = (0..codes.rows().div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let rows: Vec<u32> = (block * BLOCK..codes.rows().min((block + 1) * BLOCK)).map(number).collect();
                look(&codes, &rows)
            })
            .collect();
        let mut assigned = Assigned::default();
        for seen in blocks.into_iter().flatten() {
            let (cell, best) = seen[0];
            assigned.cells.push(cell);
            assigned.probes.extend(seen[1..].iter().map(|&(cell, cosine)| (cell, best - cosine)));
            assigned.starts.push(number(assigned.probes.len()));
        }
        assigned
    }

    /// For each row the cells within `margin` of the best, best first, at most [`PROBES`].
    fn look(&self, codes: &Codes, rows: &[u32], margin: f32) -> Vec<Vec<(u32, f32)>> {
        let Some(districts) = &self.districts else { return self.look_at_all(codes, rows, margin) };
        let mut ranges: Vec<(Range<usize>, Vec<u32>)> = Vec::with_capacity(districts.cells.len());
        ranges.extend(districts.firsts.windows(2).map(|ends| (ends[0] as usize..ends[1] as usize, Vec::new())));
        for (place, near) in (0..).zip(districts.cells.look_at_all(codes, rows, districts.margin)) {
            for (district, _) in near {
                ranges[district as usize].1.push(place);
            }
        }
        ranges.retain(|(_, places)| !places.is_empty());
        self.codes.nearest_among(codes, rows, margin, &ranges).into_iter().map(best_first).collect()
    }

    fn look_at_all(&self, codes: &Codes, rows: &[u32], margin: f32) -> Vec<Vec<(u32, f32)>> {
        let mut found = Vec::with_capacity(rows.len());
        for chosen in rows.chunks(LOOKING) {
            found.extend(self.codes.nearest(codes, chosen, margin).into_iter().map(best_first));
        }
        found
    }

    /// The margins with which a pair of vectors is compared.
    #[must_use]
    pub fn need(&self, one: (&Places, usize), other: (&Places, usize)) -> Need {
        let home = |(places, row): (&Places, usize)| places.cells.cells[row];
        let (forth, back) = (gap(&one.0.cells, one.1, home(other)), gap(&other.0.cells, other.1, home(one)));
        let met = if forth <= back { home(other) } else { home(one) };
        // Both have to look at the district of the cell where they meet.
        let districts = self.districts.as_ref().map_or(0.0, |districts| {
            let district = districts.of(met);
            gap(&one.0.districts, one.1, district).max(gap(&other.0.districts, other.1, district))
        });
        Need { cells: forth.min(back), districts }
    }
}

/// How much less than that of a vector's own cell the cosine of `cell` is; infinite where it is not seen.
fn gap(assigned: &Assigned, row: usize, cell: u32) -> f32 {
    if assigned.cells[row] == cell {
        return 0.0;
    }
    assigned.of(row).iter().find(|&&(probed, _)| probed == cell).map_or(f32::INFINITY, |&(_, gap)| gap)
}

/// Best first, at most [`PROBES`].
fn best_first(mut cells: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    if cells.len() > PROBES {
        cells.select_nth_unstable_by(PROBES - 1, nearer);
        cells.truncate(PROBES);
    }
    cells.sort_unstable_by(nearer);
    cells
}

/// The same vectors, such that near ones are more often near in order too: each beside those of the nearest of a few.
fn neighbourly(vectors: &[f32], d: usize) -> Vec<f32> {
    let n = vectors.len() / d;
    let few = Cells::new(vectors[..n.isqrt().max(1) * d].to_vec(), d).assign(vectors, 0.0).cells;
    let mut order: Vec<u32> = (0..).take(n).collect();
    order.sort_by_key(|&row| (few[row as usize], row));
    gather(vectors, &order, d)
}

/// The directions of the means of rows, summed in f64 in order; the first row where the mean has none.
fn means(points: &[f32], members: &[Vec<u32>], d: usize) -> Vec<f32> {
    let mut means = vec![0.0; members.len() * d];
    means.par_chunks_mut(d).zip(members.par_iter()).for_each(|(mean, members)| {
        let mut sums = vec![0.0f64; d];
        let point = |row: u32| &points[row as usize * d..][..d];
        for &row in members {
            sums.iter_mut().zip(point(row)).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        #[expect(clippy::cast_possible_truncation, reason = "centroids are f32")]
        mean.iter_mut().zip(&sums).for_each(|(mean, &sum)| *mean = sum as f32);
        if !normalise(mean) {
            mean.copy_from_slice(point(members[0]));
        }
    });
    means
}

/// Higher cosine first, then the lower number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what sorting calls")]
fn nearer(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn gather(points: &[f32], rows: &[u32], d: usize) -> Vec<f32> {
    rows.iter().flat_map(|&row| &points[row as usize * d..][..d]).copied().collect()
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 vectors and cells")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_kernels::dot::dot;

    const D: usize = 24;

    fn clouds(n: usize, seed: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "clouds");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let number = |i: u64| draw.unit(i) as f32 - 0.5;
        let mut vectors: Vec<f32> = Vec::new();
        for row in 0..n as u64 {
            let cloud = 1_000_000_000 + row % 40 * 1000;
            vectors.extend((0..D as u64).map(|k| number(cloud + k) + 0.4 * number(row * 1000 + k)));
        }
        vectors.chunks_mut(D).for_each(|vector| assert!(normalise(vector)));
        vectors
    }

    #[test]
    fn every_vector_is_in_its_nearest_cell_and_probes_the_next() -> Result<()> {
        let points = clouds(2000, 1);
        let (cells, shares) = Cells::train(&points, D, 50, 7)?;
        assert!((30..=50).contains(&cells.len()) && shares.len() == cells.len(), "{} cells", cells.len());
        assert_eq!(shares.iter().sum::<usize>(), 2000);
        let assigned = cells.assign(&points, 0.3);
        for (row, point) in points.chunks(D).enumerate() {
            let cosine = |cell: u32| dot(point, &cells.centroids[cell as usize * D..][..D]);
            let best = cells.centroids.chunks(D).map(|centroid| dot(point, centroid)).fold(f32::MIN, f32::max);
            // Eight-bit products are off by a little.
            assert!(cosine(assigned.cells[row]) > best - 0.03, "row {row}");
            let probes = assigned.of(row);
            assert!(probes.iter().all(|&(cell, gap)| (best - cosine(cell) - gap).abs() < 0.03 && gap <= 0.3));
            let near = (0..).take(cells.len()).filter(|&cell| cosine(cell) > best - 0.25).count();
            assert!(probes.len() + 1 >= near.min(PROBES), "{probes:?} {near}");
        }
        Ok(())
    }

    /// Whether two rows are compared.
    fn met(assigned: &Assigned, a: usize, b: usize) -> bool {
        let probes = |row: usize, cell: u32| gap(assigned, row, cell).is_finite();
        probes(a, assigned.cells[b]) || probes(b, assigned.cells[a])
    }

    #[test]
    fn the_margin_that_a_pair_needs_is_the_margin_with_which_it_is_compared() -> Result<()> {
        let points = clouds(600, 2);
        let (cells, _) = Cells::train(&points, D, 40, 7)?;
        let (places, narrow) = (cells.places(&points), cells.assign(&points, 0.1));
        assert_eq!(places.cells.cells, narrow.cells);
        for (a, b) in (0..300).map(|i| (i, 599 - i)) {
            let need = cells.need((&places, a), (&places, b));
            assert_eq!(met(&narrow, a, b), need.cells <= 0.1, "{a} {b} {need:?}");
            assert!(need.districts == 0.0, "there are none");
        }
        Ok(())
    }

    #[test]
    fn what_districts_hide_is_what_is_measured() -> Result<()> {
        let points = clouds(20_000, 6);
        let (mut cells, shares) = Cells::train(&points, D, 2400, 7)?;
        let districts = cells.districts().expect("they are many");
        assert!(districts.cells.len() > 20 && districts.margin < WIDEST, "{districts:?}");
        assert_eq!((shares.len(), shares.iter().sum::<usize>()), (cells.len(), 20_000));
        assert!(cells.parents().is_sorted() && cells.parents().len() == cells.len());
        let places = cells.places(&points);
        // Nearly all find their own cells with what was measured; all of them when they look at everything.
        let of_all = |cells: &Cells| {
            let homes = cells.assign(&points, 0.0).cells;
            homes.iter().zip(&places.cells.cells).filter(|(a, b)| a == b).count()
        };
        assert!(of_all(&cells) >= 19_600, "{}", of_all(&cells));
        let pairs: Vec<(usize, usize)> = (0..4000).map(|i| (i, i + 40 * (1 + i % 7))).collect();
        let (margin, wider) = (0.1, 0.15);
        cells.look_as_far_as(wider);
        let assigned = cells.assign(&points, margin);
        let needs = pairs.iter().map(|&(a, b)| (a, b, cells.need((&places, a), (&places, b))));
        let found: Vec<(usize, usize)> = needs
            .filter(|(_, _, need)| need.cells <= margin && need.districts <= wider)
            .map(|(a, b, _)| (a, b))
            .collect();
        assert!(found.len() > 1000, "{}", found.len());
        for (a, b) in found {
            assert!(met(&assigned, a, b), "{a} {b}");
        }
        cells.look_as_far_as(2.0);
        assert_eq!(of_all(&cells), 20_000);
        let again = Cells::new(cells.centroids.clone(), D).with_districts(
            cells.districts().map(|districts| districts.cells.centroids.clone()).unwrap_or_default(),
            &cells.parents().into_iter().flatten().collect::<Vec<_>>(),
        );
        assert_eq!(again.assign(&points, 0.1).cells.len(), 20_000);
        Ok(())
    }

    #[test]
    fn equal_vectors_share_a_cell_and_training_survives_them() -> Result<()> {
        let one = clouds(1, 3);
        let points: Vec<f32> = one.iter().copied().cycle().take(500 * D).collect();
        let (cells, shares) = Cells::train(&points, D, 20, 1)?;
        assert_eq!(shares.iter().sum::<usize>(), 500);
        let assigned = cells.assign(&points, 0.0);
        assert!(assigned.cells.iter().all(|&cell| cell == assigned.cells[0]));
        Ok(())
    }

    #[test]
    fn threads_change_nothing() -> Result<()> {
        let points = clouds(3000, 4);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| -> Result<_> {
                let (cells, shares) = Cells::train(&points, D, 60, 5)?;
                Ok((cells.assign(&points, 0.2), shares, cells.centroids))
            })
        };
        assert!(on(1)? == on(3)?);
        Ok(())
    }
}
