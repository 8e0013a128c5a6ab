//! k-means by Lloyd's iterations (Lloyd 1982), started from random points, by greedy k-means++ (Arthur and Vassilvitskii
//! 2007, section 2.2 and the remark on several candidates in its section 7) or by k-means|| (Bahmani et al. 2012), once or several times,
//! and resampled (Vo et al. 2024, section 3.2).
//!
//! Equal to the bit on any number of threads, and whether points are held or read anew for each pass: points are assigned one by
//! one, and each cluster's sum is taken in f64 in the order of its points. What was reached can be kept after every
//! round, and gone on from ([`State`]).

mod init;
mod lloyd;
mod points;
mod resample;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use lvd_base::error::{Error, Result};
use lvd_kernels::dot::normalise;
use lvd_kernels::hash::Draw;

pub use lloyd::{Sums, means, repair, sums};
pub use points::{Block, Held, Points, gather};
pub use resample::nearest_members;

/// Points a centroid that first centroids are chosen from, where there are more; fewer will do for random ones.
const START_POINTS: usize = 64;
const RANDOM_POINTS: usize = 4;

/// How the first centroids are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Init {
    /// `k` different points, all equally likely.
    #[default]
    Random,
    /// Points drawn one by one by their squared distance from those before, the best of 2 + ln k candidates each time.
    /// Costs about as much as `2 + ln k` rounds over 64 k points, and computes them more slowly.
    PlusPlus,
    /// About 5 k points drawn by squared distance in five rounds, and k of them by k-means++. Costs about as much as five rounds over
    /// 64 k points.
    Parallel,
}

/// What to train.
#[derive(Clone, Copy, Debug)]
pub struct KMeans {
    /// Clusters; no more than points.
    pub k: usize,
    /// Rounds of assignment and update at most; fewer are made when the centroids stay as they are.
    pub iterations: usize,
    /// Rounds also end when one lowers the potential by no more than this share of it.
    pub tolerance: f64,
    /// Runs from different first centroids; the one of least potential counts.
    pub starts: usize,
    /// Of the first centroids and of repairs.
    pub seed: u64,
    /// Whether centroids are scaled to norm 1 after each update (for points of norm 1: clustering by cosine).
    pub spherical: bool,
    /// The choice of first centroids.
    pub init: Init,
    /// Further runs, each on the points nearest to the centroids of the one before.
    pub resamplings: usize,
    /// How many of these nearest points a centroid.
    pub nearest: usize,
}

impl Default for KMeans {
    fn default() -> Self {
        Self {
            k: 1,
            iterations: 20,
            tolerance: 0.0,
            starts: 1,
            seed: 0,
            spherical: false,
            init: Init::Random,
            resamplings: 0,
            nearest: 1,
        }
    }
}

/// How far training is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Runs that are over, of the first and the resampled ones.
    pub runs: usize,
    /// Starts of this run that are over.
    pub starts: usize,
    /// Rounds of this start that are over.
    pub rounds: usize,
    /// Whether nothing is to be gained by further rounds of this start.
    pub settled: bool,
    /// The sum of squared distances before the update of each round, of this start.
    pub potentials: Vec<f64>,
    /// The last potential of the best start of this run, and of the run before where none is over.
    pub best_potential: f64,
    /// How often an empty cluster was given half of another one.
    pub empty_repairs: u64,
    /// Centroids of the last run that is over, of the best start, and of this start: `k` rows of `d` numbers each, or nothing yet.
    #[serde(skip)]
    pub centroids: [Vec<f32>; 3],
}

/// What training found.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// `k` rows of `d` numbers.
    pub centroids: Vec<f32>,
    /// The sum of squared distances before the update of each round of the last start.
    pub potentials: Vec<f64>,
    /// The last potential of the start that counts, over the points of the last run.
    pub potential: f64,
    /// How often an empty cluster was given half of another one.
    pub empty_repairs: u64,
}

/// Trains on points in memory, row-major, `d` wide. See [`fit`].
pub fn train(points: &[f32], d: usize, params: &KMeans) -> Result<Trained> {
    fit(&Held::new(points, d), params, State::default(), &mut |_| Ok(()))
}

/// Trains from `state` on: from the start, or where it was when `keep` last saw it, which is after every round.
///
/// An empty cluster takes the centroid of another one, drawn with a chance in proportion to its points less one (FAISS's
/// rule); the two are pushed apart by 1/1024 of every coordinate, with alternating signs. Cost a round: 2 n k d operations.
///
/// # Errors
/// When there are fewer points than clusters, a point holds a NaN or an infinity, or `keep` fails.
pub fn fit(
    points: &dyn Points,
    params: &KMeans,
    mut state: State,
    keep: &mut dyn FnMut(&State) -> Result<()>,
) -> Result<Trained> {
    let (n, k) = (points.count(), params.k);
    if k == 0 || n < k {
        return Err(Error::usage(
            format!("{n} points are too few for {k} clusters"),
            "lower the number of clusters to between 1 and the number of points",
        ));
    }
    let seeds = Draw::new(params.seed, "kmeans/runs");
    while state.runs <= params.resamplings {
        // The very first start has the seed itself.
        let run = state.runs;
        let seed = |start: usize| match (run, start) {
            (0, 0) => params.seed,
            _ => seeds.within(run as u64).bits(start as u64),
        };
        let of_start = |start| KMeans { seed: seed(start), ..*params };
        let fewer;
        let points = if run == 0 {
            points
        } else {
            fewer = nearest_members(points, &state.centroids[0], params.nearest)?;
            &fewer
        };
        if points.count() < k {
            // Too many clusters are nearly empty to be trained on their nearest members: what was found stands.
            break;
        }
        while state.starts < params.starts.max(1) {
            lloyd(points, &of_start(state.starts), &mut state, keep)?;
            let potential = state.potentials.last().copied().unwrap_or(0.0);
            let [_, best, this] = &mut state.centroids;
            if best.is_empty() || potential < state.best_potential {
                state.best_potential = potential;
                *best = std::mem::take(this);
            }
            this.clear();
            (state.starts, state.rounds, state.settled) = (state.starts + 1, 0, false);
        }
        (state.runs, state.starts) = (state.runs + 1, 0);
        state.centroids[0] = std::mem::take(&mut state.centroids[1]);
        keep(&state)?;
    }
    let State { potentials, best_potential, empty_repairs, centroids: [centroids, ..], .. } = state;
    Ok(Trained { centroids, potentials, potential: best_potential, empty_repairs })
}

/// The rounds of one start, from where `state` is.
fn lloyd(
    points: &dyn Points,
    params: &KMeans,
    state: &mut State,
    keep: &mut dyn FnMut(&State) -> Result<()>,
) -> Result<()> {
    let d = points.dimension();
    if state.rounds == 0 {
        state.potentials.clear();
        state.centroids[2] = first_centroids(points, params)?;
    }
    while state.rounds < params.iterations && !state.settled {
        let lloyd::Round { potential, mut means, mut sizes } = lloyd::round(points, &state.centroids[2])?;
        let before = state.potentials.last().copied();
        state.rounds += 1;
        state.potentials.push(potential);
        state.empty_repairs += lloyd::repair(&mut means, d, &mut sizes, params.seed, state.rounds);
        if params.spherical {
            // A mean of zero stays as it is: its points lie opposite to each other, and no direction is theirs.
            means.par_chunks_mut(d).for_each(|centroid| _ = normalise(centroid));
        }
        let gain = |before: f64| before - potential <= params.tolerance * before;
        state.settled = means == state.centroids[2] || params.tolerance > 0.0 && before.is_some_and(gain);
        state.centroids[2] = means;
        keep(state)?;
    }
    Ok(())
}

/// The first centroids, chosen among all points, or among some of them a centroid where there are more.
///
/// # Errors
/// When the points cannot be read.
pub fn first_centroids(points: &dyn Points, params: &KMeans) -> Result<Vec<f32>> {
    let (n, d) = (points.count(), points.dimension());
    let each = if params.init == Init::Random { RANDOM_POINTS } else { START_POINTS };
    let wanted = params.k.saturating_mul(each) as u64;
    let every = |each: &mut dyn FnMut(u64)| {
        (0..n as u64).for_each(each);
        Ok(())
    };
    // Exactly as many: by chance there would be fewer than centroids now and then.
    let (some, _) = Draw::new(params.seed, "kmeans/start").lowest(wanted, &every)?;
    let some = points::gather(points, |row| some.has(row as u64))?;
    Ok(init::start(&some, d, params))
}

#[cfg(test)]
mod tests {
    use super::init::random;
    use super::*;
    use lvd_kernels::dot::squared_distance;
    use lvd_kernels::exact::nearest;

    const D: usize = 12;

    fn params(k: usize, init: Init) -> KMeans {
        KMeans { k, iterations: 25, seed: 1, init, ..KMeans::default() }
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
        let trained = train(&points, D, &params(30, Init::PlusPlus)).expect("trained");
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
        let start = first_centroids(&Held::new(&points, D), &params).expect("points");
        let trained = train(&points, D, &params).expect("trained");
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
    fn the_potential_never_rises_and_every_round_is_kept() {
        let points = clouds(4000, 60);
        let mut kept = Vec::new();
        let trained = fit(&Held::new(&points, D), &params(40, Init::Random), State::default(), &mut |state| {
            kept.extend(state.potentials.last().copied().map(|potential| (state.rounds, potential)));
            Ok(())
        });
        let trained = trained.expect("trained");
        assert!(trained.potentials.windows(2).all(|pair| pair[1] <= pair[0] * 1.000_001), "{:?}", trained.potentials);
        kept.pop();
        assert_eq!(kept, (1..).zip(trained.potentials.iter().copied()).collect::<Vec<_>>());
        assert!(potential(&points, &trained.centroids) <= trained.potentials[0]);
    }

    #[test]
    fn centroids_do_not_depend_on_the_number_of_threads() {
        let points = clouds(5000, 90);
        for init in [Init::Random, Init::PlusPlus, Init::Parallel] {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                pool.install(|| train(&points, D, &params(50, init)).expect("trained"))
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
        let trained = train(&points, D, &params(30, Init::Random)).expect("trained");
        assert!(trained.empty_repairs > 0 && trained.centroids.iter().all(|x| x.is_finite()));
        let same = vec![1.0; 50 * D];
        let trained = train(&same, D, &params(50, Init::PlusPlus)).expect("trained");
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
        let trained = train(&points, D, &params).expect("trained");
        for centroid in trained.centroids.chunks(D) {
            assert!((lvd_kernels::dot::dot(centroid, centroid) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn what_cannot_be_clustered_is_refused() {
        let mut points = clouds(10, 2);
        let error = train(&points, D, &params(11, Init::Random)).expect_err("too few");
        assert!(error.to_string().contains("10 points are too few for 11 clusters"), "{error}");
        assert!(train(&points, D, &params(0, Init::Random)).is_err());
        points[3 * D + 1] = f32::NAN;
        let error = train(&points, D, &params(2, Init::Random)).expect_err("no number");
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

    /// The same points in blocks, as if read from a disk.
    struct Read<'a>(&'a [f32], usize);

    impl Points for Read<'_> {
        fn count(&self) -> usize {
            self.0.len() / D
        }

        fn dimension(&self) -> usize {
            D
        }

        fn pass(&self, each: &mut dyn FnMut(Block) -> Result<()>) -> Result<()> {
            for (number, values) in self.0.chunks(self.1 * D).enumerate() {
                each(Block { first: number * self.1, values })?;
            }
            Ok(())
        }
    }

    #[test]
    fn points_that_are_read_give_the_same_bits_as_points_that_are_held() {
        let points = clouds(5000, 90);
        for init in [Init::Random, Init::PlusPlus, Init::Parallel] {
            let params = KMeans { starts: 2, resamplings: 2, nearest: 20, ..params(50, init) };
            let run = |points: &dyn Points| fit(points, &params, State::default(), &mut |_| Ok(())).expect("trained");
            let held = run(&Held::new(&points, D));
            assert_eq!(held, run(&Read(&points, 777)));
            assert_eq!(held, run(&Read(&points, 1)));
        }
    }

    #[test]
    fn training_goes_on_from_every_round_to_the_same_bits() {
        let points = clouds(2000, 40);
        let held = Held::new(&points, D);
        let params = KMeans { starts: 2, resamplings: 2, nearest: 30, tolerance: 0.01, ..params(30, Init::Random) };
        let mut states = Vec::new();
        let whole = fit(&held, &params, State::default(), &mut |state| {
            states.push(state.clone());
            Ok(())
        });
        let whole = whole.expect("trained");
        assert!(states.len() > 10, "{} states", states.len());
        for state in states {
            assert_eq!(fit(&held, &params, state, &mut |_| Ok(())).expect("trained"), whole);
        }
    }

    #[test]
    fn several_starts_keep_the_best() {
        let points = clouds(3000, 30);
        let held = Held::new(&points, D);
        let run = |starts| {
            let params = KMeans { starts, ..params(30, Init::Random) };
            fit(&held, &params, State::default(), &mut |_| Ok(())).expect("trained").potential
        };
        let (one, eight) = (run(1), run(8));
        assert!(eight < one, "{eight} of eight starts, {one} of one");
    }

    #[test]
    fn parallel_starts_are_as_good_as_plus_plus_ones() {
        let points = clouds(6000, 100);
        let potential = |init| {
            let potentials = (1..=5).map(|seed| {
                let params = KMeans { seed, iterations: 1, ..params(60, init) };
                potential(&points, &train(&points, D, &params).expect("trained").centroids)
            });
            potentials.sum::<f64>()
        };
        let (random, plus, parallel) = (potential(Init::Random), potential(Init::PlusPlus), potential(Init::Parallel));
        assert!(parallel < 1.15 * plus && parallel < 0.8 * random, "{random} {plus} {parallel}");
    }

    #[test]
    fn resampling_moves_centroids_to_where_points_are_few() {
        // A crowded cloud and a sparse one: resampled points are as many for every centroid, so density counts for less.
        let (crowd, few) = (clouds(4000, 1), clouds(400, 2));
        let points: Vec<f32> = crowd.iter().chain(few.chunks(D).skip(1).step_by(2).flatten()).copied().collect();
        let in_the_crowd = |resamplings| {
            let params = KMeans { resamplings, nearest: 5, ..params(40, Init::PlusPlus) };
            let trained = train(&points, D, &params).expect("trained");
            trained.centroids.chunks(D).filter(|centroid| squared_distance(centroid, &crowd[..D]) < 1.0).count()
        };
        let (plain, resampled) = (in_the_crowd(0), in_the_crowd(3));
        assert!(resampled < plain, "{resampled} of 40 resampled, {plain} plain");
    }
}
