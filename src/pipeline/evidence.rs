//! Whether a calibration backs what a dedup step has dropped.

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

/// What is missing, with the cure; none where little was dropped or a calibration of the same
/// vectors says that the threshold is precise.
#[must_use]
pub fn missing(pipeline: &Pipeline, summary: &Summary) -> Option<String> {
    let name = &summary.step;
    let step = pipeline.steps.iter().find(|step| step.name == *name)?;
    let dedup = (step.stage.as_ref() as &dyn Any).downcast_ref::<Dedup>()?;
    let dropped = summary.rows_in - summary.rows_out;
    if dropped * DROPPED <= summary.rows_in {
        return None;
    }
    let file = pipeline.path.display();
    let threshold = dedup.threshold();
    let fact = format!("{name}: {} of {} images were dropped", HumanCount(dropped), HumanCount(summary.rows_in));
    match precision(pipeline, name, dedup) {
        Some(precision) if precision >= PRECISION => None,
        Some(precision) => Some(format!(
            "{fact}, and the calibration gives the threshold of {threshold} a precision of {precision:.3}: lvd calibrate {file} {name} says which \
             has a better one"
        )),
        None => {
            Some(format!("{fact}, and no calibration backs the threshold of {threshold}: lvd calibrate {file} {name}"))
        }
    }
}

/// The precision that the step's calibration measured at its threshold, if it is one of such
/// vectors.
fn precision(pipeline: &Pipeline, step: &str, dedup: &Dedup) -> Option<f64> {
    let path = pipeline.store.work.root().join("_calibrate").join(step).join("summary.json");
    let found: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let same =
        found["vectors"] == dedup.vectors.name() && found["whiten"] == dedup.whiten && found["normalised"] == false;
    let at =
        |row: &&Value| row["threshold"].as_f64().is_some_and(|at| (at - f64::from(dedup.threshold())).abs() < 1e-6);
    found["thresholds"].as_array().filter(|_| same)?.iter().find(at)?["precision"].as_f64()
}
