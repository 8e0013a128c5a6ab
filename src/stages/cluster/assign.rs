//! Giving every image its cluster, and counting the clusters' images.

use serde::{Deserialize, Serialize};

use crate::stages::pool::VectorShard;
use crate::stages::table::Part;
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::centroids;
use lvd_io::table;
use lvd_kernels::dot::squared_distance;
use lvd_kernels::exact::nearest;
use lvd_ops::histogram::Histogram;

/// One empty cluster in so many is no accident any more.
const MANY_EMPTY: usize = 10;
/// Images a cluster, on average, below which clusters say little.
const FEW: u64 = 5;

table! {
    /// The level-1 cluster of a pool or seed image. The clusters above it are in the `tree` table.
    pub struct Assigned {
        /// Which image.
        pub id: ImageId,
        /// Its level-1 cluster.
        pub cluster: u32,
        /// Euclidean distance to the centroid.
        pub distance: f32,
    }
}

table! {
    /// A cluster of some level.
    pub struct Node {
        /// 1 for the finest.
        pub level: u32,
        /// Its number within the level.
        pub cluster: u32,
        /// The cluster of the next level it belongs to; null at the top.
        pub parent: Option<u32>,
        /// Pool images in it.
        pub images: u64,
    }
}

/// A shard, and the centroids its images are assigned to.
#[derive(Serialize, Deserialize)]
pub struct ToAssign {
    pub shard: VectorShard,
    /// Their centroids in order.
    pub centroids: Vec<Part>,
    /// The number of the first.
    pub first: u32,
}

/// The centroids, and the clusters of the images that are counted.
#[derive(Serialize, Deserialize)]
pub struct SizesCommon {
    pub centroids: Part,
    pub assigned: Vec<Part>,
}

/// Assigns the images of one shard.
pub fn run(spec: &ToAssign, task: &mut Task) -> Result<()> {
    let mut values: Vec<f32> = Vec::new();
    for part in &spec.centroids {
        values.extend(centroids::read(&task.open(part)?)?.into_iter().flat_map(|level| level.values));
    }
    let block = spec.shard.load(task)?;
    let d = block.dimension.max(1);
    let clusters = nearest(&block.values, &values, d);
    let mut writer = task.rows("assigned")?;
    for (row, (cluster, _)) in clusters.into_iter().enumerate() {
        let centroid = &values[cluster as usize * d..(cluster as usize + 1) * d];
        let distance = squared_distance(block.row(row), centroid).sqrt();
        writer.push(Assigned { id: block.ids[row], cluster: spec.first + cluster, distance })?;
    }
    let written = writer.finish()?;
    (task.outcome.rows_in, task.outcome.rows_out) = (block.ids.len() as u64, written.rows);
    (task.progress)(Headway::Done(written.rows));
    task.publish(written, "", Some(spec.shard.shard()))
}

/// Counts the pool images of every cluster of every level.
pub fn count(common: &SizesCommon, task: &mut Task) -> Result<()> {
    let levels = centroids::read(&task.open(&common.centroids)?)?;
    let mut images: Vec<Vec<u64>> = levels.iter().map(|level| vec![0; level.parents.len()]).collect();
    for part in &common.assigned {
        for batch in task.read::<Assigned>(part)? {
            let batch = batch?;
            task.outcome.rows_in += batch.len() as u64;
            for row in batch {
                images[0][row.cluster as usize] += 1;
            }
        }
    }
    task.outcome.rows_out = task.outcome.rows_in;
    for level in 1..levels.len() {
        for (cluster, parent) in levels[level - 1].parents.iter().enumerate() {
            let moved = images[level - 1][cluster];
            if let Some(parent) = parent {
                images[level][*parent as usize] += moved;
            }
        }
    }
    let mut sizes = Histogram::powers_of_two(32);
    let mut writer = task.rows("tree")?;
    for ((level, counts), number) in levels.iter().zip(&images).zip(1u32..) {
        for ((&parent, &count), cluster) in level.parents.iter().zip(counts).zip(0u32..) {
            if number == 1 {
                #[expect(clippy::cast_precision_loss, reason = "bins are powers of two")]
                sizes.add(count as f64);
            }
            writer.push(Node { level: number, cluster, parent, images: count })?;
        }
    }
    task.outcome.histograms.insert("cluster_size".into(), sizes);
    let empty = images[0].iter().filter(|&&count| count == 0).count();
    task.count("empty_clusters", empty as u64);
    let clusters = images[0].len();
    if MANY_EMPTY * empty > clusters {
        task.outcome.warnings.insert(format!(
            "{empty} of {clusters} level-1 clusters have no image: are so many images alike? lower the first of `clusters`"
        ));
    }
    if task.outcome.rows_out < FEW * clusters as u64 {
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let mean = task.outcome.rows_out as f64 / clusters as f64;
        task.outcome.warnings.insert(format!(
            "{} images in {clusters} level-1 clusters, {mean:.1} each: a draw that is even over so many is nearly one over \
             images; lower the first of `clusters`",
            task.outcome.rows_out
        ));
    }
    let written = writer.finish()?;
    task.publish(written, "tree", None)
}
