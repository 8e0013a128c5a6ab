//! Which images of the pool may be copies of the drawn ones already, by a judge that is not the encoder.
//!
//! A pool holds copies that nobody planted. A copy of one image that finds such another is no mistake, and not known to be
//! right either: the pair is *undecided*. The encoder's own similarity cannot say which pairs these are, or it would pass
//! its own exam; so the nearest images of each original are looked at as 32 x 32 grey pictures.

use rayon::prelude::*;

use crate::calibrate::pictures::{files, gone, open};
use crate::calibrate::sample::Sample;
use crate::calibrate::{Event, Inputs, Pool};
use crate::error::Result;
use crate::io::vectors::Vectors;
use crate::native::exact::knn_ip;
use crate::ops::likeness::{Small, likeness};
use crate::ops::top_k::TopK;
use crate::stages::task::Task;
use crate::types::{ImageId, Neighbour};

/// Images of the pool that each original is compared with by pixels: its nearest ones by the encoder.
const NEAREST: usize = 16;
/// Cosine below which nothing is looked at: no threshold is that low.
const FLOOR: f32 = 0.5;
/// Correlation from which two pictures may be copies. On photos, copies and mirrored copies are over 0.95, and one pair in a
/// thousand of different pictures that an encoder finds alike is over 0.9.
const ALIKE: f64 = 0.9;

/// For each image of the sample, sorted, the others that may be copies of it.
pub struct Alike(Vec<Vec<ImageId>>);

impl Alike {
    /// The images that may be copies of the one at `place`.
    pub fn of(&self, place: usize) -> &[ImageId] {
        &self.0[place]
    }

    /// All pairs.
    pub fn pairs(&self) -> u64 {
        self.0.iter().map(|alike| alike.len() as u64).sum()
    }
}

/// Looks for them.
pub fn find(
    inputs: &Inputs,
    pool: &Pool,
    sample: &Sample,
    originals: &Vectors,
    task: &Task,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Alike> {
    let near = nearest(pool, originals, task, tell)?;
    let mut ids: Vec<ImageId> = near.iter().flatten().map(|neighbour| neighbour.id).chain(sample.ids.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    tell(Event::Begins("look at the nearest images", ids.len()));
    let small = |file: Result<_>| {
        let file = file?;
        let small = Small::of(&open(&file)?);
        tell(Event::Done);
        Ok((file.id, small))
    };
    let mut seen: Vec<(ImageId, Small)> = files(inputs, pool, &ids).par_bridge().map(small).collect::<Result<_>>()?;
    tell(Event::Ends);
    seen.sort_unstable_by_key(|(id, _)| *id);
    let of = |id: ImageId| match seen.binary_search_by_key(&id, |(id, _)| *id) {
        Ok(at) => Ok(&seen[at].1),
        Err(_) => Err(gone(inputs, id)),
    };
    let alike = |(&id, near): (&ImageId, Vec<Neighbour>)| {
        let own = of(id)?;
        let mut alike = Vec::new();
        for neighbour in near {
            if likeness(own, of(neighbour.id)?) >= ALIKE {
                alike.push(neighbour.id);
            }
        }
        alike.sort_unstable();
        Ok(alike)
    };
    Ok(Alike(sample.ids.iter().zip(near).map(alike).collect::<Result<_>>()?))
}

/// The nearest other images of each original, over the floor.
fn nearest(
    pool: &Pool,
    originals: &Vectors,
    task: &Task,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Vec<Vec<Neighbour>>> {
    let mut tops: Vec<TopK> = originals.ids.iter().map(|_| TopK::new(NEAREST)).collect();
    tell(Event::Begins("compare the originals with the pool", pool.shards.len()));
    for shard in &pool.shards {
        let base = shard.load(task)?;
        if !base.ids.is_empty() {
            // One more, for the original itself.
            let k = (NEAREST + 1).min(base.ids.len());
            let found = knn_ip(&originals.values, &base.values, base.dimension, k);
            for (query, top) in tops.iter_mut().enumerate() {
                for (row, similarity) in found.of(query).filter(|&(_, similarity)| similarity >= FLOOR) {
                    let id = base.ids[row as usize];
                    if id != originals.ids[query] {
                        top.push(Neighbour { similarity, id });
                    }
                }
            }
        }
        tell(Event::Done);
    }
    tell(Event::Ends);
    Ok(tops.into_iter().map(TopK::into_sorted).collect())
}
