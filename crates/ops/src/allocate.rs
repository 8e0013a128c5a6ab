//! How many images each cluster gives: hierarchical balanced sampling (Vo et al. 2024, section
//! 3.3).
//!
//! Water filling: every child gives the same number, or all it has. Ties are drawn by a
//! counter-based hash, so an allocation depends on the seed and on the tree, not on the order of
//! anything.

use lvd_kernels::hash::Draw;

/// Shares `total` among children that can give `capacity` each; what is left over after equal
/// shares goes, one each, to children drawn among those that could give more.
#[must_use]
pub fn share(capacity: &[u64], total: u64, draw: Draw) -> Vec<u64> {
    if capacity.iter().map(|&c| u128::from(c)).sum::<u128>() <= u128::from(total) {
        return capacity.to_vec();
    }
    let level = water_level(capacity, total);
    let mut shares: Vec<u64> = capacity.iter().map(|&c| c.min(level)).collect();
    let mut open: Vec<usize> = (0..capacity.len()).filter(|&child| capacity[child] > level).collect();
    open.sort_unstable_by_key(|&child| (draw.bits(child as u64), child));
    let left = usize::try_from(total - shares.iter().sum::<u64>()).unwrap_or(usize::MAX);
    open.into_iter().take(left).for_each(|child| shares[child] += 1);
    shares
}

/// The largest c with sum(min(c, capacity)) <= total; the sum of all is more than `total`.
fn water_level(capacity: &[u64], total: u64) -> u64 {
    let mut sorted = capacity.to_vec();
    sorted.sort_unstable();
    let mut left = total;
    for (child, &c) in sorted.iter().enumerate() {
        let takers = (sorted.len() - child) as u64;
        if u128::from(c) * u128::from(takers) > u128::from(left) {
            return left / takers;
        }
        left -= c;
    }
    u64::MAX
}

/// Shares `total` down a tree. `parents[t][c]` is the cluster of level t + 1 above cluster c of
/// level t (levels from 0, the finest); `leaves` are the images each cluster of level 0 can give.
/// Returns the images each cluster of level 0 gives.
///
/// # Panics
/// If a parent is out of range, or if a level has another number of parents than of clusters: the
/// tree is our own.
#[must_use]
pub fn share_tree(leaves: &[u64], parents: &[Vec<u32>], total: u64, draw: Draw) -> Vec<u64> {
    let mut capacities = vec![leaves.to_vec()];
    for (level, up) in parents.iter().enumerate() {
        assert_eq!(up.len(), capacities[level].len(), "every cluster of level {level} has a parent");
        let above = up.iter().max().map_or(0, |&highest| highest as usize + 1);
        let mut sums = vec![0; above];
        up.iter().zip(&capacities[level]).for_each(|(&parent, &c)| sums[parent as usize] += c);
        capacities.push(sums);
    }
    let top = capacities.len() - 1;
    let mut shares = share(&capacities[top], total, draw.within(top as u64));
    for level in (0..top).rev() {
        let mut children: Vec<Vec<usize>> = vec![Vec::new(); capacities[level + 1].len()];
        parents[level].iter().enumerate().for_each(|(child, &parent)| children[parent as usize].push(child));
        let mut below = vec![0; capacities[level].len()];
        for (parent, members) in children.iter().enumerate() {
            let capacity: Vec<u64> = members.iter().map(|&child| capacities[level][child]).collect();
            let given = share(&capacity, shares[parent], draw.within(level as u64).within(parent as u64));
            members.iter().zip(given).for_each(|(&child, n)| below[child] = n);
        }
        shares = below;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sizes: &[u64], total: u64, m: u64, expected: &[u64]) {
        let capacity: Vec<u64> = sizes.iter().map(|n| n * m).collect();
        assert_eq!(share(&capacity, total, Draw::new(1, "test")), expected, "{sizes:?} {total}");
    }

    #[test]
    fn shares_equal_the_published_allocator() {
        check(&[5, 3, 2], 6, 1, &[2, 2, 2]);
        check(&[5, 3, 2], 10, 1, &[5, 3, 2]);
        check(&[5, 3, 2], 99, 1, &[5, 3, 2]);
        check(&[100, 1, 1], 50, 1, &[48, 1, 1]);
        check(&[7, 7, 1, 0], 9, 1, &[4, 4, 1, 0]);
        check(&[1000, 100, 10, 1], 111, 1, &[50, 50, 10, 1]);
        check(&[20000, 200, 1000, 500, 8000], 1000, 1, &[200; 5]);
        check(&[20000, 200, 1000, 500, 8000], 5000, 1, &[1650, 200, 1000, 500, 1650]);
        check(&[5, 3, 2], 12, 2, &[4, 4, 4]);
        check(&[], 5, 1, &[]);
    }

    #[test]
    fn one_left_over_goes_to_one_that_has_more() {
        for seed in 0..20 {
            let shares = share(&[5, 3, 2], 7, Draw::new(seed, "test"));
            assert!(shares == [3, 2, 2] || shares == [2, 3, 2], "{shares:?}");
        }
        let drawn: std::collections::BTreeSet<_> =
            (0..20).map(|seed| share(&[5, 3, 2], 7, Draw::new(seed, "test"))).collect();
        assert_eq!(drawn.len(), 2, "both are drawn sooner or later");
    }

    #[test]
    fn a_tree_is_shared_level_by_level() {
        // {A10, B4}, {C2, D1}
        let (leaves, parents) = ([10, 4, 2, 1], [vec![0, 0, 1, 1]]);
        for seed in 0..10 {
            let shares = share_tree(&leaves, &parents, 8, Draw::new(seed, "test"));
            assert_eq!(shares[2..], [2, 1]);
            assert!(shares[..2] == [2, 3] || shares[..2] == [3, 2], "{shares:?}");
        }
        assert_eq!(share_tree(&leaves, &parents, 20, Draw::new(1, "test")), leaves);
    }

    #[test]
    fn the_total_is_met_exactly_whatever_the_sizes() {
        let draw = Draw::new(9, "sizes");
        for case in 0..200 {
            let sizes: Vec<u64> = (0..draw.bits(case) % 30).map(|i| draw.bits(1000 * (case + 1) + i) % 50).collect();
            let all: u64 = sizes.iter().sum();
            let total = draw.bits(case + 5000) % 700;
            let shares = share(&sizes, total, draw.within(case));
            assert_eq!(shares.iter().sum::<u64>(), total.min(all));
            assert!(shares.iter().zip(&sizes).all(|(given, size)| given <= size));
        }
    }
}
