//! A maximum spanning forest of weighted pairs, by Kruskal's algorithm (Kruskal 1956).
//!
//! Its pairs over any threshold have the same components as all pairs over that threshold, and it is smaller than the number of nodes.

use rayon::prelude::*;

use super::near_pairs::Pair;
use super::union_find::UnionFind;

/// For each pair whether it belongs to the forest. Of equal similarities the pair of lower ids comes first. Cost: a sort.
#[must_use]
pub fn spanning_forest(pairs: &[Pair]) -> Vec<bool> {
    let mut nodes: Vec<_> = pairs.iter().flat_map(|pair| [pair.id, pair.neighbour]).collect();
    nodes.par_sort_unstable();
    nodes.dedup();
    let number = |id| u32::try_from(nodes.binary_search(&id).unwrap_or(0)).expect("fewer than 2^32 nodes");
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.par_sort_unstable_by(|&a, &b| {
        let ends = |pair: &Pair| (pair.id.min(pair.neighbour), pair.id.max(pair.neighbour));
        let (a, b) = ((&pairs[a], a), (&pairs[b], b));
        b.0.similarity.total_cmp(&a.0.similarity).then(ends(a.0).cmp(&ends(b.0))).then(a.1.cmp(&b.1))
    });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::hash::Draw;
    use crate::types::ImageId;

    #[test]
    fn the_forest_has_the_components_of_all_pairs_at_every_threshold() {
        let draw = Draw::new(3, "forest");
        let pairs: Vec<Pair> = (0..300)
            .map(|i| Pair {
                id: ImageId(draw.bits(3 * i) % 80),
                neighbour: ImageId(draw.bits(3 * i + 1) % 80),
                similarity: f32::from((draw.bits(3 * i + 2) % 10) as u8) / 10.0,
                star: false,
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
    }
}
