//! `lvd plan --estimate`: what the pipeline would cost at another size, with the arithmetic.

use std::fmt::Write as _;

use crate::cli::args::EstimateArgs;
use crate::cli::stop::Stop;
use crate::cli::table::{bytes, columns, duration, print, print_json};
use crate::pipeline::estimate::{Line, Machine, estimate};
use crate::pipeline::steps::Pipeline;
use crate::stages::cost::{number, short};
use lvd_kernels::blas;

/// Prints the estimate.
pub fn print_estimate(pipeline: &Pipeline, args: &EstimateArgs, as_json: bool) -> Result<(), Stop> {
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = number(here as u64);
    let positive = |name: &str, value: Option<f64>| match value {
        Some(value) if !(value > 0.0 && value.is_finite()) => {
            Err(Stop::usage(format!("--{name} {value}"), "use a positive number"))
        }
        value => Ok(value),
    };
    let measured = args.gflops.is_none();
    let machine = Machine {
        nodes: positive("nodes", args.nodes)?.unwrap_or(1.0),
        cores: positive("cores", args.cores)?.unwrap_or(threads),
        gflops: positive("gflops", args.gflops)?.unwrap_or_else(|| blas::sgemm_gflops(here) / threads),
        disk: positive("disk", args.disk)?.unwrap_or(1.0) * 1e9,
        model_tflops: positive("model-tflops", args.model_tflops)?,
    };
    let found = estimate(pipeline, positive("images", args.images)?, machine)?;
    if as_json {
        return print_json("the estimate", &found);
    }
    let total = |of: fn(&Line) -> f64| found.lines.iter().map(of).sum::<f64>();
    let (hours, core_hours) = (total(|line| line.hours), total(|line| line.core_hours));
    let row = |line: &Line| {
        vec![
            line.step.clone(),
            line.phase.into(),
            format!("{:.1}", line.core_hours),
            duration(line.hours * 3600.0),
            if line.bound_by_disk { "disk" } else { "cores" }.into(),
            short(line.tasks),
            size(line.memory),
            size(line.kept),
            size(line.scratch),
            line.measured.map_or("computed".into(), |factor| format!("measured, {factor:.2} x computed")),
        ]
    };
    let mut rows: Vec<Vec<String>> = found.lines.iter().map(row).collect();
    let most = found.lines.iter().map(|line| line.scratch).fold(0.0, f64::max);
    rows.push(
        [
            "all",
            "",
            &format!("{core_hours:.1}"),
            &duration(hours * 3600.0),
            "",
            "",
            "",
            &size(total(|line| line.kept)),
            &size(most),
            "",
        ]
        .map(str::to_owned)
        .to_vec(),
    );
    let head = ["step", "phase", ">core-hours", ">time", "bound by", ">tasks", ">memory", ">kept", ">scratch", "rate"];
    let sgemm = if measured { "sgemm, measured here" } else { "sgemm, as told" };
    let mut text = format!(
        "A pool of {} images on {} nodes of {} cores: {:.0} GFLOP/s a core ({sgemm}), {} GB/s of disk a node{}.\n\n{}",
        short(found.images),
        machine.nodes,
        machine.cores,
        machine.gflops,
        machine.disk / 1e9,
        machine.model_tflops.map_or(String::new(), |tflops| format!(", models at {tflops} TFLOP/s a node")),
        columns(&head, &rows),
    );
    text.push_str("\nThe arithmetic:\n");
    for line in &found.lines {
        for why in &line.why {
            let _ = writeln!(text, "  {}/{}: {why}", line.step, line.phase);
        }
    }
    let mut risks: Vec<&Line> = found.lines.iter().filter(|line| !line.assumes.is_empty()).collect();
    risks.sort_by(|a, b| b.hours.total_cmp(&a.hours));
    if !risks.is_empty() {
        text.push_str("\nAssumed, and not measured by a report of this work folder; the dearest first:\n");
    }
    for line in risks {
        for assumes in &line.assumes {
            let share = 100.0 * line.hours / hours.max(f64::MIN_POSITIVE);
            let _ = writeln!(text, "  {}/{} ({share:.0}% of the time): {assumes}", line.step, line.phase);
        }
    }
    for guess in &found.guesses {
        let _ = writeln!(text, "  {guess}");
    }
    Ok(print(&text)?)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes are positive, and shown with three digits"
)]
fn size(many: f64) -> String {
    if many < 1.0 { "-".into() } else { bytes(many as u64) }
}
