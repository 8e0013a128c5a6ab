//! k-means by Lloyd's iterations (Lloyd 1982) on a block of points in memory, started from random points or by greedy
//! k-means++ (Arthur and Vassilvitskii 2007, section 2.2 and the remark on several candidates in its section 7).
//!
//! Equal to the bit on any number of threads: points are assigned one by one, and each cluster's sum is taken in f64 in the
//! order of its points.

mod init;

use rayon::prelude::*;

use super::dot::normalise;
use super::hash::Draw;
use crate::error::{Error, Result};
use crate::native::exact::{nearest_of, squares};
use crate::native::wide::wide;

/// How the first centroids are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// `k` different points, all equally likely.
    #[default]
    Random,
    /// Points drawn one by one by their squared distance from those before, the best of 2 + ln k candidates each time.
    /// Costs about as much as `2 + ln k` further iterations, and computes them more slowly.
    PlusPlus,
}

/// What to train.
#[derive(Clone, Copy, Debug)]
pub struct KMeans {
    /// Clusters; no more than points.
    pub k: usize,
    /// Rounds of assignment and update; fewer are made when an assignment repeats.
    pub iterations: usize,
    /// Of the first centroids and of repairs.
    pub seed: u64,
    /// Whether centroids are scaled to norm 1 after each update (for points of norm 1: clustering by cosine).
    pub spherical: bool,
    /// The choice of first centroids.
    pub init: Init,
}

/// What training found.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// `k` rows of `d` numbers.
    pub centroids: Vec<f32>,
    /// The sum of squared distances before the update of each iteration.
    pub potentials: Vec<f64>,
    /// How often an empty cluster was given half of another one.
    pub empty_repairs: u64,
}

/// Trains on `points` (row-major, `d` wide), telling `progress` each iteration's number, from 1, and potential.
///
/// An empty cluster takes the centroid of another one, drawn with a chance in proportion to its points less one (FAISS's
/// rule); the two are pushed apart by 1/1024 of every coordinate, with alternating signs. Cost an iteration: 2 n k d operations.
///
/// # Errors
/// When there are fewer points than clusters, or a point holds a NaN or an infinity.
///
/// # Panics
/// When the length is not a multiple of `d`.
pub fn train(points: &[f32], d: usize, params: &KMeans, progress: &mut dyn FnMut(usize, f64)) -> Result<Trained> {
    assert!(d > 0 && points.len().is_multiple_of(d), "{} numbers are not rows of {d}", points.len());
    let (n, k) = (points.len() / d, params.k);
    if k == 0 || n < k {
        return Err(Error::usage(
            format!("{n} points are too few for {k} clusters"),
            "lower the number of clusters to between 1 and the number of points",
        ));
    }
    if let Some(bad) = points.par_chunks(d).position_first(|point| point.iter().any(|x| !x.is_finite())) {
        return Err(Error::usage(
            format!("point {bad} of {n} holds a NaN or an infinity"),
            "leave such vectors out before clustering",
        ));
    }
    let mut centroids = match params.init {
        Init::Random => init::random(points, d, params),
        Init::PlusPlus => init::plus_plus(points, d, params),
    };
    let mut trained = Trained { centroids: Vec::new(), potentials: Vec::new(), empty_repairs: 0 };
    let mut members = Members::default();
    let squares = squares(points, d);
    for iteration in 1..=params.iterations {
        let assigned = nearest_of(points, &squares, &centroids, d);
        let potential = assigned.iter().map(|&(_, distance)| f64::from(distance)).sum();
        trained.potentials.push(potential);
        progress(iteration, potential);
        let assigned: Vec<u32> = assigned.into_iter().map(|(cluster, _)| cluster).collect();
        if assigned == members.assigned {
            break;
        }
        members = Members::new(assigned, k);
        centroids = means(points, d, &members);
        trained.empty_repairs += repair(&mut centroids, d, &mut members.sizes(), params.seed, iteration);
        if params.spherical {
            // A mean of zero stays as it is: its points lie opposite to each other, and no direction is theirs.
            centroids.par_chunks_mut(d).for_each(|centroid| _ = normalise(centroid));
        }
    }
    trained.centroids = centroids;
    Ok(trained)
}

/// The points of each cluster, in order.
#[derive(Default)]
struct Members {
    assigned: Vec<u32>,
    /// Where each cluster begins in `order`, and the end of the last.
    starts: Vec<usize>,
    order: Vec<u32>,
}

impl Members {
    fn new(assigned: Vec<u32>, k: usize) -> Self {
        let mut starts = vec![0; k + 1];
        for &cluster in &assigned {
            starts[cluster as usize + 1] += 1;
        }
        for cluster in 0..k {
            starts[cluster + 1] += starts[cluster];
        }
        let mut next = starts.clone();
        let mut order = vec![0; assigned.len()];
        for (point, &cluster) in (0u32..).zip(&assigned) {
            order[next[cluster as usize]] = point;
            next[cluster as usize] += 1;
        }
        Self { assigned, starts, order }
    }

    fn of(&self, cluster: usize) -> &[u32] {
        &self.order[self.starts[cluster]..self.starts[cluster + 1]]
    }

    fn sizes(&self) -> Vec<usize> {
        self.starts.windows(2).map(|ends| ends[1] - ends[0]).collect()
    }
}

/// The mean of each cluster, summed in f64 in the order of its points; zeros for an empty one.
fn means(points: &[f32], d: usize, members: &Members) -> Vec<f32> {
    let mut centroids = vec![0.0; (members.starts.len() - 1) * d];
    centroids.par_chunks_mut(d).enumerate().for_each_init(
        || vec![0.0f64; d],
        |sums, (cluster, centroid)| {
            let members = members.of(cluster);
            sums.fill(0.0);
            let point = |&point: &u32| &points[point as usize * d..][..d];
            // Four points at once, added in their order: memory is asked for four rows instead of one.
            let (fours, rest) = members.as_chunks::<4>();
            for four in fours {
                add(sums, four.each_ref().map(point));
            }
            for point in rest.iter().map(point) {
                sums.iter_mut().zip(point).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            #[expect(clippy::cast_precision_loss, reason = "no cluster has 2^53 points")]
            let count = members.len().max(1) as f64;
            for (mean, &sum) in centroid.iter_mut().zip(sums.iter()) {
                #[expect(clippy::cast_possible_truncation, reason = "centroids are f32")]
                let rounded = (sum / count) as f32;
                *mean = rounded;
            }
        },
    );
    centroids
}

wide! {
    fn add(sums: &mut [f64], four: [&[f32]; 4]) {
        let [first, second, third, fourth] = four;
        for ((((sum, a), b), c), d) in sums.iter_mut().zip(first).zip(second).zip(third).zip(fourth) {
            *sum = *sum + f64::from(*a) + f64::from(*b) + f64::from(*c) + f64::from(*d);
        }
    }
}

/// Gives each empty cluster half of another one; returns how many there were.
fn repair(centroids: &mut [f32], d: usize, sizes: &mut [usize], seed: u64, iteration: usize) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::init::random;
    use super::*;
    use crate::native::exact::nearest;
    use crate::ops::dot::squared_distance;

    const D: usize = 12;

    fn params(k: usize, init: Init) -> KMeans {
        KMeans { k, iterations: 25, seed: 1, spherical: false, init }
    }

    /// `n` points in `clusters` tight, far-apart clouds; point i lies in cloud i % clusters.
    fn clouds(n: usize, clusters: usize) -> Vec<f32> {
        let draw = Draw::new(9, "clouds");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let unit = |stream: u64, i: usize| draw.within(stream).unit(i as u64) as f32 - 0.5;
        (0..n * D).map(|i| 20.0 * unit(0, i / D % clusters * D + i % D) + 0.1 * unit(1, i)).collect()
    }

    fn potential(points: &[f32], centroids: &[f32]) -> f64 {
        nearest(points, centroids, D).into_iter().map(|(_, distance)| f64::from(distance)).sum()
    }

    #[test]
    fn plus_plus_finds_far_apart_clouds() {
        let points = clouds(3000, 30);
        let trained = train(&points, D, &params(30, Init::PlusPlus), &mut |_, _| {}).expect("trained");
        let found: Vec<u32> = nearest(&points, &trained.centroids, D).into_iter().map(|(cluster, _)| cluster).collect();
        assert!((30..3000).all(|i| found[i] == found[i - 30]), "{:?}", &found[..60]);
        let mut names = found[..30].to_vec();
        names.sort_unstable();
        assert_eq!(names, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn one_iteration_is_lloyds() {
        let points = clouds(500, 7);
        let params = KMeans { iterations: 1, ..params(5, Init::Random) };
        let start = random(&points, D, &params);
        let trained = train(&points, D, &params, &mut |_, _| {}).expect("trained");
        let (mut sums, mut counts) = (vec![0.0f64; 5 * D], [0.0f64; 5]);
        for point in points.chunks(D) {
            let distance = |c: usize| squared_distance(point, &start[c * D..][..D]);
            let cluster = (0..5).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).expect("five clusters");
            counts[cluster] += 1.0;
            (0..D).for_each(|i| sums[cluster * D + i] += f64::from(point[i]));
        }
        for (i, &mean) in trained.centroids.iter().enumerate() {
            assert!((f64::from(mean) - sums[i] / counts[i / D]).abs() < 1e-5);
        }
    }

    #[test]
    fn the_potential_never_rises_and_progress_tells_it() {
        let points = clouds(4000, 60);
        let mut told = Vec::new();
        let trained = train(&points, D, &params(40, Init::Random), &mut |i, p| told.push((i, p))).expect("trained");
        assert!(trained.potentials.windows(2).all(|pair| pair[1] <= pair[0] * 1.000_001), "{:?}", trained.potentials);
        assert_eq!(told, (1..).zip(trained.potentials.iter().copied()).collect::<Vec<_>>());
        assert!(potential(&points, &trained.centroids) <= trained.potentials[0]);
    }

    #[test]
    fn centroids_do_not_depend_on_the_number_of_threads() {
        let points = clouds(5000, 90);
        for init in [Init::Random, Init::PlusPlus] {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                pool.install(|| train(&points, D, &params(50, init), &mut |_, _| {}).expect("trained"))
            };
            let (one, two) = (on(1), on(2));
            assert_eq!(one, two);
            assert!(one.centroids.iter().zip(&two.centroids).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn empty_clusters_are_repaired() {
        // Ten places of which one holds nearly all points: most first centroids are the same.
        let mut points = clouds(400, 1);
        points.extend(clouds(40, 4));
        for i in 0..390 * D {
            points[i] = points[i % D];
        }
        let trained = train(&points, D, &params(30, Init::Random), &mut |_, _| {}).expect("trained");
        assert!(trained.empty_repairs > 0 && trained.centroids.iter().all(|x| x.is_finite()));
        let same = vec![1.0; 50 * D];
        let trained = train(&same, D, &params(50, Init::PlusPlus), &mut |_, _| {}).expect("trained");
        assert!(potential(&same, &trained.centroids) < 1e-3);
    }

    #[test]
    fn a_split_pushes_two_halves_apart() {
        let (mut centroids, mut sizes) = (vec![1.0, 1.0, 0.0, 0.0], [5, 0]);
        assert_eq!(repair(&mut centroids, 2, &mut sizes, 1, 1), 1);
        let (up, down) = (1.0 + 1.0 / 1024.0, 1.0 - 1.0 / 1024.0);
        assert_eq!((centroids, sizes), (vec![down, up, up, down], [3, 2]));
        assert_eq!(repair(&mut [1.0, 0.0], 1, &mut [1, 0], 1, 1), 0, "nothing to share");
    }

    #[test]
    fn spherical_centroids_have_norm_one() {
        let points = clouds(600, 8);
        let params = KMeans { spherical: true, ..params(8, Init::Random) };
        let trained = train(&points, D, &params, &mut |_, _| {}).expect("trained");
        for centroid in trained.centroids.chunks(D) {
            assert!((crate::ops::dot::dot(centroid, centroid) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn what_cannot_be_clustered_is_refused() {
        let mut points = clouds(10, 2);
        let error = train(&points, D, &params(11, Init::Random), &mut |_, _| {}).expect_err("too few");
        assert!(error.to_string().contains("10 points are too few for 11 clusters"), "{error}");
        assert!(train(&points, D, &params(0, Init::Random), &mut |_, _| {}).is_err());
        points[3 * D + 1] = f32::NAN;
        let error = train(&points, D, &params(2, Init::Random), &mut |_, _| {}).expect_err("no number");
        assert!(error.to_string().contains("point 3 of 10"), "{error}");
    }

    #[test]
    fn first_centroids_are_different_points() {
        let points: Vec<f32> = (0u8..200).map(f32::from).collect();
        let mut first = random(&points, 1, &params(200, Init::Random));
        assert_ne!(first, points, "the order is random too");
        first.sort_by(f32::total_cmp);
        assert_eq!(first, points);
    }
}
