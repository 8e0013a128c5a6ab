//! One round of Lloyd's algorithm: assignment, means, and what becomes of empty clusters.

use rayon::prelude::*;

use super::points::Points;
use lvd_base::error::{Error, Result};
use lvd_kernels::exact::Centroids;
use lvd_kernels::hash::Draw;
use lvd_kernels::multiversion;

/// What a round found.
pub(super) struct Round {
    /// The sum of squared distances to the centroids before the update.
    pub(super) potential: f64,
    /// The mean of each cluster; zeros for an empty one.
    pub(super) means: Vec<f32>,
    /// Points a cluster.
    pub(super) sizes: Vec<usize>,
}

/// What a round adds up, of all points or of some.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// The sum of squared distances to the centroids.
    pub potential: f64,
    /// The sum of each cluster's points, in their order.
    pub sums: Vec<f64>,
    /// Points a cluster.
    pub sizes: Vec<usize>,
}

/// Assigns all points to the nearest of `centroids` and takes the means.
pub(super) fn round(points: &dyn Points, centroids: &[f32]) -> Result<Round> {
    let Sums { potential, sums, sizes } = sums(points, centroids)?;
    Ok(Round { potential, means: means(&sums, &sizes, points.dimension()), sizes })
}

/// Assigns all points to the nearest of `centroids` and adds them up by cluster.
///
/// # Errors
/// When the points cannot be read, or one holds a NaN or an infinity.
pub fn sums(points: &dyn Points, centroids: &[f32]) -> Result<Sums> {
    let d = points.dimension();
    let k = centroids.len() / d;
    let (mut sums, mut sizes, mut potential) = (vec![0.0f64; centroids.len()], vec![0usize; k], 0.0);
    let ready = Centroids::new(centroids, d);
    points.pass(&mut |block| {
        let assigned = ready.nearest(block.values);
        if let Some(bad) = assigned.iter().position(|(_, distance)| !distance.is_finite()) {
            let message = format!("point {} of {} holds a NaN or an infinity", block.first + bad, points.count());
            return Err(Error::usage(message, "leave such vectors out before clustering"));
        }
        potential = assigned.iter().fold(potential, |sum, &(_, distance)| sum + f64::from(distance));
        let members = Members::new(assigned.into_iter().map(|(cluster, _)| cluster), k);
        sums.par_chunks_mut(d).enumerate().for_each(|(cluster, sums)| {
            let members = members.of(cluster);
            let point = |&point: &u32| &block.values[point as usize * d..][..d];
            // Four points at once, added in their order: memory is asked for four rows instead of
            // one.
            let (fours, rest) = members.as_chunks::<4>();
            for four in fours {
                add(sums, four.each_ref().map(point));
            }
            for point in rest.iter().map(point) {
                sums.iter_mut().zip(point).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        });
        sizes.iter_mut().enumerate().for_each(|(cluster, size)| *size += members.of(cluster).len());
        Ok(())
    })?;
    Ok(Sums { potential, sums, sizes })
}

/// The means of clusters of so many points; zeros for an empty one.
#[must_use]
pub fn means(sums: &[f64], sizes: &[usize], d: usize) -> Vec<f32> {
    let mut means = vec![0.0; sums.len()];
    means.par_chunks_mut(d).zip(sums.par_chunks(d)).zip(sizes).for_each(|((means, sums), &size)| {
        #[expect(clippy::cast_precision_loss, reason = "no cluster has 2^53 points")]
        let count = size.max(1) as f64;
        for (mean, &sum) in means.iter_mut().zip(sums) {
            #[expect(clippy::cast_possible_truncation, reason = "centroids are f32")]
            let rounded = (sum / count) as f32;
            *mean = rounded;
        }
    });
    means
}

/// The points of each cluster, in order.
struct Members {
    /// Where each cluster begins in `order`, and the end of the last.
    starts: Vec<usize>,
    order: Vec<u32>,
}

impl Members {
    fn new(assigned: impl ExactSizeIterator<Item = u32> + Clone, k: usize) -> Self {
        let mut starts = vec![0; k + 1];
        let count = assigned.len();
        for cluster in assigned.clone() {
            starts[cluster as usize + 1] += 1;
        }
        for cluster in 0..k {
            starts[cluster + 1] += starts[cluster];
        }
        let mut next = starts.clone();
        let mut order = vec![0; count];
        for (point, cluster) in (0u32..).zip(assigned) {
            order[next[cluster as usize]] = point;
            next[cluster as usize] += 1;
        }
        Self { starts, order }
    }

    fn of(&self, cluster: usize) -> &[u32] {
        &self.order[self.starts[cluster]..self.starts[cluster + 1]]
    }
}

multiversion! {
    fn add(sums: &mut [f64], four: [&[f32]; 4]) {
        let [first, second, third, fourth] = four;
        for ((((sum, a), b), c), d) in sums.iter_mut().zip(first).zip(second).zip(third).zip(fourth) {
            *sum = *sum + f64::from(*a) + f64::from(*b) + f64::from(*c) + f64::from(*d);
        }
    }
}
/// Gives each empty cluster half of another one; returns how many there were.
pub fn repair(centroids: &mut [f32], d: usize, sizes: &mut [usize], seed: u64, iteration: usize) -> u64 {
    const STEP: f32 = 1.0 / 1024.0;
    let draw = Draw::new(seed, "kmeans/repair").within(iteration as u64);
    let (mut repairs, mut counter) = (0, 0);
    for empty in 0..sizes.len() {
        if sizes[empty] > 0 {
            continue;
        }
        let spare: usize = sizes.iter().map(|size| size.saturating_sub(1)).sum();
        if spare == 0 {
            // Fewer different points than clusters: nothing is left to share.
            break;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a draw"
        )]
        let mut left = (draw.unit(counter) * spare as f64) as usize;
        counter += 1;
        let donor = sizes.iter().position(|size| {
            let here = left < size.saturating_sub(1);
            left = left.saturating_sub(size.saturating_sub(1));
            here
        });
        let donor = donor.expect("the draw is below the sum of the spare points");
        for i in 0..d {
            let (up, down) = (centroids[donor * d + i] * (1.0 + STEP), centroids[donor * d + i] * (1.0 - STEP));
            let (to_empty, to_donor) = if i % 2 == 0 { (up, down) } else { (down, up) };
            centroids[empty * d + i] = to_empty;
            centroids[donor * d + i] = to_donor;
        }
        sizes[empty] = sizes[donor] / 2;
        sizes[donor] -= sizes[empty];
        repairs += 1;
    }
    repairs
}
