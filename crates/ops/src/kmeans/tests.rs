//! k-means against brute force.

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
    let start = first_centroids(&HeldPoints::new(&points, D), &params).expect("points");
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
    let trained = fit(&HeldPoints::new(&points, D), &params(40, Init::Random), State::default(), &mut |state| {
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

    fn pass(&self, each: &mut dyn FnMut(PointBlock) -> Result<()>) -> Result<()> {
        for (number, values) in self.0.chunks(self.1 * D).enumerate() {
            each(PointBlock { first: number * self.1, values })?;
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
        let held = run(&HeldPoints::new(&points, D));
        assert_eq!(held, run(&Read(&points, 777)));
        assert_eq!(held, run(&Read(&points, 1)));
    }
}

#[test]
fn training_goes_on_from_every_round_to_the_same_bits() {
    let points = clouds(2000, 40);
    let held = HeldPoints::new(&points, D);
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
    let held = HeldPoints::new(&points, D);
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
    // A crowded cloud and a sparse one: resampled points are as many for every centroid, so density
    // counts for less.
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
