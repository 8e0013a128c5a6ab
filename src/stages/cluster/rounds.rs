//! Level 1 fitted by all machines together: each round of Lloyd's is a phase of partial sums and one of means.
//!
//! A task of `sum-N` assigns the vectors of its shards and writes the sum of each cluster in f64; a task of `mean-N` adds those of its range of
//! clusters up, in the order of the parts. What is computed hangs on the number of parts (`spread`), and on no machine.

use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::LazyLock;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::cluster::train::{Fitting, LevelPlan, drawn};
use crate::stages::cluster::training::{self, Sample};
use crate::stages::known;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use crate::stages::{Order, Phase, from_value, no_such_phase};
use lvd_base::error::{Error, Result};
use lvd_io::checked::SMALL_BLOCK;
use lvd_io::part::{Sink, Written};
use lvd_kernels::dot::normalise;
use lvd_kernels::hash::{Draw, Lowest};
use lvd_ops::kmeans::{Sums, first_centroids, means, repair, sums};

/// Bytes written at a time.
const PIECE: usize = 64 << 10;

/// The most rounds.
pub const MOST: u32 = 50;

/// The note in which `first` says which images are drawn.
pub const LAST: &str = "last_drawn";

/// The names of the rounds' phases, `sum-01` and `mean-01` first.
static NAMES: LazyLock<Vec<[&'static str; 2]>> = LazyLock::new(|| {
    let name = |kind: &str, round: u32| -> &'static str { String::leak(format!("{kind}-{round:02}")) };
    (1..=MOST).map(|round| [name("sum", round), name("mean", round)]).collect()
});

/// The phases of a step with so many rounds.
static PHASES: LazyLock<Vec<Vec<Phase>>> = LazyLock::new(|| {
    let of = |rounds: u32| {
        let round = |round: u32| [sum(round), mean(round)].map(|name| Phase::helping(name).scratch());
        let mut phases = vec![Phase::helping("first").scratch()];
        phases.extend((1..=rounds).flat_map(round));
        phases.extend([Phase::helping("levels"), Phase::counting("assign"), Phase::helping("sizes")]);
        phases
    };
    (0..=MOST).map(of).collect()
});

/// The phases of a step whose level 1 takes so many rounds at most.
pub fn phases(rounds: u32) -> &'static [Phase] {
    &PHASES[rounds.min(MOST) as usize]
}

/// The phase of partial sums of a round, from 1.
pub fn sum(round: u32) -> &'static str {
    NAMES[round as usize - 1][0]
}

/// The phase of means of a round, from 1.
pub fn mean(round: u32) -> &'static str {
    NAMES[round as usize - 1][1]
}

/// The round that a phase belongs to.
pub fn round_of(phase: &str, kind: &str) -> Option<u32> {
    phase.strip_prefix(kind)?.parse().ok().filter(|round| (1..=MOST).contains(round))
}

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
    pub parts: Vec<known::Part>,
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
pub struct Part {
    pub number: u32,
    pub shards: Vec<VectorShard>,
}

#[derive(Serialize, Deserialize)]
pub struct MeanCommon {
    pub sums: Vec<known::Part>,
    pub clusters: u32,
}

/// Runs one task.
pub fn run(phase: &str, order: Order, memory: usize, task: &mut Task) -> Result<()> {
    if phase == "first" {
        first(&from_value(order.common)?, memory, task)
    } else if round_of(phase, "sum-").is_some() {
        add_up(&from_value(order.spec)?, &from_value(order.common)?, memory, task)
    } else if round_of(phase, "mean-").is_some() {
        take_means(&from_value(order.spec)?, &from_value(order.common)?, task)
    } else {
        Err(no_such_phase(phase))
    }
}

/// As of a training in one task.
fn seed(fitting: &Fitting) -> u64 {
    Draw::new(fitting.seed, "cluster/split").bits(0)
}

/// Chooses the first centroids.
fn first(common: &FirstCommon, memory: usize, task: &mut Task) -> Result<()> {
    let fitting = &common.fitting;
    let drawn = drawn(common.level.clusters, common.points_per_centroid, fitting, &common.shards, task)?;
    let (points, rows) = training::load(Sample { shards: &common.shards, drawn }, memory, task)?;
    let centroids = first_centroids(points.as_ref(), &fitting.params(common.level, seed(fitting), points.count()))?;
    let (images, ones) = (points.count() as u64, vec![1; common.level.clusters as usize]);
    drop(points);
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    task.count("training_images", images);
    task.outcome.notes.insert(LAST.into(), drawn.last.into());
    publish_means(&centroids, &ones, task)
}

/// Assigns and adds up the vectors of some shards.
fn add_up(spec: &Part, common: &SumCommon, memory: usize, task: &mut Task) -> Result<()> {
    let drawn = Lowest::up_to(common.centroids.fitting.draw(), common.last);
    let sample = Sample { shards: &spec.shards, drawn };
    let centroids = common.centroids.read(task)?;
    let d = centroids.len() / common.centroids.clusters as usize;
    // A few shards may have no training image.
    let (found, rows) = match training::load_any(sample, memory, task)? {
        Some((points, rows)) => (sums(points.as_ref(), &centroids)?, rows),
        None => (Sums { potential: 0.0, sums: vec![0.0; centroids.len()], sizes: vec![0; centroids.len() / d] }, 0),
    };
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    task.outcome.notes.insert("potential".into(), found.potential.into());
    let aside = task.aside("sums");
    let written = write(&aside, found.sums.iter().map(|sum| sum.to_le_bytes()), &found.sizes)?;
    task.publish_as(written, "sums", None, "sums")
}

/// The means of a range of clusters.
fn take_means(range: &Range<u32>, common: &MeanCommon, task: &mut Task) -> Result<()> {
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
    fn rounds_have_names_and_ranges_cover_all_clusters() {
        assert_eq!((sum(1), mean(50)), ("sum-01", "mean-50"));
        assert_eq!(
            (round_of("sum-07", "sum-"), round_of("mean-07", "sum-"), round_of("sum-51", "sum-")),
            (Some(7), None, None)
        );
        let names: Vec<&str> = phases(2).iter().map(|phase| phase.name).collect();
        assert_eq!(names, ["first", "sum-01", "mean-01", "sum-02", "mean-02", "levels", "assign", "sizes"]);
        assert_eq!(ranges(10, 3), [0..3, 3..6, 6..10]);
        assert_eq!(ranges(2, 5), [0..1, 1..2]);
    }
}
