//! What a cluster step costs, by arithmetic.

use crate::stages::cluster::phases::ClusterPhase;
use crate::stages::cluster::settings::{Cluster, RESAMPLINGS};
use crate::stages::cost::{Cost, Scale, Work, short, tasks};
use crate::stages::pool::SHARD_ROWS;

impl Cluster {
    /// The costs of all phases.
    pub(super) fn estimate(&self, scale: &Scale) -> Vec<Cost> {
        let (d, n, splits) = (scale.dims(self.vectors.name()), scale.pool, f64::from(self.splits.max(1)));
        let level = |level: usize| self.clusters.get(level).map_or(0.0, |&k| f64::from(k));
        let all = if self.points_per_centroid == 0 { n } else { n.min(level(0) * f64::from(self.points_per_centroid)) };
        let spread = f64::from(self.spread.max(1));
        // Each split has its share of the images and of the clusters. First centroids cost about
        // two rounds.
        let rounds = f64::from(self.starts) * (f64::from(self.iterations) + 2.0);
        let products = |operations, of_sgemm| Work::Products { operations, of_sgemm };
        let held = (all / splits * d * 4.0).min(f64::from(self.memory_mib) * f64::from(1 << 20));
        let further: f64 = (1..self.clusters.len())
            .map(|number| {
                let runs = 1.0
                    + self
                        .resamplings
                        .as_ref()
                        .and_then(|all| all.get(number))
                        .map_or(f64::from(RESAMPLINGS), |&r| f64::from(r));
                2.0 * level(number - 1) * level(number) * d * rounds * runs
            })
            .sum();
        vec![
            Cost {
                moved: if all * d * 4.0 / splits > held { all * d * 2.0 * rounds } else { n * d * 2.0 },
                memory: 2.0 * held / spread + level(0) / splits * d * 16.0,
                scratch: if self.spread > 0 { rounds * spread * level(0) * d * 8.0 } else { 0.0 },
                tasks: splits.max(spread),
                ..Cost::new(
                    ClusterPhase::Train,
                    products(2.0 * all * level(0) / splits * d * rounds, 1.5),
                    format!(
                        "2 x {} vectors x {} centroids x {d} x {rounds} rounds, at 1.5 x sgemm",
                        short(all),
                        short(level(0) / splits)
                    ),
                )
            },
            Cost {
                memory: level(0) * d * 8.0,
                ..Cost::new(
                    ClusterPhase::Levels,
                    products(further, 1.0),
                    format!("the {} levels above, resampled", self.clusters.len().saturating_sub(1)),
                )
            },
            Cost {
                moved: n * d * 2.0,
                kept: n * 16.0,
                memory: level(0) / splits * d * 8.0 + 5e8,
                tasks: tasks(n, SHARD_ROWS.into()),
                ..Cost::new(
                    ClusterPhase::Assign,
                    products(2.0 * n * level(0) / splits * d, 2.0),
                    format!("2 x {} vectors x {} centroids x {d}, at 2 x sgemm", short(n), short(level(0) / splits)),
                )
            },
        ]
    }
}
