//! Districts: cells that lie near each other, so that a vector need not look at all.
//!
//! Found as the cells themselves are, by k-means of their centroids. How near a district has to be
//! is measured: where it says little about its cells, all are looked at.

use super::assigned::number;
use super::centroids::{Centroids, PROBES, gather, means};

/// Cells of a district, on average.
const DISTRICT: usize = 64;

/// Cells that lie near each other, and side by side among all.
#[derive(Debug)]
pub struct Districts {
    /// The means of the centroids.
    pub cells: Centroids,
    /// The first cell of each, and the number of all.
    pub(super) firsts: Vec<u32>,
    /// How much less a district's cosine may be than that of the nearest, for its cells to be
    /// looked at.
    pub margin: f32,
}

impl Districts {
    /// `parents` has the number of each cell's district, ascending.
    pub(super) fn new(cells: Centroids, parents: &[u32], margin: f32) -> Self {
        let first = |district| parents.partition_point(|&parent| (parent as usize) < district);
        let firsts = (0..=cells.len()).map(|district| number(first(district))).collect();
        Self { cells, firsts, margin }
    }

    /// The district of a cell.
    pub(super) fn of(&self, cell: u32) -> u32 {
        number(self.firsts.partition_point(|&first| first <= cell) - 1)
    }
}

/// The cells of each district, found in so many rounds of k-means.
pub(super) fn near_each_other(cells: &Centroids, rounds: usize) -> Vec<Vec<u32>> {
    let (n, d) = (cells.len(), cells.d);
    // At most as many as a vector can probe.
    let wanted = (n / DISTRICT).min(PROBES);
    let mut districts = Centroids::new(gather(&cells.values, &spread(wanted, n), d), d);
    let mut members = Vec::new();
    for round in 0..=rounds {
        members = vec![Vec::new(); districts.len()];
        for (row, &district) in (0u32..).zip(&districts.assign(&cells.values, 0.0).cells) {
            members[district as usize].push(row);
        }
        members.retain(|members| !members.is_empty());
        if round < rounds {
            districts = Centroids::new(means(&cells.values, &members, d), d);
        }
    }
    members
}

/// So many rows, evenly spread over all.
pub(super) fn spread(count: usize, all: usize) -> Vec<u32> {
    (0..count).map(|i| number(i * all / count)).collect()
}
