//! The levels of clusters: their sizes, and which of them are shown.

use crate::look::cluster::named;
use crate::look::page::{Card, Fate, Section, Shown};
use crate::look::step::Whole;
use crate::look::words::thousands;
use crate::stages::cluster::Node;
use lvd_base::error::Result;
use lvd_base::types::ImageId;

/// Branches that are shown: of the top, of each of these, and further down.
const WIDTHS: [usize; 4] = [6, 4, 2, 2];

/// A level: sizes and parents by cluster.
#[derive(Default)]
struct Level {
    sizes: Vec<u64>,
    parents: Vec<Option<u32>>,
}

/// All levels, the finest first. Memory: 16 bytes a cluster.
pub struct Tree(Vec<Level>);

/// A cluster with the largest of those in it.
pub struct Branch {
    level: u32,
    cluster: u32,
    images: u64,
    inside: Vec<Branch>,
}

impl Tree {
    /// Reads it.
    pub fn read(step: &Whole) -> Result<Self> {
        let mut levels: Vec<Level> = Vec::new();
        step.for_each::<Node>("tree", |node| {
            let (level, cluster) = (node.level.max(1) as usize, node.cluster as usize);
            levels.resize_with(levels.len().max(level), Level::default);
            let level = &mut levels[level - 1];
            level.sizes.resize(level.sizes.len().max(cluster + 1), 0);
            level.parents.resize(level.sizes.len(), None);
            (level.sizes[cluster], level.parents[cluster]) = (node.images, node.parent);
        })?;
        Ok(Self(levels))
    }

    /// Whether there is more than one level.
    pub fn has_levels(&self) -> bool {
        self.0.len() > 1
    }

    /// The sizes of each level, by its number.
    pub fn levels(&self) -> impl Iterator<Item = (u32, &[u64])> {
        (1..).zip(self.0.iter().map(|level| level.sizes.as_slice()))
    }

    /// The images of a cluster of level 1.
    pub fn size(&self, cluster: u32) -> u64 {
        self.0.first().and_then(|level| level.sizes.get(cluster as usize)).copied().unwrap_or(0)
    }

    /// Clusters of level 1 that hold anything, the largest first.
    fn ranked(&self) -> Vec<u32> {
        let sizes = self.0.first().map_or(&[][..], |level| &level.sizes);
        let mut clusters: Vec<u32> = (0u32..).zip(sizes).filter(|&(_, &size)| size > 0).map(|(at, _)| at).collect();
        clusters.sort_by_key(|&cluster| (std::cmp::Reverse(self.size(cluster)), cluster));
        clusters
    }

    /// The largest clusters of level 1.
    pub fn largest(&self, n: usize) -> Vec<u32> {
        self.ranked().into_iter().take(n).collect()
    }

    /// The smallest, but for the largest ones.
    pub fn smallest(&self, n: usize) -> Vec<u32> {
        let ranked = self.ranked();
        ranked[n.min(ranked.len())..].iter().rev().take(n).copied().collect()
    }

    /// Those of middle size, but for the others.
    pub fn middle(&self, n: usize) -> Vec<u32> {
        let ranked = self.ranked();
        let rest = ranked.len().saturating_sub(2 * n);
        ranked.into_iter().skip(n).take(rest).skip(rest.saturating_sub(n) / 2).take(n).collect()
    }

    /// `60 clusters, in 15`.
    pub fn levels_in_words(&self) -> String {
        let counts: Vec<String> = self.0.iter().map(|level| thousands(level.sizes.len() as u64)).collect();
        format!("{} clusters", counts.join(" clusters, in "))
    }

    /// Twice as many clusters on each level, as the file says it.
    pub fn more(&self) -> String {
        let counts: Vec<String> = self.0.iter().map(|level| (2 * level.sizes.len()).to_string()).collect();
        counts.join(", ")
    }

    /// A row a level.
    pub fn table(&self) -> Vec<Vec<String>> {
        let row = |(level, sizes): (u32, &[u64])| {
            let mut sizes = sizes.to_vec();
            sizes.sort_unstable();
            let empty = sizes.partition_point(|&size| size == 0);
            let held = &sizes[empty..];
            let of = |at: usize| held.get(at).copied().map_or("-".into(), thousands);
            let counts = [sizes.len(), empty].map(|n| thousands(n as u64));
            let [clusters, empty] = counts;
            vec![level.to_string(), clusters, empty, of(held.len().saturating_sub(1)), of(held.len() / 2), of(0)]
        };
        self.levels().map(row).collect()
    }

    /// The largest branches from the top.
    pub fn branches(&self) -> Vec<Branch> {
        self.below(self.0.len(), None, 0)
    }

    /// The largest clusters of `level` in `parent`.
    fn below(&self, level: usize, parent: Option<u32>, depth: usize) -> Vec<Branch> {
        let Some(known) = level.checked_sub(1).and_then(|at| self.0.get(at)) else { return Vec::new() };
        let of = |&(at, &size): &(u32, &u64)| size > 0 && known.parents[at as usize] == parent;
        let mut inside: Vec<(u32, &u64)> = (0u32..).zip(&known.sizes).filter(of).collect();
        inside.sort_by_key(|&(at, size)| (std::cmp::Reverse(*size), at));
        let width = WIDTHS.get(depth).copied().unwrap_or(1);
        let branch = |(cluster, &images): (u32, &u64)| Branch {
            level: u32::try_from(level).unwrap_or(u32::MAX),
            cluster,
            images,
            inside: self.below(level - 1, Some(cluster), depth + 1),
        };
        inside.into_iter().take(width).map(branch).collect()
    }
}

/// The clusters of level 1 in some branches.
pub fn leaves(branches: &[Branch]) -> Vec<u32> {
    let of = |branch: &Branch| match branch.level {
        1 => vec![branch.cluster],
        _ => leaves(&branch.inside),
    };
    branches.iter().flat_map(of).collect()
}

impl Branch {
    /// Adds what is below it: a figure for each cluster of level 2, or for the branch itself.
    pub fn show(&self, picture: &dyn Fn(u32) -> Option<(ImageId, f32)>, section: &mut Section) {
        if self.level > 2 {
            section.note(named(self.level, self.cluster, self.images));
            self.inside.iter().for_each(|branch| branch.show(picture, section));
            return;
        }
        let leaf = std::slice::from_ref(self);
        let leaves = if self.level == 1 { leaf } else { &self.inside };
        let cards = leaves.iter().filter_map(|leaf| {
            let (id, _) = picture(leaf.cluster)?;
            let line = format!("cluster {}", leaf.cluster);
            Some(Card::one(format!("{} images", thousands(leaf.images)), Shown::of(id, Fate::Open).line(line)))
        });
        section.figure(named(self.level, self.cluster, self.images), cards.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let level = |sizes: &[u64], parents: &[u32]| Level {
            sizes: sizes.to_vec(),
            parents: (0..sizes.len()).map(|at| parents.get(at).copied()).collect(),
        };
        Tree(vec![level(&[5, 0, 9, 1, 2, 7], &[0, 0, 1, 1, 0, 1]), level(&[7, 17], &[])])
    }

    #[test]
    fn clusters_are_shown_once_by_size() {
        let tree = tree();
        assert_eq!(tree.largest(2), [2, 5]);
        assert_eq!(tree.smallest(2), [3, 4]);
        assert_eq!(tree.middle(2), [0]);
        assert_eq!((tree.largest(9).len(), tree.smallest(9).len(), tree.middle(9).len()), (5, 0, 0));
        assert_eq!(tree.levels_in_words(), "6 clusters, in 2 clusters");
        assert_eq!(tree.table()[0], ["1", "6", "1", "9", "5", "1"]);
    }

    #[test]
    fn branches_are_the_largest_of_each_level() {
        let branches = tree().branches();
        assert_eq!(branches.iter().map(|branch| branch.cluster).collect::<Vec<_>>(), [1, 0]);
        assert_eq!(leaves(&branches), [2, 5, 3, 0, 4]);
    }
}
