//! Districts: cells that lie near each other, so that a vector need not look at all.
//!
//! Found as the cells themselves are, by k-means of their centroids. How near a district has to be is measured: where it says little about
//! its cells, all are looked at, and nothing is lost but the look at the districts.

use super::super::histogram::quantile;
use super::{Cells, PROBES, ROUNDS, WIDEST, gather, means, number};

/// Cells of a district, on average, and the number of cells from which on there are districts.
const DISTRICT: usize = 64;
const DISTRICTS_FROM: usize = 2048;
/// Vectors by which it is measured, while cells are trained, how far a vector has to look to find its own cell, and the share of them
/// that is to find it.
const LOOKERS: usize = 1024;
const LOOKERS_FIND: f64 = 0.99;

/// Cells that lie near each other, and side by side among all.
#[derive(Debug)]
pub struct Districts {
    /// The means of the centroids.
    pub cells: Box<Cells>,
    /// The first cell of each, and the number of all.
    pub(super) firsts: Vec<u32>,
    /// How much less a district's cosine may be than that of the nearest, for its cells to be looked at.
    pub margin: f32,
}

impl Districts {
    /// The district of a cell.
    pub(super) fn of(&self, cell: u32) -> u32 {
        number(self.firsts.partition_point(|&first| first <= cell) - 1)
    }
}

impl Cells {
    /// The same with districts: `parents` has the number of each cell's, ascending, `centroids` theirs.
    #[must_use]
    pub fn with_districts(mut self, centroids: Vec<f32>, parents: &[u32]) -> Self {
        let cells = Self::new(centroids, self.d);
        let firsts = (0..=cells.len()).map(|district| parents.partition_point(|&parent| (parent as usize) < district));
        let firsts = firsts.map(number).collect();
        self.districts = (!cells.is_empty()).then(|| Districts { cells: Box::new(cells), firsts, margin: WIDEST });
        self
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

    /// Sets how much less a district's cosine may be than that of the nearest, for its cells to be looked at.
    pub fn look_as_far_as(&mut self, margin: f32) {
        if let Some(districts) = &mut self.districts {
            districts.margin = margin;
        }
    }

    /// Joins near cells to districts, which reorders the cells. A vector looks so far that nearly all of some of `sample` find their cell.
    pub(super) fn in_districts(self, sample: &[f32]) -> Self {
        let (n, d) = (self.len(), self.d);
        if n < DISTRICTS_FROM {
            return self;
        }
        // At most as many as a vector can probe.
        let wanted = (n / DISTRICT).min(PROBES);
        let spread = |count: usize, all: usize| -> Vec<u32> { (0..count).map(|i| number(i * all / count)).collect() };
        let mut districts = Self::new(gather(&self.centroids, &spread(wanted, n), d), d);
        let mut members = Vec::new();
        for round in 0..=ROUNDS {
            members = vec![Vec::new(); districts.len()];
            for (row, &district) in (0u32..).zip(&districts.assign(&self.centroids, 0.0).cells) {
                members[district as usize].push(row);
            }
            members.retain(|members| !members.is_empty());
            if round < ROUNDS {
                districts = Self::new(means(&self.centroids, &members, d), d);
            }
        }
        let parents: Vec<u32> =
            (0..).zip(&members).flat_map(|(district, of)| of.iter().map(move |_| district)).collect();
        let means = means(&self.centroids, &members, d);
        let mut cells = Self::new(gather(&self.centroids, &members.concat(), d), d).with_districts(means, &parents);
        let lookers = gather(sample, &spread(LOOKERS.min(sample.len() / d), sample.len() / d), d);
        let places = cells.places(&lookers);
        let mut needs: Vec<f32> =
            (0..places.cells.cells.len()).map(|row| cells.need((&places, row), (&places, row)).districts).collect();
        cells.look_as_far_as(quantile(&mut needs, LOOKERS_FIND));
        cells
    }
}
