//! Which images of the pool may be copies of the drawn ones already, by a judge that is not the
//! encoder.
//!
//! A pool holds copies that nobody planted. A copy of one image that finds such another is no
//! mistake, and not known to be right either: the pair is *undecided*. The encoder's own similarity
//! cannot say which pairs these are, or it would pass its own exam; so the nearest images of each
//! original are looked at as 32 x 32 grey pictures.

use rayon::prelude::*;

use crate::calibrate::inputs::{Event, Inputs, Pool};
use crate::calibrate::pictures::{files, gone, open};
use crate::calibrate::sample::DrawnImages;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Neighbour};
use lvd_io::table;
use lvd_io::vectors::Vectors;
use lvd_kernels::exact::knn_ip;
use lvd_ops::likeness::{Small, likeness};
use lvd_ops::top_k::TopK;

/// Images of the pool that each original is compared with by pixels: its nearest ones by the
/// encoder.
const NEAREST: usize = 16;
/// Cosine below which nothing is looked at: no threshold is that low.
const FLOOR: f32 = 0.5;
/// Correlation from which two pictures may be copies. Among the 206,000 pairs of Caltech-101's
/// photos to which a ViT-Tiny gives a cosine of 0.5 to 0.95, one in 240 is over it; mirrored copies
/// are at 0.97 to 1.
const LOOKALIKE: f64 = 0.9;

table! {
    /// A drawn image and another of the pool that is near to it.
    pub struct NearPair {
        /// The drawn image.
        pub id: ImageId,
        /// The other one.
        pub other: ImageId,
        /// Cosine of their vectors.
        pub similarity: f32,
        /// Correlation of the two as 32 x 32 grey pixels, upright or mirrored, whichever is higher.
        pub correlation: f64,
    }
}

/// What may be a copy of a drawn image already.
pub struct Lookalikes {
    /// For each image of the sample, sorted, the others.
    pub(super) of: Vec<Vec<ImageId>>,
    /// All pairs that make copies undecided, by image.
    pub(super) rows: Vec<NearPair>,
    /// For each image of the sample that has one, the nearest other that does not look like it.
    pub(super) unlike: Vec<NearPair>,
}

impl Lookalikes {
    /// The pairs of images that were drawn, `ids`.
    pub fn new(ids: &[ImageId], rows: Vec<NearPair>, unlike: Vec<NearPair>) -> Self {
        let mut of = vec![Vec::new(); ids.len()];
        for row in &rows {
            if let Ok(place) = ids.binary_search(&row.id) {
                of[place].push(row.other);
            }
        }
        for others in &mut of {
            others.sort_unstable();
        }
        Self { of, rows, unlike }
    }

    /// Drawn images within a threshold of another that does not look like them: an encoder that
    /// calls two such copies is likely wrong.
    pub fn unlike_at(&self, threshold: f32) -> u64 {
        self.unlike.iter().filter(|pair| pair.similarity >= threshold).count() as u64
    }

    /// The images that may be copies of the one at `place`.
    pub fn of(&self, place: usize) -> &[ImageId] {
        &self.of[place]
    }
}

/// Looks for them.
pub fn find(
    inputs: &Inputs,
    pool: &Pool,
    sample: &DrawnImages,
    originals: &Vectors,
    task: &Task,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Lookalikes> {
    let near = nearest(pool, originals, task, tell)?;
    let mut ids: Vec<ImageId> = near.iter().flatten().map(|neighbour| neighbour.id).chain(sample.ids.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    tell(Event::Begins("look at the nearest images", ids.len()));
    let small = |file: Result<_>| {
        let file = file?;
        let small = Small::of(&open(&file, None)?);
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
    let (mut rows, mut unlike) = (Vec::new(), Vec::new());
    for (&id, near) in sample.ids.iter().zip(near) {
        // The nearest come first.
        let mut differs = false;
        for Neighbour { similarity, id: other } in near {
            let pair = NearPair { id, other, similarity, correlation: likeness(of(id)?, of(other)?) };
            if pair.correlation >= LOOKALIKE {
                rows.push(pair);
            } else if !std::mem::replace(&mut differs, true) {
                unlike.push(pair);
            }
        }
    }
    Ok(Lookalikes::new(&sample.ids, rows, unlike))
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
