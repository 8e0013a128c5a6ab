//! `lvd embed --bench`: the speed of the embed stage, part by part.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::args::EmbedArgs;
use crate::cli::choice::{load, steps_of};
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{columns, print, print_json};
use crate::cli::threads::compute_on;
use crate::pipeline::status;
use crate::pipeline::steps::{Pipeline, Step};
use crate::stages::StageKind;
use crate::stages::context::PlanContext;
use crate::stages::embed::bench::{self as measured, Bench};
use crate::stages::task::{Place, Task};

/// Measures the embed steps that the command names.
pub fn bench(args: &EmbedArgs, seconds: f64) -> Result<(), Stop> {
    if !(0.0..=3600.0).contains(&seconds) {
        let message = format!("--bench={seconds}: no time to measure for");
        return Err(Stop::usage(message, "give seconds, for instance --bench=3"));
    }
    let pipeline = load(&args.stage.file, args.stage.run.threads)?;
    let threads = compute_on(args.stage.run.threads)?;
    for index in steps_of(StageKind::Embed, &pipeline, &args.stage)? {
        embed(&pipeline, &pipeline.steps[index], seconds, threads, args.json)?;
    }
    Ok(())
}

/// Measures an embed step, each part for `seconds`, and prints what was found.
fn embed(pipeline: &Pipeline, step: &Step, seconds: f64, threads: usize, json: bool) -> std::result::Result<(), Stop> {
    let inputs = status::inputs(pipeline, step)?.map_err(|table| {
        let hint = format!(
            "run its step first: lvd run {} --to {}",
            pipeline.typed,
            table.split('/').next().unwrap_or(&table)
        );
        Stop::usage(format!("step {:?} reads {table:?}, which is not there yet", step.name), hint)
    })?;
    let known = PlanContext { catalog: &pipeline.catalog, inputs: &inputs, earlier: &BTreeMap::new() };
    let plan = step.stage.plan("embed", &known)?;
    let store = &pipeline.store;
    let place = Place {
        copies: store.work.root().to_path_buf(),
        work: store.work.clone(),
        step: step.name.clone(),
        number: 0,
        aside: store.temporaries(&step.name).join(format!("bench.tmp-{}", std::process::id())),
        checkpoint: store.checkpoint(&step.name, "bench", "none"),
    };
    let task = Task::new(&pipeline.catalog, place, threads, &|_| ());
    let tell = |part: &str| say!("measuring {}: {part}", step.name);
    let found = measured::run(&plan, &task, Duration::from_secs_f64(seconds), &tell)?;
    if json {
        return print_json("the measurements", &found);
    }
    Ok(print(&text(&found))?)
}

/// The measurements for a person.
fn text(found: &Bench) -> String {
    let speed = |value: f64| if value < 100.0 { format!("{value:.1}") } else { format!("{value:.0}") };
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let rows: Vec<Vec<String>> = found
        .parts
        .iter()
        .map(|part| {
            vec![
                part.part.into(),
                part.embedder.clone().unwrap_or_default(),
                speed(part.images_per_second),
                percent(part.share),
                part.gflop_per_image.map_or_else(String::new, |gflop| format!("{gflop:.2}")),
                part.fraction_of_sgemm.map_or_else(String::new, percent),
            ]
        })
        .collect();
    let mut text = columns(&["part", "embedder", ">images/s", ">share", ">GFLOP/image", ">of sgemm"], &rows);
    let whole = &found.pipeline;
    let _ = write!(
        text,
        "\n{} threads, {} images, batches of {}; sgemm {:.0} GFLOP/s\n\
         all together {} images/s, {} of the {} that the parts add up to\n{}\n",
        found.threads,
        found.images,
        found.batch_images,
        found.sgemm_gflops,
        speed(whole.images_per_second),
        percent(whole.images_per_second / whole.expected_images_per_second),
        speed(whole.expected_images_per_second),
        verdict(found),
    );
    text
}

/// Who waits for whom.
fn verdict(found: &Bench) -> String {
    let slowest = found.parts.iter().max_by(|a, b| a.share.total_cmp(&b.share));
    let slowest = slowest.map_or("nothing", |part| part.part);
    let whole = &found.pipeline;
    let waited = format!("workers waited {:.1}% of their time for files", 100.0 * whole.workers_waited);
    let reader = format!("the thread that reads and writes was busy {:.1}% of its own", 100.0 * whole.reader_busy);
    if whole.workers_waited > 0.05 {
        format!("{waited}, {reader}: reading and writing starve the rest")
    } else {
        format!("{waited}, {reader}: {slowest} sets the speed")
    }
}
