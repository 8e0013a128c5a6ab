//! How the levels are fitted, and on which images.

use serde::{Deserialize, Serialize};

use crate::stages::cluster::start::Start;
use crate::stages::pool::{self, VectorShard};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_kernels::hash::{Draw, Lowest};
use lvd_ops::kmeans::{Init, KMeans};

/// Clusters up to which first centroids are chosen by k-means++.
const PLUS_PLUS_UP_TO: u32 = 4096;

/// How levels are fitted.
#[derive(Clone, Serialize, Deserialize)]
pub struct Fitting {
    pub iterations: u32,
    pub tolerance: f64,
    pub starts: u32,
    pub init: Option<Start>,
    pub spherical: bool,
    pub seed: u64,
}

/// One level's numbers.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct LevelPlan {
    pub clusters: u32,
    pub resamplings: u32,
    pub nearest: Option<u32>,
}

/// Draws the images that so many clusters are trained on, from those of `shards` that earlier steps
/// have left.
pub fn drawn(
    clusters: u32,
    points_per_centroid: u32,
    fitting: &Fitting,
    shards: &[VectorShard],
    task: &Task,
) -> Result<Lowest> {
    let each = if points_per_centroid == 0 { u64::MAX } else { u64::from(points_per_centroid) };
    let (drawn, images) = pool::lowest(shards, fitting.draw(), u64::from(clusters).saturating_mul(each), task)?;
    enough(images, clusters)?;
    Ok(drawn)
}

/// Whether there are as many images as clusters.
pub fn enough(images: u64, clusters: u32) -> Result<()> {
    if images >= u64::from(clusters) {
        return Ok(());
    }
    Err(Error::usage(
        format!("{images} images are too few for {clusters} clusters"),
        "lower the first of `clusters` (or `splits`, if each is too small), or see what the steps before have dropped",
    ))
}

impl Fitting {
    /// The draw of the training images.
    pub fn draw(&self) -> Draw {
        Draw::new(self.seed, "cluster/sample")
    }

    /// What to fit a level with.
    pub fn params(&self, plan: LevelPlan, seed: u64, points: usize) -> KMeans {
        let k = plan.clusters as usize;
        let automatic = if plan.clusters > PLUS_PLUS_UP_TO { Start::Parallel } else { Start::PlusPlus };
        KMeans {
            k,
            iterations: self.iterations as usize,
            tolerance: self.tolerance,
            starts: self.starts as usize,
            seed,
            spherical: self.spherical,
            init: match self.init.unwrap_or(automatic) {
                Start::PlusPlus => Init::PlusPlus,
                Start::Parallel => Init::Parallel,
                Start::Random => Init::Random,
            },
            resamplings: plan.resamplings as usize,
            // Half of the mean number of members, as published for 743M images: 20 to 10, 10 to 5,
            // 5 to 3.
            nearest: plan.nearest.map_or((points / k).div_ceil(2).max(1), |nearest| nearest as usize),
        }
    }
}
