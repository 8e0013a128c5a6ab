//! How neighbours are searched, and the rule of a set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::retrieve::search::NeighbourRule;
use crate::stages::scope::Scope;
use lvd_engines::faiss::Storage;

/// Neighbours a seed that are looked at first for each that it may take, where a taken one gives
/// way to the next.
const NEXT_DEPTH: u32 = 4;

/// How neighbours are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Search {
    /// Every pair is compared.
    Exact,
    /// By inverted lists.
    Ivf,
}

/// What inverted lists hold of a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Codes {
    /// All of it: 2 bytes a number.
    #[default]
    Fp16,
    /// A byte a number.
    Sq8,
    /// A byte for about eight numbers (product quantisation).
    Pq,
}

impl Codes {
    pub(super) fn storage(self) -> Storage {
        match self {
            Self::Fp16 => Storage::Half,
            Self::Sq8 => Storage::Byte,
            Self::Pq => Storage::Product,
        }
    }
}

/// What happens when several seeds find one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Collisions {
    /// It counts once, for the first set and the seed it is most like.
    #[default]
    Once,
    /// The same, and the others take their next neighbours or other images of the cluster instead:
    /// no image counts twice, and as many are found as the arithmetic says. Each seed looks at four
    /// times `k` neighbours, and where that is not enough as far as it has to, by comparing
    /// everything in one task; what is still missing, since the pool ends, is counted
    /// (`missing_for_SET`) and warned of.
    Next,
    /// It counts for each, and is so many times in the data set: the published sizes of LVD-142M
    /// are sums of this kind.
    Twice,
}

/// How the likes of a seed set are found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRule {
    /// `sample`: the `k` nearest pool images of each seed image. `cluster`: `per_cluster` images
    /// from each cluster with more than `more_than` of the set's images. The paper uses `sample`
    /// for sets over a million images.
    pub method: Method,
    /// Neighbours a seed image, for `sample`. The paper uses 4, and 32 for ImageNet-1k.
    #[serde(default = "four")]
    pub k: u32,
    /// Neighbours below this cosine are not taken, for `sample`.
    #[serde(default)]
    pub min_similarity: Option<f32>,
    /// Images drawn from each cluster, for `cluster`.
    #[serde(default = "ten_thousand")]
    pub per_cluster: u32,
    /// A cluster must hold more than this many of the set's images, for `cluster`.
    #[serde(default = "three")]
    pub more_than: u32,
    /// The level of clusters to look at, 1 for the finest, for `cluster`.
    #[serde(default = "one")]
    pub level: u32,
    /// At most this many images for the set. Left out: 1,000,000 for `cluster`, any number for
    /// `sample`.
    #[serde(default)]
    pub cap: Option<u64>,
    /// Which images stay when there are more than the cap.
    #[serde(default)]
    pub cap_draw: CapDraw,
}

/// Which images stay when there are more than the cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CapDraw {
    /// Any, at random.
    #[default]
    Random,
    /// As many of each seed image, or of each cluster, as it has, up to a common number.
    Even,
    /// The most similar to their seed, or the closest to their cluster's centroid.
    Nearest,
}

/// How the likes of a seed set are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The nearest pool images of each seed image.
    Sample,
    /// Images of the clusters that the seed images fall into.
    Cluster,
}

impl Method {
    /// Its name in the pipeline file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Cluster => "cluster",
        }
    }
}

fn one() -> u32 {
    1
}
fn three() -> u32 {
    3
}
fn four() -> u32 {
    4
}
fn ten_thousand() -> u32 {
    10_000
}

impl SetRule {
    /// Looks at the rule that stands at `key`, for so many pool images and levels of clusters.
    pub(super) fn check(&self, key: &str, copy_similarity: f32, (pool, levels): (u64, usize), scope: &mut Scope) {
        let key = |field: &str| format!("{key}.{field}");
        scope.require(self.cap != Some(0), &key("cap"), "no image at all", "use at least 1");
        if let Some(least) = self.min_similarity {
            scope.within(&key("min_similarity"), "a cosine of", least, -1.0..=1.0);
            let message =
                format!("from {least} on, and images from `copy_similarity` = {copy_similarity} on are copies");
            scope.require(least < copy_similarity, &key("min_similarity"), message, "lower it: nothing lies between");
        }
        match self.method {
            Method::Sample => {
                let message = format!("{} neighbours of {pool} pool images at most", self.k);
                let fine = (1..=pool.max(1)).contains(&u64::from(self.k));
                scope.require(fine, &key("k"), message, "lower `k` or add images");
            }
            Method::Cluster => {
                scope.require(self.per_cluster > 0, &key("per_cluster"), "no image a cluster", "use at least 1");
                let level = self.level as usize;
                let message = format!("level {level}, and `clusters` of the cluster step has {levels}");
                let hint = "1 is the finest; or add a level to `clusters` of the cluster step";
                scope.require((1..=levels).contains(&level), &key("level"), message, hint);
            }
        }
    }

    /// Neighbours looked for at first, for each seed.
    pub(super) fn depth(&self, collisions: Collisions) -> usize {
        (if collisions == Collisions::Next { self.k.saturating_mul(NEXT_DEPTH) } else { self.k }) as usize
    }

    /// What of the pool is a neighbour.
    pub(super) fn wanted(&self, k: usize, ceiling: f32) -> NeighbourRule {
        NeighbourRule { k, floor: self.min_similarity.unwrap_or(-1.0), ceiling }
    }
}
