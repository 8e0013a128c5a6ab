//! Crowds of near copies against brute force: the same components at every threshold.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cell::row_number;
use super::tests::{D, take};
use super::{Block, Near};
use crate::pair::Pair;
use crate::union_find::UnionFind;
use lvd_base::types::{CellRows, ImageId};
use lvd_kernels::dot::{dot, normalise, similarity, to_f16, to_f32};
use lvd_kernels::hash::Draw;

const NEAR: Near = Near { k: 60, floor: 0.6, crowd: 0.95 };
const THRESHOLDS: [f32; 7] = [0.6, 0.62, 0.65, 0.7, 0.8, 0.9, 0.95];
const FIRST_ID: u64 = 1000;

/// Turns `from` by an angle, in the plane that it spans with `to`.
fn turn(from: &[f32], to: &[f32], degrees: f32) -> Vec<f32> {
    let along = dot(from, to);
    let mut across: Vec<f32> = from.iter().zip(to).map(|(a, b)| b - along * a).collect();
    normalise(&mut across);
    let (sin, cos) = degrees.to_radians().sin_cos();
    from.iter().zip(&across).map(|(a, b)| cos * a + sin * b).collect()
}

fn degrees(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b).clamp(-1.0, 1.0).acos().to_degrees()
}

/// Rows on their way into blocks.
struct Scene {
    draw: Draw,
    drawn: u64,
    cells: u32,
    /// Whether the rows of one cell probe different cells.
    mixed: bool,
    rows: CellRows,
}

impl Scene {
    fn number(&mut self) -> f32 {
        self.drawn += 1;
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let number = self.draw.unit(self.drawn) as f32;
        number
    }

    fn direction(&mut self) -> Vec<f32> {
        let mut vector: Vec<f32> = (0..D).map(|_| self.number() - 0.5).collect();
        assert!(normalise(&mut vector));
        vector
    }

    fn add(&mut self, vector: &[f32], cell: u32, settled: bool) {
        let cell = cell % self.cells;
        self.rows.ids.push(ImageId(FIRST_ID + self.rows.ids.len() as u64));
        self.rows.cells.push(cell);
        self.rows.settled.push(settled);
        self.rows.halves.extend(to_f16(vector));
        let next = (cell + 1) % self.cells;
        if next != cell && (!self.mixed || self.number() < 0.3) {
            self.rows.probes.push(next);
        }
        self.rows.probe_starts.push(self.rows.probes.len());
    }

    /// `n` vectors within 12 degrees of `centre`, most of them on the way there; returns them.
    fn crowd(&mut self, centre: &[f32], n: usize, cell: u32) -> Vec<Vec<f32>> {
        let around = |i: usize, scene: &mut Self| {
            let (to, far) = (scene.direction(), scene.number());
            let vector = turn(centre, &to, 12.0 * far.sqrt());
            scene.add(&vector, cell, i % 17 == 16);
            vector
        };
        (0..n).map(|i| around(i, self)).collect()
    }
}

/// Two crowds that one pair of members links, a third, and vectors whose nearest member is just
/// over or under the floor.
fn scene(cells: u32, mixed: bool, seed: u64) -> CellRows {
    let rows = CellRows { probe_starts: vec![0], ..CellRows::default() };
    let mut scene = Scene { draw: Draw::new(seed, "clumps"), drawn: 0, cells, mixed, rows };
    let (a, c) = (scene.direction(), scene.direction());
    let crowd = scene.crowd(&a, 300, 0);
    // The member of the first crowd that is farthest from its middle, and one of the second beyond
    // it.
    let far = crowd.iter().max_by(|x, y| degrees(&a, x).total_cmp(&degrees(&a, y))).expect("a crowd");
    let bridge = turn(&a, far, degrees(&a, far) + 52.5);
    scene.add(&bridge, 1, false);
    scene.crowd(&turn(&a, far, degrees(&a, far) + 62.5), 160, 1);
    let other = scene.crowd(&c, 200, 2);
    for i in 0..40 {
        let (middle, crowd) = if i % 2 == 0 { (&a, &crowd) } else { (&c, &other) };
        let member = &crowd[i * 3];
        let away = 49.0 + 8.0 * scene.number();
        scene.add(&turn(middle, member, degrees(middle, member) + away), u32::try_from(i).expect("small"), i % 5 == 0);
    }
    for member in &other[..6] {
        scene.add(member, 2, false);
    }
    take(&scene.rows, |_| true)
}

/// All pairs over the floor that are compared, or all that are not settled.
fn pairs(rows: &CellRows, met_only: bool) -> Vec<(usize, usize, f32)> {
    let vectors = to_f32(&rows.halves);
    let probes = |row: usize| &rows.probes[rows.probe_starts[row]..rows.probe_starts[row + 1]];
    let mut pairs = Vec::new();
    for a in 0..rows.ids.len() {
        for b in 0..a {
            let met = rows.cells[a] == rows.cells[b]
                || probes(a).contains(&rows.cells[b])
                || probes(b).contains(&rows.cells[a]);
            let similarity = similarity(&vectors[a * D..][..D], &vectors[b * D..][..D]);
            if (met || !met_only) && !(rows.settled[a] && rows.settled[b]) && similarity >= NEAR.floor {
                pairs.push((number(rows.ids[a]), number(rows.ids[b]), similarity));
            }
        }
    }
    pairs
}

fn number(id: ImageId) -> usize {
    usize::try_from(id.0 - FIRST_ID).expect("a row")
}

/// The lowest row of each row's component.
fn components(n: usize, pairs: &[(usize, usize, f32)], threshold: f32) -> Vec<u32> {
    let mut links = UnionFind::new(row_number(n));
    for &(a, b, _) in pairs.iter().filter(|pair| pair.2 >= threshold) {
        links.union(row_number(a), row_number(b));
    }
    (0..row_number(n)).map(|row| links.find(row)).collect()
}

fn plain(pairs: impl Iterator<Item = Pair>) -> Vec<(usize, usize, f32)> {
    pairs.map(|pair| (number(pair.id), number(pair.neighbour), pair.similarity)).collect()
}

/// What one block finds.
fn whole(rows: &CellRows) -> Vec<(usize, usize, f32)> {
    let lost = Arc::default();
    let block = Block::new(std::slice::from_ref(rows), D, NEAR, None, &lost);
    let (crowds, members) = block.crowded();
    assert!(crowds >= 3 && members > 300, "{crowds} crowds of {members}");
    block.within();
    plain(block.into_pairs().chain(lost.take()))
}

/// What three blocks find, cut through crowds.
fn cut(rows: &CellRows) -> Vec<(usize, usize, f32)> {
    let n = rows.ids.len();
    let lost = Arc::default();
    let part = |from, to| Block::new(&[take(rows, |row| (from..to).contains(&row))], D, NEAR, None, &lost);
    let blocks = [part(0, n / 5), part(n / 5, n / 2), part(n / 2, n)];
    assert!(blocks.iter().all(|block| block.crowded().0 > 0));
    for i in 0..3 {
        blocks[i].within();
        for other in &blocks[i + 1..] {
            blocks[i].with(other);
        }
    }
    plain(blocks.into_iter().flat_map(Block::into_pairs).chain(lost.take()))
}

/// What groups of cells find with their visitors.
fn grouped(rows: &CellRows) -> Vec<(usize, usize, f32)> {
    let mut pairs = Vec::new();
    for group in [0..1, 1..3, 3..4] {
        let probes = |row: usize| &rows.probes[rows.probe_starts[row]..rows.probe_starts[row + 1]];
        let home = |row: usize| group.contains(&rows.cells[row]);
        let comes = |row: usize| !home(row) && probes(row).iter().any(|probe| group.contains(probe));
        let lost = Arc::default();
        let block = |wanted: &dyn Fn(usize) -> bool| Block::new(&[take(rows, wanted)], D, NEAR, None, &lost);
        let held = block(&home);
        held.within();
        for part in 0..2 {
            let visitors = block(&|row| comes(row) && (row % 5 == 0) == (part == 0));
            held.visited(&visitors);
            pairs.extend(plain(visitors.into_pairs().chain(lost.take())));
        }
        pairs.extend(plain(held.into_pairs().chain(lost.take())));
    }
    pairs
}

#[test]
fn crowds_have_the_components_of_all_pairs_at_every_threshold() {
    for (cells, seed) in [(1, 1), (1, 2), (4, 3), (4, 4)] {
        let rows = scene(cells, false, seed);
        let all = pairs(&rows, true);
        for (way, found) in [("whole", whole(&rows)), ("cut", cut(&rows)), ("grouped", grouped(&rows))] {
            let mut sizes = BTreeSet::new();
            for threshold in THRESHOLDS {
                let expected = components(rows.ids.len(), &all, threshold);
                assert_eq!(components(rows.ids.len(), &found, threshold), expected, "{way} {seed} {threshold}");
                sizes.insert(expected.iter().collect::<BTreeSet<_>>().len());
            }
            assert!(sizes.len() > 3, "thresholds differ");
            assert!(way == "cut" || found.len() * 4 < all.len(), "{} pairs of {}", found.len(), all.len());
        }
    }
}

#[test]
fn what_some_members_probe_is_met_by_all_and_no_pair_is_made_up() {
    for seed in 5..8 {
        let rows = scene(4, true, seed);
        let (met, all) = (pairs(&rows, true), pairs(&rows, false));
        let true_pairs: BTreeSet<(usize, usize, u32)> =
            all.iter().flat_map(|&(a, b, s)| [(a, b, s.to_bits()), (b, a, s.to_bits())]).collect();
        for found in [whole(&rows), grouped(&rows)] {
            assert!(found.iter().all(|&(a, b, s)| true_pairs.contains(&(a, b, s.to_bits()))));
            for threshold in THRESHOLDS {
                let joined = components(rows.ids.len(), &found, threshold);
                let lost = met.iter().find(|&&(a, b, s)| s >= threshold && joined[a] != joined[b]);
                assert_eq!(lost, None, "seed {seed}, {threshold}");
            }
        }
    }
}

#[test]
fn crowds_do_not_depend_on_threads() {
    let rows = scene(4, true, 9);
    let by = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| (whole(&rows), grouped(&rows)))
    };
    assert_eq!(by(1), by(3));
}

#[test]
fn a_crowd_costs_little_more_than_reading_it() {
    const N: usize = 50_000;
    let rows = CellRows { probe_starts: vec![0], ..CellRows::default() };
    let mut scene = Scene { draw: Draw::new(3, "crowd"), drawn: 0, cells: 1, mixed: false, rows };
    let centre = scene.direction();
    for i in 0..N + 200 {
        let to = scene.direction();
        let far = if i < N { 8.0 } else { 30.0 + 40.0 * scene.number() };
        scene.add(&turn(&centre, &to, far), 0, false);
    }
    let lost = Arc::default();
    let block = Block::new(std::slice::from_ref(&scene.rows), D, NEAR, None, &lost);
    assert_eq!(block.crowded(), (1, N as u64 - 1));
    let products = block.within();
    assert!(products < 300 * N as u64, "{products} products");
    let found = plain(block.into_pairs().chain(lost.take()));
    let joined = components(N + 200, &found, 0.9);
    assert!(joined[..N].iter().all(|&root| root == 0));
}
