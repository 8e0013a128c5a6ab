//! Fitting the centroids of every level.

use crate::error::{Error, Result};
use crate::io::centroids::{self, Level};
use crate::native::exact::nearest;
use crate::ops::hash::Draw;
use crate::ops::kmeans::{self, Init, KMeans};
use crate::stages::cluster::{Start, TrainCommon};
use crate::stages::task::Task;

/// Trains level after level and publishes the `centroids` table.
pub fn run(common: &TrainCommon, task: &mut Task) -> Result<()> {
    let draw = Draw::new(common.seed, "cluster/sample");
    let wanted = u64::from(common.clusters[0]) * u64::from(common.points_per_centroid);
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    let share = wanted as f64 / common.rows.max(1) as f64;
    let mut points: Vec<f32> = Vec::new();
    let mut dimension = 0;
    for shard in &common.pool {
        let block = shard.load(task)?;
        dimension = block.dimension.max(dimension);
        task.outcome.rows_in += block.ids.len() as u64;
        for (row, _) in block.ids.iter().enumerate().filter(|(_, id)| draw.unit(id.0) < share) {
            points.extend(block.row(row));
        }
    }
    task.outcome.rows_out = task.outcome.rows_in;
    let drawn = points.len() / dimension.max(1);
    task.count("training_images", drawn as u64);
    let mut levels: Vec<Level> = Vec::new();
    for (&k, level) in common.clusters.iter().zip(1u64..) {
        if points.len() / dimension.max(1) < k as usize {
            let message = format!("{drawn} pool images are too few for {k} clusters");
            return Err(Error::usage(message, "lower `clusters`, raise `points_per_centroid`, or add images"));
        }
        let settings = KMeans {
            k: k as usize,
            iterations: common.iterations as usize,
            seed: Draw::new(common.seed, "cluster/train").bits(level),
            spherical: common.spherical,
            init: match common.init {
                Start::PlusPlus => Init::PlusPlus,
                Start::Random => Init::Random,
            },
        };
        let trained = kmeans::train(&points, dimension, &settings, &mut |_, _| (task.progress)(0))?;
        if let Some(below) = levels.last_mut() {
            let above = nearest(&below.values, &trained.centroids, dimension);
            below.parents = above.into_iter().map(|(cluster, _)| Some(cluster)).collect();
        }
        let potential = trained.potentials.last().copied().unwrap_or(0.0);
        task.outcome.facts.insert(format!("potential_level_{level}"), potential.into());
        task.count("empty_clusters_repaired", trained.empty_repairs);
        points.clone_from(&trained.centroids);
        levels.push(Level { parents: vec![None; k as usize], values: trained.centroids });
    }
    let written = centroids::write(&task.aside("centroids"), &levels, dimension)?;
    task.publish(written, "centroids", None)
}
