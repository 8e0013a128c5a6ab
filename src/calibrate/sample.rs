//! Which images are edited, and what is stored of them.

use std::collections::BinaryHeap;

use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_io::vectors::Vectors;
use lvd_kernels::hash::Draw;

/// Pictures that collages are pasted on: few, since they are kept decoded.
const HOSTS: usize = 16;

/// Images drawn from the pool.
#[derive(Debug)]
pub struct DrawnImages {
    /// Sorted.
    pub ids: Vec<ImageId>,
    /// For each, the place in `ids` of the image that its collages are pasted on: always another
    /// one.
    pub host: Vec<usize>,
    /// How many images it was drawn from.
    pub population: u64,
}

impl DrawnImages {
    /// The `n` images of the lowest random numbers, which depend on seed and id alone; all of a
    /// smaller pool.
    pub fn draw(shards: &[VectorShard], n: usize, seed: u64, task: &Task) -> Result<Self> {
        let draw = Draw::new(seed, "calibrate");
        let mut lowest: BinaryHeap<(u64, ImageId)> = BinaryHeap::with_capacity(n + 1);
        let mut population = 0;
        for shard in shards {
            for id in shard.ids(task)? {
                population += 1;
                lowest.push((draw.bits(id.0), id));
                if lowest.len() > n {
                    lowest.pop();
                }
            }
        }
        if lowest.len() < 2 {
            let message = format!("{} images with vectors are too few to calibrate", lowest.len());
            return Err(Error::usage(message, "look at the reports of the steps before"));
        }
        let drawn: Vec<ImageId> = lowest.into_sorted_vec().into_iter().map(|(_, id)| id).collect();
        Ok(Self { population, ..Self::of(&drawn, seed) })
    }

    /// A sample of these images, in the order they were drawn.
    fn of(drawn: &[ImageId], seed: u64) -> Self {
        let draw = Draw::new(seed, "calibrate/host");
        let mut ids = drawn.to_vec();
        ids.sort_unstable();
        let hosts: Vec<usize> = drawn.iter().take(HOSTS).map(|id| ids.partition_point(|known| known < id)).collect();
        let host_of = |(place, id): (usize, &ImageId)| {
            let first = usize::try_from(draw.bits(id.0) % hosts.len() as u64).unwrap_or(0);
            let host = hosts[first];
            if host == place { hosts[(first + 1) % hosts.len()] } else { host }
        };
        let host = ids.iter().enumerate().map(host_of).collect();
        Self { ids, host, population: drawn.len() as u64 }
    }

    /// The places in `ids` of all hosts.
    pub fn hosts(&self) -> Vec<usize> {
        let mut hosts = self.host.clone();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// The stored vectors of the sample, in the order of `ids`.
    pub fn vectors(&self, shards: &[VectorShard], task: &Task) -> Result<Vectors> {
        let mut all = Vectors::default();
        let mut found: Vec<(usize, Vec<f32>)> = Vec::with_capacity(self.ids.len());
        for shard in shards.iter().filter(|shard| self.ids.iter().any(|id| id.shard() == shard.shard())) {
            let block = shard.load(task)?;
            all.dimension = all.dimension.max(block.dimension);
            for (row, id) in block.ids.iter().enumerate() {
                if let Ok(place) = self.ids.binary_search(id) {
                    found.push((place, block.row(row).to_vec()));
                }
            }
        }
        found.sort_unstable_by_key(|(place, _)| *place);
        all.ids = found.iter().map(|(place, _)| self.ids[*place]).collect();
        all.values = found.into_iter().flat_map(|(_, vector)| vector).collect();
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_has_another_one_as_its_host() {
        for n in [2, 3, 16, 17, 200] {
            let sample = DrawnImages::of(&(0..n).rev().map(|row| ImageId::new(1, 2, row * 7)).collect::<Vec<_>>(), 5);
            assert!(sample.ids.is_sorted() && sample.host.len() == sample.ids.len());
            assert!(sample.host.iter().enumerate().all(|(place, &host)| host != place && host < sample.ids.len()));
            assert!(sample.hosts().len() <= HOSTS && sample.hosts().len() > 1);
        }
    }
}
