//! Cells against brute force.

use super::assigned::gap;
use super::*;
use lvd_kernels::dot::{dot, normalise};
use lvd_kernels::hash::Draw;

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
fn every_vector_is_in_its_nearest_cell_and_probes_the_next() -> Result<()> {
    let points = clouds(2000, 1);
    let (cells, shares) = Cells::train(&points, D, 50, 7)?;
    assert!((30..=50).contains(&cells.len()) && shares.len() == cells.len(), "{} cells", cells.len());
    assert_eq!(shares.iter().sum::<usize>(), 2000);
    let assigned = cells.assign(&points, 0.3);
    for (row, point) in points.chunks(D).enumerate() {
        let cosine = |cell: u32| dot(point, &cells.centroids()[cell as usize * D..][..D]);
        let best = cells.centroids().chunks(D).map(|centroid| dot(point, centroid)).fold(f32::MIN, f32::max);
        // Eight-bit products are off by a little.
        assert!(cosine(assigned.cells[row]) > best - 0.03, "row {row}");
        let probes = assigned.of(row);
        assert!(probes.iter().all(|&(cell, gap)| (best - cosine(cell) - gap).abs() < 0.03 && gap <= 0.3));
        let near = (0..).take(cells.len()).filter(|&cell| cosine(cell) > best - 0.25).count();
        assert!(probes.len() + 1 >= near.min(PROBES), "{probes:?} {near}");
    }
    Ok(())
}

/// Whether two rows are compared.
fn met(assigned: &Assigned, a: usize, b: usize) -> bool {
    let probes = |row: usize, cell: u32| gap(assigned, row, cell).is_finite();
    probes(a, assigned.cells[b]) || probes(b, assigned.cells[a])
}

#[test]
fn the_margin_that_a_pair_needs_is_the_margin_with_which_it_is_compared() -> Result<()> {
    let points = clouds(600, 2);
    let (cells, _) = Cells::train(&points, D, 40, 7)?;
    let (places, narrow) = (cells.places(&points), cells.assign(&points, 0.1));
    assert_eq!(places.cells.cells, narrow.cells);
    for (a, b) in (0..300).map(|i| (i, 599 - i)) {
        let need = cells.need((&places, a), (&places, b));
        assert_eq!(met(&narrow, a, b), need.cells <= 0.1, "{a} {b} {need:?}");
        assert!(need.districts == 0.0, "there are none");
    }
    Ok(())
}

#[test]
fn what_districts_hide_is_what_is_measured() -> Result<()> {
    let points = clouds(20_000, 6);
    let (mut cells, shares) = Cells::train(&points, D, 2400, 7)?;
    let districts = cells.districts().expect("they are many");
    assert!(districts.cells.len() > 20 && districts.margin < WIDEST, "{districts:?}");
    assert_eq!((shares.len(), shares.iter().sum::<usize>()), (cells.len(), 20_000));
    assert!(cells.parents().is_sorted() && cells.parents().len() == cells.len());
    let places = cells.places(&points);
    // Nearly all find their own cells with what was measured; all of them when they look at
    // everything.
    let of_all = |cells: &Cells| {
        let homes = cells.assign(&points, 0.0).cells;
        homes.iter().zip(&places.cells.cells).filter(|(a, b)| a == b).count()
    };
    assert!(of_all(&cells) >= 19_600, "{}", of_all(&cells));
    let pairs: Vec<(usize, usize)> = (0..4000).map(|i| (i, i + 40 * (1 + i % 7))).collect();
    let (margin, wider) = (0.1, 0.15);
    cells.look_as_far_as(wider);
    let assigned = cells.assign(&points, margin);
    let needs = pairs.iter().map(|&(a, b)| (a, b, cells.need((&places, a), (&places, b))));
    let found: Vec<(usize, usize)> =
        needs.filter(|(_, _, need)| need.cells <= margin && need.districts <= wider).map(|(a, b, _)| (a, b)).collect();
    assert!(found.len() > 1000, "{}", found.len());
    for (a, b) in found {
        assert!(met(&assigned, a, b), "{a} {b}");
    }
    cells.look_as_far_as(2.0);
    assert_eq!(of_all(&cells), 20_000);
    let again = Cells::new(cells.centroids().to_vec(), D).with_districts(
        cells.districts().map(|districts| districts.cells.values.clone()).unwrap_or_default(),
        &cells.parents().into_iter().flatten().collect::<Vec<_>>(),
    );
    assert_eq!(again.assign(&points, 0.1).cells.len(), 20_000);
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
            Ok((cells.assign(&points, 0.2), shares, cells.centroids().to_vec()))
        })
    };
    assert!(on(1)? == on(3)?);
    Ok(())
}
