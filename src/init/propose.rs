//! The numbers of a pipeline that fit a number of images. docs/init.md argues for them.

use serde::Serialize;

use super::sources::{Kind, Source};
use crate::stages::catalog::Role;

/// Images in a cluster of level 1, about: the papers have 74 (Vo et al. 2024) and 85 (`DINOv3`) of
/// pools a thousand times as large.
const A_CLUSTER: u64 = 30;
/// The fewest images that are clustered: two clusters of level 1.
const FEWEST: u64 = 2 * A_CLUSTER;
/// The most levels, as Vo et al. have them.
const LEVELS: usize = 4;
/// The fewest clusters of a level above the first. With ten or so on top, a draw that is even over
/// them was less even over labels than a random one (docs/benchmarks.md, the tutorial).
const TOP: u64 = 100;
/// Clusters of level 1 in a split, as both papers have them.
const A_SPLIT: u64 = 100_000;
/// Images from which a pool is a crawl, of which the papers keep a tenth; of less a half is drawn.
const CRAWL: u64 = 10_000_000;
/// Images from which vectors are whitened: of fewer, the whitening would fit the copies, too.
const WHITENED: u64 = 2000;
/// Images in a folder, on average, from which folders are looked at as labels.
const A_LABEL: u64 = 5;

/// The numbers that are written into the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// Images of the pool.
    pub pool: u64,
    /// Images of the seed sets.
    pub seeds: u64,
    /// Clusters of each level, level 1 first; none: too few images.
    pub clusters: Vec<u64>,
    /// Parts in which level 1 is clustered.
    pub splits: u64,
    /// Images of the data set.
    pub target: u64,
    /// Whether dedup whitens the vectors.
    pub whiten: bool,
    /// Whether folders are looked at as labels.
    pub labels: bool,
}

impl Proposal {
    /// The numbers for some sources.
    pub(super) fn of(sources: &[Source]) -> Self {
        let in_use = || sources.iter().filter(|source| !source.commented_out);
        let images = |role: Role| in_use().filter(|source| source.role == role).map(|source| source.images).sum();
        let (pool, seeds) = (images(Role::Pool), images(Role::Seed));
        let mut of_pool = in_use().filter(|source| source.role == Role::Pool);
        let labels = of_pool.all(|source| {
            source.kind == Kind::Folder && source.folders > 1 && source.images / source.folders >= A_LABEL
        });
        let (clusters, splits) = clusters(pool);
        Self { pool, seeds, clusters, splits, target: drawn(pool) + seeds, whiten: pool >= WHITENED, labels }
    }

    /// Whether the pool is as large as a crawl.
    pub(super) fn is_crawl(&self) -> bool {
        self.pool >= CRAWL
    }
}

/// Clusters of each level for so many images, and the splits of level 1.
fn clusters(images: u64) -> (Vec<u64>, u64) {
    if images < FEWEST {
        return (Vec::new(), 1);
    }
    let most = u64::from(u32::MAX) / A_SPLIT * A_SPLIT;
    let mut first = rounded(images / A_CLUSTER).min(most);
    let splits = (first / A_SPLIT).max(1);
    if splits > 1 {
        first = splits * A_SPLIT;
    }
    let levels = std::iter::successors(Some(first), |level| Some(level / 10).filter(|above| *above >= TOP));
    (levels.take(LEVELS).collect(), splits)
}

/// How many images of so many are drawn.
fn drawn(images: u64) -> u64 {
    rounded(if images >= CRAWL { images / 10 } else { images.div_ceil(2) })
}

/// A number with two digits that count.
fn rounded(n: u64) -> u64 {
    let mut unit = 1;
    while n / unit >= 100 {
        unit *= 10;
    }
    (n + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_the_images() {
        let of = |images: u64| (clusters(images), drawn(images));
        assert_eq!(of(1), ((vec![], 1), 1));
        assert_eq!(of(59), ((vec![], 1), 30));
        assert_eq!(of(60), ((vec![2], 1), 30));
        assert_eq!(of(4109), ((vec![140], 1), 2100));
        assert_eq!(of(29_000), ((vec![970], 1), 15_000));
        assert_eq!(of(30_000), ((vec![1_000, 100], 1), 15_000));
        assert_eq!(of(1_000_000), ((vec![33_000, 3_300, 330], 1), 500_000));
        assert_eq!(of(743_000_000), ((vec![25_000_000, 2_500_000, 250_000, 25_000], 250), 74_000_000));
        let ((huge, splits), _) = of(u64::MAX / 100);
        assert!(huge.iter().all(|&level| u32::try_from(level).is_ok()) && huge[0] % splits == 0, "{huge:?} {splits}");
    }

    #[test]
    fn a_proposal_is_never_more_than_there_is() {
        for images in 1..2000 {
            assert!(
                drawn(images) <= images && clusters(images).0.iter().all(|&level| level * 20 <= images),
                "{images}"
            );
        }
    }
}
