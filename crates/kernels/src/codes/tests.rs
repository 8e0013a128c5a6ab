use super::kernel::sink::Hits;
use super::scan::Scratch;
use super::*;
use crate::dot::{dot, normalise};
use crate::hash::Draw;
use crate::rotate::Rotation;

fn units(n: usize, d: usize, seed: u64) -> Vec<f32> {
    let draw = Draw::new(seed, "codes");
    #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
    let mut vectors: Vec<f32> = (0..n * d).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
    // A few numbers far larger than the rest: what codes with one scale a row do worst.
    vectors.chunks_mut(d).step_by(3).for_each(|vector| vector[0] *= 9.0);
    vectors.chunks_mut(d).for_each(|vector| assert!(normalise(vector)));
    vectors
}

#[test]
fn the_scan_lets_every_pair_over_the_floor_through_and_few_others() {
    for (n, m, d) in [(1, 1, 1), (9, 33, 5), (70, 2100, 40), (33, 100, 512)] {
        let (a, b) = (units(n, d, 1), units(m, d, 2));
        let (queries, base) = (Codes::new(&a, d), Codes::new(&b, d));
        let chosen: Vec<u32> = (0..).step_by(2).take(n.div_ceil(2)).collect();
        for floor in [-0.1, 0.05, 0.3] {
            let (query_floors, row_floors) = (vec![floor; n], vec![floor; m]);
            let rows = m / 3..m;
            let mut found = Vec::new();
            let mut take = |query, row| found.push((query, row));
            base.scan(&queries, (&chosen, &query_floors), (rows.clone(), &row_floors), ScanMode::Full, &mut take);
            let mut extra = found.len();
            for &q in &chosen {
                for row in rows.clone() {
                    let cosine = dot(&a[q as usize * d..][..d], &b[row * d..][..d]);
                    let there = found.iter().filter(|&&pair| pair == (q, row)).count();
                    assert!(there == 1 || (there == 0 && cosine < floor), "{q} {row} {cosine} {floor} {there}");
                    extra -= usize::from(there == 1 && cosine >= floor);
                }
            }
            assert!(extra * 4 <= chosen.len() * rows.len() || d < 40, "{extra} pairs too many");
        }
    }
}

#[test]
fn sketches_of_turned_vectors_miss_next_to_nothing() {
    const D: usize = 384;
    let rotation = Rotation::new(D, 5);
    let mut vectors = units(3000, D, 4);
    // Pairs at cosines from the floor on: a vector, and what it is turned into.
    for pair in vectors.chunks_exact_mut(2 * D) {
        let (a, b) = pair.split_at_mut(D);
        let along = dot(a, b);
        a.iter().zip(b.iter_mut()).for_each(|(a, b)| *b -= along * a);
        assert!(normalise(b));
        a.iter().zip(b.iter_mut()).for_each(|(a, b)| *b = 0.62 * a + (1.0f32 - 0.62 * 0.62).sqrt() * *b);
    }
    rotation.apply_to_all(&mut vectors);
    let codes = Codes::new(&vectors, D);
    let (chosen, floors): (Vec<u32>, _) = ((0..3000).collect(), vec![0.6; 3000]);
    let mut found = 0;
    codes.scan(&codes, (&chosen, &floors), (0..3000, &floors), ScanMode::Sketch(128), &mut |a, b| {
        found += usize::from(a as usize / 2 == b / 2 && a as usize % 2 < b % 2);
    });
    assert!((1495..=1500).contains(&found), "{found} of 1500");
}

/// Unit vectors in clouds of `some`, each around a direction of its own, and all around one.
fn clouds(n: usize, some: usize, d: usize) -> Vec<f32> {
    let noise = units(n + n.div_ceil(some) + 1, d, 6);
    let (all, noise) = noise.split_at(d);
    let (own, noise) = noise.split_at(n.div_ceil(some) * d);
    let mut vectors = noise.to_vec();
    for (row, vector) in vectors.chunks_mut(d).enumerate() {
        let own = &own[row / some * d..][..d];
        vector.iter_mut().zip(all.iter().zip(own)).for_each(|(x, (all, own))| *x += 0.6 * all + 0.5 * own);
        assert!(normalise(vector));
    }
    vectors
}

#[test]
fn residuals_are_found_as_whole_rows_are() {
    const N: usize = 300;
    for d in [40, 512] {
        let vectors = clouds(N, 70, d);
        let (ranges, floors) = ([0..70, 70..140, 150..280], [0.42; N]);
        let (whole, residual) = (Codes::new(&vectors, d), Codes::residual(&vectors, d, &ranges));
        let chosen: Vec<u32> = (0..300).step_by(3).collect();
        let scan = |base: &Codes, queries: &Codes, near: &dyn Fn((u32, usize)) -> bool| {
            let mut found = Vec::new();
            let floors = (&floors[..], &floors[..base.rows()]);
            let rows = (0..base.rows(), floors.1);
            base.scan(queries, (&chosen, floors.0), rows, ScanMode::Full, &mut |query, row| found.push((query, row)));
            // A few that are just below the floor are let through, not always the same.
            found.retain(|&pair| near(pair));
            found.sort_unstable();
            found
        };
        let near = |(q, row): (u32, usize)| dot(&vectors[q as usize * d..][..d], &vectors[row * d..][..d]) >= 0.42;
        let expected = scan(&whole, &whole, &near);
        assert!(expected.len() > N && expected.len() < 30 * N, "{} pairs", expected.len());
        assert_eq!(scan(&residual, &residual, &near), expected, "{d}");
        let some: Vec<u32> = (1..300).step_by(2).collect();
        let of_some = scan(&residual.of_rows(&some), &whole, &|(q, row)| near((q, some[row] as usize)));
        let back = of_some.into_iter().map(|(query, row)| (query, some[row] as usize));
        assert!(back.eq(expected.iter().filter(|(_, row)| row % 2 == 1).copied()), "{d}");
    }
}

#[test]
fn a_sketch_of_residuals_lets_less_through() {
    const D: usize = 512;
    let mut vectors = clouds(2000, 500, D);
    Rotation::new(D, 5).apply_to_all(&mut vectors);
    let (whole, residual) =
        (Codes::new(&vectors, D), Codes::residual(&vectors, D, &[0..500, 500..1000, 1000..1500, 1500..2000]));
    let chosen: Vec<u32> = (0..2000).collect();
    // The floor is that of the nearest thousandth.
    let mut all: Vec<f32> = Vec::new();
    for q in 0..500 {
        all.extend((500..1000).map(|row| dot(&vectors[q * D..][..D], &vectors[row * D..][..D])));
    }
    all.sort_by(f32::total_cmp);
    let floor = all[all.len() - all.len() / 1000];
    let (cosine, square) = residual.mean_cosine(0, &residual, 500).expect("means");
    assert!(
        (cosine - all.iter().sum::<f32>() / 250_000.0).abs() < 0.01 && square > 0.3 && square < 0.9,
        "{cosine} {square}"
    );
    let through = |codes: &Codes| {
        let mut scratch = Scratch::default();
        let span = 500..1000;
        let floors = (|_: usize| floor, |_: usize| floor);
        let mean = codes.mean_at(500).1;
        codes.thresholds((codes, &chosen[..500]), (&span, mean), &floors, ScanMode::Sketch(256), &mut scratch);
        let groups = codes.groups(&span);
        let scales = &codes.packing().scales[groups.start * LANES..groups.end * LANES];
        let mut hits = Vec::new();
        let sink = &mut Hits { scales, thresholds: &scratch.thresholds, found: &mut hits };
        codes.multiply(codes, &chosen[..500], &groups, ScanMode::Sketch(256), sink);
        let first = groups.start * LANES;
        let near = |&&(query, row): &&(u32, u32)| {
            let (q, row) = (query as usize, first + row as usize);
            span.contains(&row) && dot(&vectors[q * D..][..D], &vectors[row * D..][..D]) >= floor
        };
        (hits.len(), hits.iter().filter(near).count())
    };
    let (whole, residual) = (through(&whole), through(&residual));
    assert!(whole.1 >= 247 && residual.1 >= 247, "{whole:?}, {residual:?} of 250");
    assert!(residual.0 * 2 < whole.0, "{whole:?}, {residual:?}");
}

#[test]
fn the_mode_follows_from_how_many_are_rescored() {
    // What nobody is near is told by few codes, what all are near by none but all.
    assert_eq!(ScanMode::cheapest(512, 0.6, 0.0, 1.0), ScanMode::Sketch(128));
    assert_eq!(ScanMode::cheapest(512, 0.27, 0.0, 0.67), ScanMode::Sketch(256));
    assert_eq!(ScanMode::cheapest(512, 0.0, 0.0, 0.5), ScanMode::Full);
    assert_eq!(ScanMode::cheapest(192, 0.6, 0.0, 1.0), ScanMode::Full);
    assert_eq!(scan_mode::sketches(1536).collect::<Vec<_>>(), [128, 256, 512]);
}

#[test]
fn a_pair_that_only_one_end_wants_is_found() {
    let vectors = units(2, 64, 3);
    let codes = Codes::new(&vectors, 64);
    for (floors, expected) in [([-1.0, 2.0], 1), ([2.0, -1.0], 1), ([2.0, 2.0], 0)] {
        let mut found = 0;
        codes.scan(&codes, (&[0], &floors), (1..2, &floors), ScanMode::Full, &mut |_, _| found += 1);
        assert_eq!(found, expected);
    }
}

#[test]
fn what_is_no_vector_is_found_by_nobody() {
    let codes = Codes::new(&[0.0, 0.0, 1.0, 0.0], 2);
    codes.scan(&codes, (&[1], &[-1.0, -1.0]), (0..1, &[-1.0, -1.0]), ScanMode::Full, &mut |_, _| panic!("found"));
}
