//! Calibrate: evidence for a dedup threshold, on the user's own images and with the user's own
//! encoder.
//!
//! A sample of the pool, or of the step's reference images, is edited as people edit pictures, and
//! embedded as the embed stage would. Each copy is compared with all images of the pool that the
//! step compares. Only its own original is a right answer. Two originals may look so alike that
//! they may be copies of each other: a copy of one that finds the other is *undecided*, neither
//! right nor wrong.
//!
//! Memory: for each sampled image a vector of each edit and two more in fp32 (twice while they are
//! gathered), 17 KiB of small pictures, and about 100 bytes a copy for the counts of each thread;
//! one shard of vectors in fp32, 16 decoded pictures, and for each thread a session of the model
//! and a batch of pictures.

mod copies;
mod drops;
mod inputs;
mod lookalikes;
mod outcome;
mod pairs;
mod pictures;
mod question;
mod sample;
mod score;

pub use inputs::{Event, Inputs, Settings};
pub use lookalikes::LookalikeRow;
pub use outcome::{Calibration, CopyRow, EditRow, Suggestion, ThresholdRow};
pub use score::Normalised;

use crate::calibrate::question::Question;
use crate::calibrate::sample::DrawnImages;
use crate::calibrate::score::Rules;
use crate::stages::task::{Place, Task};
use lvd_base::error::{Error, Result};
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::dot;

/// Cosine of a stored vector and one that the model gives now, below which they are not of the same
/// model.
const SAME_MODEL: f32 = 0.99;

/// Draws, edits, embeds, compares and counts. The same pool, settings and seed give the same
/// numbers on any number of threads.
pub fn run(inputs: &Inputs, settings: &Settings, tell: &(dyn Fn(Event) + Sync)) -> Result<Calibration> {
    check(settings)?;
    // It reads parts by the names in manifests, and publishes nothing.
    let unused = || inputs.work.root().to_path_buf();
    let (work, copies) = (inputs.work.clone(), unused());
    let place = Place { work, copies, step: inputs.step.into(), number: 0, aside: unused(), checkpoint: unused() };
    let task = Task::new(inputs.catalog, place, inputs.threads, &|_| ());
    let mut pool = inputs.pool(&task)?;
    let sample = DrawnImages::draw(&pool.originals, settings.images, inputs.catalog.seed, &task)?;
    let mut originals = sample.vectors(&pool.originals, &task)?;
    let mut copies = copies::embed(inputs, &pool, &sample, originals.dimension, tell)?;
    same_model(&originals, &copies.again)?;
    if let Some(whitening) = pool.whitening.take() {
        whitening.apply(&mut originals.values);
        whitening.apply(&mut copies.values);
        pool.shards = pool.shards.iter().map(|shard| shard.whitened(Some(&whitening))).collect();
    }
    let lookalikes = lookalikes::find(inputs, &pool, &sample, &originals, &task, tell)?;
    // Normalised scores are no cosines that a step could link by.
    let step = (inputs.threshold(), inputs.is_relative());
    let count = || drops::count(&pool, (&sample, &originals), step, &task, tell);
    let drops = (!settings.normalise).then(count).transpose()?;
    let question = Question { sample: &sample, originals: &originals, copies: &copies, lookalikes: &lookalikes };
    let rules = Rules { threshold: inputs.threshold(), seed: inputs.catalog.seed, normalise: settings.normalise };
    let scored = score::score(&question, &rules, &pool.shards, &task, tell)?;
    Ok(outcome::sum_up(inputs, settings, &question, &scored, drops.as_ref()))
}

/// Finds what is wrong with the settings.
pub fn check(settings: &Settings) -> Result<()> {
    let images = settings.images;
    if images < 2 {
        return Err(Error::usage(
            format!("a sample of {images} images"),
            "draw at least 2: collages need another image",
        ));
    }
    Ok(())
}

/// Whether the model gives for the originals what is stored of them.
fn same_model(stored: &Vectors, again: &[f32]) -> Result<()> {
    for (row, again) in again.chunks_exact(stored.dimension).enumerate() {
        let cosine = dot(stored.row(row), again);
        if cosine < SAME_MODEL {
            let id = stored.ids[row].0;
            return Err(Error::usage(
                format!(
                    "image {id:016x}: the stored vector and the one the model gives now have a cosine of {cosine:.3}"
                ),
                "the model or how pixels become its input was changed: lvd embed FILE --replace",
            ));
        }
    }
    Ok(())
}
