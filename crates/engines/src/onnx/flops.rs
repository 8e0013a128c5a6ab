//! The floating-point operations of a model, counted from the shapes that ONNX Runtime meets while
//! it runs.
//!
//! Counted are matrix products and convolutions, two operations (multiply, add) an element, in fp32
//! or int8; the rest of a network is less than a hundredth of them. Shapes come from the runtime's
//! own profile of one run without graph optimizations, so that open sizes, reshapes and fused
//! operators need no understanding here.

use std::path::Path;

use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use serde_json::Value;

use super::library::{loaded, native};
use super::session::Session;
use super::tensor::Intake;
use lvd_base::error::{Error, Result};

/// Operations an image of `shape` (channels, height, width) costs the model at `path`; `aside` is a
/// new file's name, for the profile, which is removed.
///
/// # Errors
/// When the model cannot be run, or the profile not be read.
pub fn flops(path: &Path, shape: [usize; 3], aside: &Path) -> Result<u64> {
    let session = Session::open(path, 1)?;
    let (images, intake) = (session.fixed_images().unwrap_or(1), session.intake);
    drop(session);
    let [channels, height, width] = shape;
    let environment = loaded(|library| Ok(library.environment.clone()))?;
    let profile =
        profile(&environment, path, intake, [images, channels, height, width], aside).map_err(|e| native(&e))?;
    let text = std::fs::read(&profile).map_err(Error::io(&profile))?;
    std::fs::remove_file(&profile).map_err(Error::io(&profile))?;
    let events: Vec<Value> = serde_json::from_slice(&text).map_err(|e| Error::data(&profile, e))?;
    Ok(events.iter().map(operations).sum::<u64>() / images as u64)
}

/// Runs one batch of zeros under the profiler; returns the file it wrote.
fn profile(
    environment: &Environment,
    path: &Path,
    intake: Intake,
    shape: [usize; 4],
    aside: &Path,
) -> ort::Result<String> {
    let mut session = ort::session::Session::builder(environment)?
        .with_intra_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::Disable)?
        // Weights that were repacked for a kernel have no shape any more.
        .with_config_entry("session.disable_prepacking", "1")?
        .with_log_level(ort::logging::LogLevel::Error)?
        .with_profiling(aside)?
        .commit_from_file(path)?;
    let pixels = vec![0.0_f32; shape.iter().product()];
    session.run(ort::inputs![intake.tensor(&pixels, shape)?])?;
    session.end_profiling()
}

/// What one event of a profile counts for: 0 unless it is a kernel of a counted operator.
fn operations(event: &Value) -> u64 {
    let details = &event["args"];
    let shape = |side: &str, index: usize| -> Option<Vec<u64>> {
        let sizes = details[side][index].as_object()?.values().next()?.as_array()?;
        sizes.iter().map(Value::as_u64).collect()
    };
    let count = || {
        let (input, output) = (shape("input_type_shape", 0)?, shape("output_type_shape", 0)?);
        let inner = match details["op_name"].as_str()? {
            "MatMul" | "MatMulInteger" | "QLinearMatMul" => *input.last()?,
            // Either matrix may be transposed: the inner side is what is left of the first beside
            // the rows.
            "Gemm" => input.iter().product::<u64>() / output.first().filter(|&&rows| rows > 0)?,
            "Conv" | "ConvInteger" => shape("input_type_shape", 1)?.iter().skip(1).product(),
            "QLinearConv" => shape("input_type_shape", 3)?.iter().skip(1).product(),
            _ => return None,
        };
        Some(2 * inner * output.iter().product::<u64>())
    };
    count().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_convolutions_count_two_an_element() {
        let event = |text: &str| operations(&serde_json::from_str(text).expect("an event"));
        let product = r#"{"args": {"op_name": "MatMul", "input_type_shape": [{"float": [1, 3, 5]}, {"float": [5, 7]}],
            "output_type_shape": [{"float": [1, 3, 7]}]}}"#;
        assert_eq!(event(product), 2 * 3 * 5 * 7);
        let transposed = r#"{"args": {"op_name": "Gemm", "input_type_shape": [{"float": [5, 3]}, {"float": [7, 5]}],
            "output_type_shape": [{"float": [3, 7]}]}}"#;
        assert_eq!(event(transposed), 2 * 3 * 5 * 7);
        let grouped = r#"{"args": {"op_name": "Conv", "input_type_shape": [{"float": [1, 8, 6, 6]}, {"float": [16, 2, 3, 3]}],
            "output_type_shape": [{"float": [1, 16, 4, 4]}]}}"#;
        assert_eq!(event(grouped), 2 * (16 * 4 * 4) * (2 * 3 * 3));
        assert_eq!(event(r#"{"args": {"op_name": "Softmax", "output_type_shape": [{"float": [3]}]}}"#), 0);
        assert_eq!(event(r#"{"name": "model_run"}"#), 0);
    }
}
