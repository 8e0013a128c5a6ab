//! Whether a calibration backs the threshold of a dedup step: what it has dropped, and what it has not found.

use std::any::Any;

use indicatif::HumanCount;
use serde_json::Value;

use crate::pipeline::steps::Pipeline;
use crate::pipeline::summary::Summary;
use crate::stages::dedup::Dedup;

/// The share of images, one in so many, that a step may drop before it has to be backed.
const DROPPED: u64 = 20;
/// The precision of a threshold that is backed.
const PRECISION: f64 = 0.9;
/// The share of edited copies that a threshold finds at least, if it is not said.
const RECALL: f64 = 0.5;

/// What a calibration measured at a threshold.
struct Measured {
    precision: f64,
    recall: f64,
}

/// What is missing, with the cure; none where a calibration of the same vectors says that the threshold is precise and finds copies.
#[must_use]
pub fn missing(pipeline: &Pipeline, summary: &Summary) -> Option<String> {
    let name = &summary.step;
    let step = pipeline.steps.iter().find(|step| step.name == *name)?;
    let dedup = (step.stage.as_ref() as &dyn Any).downcast_ref::<Dedup>()?;
    let dropped = summary.rows_in - summary.rows_out;
    let many = dropped * DROPPED > summary.rows_in;
    let fact = format!("{name}: {} of {} images were dropped", HumanCount(dropped), HumanCount(summary.rows_in));
    let (file, threshold) = (&pipeline.typed, dedup.threshold());
    match measured(pipeline, name, dedup, threshold) {
        Some(Measured { precision, .. }) if many && precision < PRECISION => Some(format!(
            "{fact}, and the calibration gives the threshold of {threshold} a precision of {precision:.3}: lvd calibrate {file} {name} says which \
             has a better one"
        )),
        Some(Measured { recall, .. }) if recall < RECALL => Some(format!(
            "{fact}, and by the calibration the threshold of {threshold} finds {recall:.3} of the edited copies: lvd calibrate {file} {name} says \
             which finds more"
        )),
        Some(_) => None,
        // What is known of an encoder was measured, if on other pictures.
        None if !many && is_known(pipeline, dedup) => None,
        None => Some(format!(
            "{fact}, and no calibration backs the threshold of {threshold}: it may {}; lvd calibrate {file} {name} measures it",
            if many { "drop what is no copy" } else { "miss most copies" }
        )),
    }
}

/// Whether the threshold is the one that is known for the encoder.
fn is_known(pipeline: &Pipeline, dedup: &Dedup) -> bool {
    dedup.known_threshold(&pipeline.catalog).is_some_and(|known| known.to_bits() == dedup.threshold().to_bits())
}

/// The share of the edited copies that a threshold finds by the step's calibration, if that measured
/// it on such vectors.
#[must_use]
pub fn recall(pipeline: &Pipeline, step: &str, dedup: &Dedup, threshold: f32) -> Option<f64> {
    measured(pipeline, step, dedup, threshold).map(|measured| measured.recall)
}

/// What the step's calibration measured at a threshold, if it is one of such vectors.
fn measured(pipeline: &Pipeline, step: &str, dedup: &Dedup, threshold: f32) -> Option<Measured> {
    let path = pipeline.store.work.root().join("_calibrate").join(step).join("summary.json");
    let found: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let same =
        found["vectors"] == dedup.vectors.name() && found["whiten"] == dedup.whiten && found["normalised"] == false;
    let at = |row: &&Value| row["threshold"].as_f64().is_some_and(|at| (at - f64::from(threshold)).abs() < 1e-6);
    let row = found["thresholds"].as_array().filter(|_| same)?.iter().find(at)?;
    Some(Measured { precision: row["precision"].as_f64()?, recall: row["recall"].as_f64()? })
}
