//! A maximum spanning forest of weighted pairs, by Kruskal's algorithm (Kruskal 1956).
//!
//! Its pairs over any threshold have the same components as all pairs over that threshold, and it
//! is smaller than the number of nodes.

use std::cmp::Ordering;
use std::collections::HashMap;

use rayon::prelude::*;

use crate::pair::Pair;
use crate::union_find::UnionFind;
use lvd_base::types::ImageId;

/// For each pair whether it belongs to the forest. Of equal similarities the pair of lower ids
/// comes first. Cost: a sort.
#[must_use]
pub fn spanning_forest(pairs: &[Pair]) -> Vec<bool> {
    let mut nodes: Vec<_> = pairs.iter().flat_map(|pair| [pair.id, pair.neighbour]).collect();
    nodes.par_sort_unstable();
    nodes.dedup();
    let number = |id| {
        let place = nodes.binary_search(&id).expect("both ends of every pair are nodes");
        u32::try_from(place).expect("fewer than 2^32 nodes")
    };
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.par_sort_unstable_by(|&a, &b| by_similarity(&pairs[a], &pairs[b]).then(a.cmp(&b)));
    let mut trees = UnionFind::new(u32::try_from(nodes.len()).expect("fewer than 2^32 nodes"));
    let mut chosen = vec![false; pairs.len()];
    for index in order {
        let (a, b) = (number(pairs[index].id), number(pairs[index].neighbour));
        if trees.find(a) != trees.find(b) {
            trees.union(a, b);
            chosen[index] = true;
        }
    }
    chosen
}

/// The pairs of the forest, highest similarity first, whatever the order they come in. On one
/// thread, for whoever has other work to share out.
#[must_use]
pub fn thinned(mut pairs: Vec<Pair>) -> Vec<Pair> {
    pairs.sort_unstable_by(by_similarity);
    let mut numbers: HashMap<ImageId, u32> = HashMap::new();
    let mut number = |id| {
        let next = u32::try_from(numbers.len()).expect("fewer than 2^32 nodes");
        *numbers.entry(id).or_insert(next)
    };
    let ends: Vec<(u32, u32)> = pairs.iter().map(|pair| (number(pair.id), number(pair.neighbour))).collect();
    let mut trees = UnionFind::new(u32::try_from(numbers.len()).expect("fewer than 2^32 nodes"));
    let mut ends = ends.into_iter();
    pairs.retain(|_| {
        ends.next().is_some_and(|(a, b)| {
            let apart = trees.find(a) != trees.find(b);
            if apart {
                trees.union(a, b);
            }
            apart
        })
    });
    pairs
}

fn by_similarity(a: &Pair, b: &Pair) -> Ordering {
    let ends = |pair: &Pair| (pair.id.min(pair.neighbour), pair.id.max(pair.neighbour));
    b.similarity.total_cmp(&a.similarity).then_with(|| ends(a).cmp(&ends(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_kernels::hash::Draw;

    #[test]
    fn the_forest_has_the_components_of_all_pairs_at_every_threshold() {
        let draw = Draw::new(3, "forest");
        let pairs: Vec<Pair> = (0..300)
            .map(|i| Pair {
                id: ImageId(draw.bits(3 * i) % 80),
                neighbour: ImageId(draw.bits(3 * i + 1) % 80),
                similarity: f32::from((draw.bits(3 * i + 2) % 10) as u8) / 10.0,
                attached: false,
            })
            .collect();
        let chosen = spanning_forest(&pairs);
        for threshold in [0.0, 0.3, 0.65, 0.9] {
            let components = |wanted: &dyn Fn(usize) -> bool| {
                let mut links = UnionFind::new(80);
                for (_, pair) in pairs.iter().enumerate().filter(|&(i, pair)| wanted(i) && pair.similarity >= threshold)
                {
                    links.union(pair.id.row(), pair.neighbour.row());
                }
                (0..80).map(|node| links.find(node)).collect::<Vec<_>>()
            };
            assert_eq!(components(&|i| chosen[i]), components(&|_| true), "{threshold}");
        }
        assert!(chosen.iter().filter(|&&chosen| chosen).count() < 80);
        let mut expected: Vec<&Pair> =
            pairs.iter().zip(&chosen).filter(|(_, chosen)| **chosen).map(|(p, _)| p).collect();
        expected.sort_by(|a, b| by_similarity(a, b));
        let thin = thinned(pairs.clone());
        let same = |(a, b): (&Pair, &&Pair)| by_similarity(a, b).is_eq();
        assert!(thin.len() == expected.len() && thin.iter().zip(&expected).all(same), "{thin:?}");
    }
}
