//! Level 1 fitted by all machines together: each round of Lloyd's is a phase of partial sums and
//! one of means.
//!
//! A task of `sum-N` assigns the vectors of its shards and writes the sum of each cluster in f64; a
//! task of `mean-N` adds those of its range of clusters up, in the order of the parts. What
//! is computed depends on the number of parts (`spread`), and not on the machines.

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::cluster::fitting::{Fitting, LevelPlan, drawn};
use crate::stages::cluster::training::{self, TrainingImages};
use crate::stages::pool::VectorShard;
use crate::stages::table;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_io::checked::SMALL_BLOCK;
use lvd_io::part::{Sink, Written};
use lvd_kernels::dot::normalise;
use lvd_kernels::hash::{Draw, Lowest};
use lvd_ops::kmeans::{Sums, first_centroids, means, repair, sums};

/// Bytes written at a time.
const PIECE: usize = 64 << 10;

/// `clusters` cut into so many ranges.
pub fn ranges(clusters: u32, parts: u32) -> Vec<Range<u32>> {
    let parts = parts.clamp(1, clusters.max(1));
    let cut = |part: u32| u32::try_from(u64::from(clusters) * u64::from(part) / u64::from(parts)).unwrap_or(clusters);
    (0..parts).map(|part| cut(part)..cut(part + 1)).collect()
}

#[derive(Serialize, Deserialize)]
pub struct FirstCommon {
    pub level: LevelPlan,
    pub points_per_centroid: u32,
    pub fitting: Fitting,
    pub shards: Vec<VectorShard>,
}

/// The centroids after a round, in files of means and sizes.
#[derive(Serialize, Deserialize)]
pub struct Centroids {
    pub parts: Vec<table::Part>,
    pub clusters: u32,
    /// 0: the first ones.
    pub round: u32,
    pub fitting: Fitting,
}

#[derive(Serialize, Deserialize)]
pub struct SumCommon {
    pub centroids: Centroids,
    /// The highest bits of an image of the training sample.
    pub last: u64,
}

/// A task of `sum-N`.
#[derive(Serialize, Deserialize)]
pub struct SumTask {
    pub number: u32,
    pub shards: Vec<VectorShard>,
}

#[derive(Serialize, Deserialize)]
pub struct MeanCommon {
    pub sums: Vec<table::Part>,
    pub clusters: u32,
}

/// What `first` tells of the images that it drew.
#[derive(Serialize, Deserialize)]
pub struct FirstTold {
    /// The highest bits of an image of the training sample.
    pub last_drawn: u64,
}

/// What a task of `sum-N` tells.
#[derive(Serialize, Deserialize)]
pub struct SumTold {
    /// The sum of squared distances of its vectors before the update.
    pub potential: f64,
}

/// As of a training in one task.
fn seed(fitting: &Fitting) -> u64 {
    Draw::new(fitting.seed, "cluster/split").bits(0)
}

/// Chooses the first centroids.
pub fn first(common: &FirstCommon, memory: usize, task: &mut Task) -> Result<()> {
    let fitting = &common.fitting;
    let drawn = drawn(common.level.clusters, common.points_per_centroid, fitting, &common.shards, task)?;
    let (points, rows) = training::load(TrainingImages { shards: &common.shards, drawn }, memory, task)?;
    let centroids = first_centroids(points.as_ref(), &fitting.params(common.level, seed(fitting), points.count()))?;
    let (images, ones) = (points.count() as u64, vec![1; common.level.clusters as usize]);
    drop(points);
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    task.count("training_images", images);
    task.tell(FirstTold { last_drawn: drawn.last })?;
    publish_means(&centroids, &ones, task)
}

/// Assigns and adds up the vectors of some shards.
pub fn add_up(spec: &SumTask, common: &SumCommon, memory: usize, task: &mut Task) -> Result<()> {
    let drawn = Lowest::up_to(common.centroids.fitting.draw(), common.last);
    let sample = TrainingImages { shards: &spec.shards, drawn };
    let centroids = common.centroids.read(task)?;
    let d = centroids.len() / common.centroids.clusters as usize;
    // A few shards may have no training image.
    let (found, rows) = match training::load_any(sample, memory, task)? {
        Some((points, rows)) => (sums(points.as_ref(), &centroids)?, rows),
        None => (Sums { potential: 0.0, sums: vec![0.0; centroids.len()], sizes: vec![0; centroids.len() / d] }, 0),
    };
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    task.tell(SumTold { potential: found.potential })?;
    let aside = task.aside("sums");
    let written = write(&aside, found.sums.iter().map(|sum| sum.to_le_bytes()), &found.sizes)?;
    task.publish_as(written, "sums", None, "sums")
}

/// The means of a range of clusters.
pub fn take_means(range: &Range<u32>, common: &MeanCommon, task: &mut Task) -> Result<()> {
    let clusters = common.clusters as usize;
    let (mut total, mut sizes): (Vec<f64>, Vec<usize>) = (Vec::new(), vec![0; range.len()]);
    let mut d = 0;
    for part in &common.sums {
        let file = task.open(part)?.raw()?;
        d = (usize::try_from(file.content()).unwrap_or(usize::MAX) / 8).saturating_sub(clusters) / clusters;
        let mut values = vec![0; range.len() * d * 8];
        file.read_exact_at(&mut values, u64::from(range.start) * d as u64 * 8)?;
        let mut counts = vec![0; range.len() * 8];
        file.read_exact_at(&mut counts, (clusters * d + range.start as usize) as u64 * 8)?;
        total.resize(range.len() * d, 0.0);
        total.par_iter_mut().zip(values.as_chunks::<8>().0).for_each(|(sum, bytes)| *sum += f64::from_le_bytes(*bytes));
        for (size, bytes) in sizes.iter_mut().zip(counts.as_chunks::<8>().0) {
            *size += usize::try_from(u64::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
        }
    }
    let found = means(&total, &sizes, d.max(1));
    publish_means(&found, &sizes, task)
}

fn publish_means(means: &[f32], sizes: &[usize], task: &mut Task) -> Result<()> {
    let aside = task.aside("means");
    let written = write(&aside, means.iter().map(|mean| mean.to_le_bytes()), sizes)?;
    task.publish_as(written, "means", None, "means")
}

/// Values, then the sizes of the clusters, all little-endian.
fn write<const N: usize>(path: &Path, values: impl Iterator<Item = [u8; N]>, sizes: &[usize]) -> Result<Written> {
    let mut file = Sink::create_in_blocks(path, SMALL_BLOCK)?;
    let mut bytes = Vec::with_capacity(PIECE + N);
    for value in values {
        bytes.extend(value);
        if bytes.len() >= PIECE {
            file.write_all(&bytes).map_err(Error::io(path))?;
            bytes.clear();
        }
    }
    bytes.extend(sizes.iter().flat_map(|&size| (size as u64).to_le_bytes()));
    file.write_all(&bytes).map_err(Error::io(path))?;
    file.finish_raw(0)
}

impl Centroids {
    /// All of them, with empty clusters given half of another one.
    pub fn read(&self, task: &Task) -> Result<Vec<f32>> {
        let (mut values, mut sizes): (Vec<f32>, Vec<usize>) = (Vec::new(), Vec::new());
        let ranges = ranges(self.clusters, u32::try_from(self.parts.len()).unwrap_or(1));
        for (part, range) in self.parts.iter().zip(ranges) {
            let file = task.open(part)?.raw()?;
            let bytes = file.read_all()?;
            let split = bytes.len().checked_sub(8 * range.len());
            let (numbers, counts) =
                split.map(|split| bytes.split_at(split)).ok_or_else(|| file.fault("is too short"))?;
            values.extend(numbers.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            let count = |bytes: &[u8; 8]| usize::try_from(u64::from_le_bytes(*bytes)).unwrap_or(usize::MAX);
            sizes.extend(counts.as_chunks::<8>().0.iter().map(count));
        }
        let d = values.len() / sizes.len().max(1);
        repair(&mut values, d, &mut sizes, seed(&self.fitting), self.round as usize);
        if self.fitting.spherical && self.round > 0 {
            values.par_chunks_mut(d.max(1)).for_each(|centroid| _ = normalise(centroid));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_clusters() {
        assert_eq!(ranges(10, 3), [0..3, 3..6, 6..10]);
        assert_eq!(ranges(2, 5), [0..1, 1..2]);
    }
}
