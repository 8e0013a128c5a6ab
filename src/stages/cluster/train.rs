//! Fitting centroids: level 1 on vectors of the pool, each further level on the centroids below it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::stages::cluster::Start;
use crate::stages::cluster::rounds::Centroids;
use crate::stages::cluster::training::{self, Sample};
use crate::stages::known::Table;
use crate::stages::pool::{self, VectorShard};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_io::centroids::Level;
use lvd_io::{centroids, checkpoint};
use lvd_kernels::exact::nearest;
use lvd_kernels::hash::{Draw, Lowest};
use lvd_ops::kmeans::{Held, Init, KMeans, Points, State, Trained, fit};

/// Work that is not kept is less than this, or a round.
const KEPT_EVERY: Duration = Duration::from_secs(5);
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

/// A task of `train`: the shards of one split.
#[derive(Serialize, Deserialize)]
pub struct Split {
    pub number: u32,
    pub shards: Vec<VectorShard>,
}

#[derive(Serialize, Deserialize)]
pub struct TrainCommon {
    pub level: LevelPlan,
    pub points_per_centroid: u32,
    pub fitting: Fitting,
}

#[derive(Serialize, Deserialize)]
pub struct LevelsCommon {
    pub splits: Table,
    /// Level 1, where its rounds were tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Centroids>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub potential: Option<f64>,
    /// Those above level 1.
    pub levels: Vec<LevelPlan>,
    pub fitting: Fitting,
}

/// Draws the images that so many clusters are trained on, from those of `shards` that earlier steps have left.
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

/// Trains level 1 on one split and publishes its centroids.
pub fn run(spec: &Split, common: &TrainCommon, memory: usize, task: &mut Task) -> Result<()> {
    let TrainCommon { level, points_per_centroid, fitting } = common;
    let drawn = drawn(level.clusters, *points_per_centroid, fitting, &spec.shards, task)?;
    let (points, rows) = training::load(Sample { shards: &spec.shards, drawn }, memory, task)?;
    let seed = Draw::new(common.fitting.seed, "cluster/split").bits(u64::from(spec.number));
    let trained = common.fitting.level(points.as_ref(), common.level, seed, "level-1", task)?;
    let (d, drawn) = (points.dimension(), points.count() as u64);
    drop(points);
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    task.count("training_images", drawn);
    describe(&trained, 1, task);
    let level = Level { parents: vec![None; trained.centroids.len() / d], values: trained.centroids };
    let written = centroids::write(&task.aside("split"), &[level], d)?;
    task.publish(written, "splits", None)
}

/// Joins the splits, trains the levels above, and publishes the `centroids` table.
pub fn levels(common: &LevelsCommon, task: &mut Task) -> Result<()> {
    let mut first = Level::default();
    for part in &common.splits.parts {
        for level in centroids::read(&task.open(part)?)? {
            first.values.extend(level.values);
            first.parents.extend(level.parents);
        }
    }
    if let Some(last) = &common.last {
        first.values = last.read(task)?;
        first.parents = vec![None; last.clusters as usize];
    }
    let d = first.values.len() / first.parents.len().max(1);
    if let Some(potential) = common.potential {
        task.outcome.facts.insert("potential_level_1".into(), potential.into());
    }
    if common.last.is_some() {
        let written = centroids::write(&task.aside("split"), std::slice::from_ref(&first), d)?;
        task.publish(written, "splits", None)?;
    }
    let mut levels = vec![first];
    for (plan, number) in common.levels.iter().zip(2u64..) {
        let below = &mut levels[usize::try_from(number).unwrap_or(2) - 2];
        let seed = Draw::new(common.fitting.seed, "cluster/train").bits(number);
        let trained =
            common.fitting.level(&Held::new(&below.values, d), *plan, seed, &format!("level-{number}"), task)?;
        let above = nearest(&below.values, &trained.centroids, d);
        below.parents = above.into_iter().map(|(cluster, _)| Some(cluster)).collect();
        describe(&trained, number, task);
        levels.push(Level { parents: vec![None; plan.clusters as usize], values: trained.centroids });
    }
    let written = centroids::write(&task.aside("centroids"), &levels, d)?;
    task.publish(written, "centroids", None)
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
            // Half of the mean number of members, as published for 743M images: 20 to 10, 10 to 5, 5 to 3.
            nearest: plan.nearest.map_or((points / k).div_ceil(2).max(1), |nearest| nearest as usize),
        }
    }

    /// Fits one level, from where an earlier attempt was.
    fn level(&self, points: &dyn Points, plan: LevelPlan, seed: u64, name: &str, task: &Task) -> Result<Trained> {
        let params = self.params(plan, seed, points.count());
        let path = task.checkpoint(name);
        let state = checkpoint::load::<State>(&path).and_then(|(state, centroids)| {
            Some(State { centroids: <[Vec<f32>; 3]>::try_from(centroids).ok()?, ..state })
        });
        let mut kept = Instant::now();
        fit(points, &params, state.unwrap_or_default(), &mut |state| {
            (task.progress)(0);
            if kept.elapsed() < KEPT_EVERY {
                return Ok(());
            }
            kept = Instant::now();
            checkpoint::save(&path, state, &state.centroids)
        })
    }
}

/// Notes what was found about a level.
fn describe(trained: &Trained, level: u64, task: &mut Task) {
    task.outcome.facts.insert(format!("potential_level_{level}"), trained.potential.into());
    task.count("empty_clusters_repaired", trained.empty_repairs);
}
