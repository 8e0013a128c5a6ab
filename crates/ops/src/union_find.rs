//! Connected components by union-find: one `u32` a node, whatever the number of edges.
//!
//! The root of a component is its lowest node, so the answer does not depend on the order of the
//! edges.

/// A partition of the nodes 0..n.
#[derive(Debug)]
pub struct UnionFind {
    parents: Vec<u32>,
}

impl UnionFind {
    /// `n` nodes, each alone.
    #[must_use]
    pub fn new(n: u32) -> Self {
        Self { parents: (0..n).collect() }
    }

    /// The lowest node of `node`'s component, halving the path on the way (Tarjan, van Leeuwen
    /// 1984).
    pub fn find(&mut self, mut node: u32) -> u32 {
        while self.parents[node as usize] != node {
            let grandparent = self.parents[self.parents[node as usize] as usize];
            self.parents[node as usize] = grandparent;
            node = grandparent;
        }
        node
    }

    /// Joins the components of `a` and `b`.
    pub fn union(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parents[high as usize] = low;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_kernels::hash::Draw;

    /// Components by repeated relabelling: slow and obvious.
    fn brute_force(n: u32, edges: &[(u32, u32)]) -> Vec<u32> {
        let mut labels: Vec<u32> = (0..n).collect();
        loop {
            let before = labels.clone();
            for &(a, b) in edges {
                let low = labels[a as usize].min(labels[b as usize]);
                (labels[a as usize], labels[b as usize]) = (low, low);
            }
            if labels == before {
                return labels;
            }
        }
    }

    #[test]
    fn components_equal_brute_force_in_any_order() {
        let draw = Draw::new(5, "edges");
        let n = 200;
        let node = |i| u32::try_from(draw.bits(i) % n).expect("below 200");
        let mut edges: Vec<(u32, u32)> = (0..120).map(|i| (node(2 * i), node(2 * i + 1))).collect();
        let expected = brute_force(200, &edges);
        for _ in 0..2 {
            let mut components = UnionFind::new(200);
            for &(a, b) in &edges {
                components.union(a, b);
            }
            assert_eq!((0..200).map(|node| components.find(node)).collect::<Vec<_>>(), expected);
            edges.reverse();
        }
    }
}
