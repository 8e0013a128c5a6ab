//! Cells: a partition of unit vectors such that near ones lie in one cell or in cells that each knows of.
//!
//! Two levels of spherical k-means (areas, and the cells of each area), so that neither training nor assigning grows with the
//! square of the number of cells. A vector also *probes* the cells whose centroids are nearly as near as its own; two
//! vectors are compared when either probes the other's cell. What "nearly" has to be for a wanted recall depends on the data,
//! and is measured ([`Cells::need`]), not guessed.

use rayon::prelude::*;

use super::hash::Draw;
use super::kmeans::{self, Init, KMeans};
use crate::error::Result;
use crate::native::codes::Codes;

/// Areas of which a vector sees the cells.
const AREAS: usize = 16;
/// Cells that a vector probes at most, its own included.
pub const PROBES: usize = 256;
/// Rounds of k-means: cells need not be good clusters.
const ROUNDS: usize = 8;
/// A cell with this many times the mean share of the training vectors is split.
const OVERSIZED: usize = 4;
/// Vectors of one task of [`Cells::assign`].
const BLOCK: usize = 1024;

/// A trained partition.
#[derive(Debug)]
pub struct Cells {
    /// Centroids of the cells, those of one area after the other; n x d.
    pub centroids: Vec<f32>,
    /// Centroids of the areas; n x d.
    pub areas: Vec<f32>,
    /// The area of each cell, ascending.
    pub area_of: Vec<u32>,
    d: usize,
    cell_codes: Codes,
    area_codes: Codes,
    /// Where each area's cells begin, and the end of the last.
    starts: Vec<usize>,
}

/// Where vectors belong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assigned {
    /// The cell of each vector.
    pub cells: Vec<u32>,
    /// Where each vector's probes begin, and the end of the last.
    pub starts: Vec<u32>,
    /// The cells that each vector probes beside its own, nearest first, each with how much less its cosine is.
    pub probes: Vec<(u32, f32)>,
}

impl Assigned {
    /// The probes of one vector.
    #[must_use]
    pub fn of(&self, row: usize) -> &[(u32, f32)] {
        &self.probes[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

impl Cells {
    /// Fits about `cells` cells on `sample` (row-major, `d` wide, unit norm). Fewer where the vectors cannot be told apart; more
    /// where a cell drew too many and was split. The bits do not depend on the number of threads.
    pub fn train(sample: &[f32], d: usize, cells: usize, seed: u64) -> Result<(Self, Vec<usize>)> {
        let n = sample.len() / d;
        let settings = |k, seed| KMeans { k, iterations: ROUNDS, seed, spherical: true, init: Init::Random };
        let fit = |points: &[f32], k: usize, seed: u64| -> Result<Vec<f32>> {
            Ok(kmeans::train(points, d, &settings(k.clamp(1, points.len() / d), seed), &mut |_, _| {})?.centroids)
        };
        let areas = fit(sample, cells.isqrt(), seed)?;
        let members = members_of(sample, &areas, d);
        let draw = Draw::new(seed, "cells");
        let (mut centroids, mut area_of, mut kept, mut shares) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mean = n.div_ceil(cells.max(1));
        for (members, (area, number)) in members.iter().zip(areas.chunks(d).zip(0u64..)) {
            if members.is_empty() {
                continue;
            }
            let points = gather(sample, members, d);
            let wanted = (members.len() * cells).div_ceil(n);
            let first = fit(&points, wanted, draw.bits(2 * number))?;
            for (cell, inside) in first.chunks(d).zip(members_of(&points, &first, d)) {
                let crowded = inside.len() > OVERSIZED * mean;
                let split = if crowded {
                    let points = gather(&points, &inside, d);
                    let split = fit(&points, inside.len().div_ceil(mean), draw.bits(2 * number + 1))?;
                    let shares_of_split: Vec<usize> = members_of(&points, &split, d).iter().map(Vec::len).collect();
                    split.chunks(d).map(<[f32]>::to_vec).zip(shares_of_split).collect()
                } else {
                    vec![(cell.to_vec(), inside.len())]
                };
                // A cell that no training vector is nearest to would only be looked at for nothing.
                for (centroid, share) in split.into_iter().filter(|&(_, share)| share > 0) {
                    centroids.extend(centroid);
                    area_of.push(u32::try_from(kept.len() / d).unwrap_or(u32::MAX));
                    shares.push(share);
                }
            }
            kept.extend_from_slice(area);
        }
        Ok((Self::new(centroids, kept, area_of, d), shares))
    }

    /// A partition from its centroids, as [`Cells::train`] gave them.
    ///
    /// # Panics
    /// When the lengths do not fit together, or cells are not in the order of their areas.
    #[must_use]
    pub fn new(centroids: Vec<f32>, areas: Vec<f32>, area_of: Vec<u32>, d: usize) -> Self {
        assert!(centroids.len() == area_of.len() * d && area_of.is_sorted(), "an area for each cell, in order");
        let starts = (0..=areas.len() / d).map(|area| area_of.partition_point(|&of| (of as usize) < area)).collect();
        let (cell_codes, area_codes) = (Codes::new(&centroids, d), Codes::new(&areas, d));
        Self { centroids, areas, area_of, d, cell_codes, area_codes, starts }
    }

    /// How many cells there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.area_of.len()
    }

    /// Never: a partition has a cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.area_of.is_empty()
    }

    /// The cell of each vector (row-major, of the same width), and the cells whose cosine is less by at most `margin`: at
    /// most [`PROBES`], among the cells of the nearest areas. Cost: a product with each area and with the cells of 16 areas.
    #[must_use]
    pub fn assign(&self, vectors: &[f32], margin: f32) -> Assigned {
        let codes = Codes::new(vectors, self.d);
        let blocks: Vec<Vec<Vec<(u32, f32)>>> = (0..codes.rows().div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| self.assign_block(&codes, block * BLOCK..codes.rows().min((block + 1) * BLOCK), margin))
            .collect();
        let mut assigned = Assigned { starts: vec![0], ..Assigned::default() };
        for seen in blocks.into_iter().flatten() {
            let (cell, best) = seen[0];
            assigned.cells.push(cell);
            assigned.probes.extend(seen[1..].iter().map(|&(cell, cosine)| (cell, best - cosine)));
            assigned.starts.push(u32::try_from(assigned.probes.len()).expect("fewer than 2^32 probes a block"));
        }
        assigned
    }

    /// For each row the cells it sees within `margin` of the best, best first.
    fn assign_block(&self, codes: &Codes, rows: std::ops::Range<usize>, margin: f32) -> Vec<Vec<(u32, f32)>> {
        let mut products = Vec::new();
        let all: Vec<u32> = rows.clone().map(|row| u32::try_from(row).unwrap_or(u32::MAX)).collect();
        let mut seers: Vec<Vec<u32>> = vec![Vec::new(); self.area_codes.rows()];
        let areas = 0..self.area_codes.rows();
        for chosen in all.chunks(64) {
            let stride = self.area_codes.products(codes, chosen, &areas, &mut products);
            for (&row, products) in chosen.iter().zip(products.chunks(stride)) {
                let mut near: Vec<(u32, f32)> = (0..).zip(self.cosines(&self.area_codes, codes, row, products, &areas)).collect();
                if near.len() > AREAS {
                    near.select_nth_unstable_by(AREAS - 1, nearer);
                    near.truncate(AREAS);
                }
                near.iter().for_each(|&(area, _)| seers[area as usize].push(row));
            }
        }
        let mut seen: Vec<Seen> = rows.clone().map(|_| Seen::default()).collect();
        for (area, seers) in seers.iter().enumerate() {
            let cells = self.starts[area]..self.starts[area + 1];
            for chosen in seers.chunks(64) {
                let stride = self.cell_codes.products(codes, chosen, &cells, &mut products);
                for (&row, products) in chosen.iter().zip(products.chunks(stride.max(1))) {
                    let seen = &mut seen[row as usize - rows.start];
                    let products = &products[cells.start % crate::native::codes::LANES..];
                    for (cell, cosine) in cells.clone().zip(self.cosines(&self.cell_codes, codes, row, products, &cells)) {
                        seen.take(u32::try_from(cell).unwrap_or(u32::MAX), cosine, margin);
                    }
                }
            }
        }
        seen.into_iter().map(|seen| seen.within(margin)).collect()
    }

    fn cosines<'a>(
        &self,
        base: &'a Codes,
        codes: &Codes,
        row: u32,
        products: &'a [i32],
        rows: &std::ops::Range<usize>,
    ) -> impl Iterator<Item = f32> + use<'a> {
        let scale = codes.scale(row as usize);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        rows.clone().zip(products).map(move |(row, &product)| product as f32 * (scale * base.scale(row)))
    }

    /// The margin with which a pair of vectors is compared: 0 in one cell; infinite when neither sees the other's.
    #[must_use]
    pub fn need(one: (u32, &[(u32, f32)]), other: (u32, &[(u32, f32)])) -> f32 {
        if one.0 == other.0 {
            return 0.0;
        }
        let gap = |probes: &[(u32, f32)], cell: u32| {
            probes.iter().find(|&&(probed, _)| probed == cell).map_or(f32::INFINITY, |&(_, gap)| gap)
        };
        gap(one.1, other.0).min(gap(other.1, one.0))
    }
}

/// The cells a vector has seen so far.
#[derive(Default)]
struct Seen {
    best: Option<f32>,
    cells: Vec<(u32, f32)>,
}

impl Seen {
    fn take(&mut self, cell: u32, cosine: f32, margin: f32) {
        let best = self.best.map_or(cosine, |best| best.max(cosine));
        self.best = Some(best);
        if cosine >= best - margin {
            self.cells.push((cell, cosine));
        }
    }

    fn within(mut self, margin: f32) -> Vec<(u32, f32)> {
        let least = self.best.unwrap_or(0.0) - margin;
        self.cells.retain(|&(_, cosine)| cosine >= least);
        self.cells.sort_unstable_by(nearer);
        self.cells.truncate(PROBES);
        if self.cells.is_empty() {
            // A vector without a direction: it lies in the first cell, and is near nothing.
            self.cells.push((0, 0.0));
        }
        self.cells
    }
}

/// Higher cosine first, then the lower number.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what sorting calls")]
fn nearer(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn members_of(points: &[f32], centroids: &[f32], d: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); centroids.len() / d];
    for (row, (cluster, _)) in (0u32..).zip(crate::native::exact::nearest(points, centroids, d)) {
        members[cluster as usize].push(row);
    }
    members
}

fn gather(points: &[f32], rows: &[u32], d: usize) -> Vec<f32> {
    rows.iter().flat_map(|&row| &points[row as usize * d..][..d]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::dot::{dot, normalise};

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
    fn every_vector_is_in_its_nearest_cell_when_all_areas_are_seen() -> Result<()> {
        let points = clouds(2000, 1);
        let (cells, shares) = Cells::train(&points, D, 50, 7)?;
        assert!((30..=120).contains(&cells.len()) && shares.len() == cells.len(), "{} cells", cells.len());
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
            assert!(cells.areas.len() / D > AREAS || probes.len() + 1 >= near.min(PROBES), "{probes:?} {near}");
        }
        Ok(())
    }

    #[test]
    fn the_margin_that_a_pair_needs_is_the_margin_with_which_it_is_compared() -> Result<()> {
        let points = clouds(600, 2);
        let (cells, _) = Cells::train(&points, D, 40, 7)?;
        let wide = cells.assign(&points, 0.5);
        let narrow = cells.assign(&points, 0.1);
        assert_eq!(wide.cells, narrow.cells);
        let end = |assigned: &Assigned, row: usize| (assigned.cells[row], assigned.of(row).to_vec());
        for (a, b) in (0..300).map(|i| (i, 599 - i)) {
            let need = Cells::need((wide.cells[a], wide.of(a)), (wide.cells[b], wide.of(b)));
            let ((one, probes), (other, others)) = (end(&narrow, a), end(&narrow, b));
            let compared = one == other || probes.iter().any(|p| p.0 == other) || others.iter().any(|p| p.0 == one);
            assert_eq!(compared, need <= 0.1, "{a} {b} {need}");
        }
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
