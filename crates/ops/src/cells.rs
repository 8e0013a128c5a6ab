//! Cells: a partition of unit vectors such that near ones lie in one cell or in cells that each
//! knows of.
//!
//! A vector lies in the cell of its nearest centroid, and *probes* the cells whose centroids are
//! nearly as near. Two vectors are compared when either probes the other's cell. Where cells are
//! many, near ones are joined to *districts*, and a vector looks only at the cells of the districts
//! that are nearly as near to it as the nearest. What "nearly" has to be for a wanted recall
//! depends on the data, and is measured ([`Cells::need`]): where districts say little about their
//! cells, all of them are looked at. (A fixed number of districts, or sketches of a few dimensions,
//! lost a tenth of the copies just over a threshold.)

mod assigned;
mod centroids;
mod districts;

use std::ops::Range;

pub use assigned::Assigned;
pub use centroids::{Centroids, PROBES};
pub use districts::Districts;

use self::assigned::gap;
use self::centroids::{assign_by, best_first, gather, means};
use crate::histogram::quantile;
use lvd_base::error::{Error, Result};
use lvd_kernels::codes::Codes;
use lvd_kernels::hash::Draw;

/// Rounds of k-means, from random points: cells need not be good clusters.
const ROUNDS: usize = 2;
/// The widest margin that is measured.
pub const WIDEST: f32 = 0.6;
/// Cells from which on there are districts.
const DISTRICTS_FROM: usize = 2048;
/// Vectors by which it is measured, while cells are trained, how far a vector has to look to find
/// its own cell, and the share of them that is to find it.
const LOOKERS: usize = 1024;
const LOOKERS_FIND: f64 = 0.99;

/// A trained partition.
#[derive(Debug)]
pub struct Cells {
    centroids: Centroids,
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

impl Cells {
    /// Fits at most `cells` cells on `sample` (row-major, `d` wide, unit norm): fewer where the
    /// vectors cannot be told apart. Also returns how many vectors of the sample lie in each. The
    /// bits do not depend on the number of threads. Cost: 6 n k d operations on codes.
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
        Self { centroids: Centroids::new(centroids, d), districts: None }
    }

    /// The same with districts: `parents` has the number of each cell's, ascending, `centroids`
    /// theirs.
    #[must_use]
    pub fn with_districts(mut self, centroids: Vec<f32>, parents: &[u32]) -> Self {
        let centroids = Centroids::new(centroids, self.centroids.d);
        self.districts = (!centroids.is_empty()).then(|| Districts::new(centroids, parents, WIDEST));
        self
    }

    /// The centroids; n x d.
    #[must_use]
    pub fn centroids(&self) -> &[f32] {
        &self.centroids.values
    }

    /// The districts, if there are any.
    #[must_use]
    pub fn districts(&self) -> Option<&Districts> {
        self.districts.as_ref()
    }

    /// The district of each cell.
    #[must_use]
    pub fn parents(&self) -> Vec<Option<u32>> {
        let of = |cell| self.districts.as_ref().map(|districts| districts.of(cell));
        (0..).take(self.len()).map(of).collect()
    }

    /// Sets how much less a district's cosine may be than that of the nearest, for its cells to be
    /// looked at.
    pub fn look_as_far_as(&mut self, margin: f32) {
        if let Some(districts) = &mut self.districts {
            districts.margin = margin;
        }
    }

    /// Joins near cells to districts, which reorders the cells. A vector looks so far that nearly
    /// all of some of `sample` find their cell.
    fn in_districts(self, sample: &[f32]) -> Self {
        let (n, d) = (self.len(), self.centroids.d);
        if n < DISTRICTS_FROM {
            return self;
        }
        let members = districts::near_each_other(&self.centroids, ROUNDS);
        let parents: Vec<u32> =
            (0..).zip(&members).flat_map(|(district, of)| of.iter().map(move |_| district)).collect();
        let means = means(&self.centroids.values, &members, d);
        let reordered = gather(&self.centroids.values, &members.concat(), d);
        let mut cells = Self::new(reordered, d).with_districts(means, &parents);
        let all = sample.len() / d;
        let lookers = gather(sample, &districts::spread(LOOKERS.min(all), all), d);
        let places = cells.places(&lookers);
        let mut needs: Vec<f32> =
            (0..places.len()).map(|row| cells.need((&places, row), (&places, row)).districts).collect();
        cells.look_as_far_as(quantile(&mut needs, LOOKERS_FIND));
        cells
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.centroids.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of each vector (row-major, of the same width), and the cells whose cosine is less
    /// by at most `margin`: at most [`PROBES`]. Where there are districts, among the cells of those
    /// that are near enough. Cost: 2 n k d operations on codes, for the cells that are looked at.
    #[must_use]
    pub fn assign(&self, vectors: &[f32], margin: f32) -> Assigned {
        assign_by(vectors, self.centroids.d, |codes, rows| self.near(codes, rows, margin))
    }

    /// Where vectors lie among all cells and all districts, as far as [`WIDEST`].
    #[must_use]
    pub fn places(&self, vectors: &[f32]) -> Places {
        let cells = self.centroids.assign(vectors, WIDEST);
        let assign = |districts: &Districts| districts.cells.assign(vectors, WIDEST);
        Places { cells, districts: self.districts.as_ref().map(assign).unwrap_or_default() }
    }

    /// For each row the cells within `margin` of the best, best first, at most [`PROBES`].
    fn near(&self, codes: &Codes, rows: &[u32], margin: f32) -> Vec<Vec<(u32, f32)>> {
        let Some(districts) = &self.districts else { return self.centroids.near(codes, rows, margin) };
        let mut ranges: Vec<(Range<usize>, Vec<u32>)> = Vec::with_capacity(districts.cells.len());
        ranges.extend(districts.firsts.windows(2).map(|ends| (ends[0] as usize..ends[1] as usize, Vec::new())));
        for (place, near) in (0..).zip(districts.cells.near(codes, rows, districts.margin)) {
            for (district, _) in near {
                ranges[district as usize].1.push(place);
            }
        }
        ranges.retain(|(_, places)| !places.is_empty());
        self.centroids.codes.nearest_among(codes, rows, margin, &ranges).into_iter().map(best_first).collect()
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

/// The same vectors, such that near ones are more often near in order too: each beside those of the
/// nearest of a few.
fn neighbourly(vectors: &[f32], d: usize) -> Vec<f32> {
    let n = vectors.len() / d;
    let few = Cells::new(vectors[..n.isqrt().max(1) * d].to_vec(), d).assign(vectors, 0.0).cells;
    let mut order: Vec<u32> = (0..).take(n).collect();
    order.sort_by_key(|&row| (few[row as usize], row));
    gather(vectors, &order, d)
}

#[cfg(test)]
mod tests;
