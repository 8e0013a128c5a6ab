//! Crowds larger than the lists of the nearest, through the join and its decisions, against every
//! pair.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::stages::dedup::settings::{Dedup, Linkage};
use lvd_base::types::{CellRows, ImageId};
use lvd_kernels::dot::{normalise, to_f16, to_f32};
use lvd_kernels::hash::Draw;
use lvd_ops::forest::spanning_forest;
use lvd_ops::near_pairs::{Block, Lost, Near};
use lvd_ops::pair::Pair;
use lvd_ops::union_find::UnionFind;

const D: usize = 48;

struct Scene {
    draw: Draw,
    drawn: u64,
    vectors: Vec<Vec<f32>>,
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

    fn add(&mut self, mut vector: Vec<f32>) {
        assert!(normalise(&mut vector));
        self.vectors.push(to_f32(&to_f16(&vector)));
    }

    /// `n` vectors whose cosines with each other are about `cosine`.
    fn crowd(&mut self, centre: &[f32], n: usize, cosine: f32) {
        for _ in 0..n {
            let noise = self.direction();
            let mix = |(c, x): (&f32, &f32)| cosine.sqrt() * c + (1.0 - cosine).sqrt() * x;
            self.add(centre.iter().zip(&noise).map(mix).collect());
        }
    }
}

/// Crowds of 65 to 300, two of them linked by one pair; some equal vectors, and strangers on the
/// way from one crowd to another.
fn scene(seed: u64) -> Vec<Vec<f32>> {
    let mut scene = Scene { draw: Draw::new(seed, "crowds"), drawn: 0, vectors: Vec::new() };
    let (a, mut b, c) = (scene.direction(), scene.direction(), scene.direction());
    let along: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    b.iter_mut().zip(&a).for_each(|(b, a)| *b -= along * a);
    normalise(&mut b);
    for (centre, cosine) in [(&a, 0.86), (&b, 0.86), (&c, 0.6 + 0.38 * scene.number())] {
        let n = 65 + usize::try_from(scene.draw.bits(scene.drawn)).unwrap_or(7) % 236;
        scene.crowd(centre, n, cosine);
    }
    let noise = scene.direction();
    for (p, q) in [(0.86, 0.3875), (0.3875, 0.86)] {
        let mix = |((a, b), x): ((&f32, &f32), &f32)| p * a + q * b + 0.33 * x;
        scene.add(a.iter().zip(&b).zip(&noise).map(mix).collect());
    }
    for i in 0..40 {
        let (towards, far, noise) = (if i % 2 == 0 { &a } else { &c }, 0.8 * scene.number(), scene.direction());
        let mix = |(a, x): (&f32, &f32)| (1.0 - far) * a + far * x;
        scene.add(towards.iter().zip(&noise).map(mix).collect());
    }
    for i in 0..20 {
        scene.add(scene.vectors[i * 3].clone());
    }
    // Ranks are to have nothing to do with crowds.
    let mut order: Vec<usize> = (0..scene.vectors.len()).collect();
    order.sort_by_key(|&i| scene.draw.within(9).bits(i as u64));
    order.into_iter().map(|i| scene.vectors[i].clone()).collect()
}

/// What blocks of some rows find together, as the join writes it: pairs, and whether they belong to
/// a forest.
fn joined(vectors: &[Vec<f32>], near: Near, rows: usize) -> Vec<(Pair, bool)> {
    let lost = Arc::<Lost>::default();
    let block = |(number, vectors): (usize, &[Vec<f32>])| {
        let n = vectors.len();
        let rows = CellRows {
            ids: (0..n).map(|row| ImageId((number * rows + row) as u64)).collect(),
            cells: vec![0; n],
            settled: (0..n).map(|row| is_settled(number * rows + row)).collect(),
            halves: to_f16(&vectors.concat()),
            probe_starts: vec![0; n + 1],
            probes: Vec::new(),
        };
        Block::new(&[rows], D, near, None, &lost)
    };
    let blocks: Vec<Block> = vectors.chunks(rows).enumerate().map(block).collect();
    for (i, one) in blocks.iter().enumerate() {
        one.within();
        blocks[i + 1..].iter().for_each(|other| {
            one.with(other);
        });
    }
    let mut lots: Vec<Vec<Pair>> = blocks.into_iter().map(|block| block.into_pairs().collect()).collect();
    lots.push(lost.take());
    lots.into_iter()
        .flat_map(|lot| spanning_forest(&lot).into_iter().zip(lot).map(|(tree, pair)| (pair, tree)))
        .collect()
}

/// The first few, which rank highest.
fn is_settled(row: usize) -> bool {
    row < 9
}

/// Every pair over the lowest floor that is to be compared, with its similarity.
fn all_pairs(vectors: &[Vec<f32>]) -> Vec<(usize, usize, f32)> {
    let pairs = (0..vectors.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    let pairs = pairs.filter(|&(a, b)| !(is_settled(a) && is_settled(b)));
    pairs.map(|(a, b)| (a, b, similarity(&vectors[a], &vectors[b]))).filter(|pair| pair.2 >= 0.6).collect()
}

fn roots(n: usize, pairs: impl Iterator<Item = (usize, usize)>) -> Vec<u32> {
    let number = |row: usize| u32::try_from(row).expect("a row");
    let mut links = UnionFind::new(number(n));
    pairs.for_each(|(a, b)| links.union(number(a), number(b)));
    (0..number(n)).map(|row| links.find(row)).collect()
}

/// Who goes, with the rows as ranks, by every pair.
fn expected(n: usize, pairs: &[(usize, usize)], by_any: bool) -> BTreeSet<usize> {
    let mut higher: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(a, b) in pairs {
        higher.entry(a).or_default().push(b);
    }
    let mut gone = BTreeSet::new();
    for row in (0..n).filter(|&row| !is_settled(row)) {
        if higher.get(&row).is_some_and(|higher| higher.iter().any(|other| by_any || !gone.contains(other))) {
            gone.insert(row);
        }
    }
    gone
}

#[test]
fn crowds_of_any_size_go_as_every_pair_says() {
    for (seed, neighbours, rows) in [(1, 64, 10_000), (2, 64, 150), (3, 8, 10_000), (4, 8, 100), (5, 1, 200)] {
        let vectors = scene(seed);
        let (n, all) = (vectors.len(), all_pairs(&vectors));
        for (linkage, by_any) in
            [(Linkage::Component, false), (Linkage::Representative, false), (Linkage::Earlier, true)]
        {
            let settings = Dedup { threshold: Some(0.7), linkage, neighbours, ..Dedup::default() };
            let near = Near { k: neighbours as usize, floor: settings.floor(), crowd: settings.crowd() };
            let edges = joined(&vectors, near, rows);
            for threshold in [0.6, 0.65, 0.7, 0.8, 0.85, settings.crowd()] {
                let over_it = all.iter().filter(|pair| pair.2 >= threshold);
                let pairs: Vec<(usize, usize)> = over_it.map(|&(a, b, _)| (a, b)).collect();
                let ends = |pair: &Pair| (pair.id.row() as usize, pair.neighbour.row() as usize);
                let over = |(pair, tree): &(Pair, bool)| (*tree && pair.similarity >= threshold).then(|| ends(pair));
                let roots_of_all = roots(n, pairs.iter().copied());
                assert_eq!(roots(n, edges.iter().filter_map(over)), roots_of_all, "{seed} {linkage:?} {threshold}");
                if linkage == Linkage::Component {
                    continue;
                }
                for held_rows in [PIECE, 100_000] {
                    let (gone, again) =
                        decided(&vectors, &roots_of_all, &edges, (threshold, neighbours, by_any, held_rows));
                    assert_eq!(gone, expected(n, &pairs, by_any), "{seed} {linkage:?} {threshold} {held_rows}");
                    assert!(again > 0 || threshold > 0.7, "{seed} {threshold}");
                }
            }
        }
    }
}

fn decided(
    vectors: &[Vec<f32>],
    roots: &[u32],
    edges: &[(Pair, bool)],
    (threshold, neighbours, by_any, held_rows): (f32, u32, bool, usize),
) -> (BTreeSet<usize>, u64) {
    let n = vectors.len();
    let mut images: Vec<Image> =
        (0u32..).zip(roots).map(|(node, &root)| Image { node, root, settled: is_settled(node as usize) }).collect();
    images.sort_by_key(|image| (image.root, image.node));
    let mut places = vec![0; n];
    (0u32..).zip(&images).for_each(|(place, image)| places[image.node as usize] = place);
    let over = edges.iter().map(|(pair, _)| pair).filter(|pair| pair.similarity >= threshold);
    let link = |pair: &Pair| Link {
        from: places[pair.id.row() as usize],
        to: places[pair.neighbour.row() as usize],
        similarity: pair.similarity,
        attached: pair.attached,
    };
    let neighbours = neighbours as usize;
    let question = Case { images: &images, threshold, neighbours, by_any, held_rows };
    let mut read = |wanted: &dyn Fn(u32) -> bool, each: &mut dyn FnMut(u32, &[f32])| {
        (0u32..).zip(vectors).filter(|&(node, _)| wanted(node)).for_each(|(node, vector)| each(node, vector));
        Ok(())
    };
    let (gone, again) = decide(&question, over.map(link).collect(), &mut read).expect("vectors");
    for (image, gone) in images.iter().zip(&gone) {
        let Some(Gone { instead, similarity: Some(known) }) = *gone else {
            assert!(gone.is_none(), "a similarity is known");
            continue;
        };
        let other = &images[instead as usize];
        let true_one = similarity(&vectors[image.node as usize], &vectors[other.node as usize]);
        assert!(other.node < image.node && known >= threshold && (known - true_one).abs() < 1e-6, "{known} {true_one}");
    }
    let gone = images.iter().zip(gone).filter(|(_, gone)| gone.is_some()).map(|(image, _)| image.node as usize);
    (gone.collect(), again)
}
