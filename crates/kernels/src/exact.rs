//! Exact search by matrix products: the nearest base rows of queries, the nearest centroid of
//! points.
//!
//! BLAS, or products of eight-bit codes, propose every candidate that rounding could make the best;
//! dot products in a fixed order decide among them, ties going to the lower row. So an answer
//! depends neither on how the blocks are cut nor on the kernel of the BLAS, nor on which of the two
//! proposed.

mod blocks;
mod coded;
mod knn;
mod nearest;

pub use knn::{Knn, knn_ip};
pub use nearest::{Centroids, nearest};

#[cfg(test)]
mod tests {
    use super::knn::better;
    use super::*;
    use crate::dot::{dot, normalise, squared_distance};
    use crate::hash::Draw;

    fn units(n: usize, d: usize, seed: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "exact");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut vectors: Vec<f32> = (0..n * d).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
        // A few numbers far larger than the rest: what codes with one scale a row do worst.
        vectors.chunks_mut(d).step_by(3).for_each(|vector| vector[0] *= 9.0);
        vectors.chunks_mut(d).for_each(|vector| assert!(normalise(vector)));
        vectors
    }

    /// Every pair in the fixed order, sorted: what the search must equal to the bit.
    fn oracle(queries: &[f32], base: &[f32], d: usize, k: usize) -> Knn {
        let mut knn = Knn { k, rows: Vec::new(), similarities: Vec::new() };
        for query in queries.chunks(d) {
            let mut all: Vec<_> = (0..).zip(base.chunks(d)).map(|(row, base)| (dot(query, base), row)).collect();
            all.sort_by(better);
            all.resize(all.len().max(k), (f32::NAN, Knn::NONE));
            knn.rows.extend(all[..k].iter().map(|&(_, row)| row));
            knn.similarities.extend(all[..k].iter().map(|&(similarity, _)| similarity));
        }
        knn
    }

    fn bits(knn: &Knn) -> (Vec<u32>, Vec<u32>) {
        (knn.rows.clone(), knn.similarities.iter().map(|x| x.to_bits()).collect())
    }

    #[test]
    fn knn_equals_brute_force_to_the_bit() {
        // From 64 numbers and 64 rows on, codes propose.
        let small = [(1, 1, 1, 1), (3, 5, 2, 9), (300, 5000, 24, 7), (257, 2049, 33, 64), (5, 0, 8, 2)];
        for (n, m, d, k) in small.into_iter().chain([(600, 3000, 96, 5), (40, 1100, 130, 300), (33, 70, 64, 70)]) {
            let (queries, base) = (units(n, d, 1), units(m, d, 2));
            assert_eq!(bits(&knn_ip(&queries, &base, d, k)), bits(&oracle(&queries, &base, d, k)), "{n} {m} {d} {k}");
        }
    }

    #[test]
    fn equal_vectors_are_found_lowest_row_first() {
        let d = 48;
        let one = units(1, d, 3);
        let base: Vec<f32> = one.iter().copied().cycle().take(6000 * d).collect();
        let rows: Vec<u32> = knn_ip(&one, &base, d, 40).of(0).map(|(row, _)| row).collect();
        assert_eq!(rows, (0..40).collect::<Vec<_>>());
        assert_eq!(nearest(&one, &base, d), [(0, 0.0)]);
        // More of them than codes can keep apart.
        let d = 80;
        let one = units(1, d, 4);
        let base: Vec<f32> = one.iter().copied().cycle().take(3000 * d).collect();
        let queries: Vec<f32> = one.iter().copied().cycle().take(50 * d).collect();
        let found = knn_ip(&queries, &base, d, 3);
        assert!((0..50).all(|query| found.of(query).map(|(row, _)| row).eq(0..3)));
        assert!(nearest(&queries, &base, d).iter().all(|&found| found == (0, 0.0)));
    }

    #[test]
    fn vectors_that_are_no_numbers_are_never_found() {
        let base = [f32::NAN, 0.0, 0.6, 0.8];
        assert_eq!(knn_ip(&[1.0, 0.0], &base, 2, 2).of(0).collect::<Vec<_>>(), [(1, 0.6)]);
        assert_eq!(knn_ip(&[f32::NAN, 0.0], &base, 2, 2).of(0).count(), 0);
        let lost = nearest(&[f32::NAN, 0.0], &[0.0, 0.0, 1.0, 1.0], 2);
        assert!(lost[0].0 == 0 && lost[0].1.is_nan(), "{lost:?}");
    }

    #[test]
    fn nearest_equals_brute_force_to_the_bit() {
        let small = [(300, 2100, 16, 1.0), (1000, 7, 40, 1.0), (400, 333, 33, 100.0)];
        for (n, k, d, scale) in small.into_iter().chain([(1500, 1100, 96, 1.0), (700, 64, 70, 50.0)]) {
            let scaled = |seed| units(n.max(k), d, seed).into_iter().map(|x| x * scale).collect::<Vec<_>>();
            let (points, centroids) = (&scaled(4)[..n * d], &scaled(5)[..k * d]);
            let expected: Vec<(u32, f32)> = points
                .chunks(d)
                .map(|point| {
                    let distances = (0..).zip(centroids.chunks(d)).map(|(i, c)| (i, squared_distance(point, c)));
                    distances.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are centroids")
                })
                .collect();
            assert_eq!(nearest(points, centroids, d), expected, "{n} {k} {d}");
        }
    }

    #[test]
    fn answers_do_not_depend_on_the_number_of_threads() {
        let (queries, base) = (units(700, 20, 6), units(900, 20, 7));
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| (bits(&knn_ip(&queries, &base, 20, 5)), nearest(&queries, &base, 20)))
        };
        assert_eq!(on(1), on(3));
    }
}
