//! What hierarchical k-means promises (Vo et al. 2024), on points in one and two dimensions where
//! it can be seen.

use lvd_kernels::hash::Draw;
use lvd_ops::kmeans::{Init, KMeans, train};

/// Standard normal numbers, two for each counter (Box and Muller 1958).
fn normals(draw: Draw, counter: u64) -> [f64; 2] {
    let (radius, angle) = (1.0 - draw.unit(2 * counter), std::f64::consts::TAU * draw.unit(2 * counter + 1));
    let radius = (-2.0 * radius.ln()).sqrt();
    [radius * angle.cos(), radius * angle.sin()]
}

/// 7000 + 1000 + 500 points in three clouds and 500 anywhere.
#[expect(clippy::cast_possible_truncation, reason = "points are f32")]
fn clouds(seed: u64) -> Vec<f32> {
    let draw = Draw::new(seed, "recipe/points");
    let mut points = Vec::new();
    for (number, (count, centre)) in
        [(7000, [-1.0, -1.0]), (1000, [1.0, -1.0]), (500, [0.0, 1.0])].into_iter().enumerate()
    {
        let draw = draw.within(number as u64);
        points.extend((0..count).flat_map(|i| {
            let [x, y] = normals(draw, i);
            [(centre[0] + 0.5 * x) as f32, (centre[1] + 0.5 * y) as f32]
        }));
    }
    points.extend((0..1000).map(|i| (6.0 * draw.within(9).unit(i) - 3.0) as f32));
    points
}

/// The divergence in nats of a Gaussian kernel density (bandwidth 0.5) of the points on
/// [-3, 3)^2, in steps of 0.02, from uniform.
fn kl_to_uniform(points: &[f32]) -> f64 {
    let kernel = |at: f64, x: f32| (-0.5 * ((at - f64::from(x)) / 0.5).powi(2)).exp();
    let grid: Vec<f64> = (0..300).map(|i| -3.0 + 0.02 * f64::from(i)).collect();
    // The kernel is a product: a row of each factor a point.
    let factors = |axis: usize| -> Vec<Vec<f64>> {
        points.chunks(2).map(|point| grid.iter().map(|&at| kernel(at, point[axis])).collect()).collect()
    };
    let (xs, ys) = (factors(0), factors(1));
    let mut density = vec![0.0; 300 * 300];
    for (x, y) in xs.iter().zip(&ys) {
        for (row, &x) in density.chunks_mut(300).zip(x) {
            row.iter_mut().zip(y).for_each(|(density, &y)| *density += x * y);
        }
    }
    let total: f64 = density.iter().sum();
    let terms = density.iter().map(|&at| at / total).filter(|&p| p > 0.0).map(|p| p * (p * 90_000.0).ln());
    terms.sum()
}

/// Levels of k-means, each on the centroids of the one before; the centroids of the last.
fn hierarchy(points: &[f32], d: usize, clusters: &[usize], resamplings: usize, seed: u64) -> Vec<f32> {
    let mut points = points.to_vec();
    for (level, &k) in clusters.iter().enumerate() {
        let nearest = (points.len() / d / k).div_ceil(2);
        let params = KMeans {
            k,
            iterations: 50,
            seed: seed + 1000 * level as u64,
            init: Init::PlusPlus,
            resamplings,
            nearest,
            ..KMeans::default()
        };
        points = train(&points, d, &params).expect("trained").centroids;
    }
    points
}

#[test]
fn levels_and_resampling_flatten_three_clouds_as_published() {
    const SEEDS: u64 = 3;
    let mean = |of: &dyn Fn(u64) -> f64| (1..=SEEDS).map(of).sum::<f64>() / 3.0;
    let raw = mean(&|seed| kl_to_uniform(&clouds(seed)));
    let of = |clusters: &[usize], resamplings| {
        mean(&|seed| kl_to_uniform(&hierarchy(&clouds(seed), 2, clusters, resamplings, seed)))
    };
    let found = [raw, of(&[300], 0), of(&[1500, 300], 0), of(&[3000, 1000, 300], 0), of(&[3000, 1000, 300], 2)];
    println!("KL to uniform: {found:.3?}");
    for (found, published) in found.into_iter().zip([0.94, 0.34, 0.13, 0.08, 0.042]) {
        assert!((found - published).abs() < 0.15 * published + 0.01, "{found:.3}, published {published}");
    }
}

#[test]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "points on a line")]
fn each_level_takes_the_cube_root_of_density_on_a_line() {
    // 64 times as dense on
    // [0, 1) as on [1, 2): d / (d + 2) = 1/3, so 4 times as many centroids, and 4^(1/3) a level further.
    const DENSE: usize = 64_000;
    let draw = Draw::new(5, "recipe/line");
    let at = |i: usize, from: f64| (from + draw.unit(i as u64)) as f32;
    let points: Vec<f32> =
        (0..DENSE).map(|i| at(i, 0.0)).chain((DENSE..DENSE + DENSE / 64).map(|i| at(i, 1.0))).collect();
    let ratio = |clusters: &[usize]| {
        let centroids = hierarchy(&points, 1, clusters, 0, 7);
        let dense = centroids.iter().filter(|&&x| x < 1.0).count() as f64;
        dense / (centroids.len() as f64 - dense)
    };
    for (found, law) in [(ratio(&[500]), 4.0), (ratio(&[500, 50]), 4f64.cbrt())] {
        assert!((found / law - 1.0).abs() < 0.1, "{found:.3} times as many centroids, {law:.3} by the law");
    }
}
