//! What a pipeline would cost at another size: every stage's own arithmetic, on a machine that is
//! described, with the rates that earlier runs of the same phases measured.

use std::any::Any;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::pipeline::report::TaskReport;
use crate::pipeline::steps::Pipeline;
use crate::pipeline::summary::Summary;
use crate::stages::StageKind;
use crate::stages::catalog::{Embedder, Model as ModelFile, Role};
use crate::stages::cost::{Cost, Model, Scale, number};
use crate::stages::dedup::Dedup;
use crate::stages::sample::Sample;
use lvd_base::error::Result;
use lvd_engines::onnx;
use lvd_io::row;

/// Core-seconds below which a measured phase tells of its overhead rather than of its rate.
const ENOUGH: f64 = 60.0;
/// Bytes of an image, where no report tells.
const IMAGE_BYTES: f64 = 100_000.0;
/// What stays of a pool, where no report tells: of 1.2 billion images 1.1 were left without copies
/// of one another, and 744 million of these without copies of the evaluation sets' (`DINOv2`,
/// section 3).
const UNIQUE: f64 = 0.92;
const UNKNOWN: f64 = 0.68;

/// What the work is done on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Machine {
    /// Nodes.
    pub nodes: f64,
    /// Cores of a node.
    pub cores: f64,
    /// `sgemm` of one core, 10^9 operations a second.
    pub gflops: f64,
    /// Bytes a second that a node reads or writes in the work folder.
    pub disk: f64,
    /// What a node's accelerators do in the models, 10^12 operations a second; `None`: the cores do
    /// it.
    pub model_tflops: Option<f64>,
}

/// A phase's cost.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The step.
    pub step: String,
    /// The phase.
    pub phase: &'static str,
    /// Hours of one core; of the accelerators of a node where the models run on them.
    pub core_hours: f64,
    /// Hours on all nodes.
    pub hours: f64,
    /// Whether moving bytes takes longer than computing.
    pub bound_by_disk: bool,
    /// Independent tasks.
    pub tasks: f64,
    /// Memory of a task in bytes.
    pub memory: f64,
    /// Bytes that stay.
    pub kept: f64,
    /// Bytes that are kept until the step is whole.
    pub scratch: f64,
    /// Measured core-seconds over computed ones, by the report of an earlier run.
    pub measured: Option<f64>,
    /// The arithmetic.
    pub why: Vec<String>,
    /// What it rests on.
    pub assumes: Vec<&'static str>,
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Estimate {
    /// Images of the pool.
    pub images: f64,
    /// The machine.
    pub machine: Machine,
    /// A line a phase.
    pub lines: Vec<Line>,
    /// What had to be guessed about the inputs.
    pub guesses: Vec<String>,
}

/// The cost of all steps for a pool of `images`, or of its own size.
pub fn estimate(pipeline: &Pipeline, images: Option<f64>, machine: Machine) -> Result<Estimate> {
    let mut guesses = Vec::new();
    let summaries = summaries(pipeline)?;
    let here = scale(pipeline, &summaries, &mut guesses)?;
    let there = Scale { pool: images.unwrap_or(here.pool), ..here.clone() };
    let computed = walk(pipeline, &summaries, &there);
    let mut lines: Vec<Line> = Vec::new();
    let before = walk(pipeline, &summaries, &here);
    for ((step, costs), (_, costs_here)) in computed.into_iter().zip(before) {
        let measured = measured(pipeline, &step)?;
        let phases: Vec<&str> = costs.iter().map(|cost| cost.phase).collect();
        for (place, phase) in phases.iter().enumerate().filter(|(place, phase)| !phases[..*place].contains(phase)) {
            let of = |costs: &[Cost]| costs.iter().filter(|cost| cost.phase == *phase).cloned().collect::<Vec<_>>();
            let core_seconds =
                |costs: &[Cost]| costs.iter().map(|cost| cost.work.core_seconds(machine.gflops * 1e9)).sum();
            let (mine, at_home): (Vec<Cost>, f64) = (of(&costs), core_seconds(&of(&costs_here)));
            let factor = measured.get(*phase).filter(|&&seconds| seconds >= ENOUGH && at_home > 0.0);
            let factor = factor.map(|seconds| seconds / at_home);
            lines.push(line(&step, costs[place].phase, &mine, factor, machine));
        }
    }
    Ok(Estimate { images: there.pool, machine, lines, guesses })
}

fn line(step: &str, phase: &'static str, costs: &[Cost], measured: Option<f64>, machine: Machine) -> Line {
    let sum = |of: fn(&Cost) -> f64| costs.iter().map(of).sum::<f64>();
    let tasks = costs.iter().map(|cost| cost.tasks).fold(1.0, f64::max).ceil();
    let nodes = machine.nodes.min(tasks);
    let sgemm = machine.gflops * 1e9;
    let on_accelerator = |cost: &Cost| machine.model_tflops.is_some() && cost.why.contains(" operations, at ");
    let mut core_seconds = 0.0;
    let mut seconds = 0.0;
    for cost in costs {
        if let Some(tflops) = machine.model_tflops.filter(|_| on_accelerator(cost)) {
            let operations = cost.work.core_seconds(1.0) * 0.85;
            seconds += operations / (tflops * 1e12) / nodes;
        } else {
            let work = cost.work.core_seconds(sgemm) * measured.unwrap_or(1.0);
            core_seconds += work;
            seconds += work / (machine.cores * nodes);
        }
    }
    let moving = sum(|cost| cost.moved) / (machine.disk * nodes);
    Line {
        step: step.to_owned(),
        phase,
        core_hours: core_seconds / 3600.0,
        hours: seconds.max(moving) / 3600.0,
        bound_by_disk: moving > seconds,
        tasks,
        memory: costs.iter().map(|cost| cost.memory).fold(0.0, f64::max),
        kept: sum(|cost| cost.kept),
        scratch: sum(|cost| cost.scratch),
        measured,
        why: costs.iter().map(|cost| cost.why.clone()).collect(),
        assumes: costs.iter().map(|cost| cost.assumes).filter(|text| !text.is_empty() && measured.is_none()).collect(),
    }
}

/// The costs of every step, each for what the steps above leave it.
fn walk(pipeline: &Pipeline, summaries: &BTreeMap<String, Summary>, scale: &Scale) -> Vec<(String, Vec<Cost>)> {
    let mut scale = scale.clone();
    let mut all = Vec::new();
    let mut target = scale.pool;
    for step in &pipeline.steps {
        let stage = step.stage.as_ref();
        let of_target = Scale { pool: target, ..scale.clone() };
        let costs = stage.costs(if stage.kind() == StageKind::Export { &of_target } else { &scale });
        all.push((step.name.clone(), costs));
        let any: &dyn Any = stage;
        if let Some(dedup) = any.downcast_ref::<Dedup>() {
            let usual = if dedup.references.is_empty() { UNIQUE } else { UNKNOWN };
            let share = summaries.get(&step.name).filter(|summary| summary.rows_in > 0);
            scale.pool *= share.map_or(usual, |summary| number(summary.rows_out) / number(summary.rows_in));
        }
        if let Some(sample) = any.downcast_ref::<Sample>() {
            target = number(sample.target);
        }
    }
    all
}

fn summaries(pipeline: &Pipeline) -> Result<BTreeMap<String, Summary>> {
    let mut found = BTreeMap::new();
    for step in &pipeline.steps {
        if let Some(summary) = pipeline.store.summary(&step.name)? {
            found.insert(step.name.clone(), summary);
        }
    }
    Ok(found)
}

/// Core-seconds of a step's phases, by its report.
fn measured(pipeline: &Pipeline, step: &str) -> Result<BTreeMap<String, f64>> {
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    let Some(path) = pipeline.store.file(step, "report.parquet")? else { return Ok(found) };
    for batch in row::read::<TaskReport>(&(&path).into())? {
        for task in batch? {
            if let (Some(seconds), Some(threads)) = (task.seconds, task.threads) {
                *found.entry(task.phase).or_default() += seconds * f64::from(threads);
            }
        }
    }
    Ok(found)
}

/// The sizes of the inputs as they are, or as the file declares them.
fn scale(pipeline: &Pipeline, summaries: &BTreeMap<String, Summary>, guesses: &mut Vec<String>) -> Result<Scale> {
    let of_role = |role: Role| {
        let sources = pipeline.catalog.sources.iter().filter(move |(_, entry)| entry.role == role);
        sources.map(|(name, _)| Ok((name.clone(), number(pipeline.size(name)?)))).collect::<Result<Vec<_>>>()
    };
    let ingested = pipeline.steps.iter().filter(|step| step.stage.kind() == StageKind::Ingest);
    let ingested = ingested.filter_map(|step| summaries.get(&step.name)).find(|summary| summary.rows_out > 0);
    let image_bytes = ingested.map(|summary| number(summary.bytes) / number(summary.rows_out));
    if image_bytes.is_none() {
        guesses.push(format!("an image has {IMAGE_BYTES} bytes: nothing is ingested yet"));
    }
    let mut models = BTreeMap::new();
    for (name, embedder) in &pipeline.catalog.embedders {
        models.insert(name.clone(), model(name, embedder, guesses)?);
    }
    Ok(Scale {
        pool: of_role(Role::Pool)?.into_iter().map(|(_, images)| images).sum(),
        seeds: of_role(Role::Seed)?.into_iter().collect(),
        references: of_role(Role::Reference)?.into_iter().collect(),
        image_bytes: image_bytes.unwrap_or(IMAGE_BYTES),
        models,
    })
}

/// A model's size: from the file, if it is there; else as published.
fn model(name: &str, embedder: &Embedder, guesses: &mut Vec<String>) -> Result<Model> {
    let side = embedder.preprocess.crop as usize;
    let file = match &embedder.model {
        ModelFile::File(path) if path.is_file() => Some(path),
        _ => None,
    };
    let operations = match (file, embedder.operations) {
        (Some(path), _) => {
            let aside = std::env::temp_dir().join(format!("lvd-profile-{}-{name}", std::process::id()));
            number(onnx::flops(path, [3, side, side], &aside)?)
        }
        (None, Some(operations)) => number(operations),
        (None, None) => {
            guesses.push(format!(
                "model {name:?} takes as much as a ViT-L/14, 162 G operations an image: its file is not there"
            ));
            162e9
        }
    };
    let dims = match (embedder.dims, file) {
        (Some(dims), _) => f64::from(dims),
        (None, Some(path)) => {
            let pixels = vec![0.0; 3 * side * side];
            let mut session = onnx::Session::open(path, 1)?;
            let images = session.fixed_images().unwrap_or(1);
            let vectors = session.run(&pixels.repeat(images), [images, 3, side, side], embedder.output.as_deref())?;
            number(vectors.dimension as u64)
        }
        (None, None) => {
            guesses.push(format!("vectors of {name:?} have 1024 numbers: its file is not there"));
            1024.0
        }
    };
    Ok(Model { dims, operations })
}
