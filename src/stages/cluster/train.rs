//! Fitting centroids: level 1 on vectors of the pool, each further level on the centroids below it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::stages::cluster::fitting::{Fitting, LevelPlan, drawn};
use crate::stages::cluster::rounds::Centroids;
use crate::stages::cluster::training::{self, TrainingImages};
use crate::stages::pool::VectorShard;
use crate::stages::table::Table;
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_io::centroids::Level;
use lvd_io::{centroids, checkpoint};
use lvd_kernels::exact::nearest;
use lvd_kernels::hash::Draw;
use lvd_ops::kmeans::{HeldPoints, Points, State, Trained, fit};

/// Work that is not kept is less than this, or a round.
const KEPT_EVERY: Duration = Duration::from_secs(5);
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

/// Trains level 1 on one split and publishes its centroids.
pub fn run(spec: &Split, common: &TrainCommon, memory: usize, task: &mut Task) -> Result<()> {
    let TrainCommon { level, points_per_centroid, fitting } = common;
    let drawn = drawn(level.clusters, *points_per_centroid, fitting, &spec.shards, task)?;
    let (points, rows) = training::load(TrainingImages { shards: &spec.shards, drawn }, memory, task)?;
    let seed = Draw::new(common.fitting.seed, "cluster/split").bits(u64::from(spec.number));
    let trained = fit_level(fitting, points.as_ref(), common.level, seed, "level-1", task)?;
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
        let trained = fit_level(
            &common.fitting,
            &HeldPoints::new(&below.values, d),
            *plan,
            seed,
            &format!("level-{number}"),
            task,
        )?;
        let above = nearest(&below.values, &trained.centroids, d);
        below.parents = above.into_iter().map(|(cluster, _)| Some(cluster)).collect();
        describe(&trained, number, task);
        levels.push(Level { parents: vec![None; plan.clusters as usize], values: trained.centroids });
    }
    let written = centroids::write(&task.aside("centroids"), &levels, d)?;
    task.publish(written, "centroids", None)
}

/// Fits one level, from where an earlier attempt was.
fn fit_level(
    fitting: &Fitting,
    points: &dyn Points,
    plan: LevelPlan,
    seed: u64,
    name: &str,
    task: &Task,
) -> Result<Trained> {
    let params = fitting.params(plan, seed, points.count());
    let path = task.checkpoint(name);
    let state = checkpoint::load::<State>(&path)
        .and_then(|(state, centroids)| Some(State { centroids: <[Vec<f32>; 3]>::try_from(centroids).ok()?, ..state }));
    let mut kept = Instant::now();
    fit(points, &params, state.unwrap_or_default(), &mut |state| {
        (task.progress)(Headway::Done(0));
        if kept.elapsed() < KEPT_EVERY {
            return Ok(());
        }
        kept = Instant::now();
        checkpoint::save(&path, state, &state.centroids)
    })
}

/// Notes what was found about a level.
fn describe(trained: &Trained, level: u64, task: &mut Task) {
    task.outcome.facts.insert(format!("potential_level_{level}"), trained.potential.into());
    task.count("empty_clusters_repaired", trained.empty_repairs);
}
