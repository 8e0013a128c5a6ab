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
mod kept;
mod lookalikes;
mod outcome;
mod pairs;
mod pictures;
mod question;
mod sample;
mod score;

pub use inputs::{Event, Inputs, Settings};
pub use kept::clear;
pub use lookalikes::NearPair;
pub use outcome::{Calibration, CopyRow, EditRow, OtherWay, Suggestion, ThresholdRow, Whitened};
pub use score::Normalised;

use std::sync::Arc;

use crate::calibrate::copies::Copies;
use crate::calibrate::lookalikes::Lookalikes;
use crate::calibrate::question::Question;
use crate::calibrate::sample::DrawnImages;
use crate::calibrate::score::Rules;
use crate::stages::embed::encode::same_model;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_io::vectors::Vectors;
use lvd_ops::whiten::Whitening;

/// Draws, edits, embeds, compares and counts. The same pool, settings and seed give the same
/// numbers on any number of threads.
pub fn run(inputs: &Inputs, settings: &Settings, tell: &(dyn Fn(Event) + Sync)) -> Result<Calibration> {
    check(settings)?;
    let task = Task::reader(inputs.catalog, inputs.work, inputs.threads);
    let mut pool = inputs.pool(!settings.normalise, &task)?;
    let sample = DrawnImages::draw(&pool.originals, settings.images, inputs.catalog.seed, &task)?;
    tell(Event::Drawn(sample.ids.len()));
    let originals = sample.vectors(&pool.originals, &task)?;
    let copies = copies::embed(inputs, &pool, &sample, originals.dimension, tell)?;
    same_model(&originals, &copies.again)?;
    let plain = View { shards: pool.shards.clone(), originals, copies };
    let whitening = pool.whitening.take();
    let fitted = whitening.as_ref().map(|(fitted_on, whitening)| Whitened::on(*fitted_on, whitening.dimension()));
    let whitened = whitening.map(|(_, whitening)| plain.whitened(&whitening));
    let whiten = inputs.dedup.whiten;
    let (of_step, other) = match whitened {
        Some(whitened) if whiten => (whitened, Some(plain)),
        whitened => (plain, whitened),
    };
    pool.shards.clone_from(&of_step.shards);
    let lookalikes = lookalikes::find(inputs, &pool, &sample, &of_step.originals, &task, tell)?;
    let judge = Judge { inputs, settings, sample: &sample, task: &task, tell };
    let mut found = judge.look(&of_step, whiten, &lookalikes)?;
    found.whitened = fitted;
    if let Some(other) = other {
        // Which of the pool's pairs look alike is a matter of pixels; how near they are, is not.
        pool.shards.clone_from(&other.shards);
        let lookalikes = lookalikes::find(inputs, &pool, &sample, &other.originals, &task, tell)?;
        let other = judge.look(&other, !whiten, &lookalikes)?;
        let suggestion = other.suggestions.into_iter().next();
        found.other = Some(OtherWay { whiten: !whiten, micro_ap: other.micro_ap, suggestion });
    }
    Ok(found)
}

/// The pool and the copies as a step sees them: as they are, or whitened.
struct View {
    shards: Vec<VectorShard>,
    originals: Vectors,
    copies: Copies,
}

impl View {
    fn whitened(&self, whitening: &Arc<Whitening>) -> Self {
        let (mut originals, mut copies) = (self.originals.clone(), self.copies.clone());
        whitening.apply(&mut originals.values);
        whitening.apply(&mut copies.values);
        let shards = self.shards.iter().map(|shard| shard.whitened(Some(whitening))).collect();
        Self { shards, originals, copies }
    }
}

/// What all views are judged by.
struct Judge<'a> {
    inputs: &'a Inputs<'a>,
    settings: &'a Settings,
    sample: &'a DrawnImages,
    task: &'a Task<'a>,
    tell: &'a (dyn Fn(Event) + Sync),
}

impl Judge<'_> {
    /// Compares and counts.
    fn look(&self, view: &View, whiten: bool, lookalikes: &Lookalikes) -> Result<Calibration> {
        let Self { inputs, settings, sample, task, tell } = self;
        // Normalised scores are no cosines that a step could link by.
        let step = (inputs.threshold(), inputs.is_relative());
        let count = || drops::count(&view.shards, (sample, &view.originals), step, task, tell);
        let drops = (!settings.normalise).then(count).transpose()?;
        let question = Question { sample, originals: &view.originals, copies: &view.copies, lookalikes };
        let rules = Rules { threshold: inputs.threshold(), seed: inputs.catalog.seed, normalise: settings.normalise };
        let scored = score::score(&question, &rules, &view.shards, task, tell)?;
        Ok(outcome::sum_up(inputs, settings, whiten, &question, (&scored, drops.as_ref())))
    }
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
