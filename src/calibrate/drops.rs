//! How many images of the pool would go at a threshold, about: by how many others each drawn image
//! has within it.
//!
//! Of a group of copies one stays, so an image with k others goes k times in k + 1. Chains drop
//! more. Against reference images, what is within the threshold of them goes; what is near several
//! counts several times.

use rayon::prelude::*;

use crate::calibrate::inputs::Event;
use crate::calibrate::sample::DrawnImages;
use crate::calibrate::score::hundredths;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_io::vectors::Vectors;
use lvd_kernels::blas;
use lvd_kernels::dot::{WITH_ITSELF, similarity};
use lvd_ops::ranking::{Bounds, Tally};

/// Originals and images of the pool whose products are computed together.
const ORIGINALS: usize = 64;
const REFERENCES: usize = 1024;

/// The counts.
pub struct Drops {
    bounds: Bounds,
    /// For each original, the others by their cosines.
    others: Vec<Tally>,
    pool: u64,
    /// Whether the originals are reference images, and how many images each of them stands for.
    relative: Option<f64>,
}

/// Compares the originals with the pool, at every hundredth and at the step's threshold.
pub fn count(
    shards: &[VectorShard],
    (sample, originals): (&DrawnImages, &Vectors),
    (threshold, relative): (f32, bool),
    task: &Task,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Drops> {
    let bounds = Bounds::new(hundredths().chain([threshold]).collect());
    let mut others = vec![Tally::new(&bounds); originals.ids.len()];
    let mut images = 0;
    let d = originals.dimension;
    tell(Event::Begins("count what would go", shards.len()));
    for shard in shards {
        let base = shard.load(task)?;
        images += base.ids.len() as u64;
        let count = |(block, tallies): (usize, &mut [Tally])| {
            let first = block * ORIGINALS;
            let queries = &originals.values[first * d..(first + tallies.len()) * d];
            let mut products = Vec::new();
            for (values, ids) in base.values.chunks(REFERENCES * d).zip(base.ids.chunks(REFERENCES)) {
                products.resize(tallies.len() * ids.len(), 0.0);
                blas::products(queries, values, d, &mut products);
                for (query, (tally, cosines)) in tallies.iter_mut().zip(products.chunks(ids.len())).enumerate() {
                    let others =
                        cosines.iter().enumerate().filter(|&(row, _)| ids[row] != originals.ids[first + query]);
                    for (row, &cosine) in others {
                        let vector = &values[row * d..][..d];
                        let exact = || similarity(originals.row(first + query), vector);
                        tally.add(&bounds, if cosine < WITH_ITSELF { cosine } else { exact() });
                    }
                }
            }
        };
        others.par_chunks_mut(ORIGINALS).enumerate().for_each(count);
        tell(Event::Done);
    }
    tell(Event::Ends);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let relative = relative.then(|| sample.population as f64 / sample.ids.len().max(1) as f64);
    Ok(Drops { bounds, others, pool: images, relative })
}

impl Drops {
    /// Images of the pool that would go at a threshold that was counted at, about.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub fn at(&self, threshold: f32) -> u64 {
        let (n, pool) = (self.others.len().max(1) as f64, self.pool as f64);
        let places = self.bounds.at_or_below(threshold);
        let within = self.others.iter().map(|others| others.at_or_over(places) as f64);
        let drops = match self.relative {
            Some(each) => (each * within.sum::<f64>()).min(pool),
            None => pool * within.map(|others| others / (others + 1.0)).sum::<f64>() / n,
        };
        drops.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_copies_leave_one_each() {
        let bounds = Bounds::new(hundredths().collect());
        // Ten images: a group of four at 0.95, a pair at 0.8, four alone.
        let others = |cosines: &[f32]| {
            let mut tally = Tally::new(&bounds);
            for &cosine in cosines {
                tally.add(&bounds, cosine);
            }
            tally
        };
        let mut all = vec![others(&[0.95; 3]); 4];
        all.extend(vec![others(&[0.8]); 2]);
        all.extend(vec![others(&[0.1; 9]); 4]);
        let mut drops = Drops { bounds: bounds.clone(), others: all, pool: 10, relative: None };
        assert_eq!([0.99, 0.95, 0.9, 0.8, 0.5].map(|at| drops.at(at)), [0, 3, 3, 4, 4]);
        drops.pool = 1000;
        assert_eq!(drops.at(0.8), 400);
        drops.relative = Some(2.0);
        assert_eq!([0.95, 0.8, 0.1].map(|at| drops.at(at)), [24, 28, 100]);
    }
}
