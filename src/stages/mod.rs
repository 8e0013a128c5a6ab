//! The seven kinds of work. A stage is a settings struct that can say what it reads, check itself, and cut itself into
//! phases of independent tasks; and a function that runs one task.
//!
//! Planning sees settings and the manifests of what is whole; a running task sees its spec and nothing else, so what
//! decides a task's bytes is exactly what its key is the hash of. No stage keeps time, markers or folders: the runner does.

pub mod catalog;
pub mod cost;
pub mod known;
pub mod pool;
pub mod scope;
pub mod task;

pub mod cluster;
pub mod dedup;
pub mod embed;
pub mod export;
pub mod ingest;
pub mod retrieve;
pub mod sample;

use std::any::Any;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stages::cost::{Cost, Scale};
use crate::stages::known::Known;
use crate::stages::scope::Scope;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};

/// The kinds of work, in the order of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StageKind {
    /// Fetch, check and store images.
    Ingest,
    /// Turn images into vectors with ONNX models.
    Embed,
    /// Find copies among the pool, or copies of reference images.
    Dedup,
    /// Group the pool by k-means.
    Cluster,
    /// Find the pool images that are like the seed images.
    Retrieve,
    /// Choose the data set.
    Sample,
    /// Write the data set.
    Export,
}

impl StageKind {
    /// Every kind, in order.
    pub const ALL: [Self; 7] =
        [Self::Ingest, Self::Embed, Self::Dedup, Self::Cluster, Self::Retrieve, Self::Sample, Self::Export];

    /// Its name in the pipeline file and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Embed => "embed",
            Self::Dedup => "dedup",
            Self::Cluster => "cluster",
            Self::Retrieve => "retrieve",
            Self::Sample => "sample",
            Self::Export => "export",
        }
    }
}

/// A part of a stage whose tasks do not depend on one another.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// Its name in reports and bookkeeping.
    pub name: &'static str,
    /// Whether its rows are the step's rows: phases that count follow one another, each taking in what the last gave out.
    pub counts: bool,
    /// Whether its parts are only for the phases up to the next that is no scratch, and go when the step is whole.
    pub scratch: bool,
    /// Whether the same spec gives the same bytes. Where not (the network, a GPU), the first published answer stands.
    pub repeatable: bool,
    /// Whether it is too dear to be done again without being asked: what is there is replaced only with `--replace`.
    pub costly: bool,
    /// Tasks that are run at once at least, where they share a process.
    pub at_once: usize,
}

impl Phase {
    /// A phase that decides about rows.
    #[must_use]
    pub const fn counting(name: &'static str) -> Self {
        Self { name, counts: true, scratch: false, repeatable: true, costly: false, at_once: 1 }
    }

    /// A phase that prepares.
    #[must_use]
    pub const fn helping(name: &'static str) -> Self {
        Self { name, counts: false, scratch: false, repeatable: true, costly: false, at_once: 1 }
    }

    /// The same, its parts kept only until the step is whole.
    #[must_use]
    pub const fn scratch(self) -> Self {
        Self { scratch: true, ..self }
    }

    /// The same, with bytes that may differ from run to run.
    #[must_use]
    pub const fn unrepeatable(self) -> Self {
        Self { repeatable: false, ..self }
    }

    /// The same, not to be done again without being asked.
    #[must_use]
    pub const fn costly(self) -> Self {
        Self { costly: true, ..self }
    }

    /// The same, of tasks that need little memory and wait for the disk: one computes meanwhile.
    #[must_use]
    pub const fn two_at_once(self) -> Self {
        Self { at_once: 2, ..self }
    }
}

/// The tasks of a phase. A task's key is the hash of `common` and its spec, and of nothing else.
#[derive(Debug, Serialize, Deserialize)]
pub struct PhasePlan {
    /// What every task of the phase shares.
    pub common: Value,
    /// What may change speed but never bytes (time-outs, threads): no part of the key.
    pub knobs: Value,
    /// A spec a task.
    pub tasks: Vec<Value>,
}

impl PhasePlan {
    /// A plan of `tasks`, which share `common`.
    pub fn new<S: Serialize>(common: impl Serialize, tasks: impl IntoIterator<Item = S>) -> Result<Self> {
        let tasks = tasks.into_iter().map(to_value).collect::<Result<_>>()?;
        Ok(Self { common: to_value(common)?, knobs: Value::Null, tasks })
    }

    /// A phase with nothing to do.
    #[must_use]
    pub fn empty() -> Self {
        Self { common: Value::Null, knobs: Value::Null, tasks: Vec::new() }
    }
}

/// What a running task was told; see [`PhasePlan`].
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// Shared by the phase.
    pub common: &'a Value,
    /// Speed only.
    pub knobs: &'a Value,
    /// This task's own.
    pub spec: &'a Value,
}

/// The settings of a step, and how it cuts itself into tasks. Who needs the settings of one kind asks `Any` for them.
pub trait Stage: Any + Send + Sync {
    /// Which kind it is.
    fn kind(&self) -> StageKind;
    /// Fills in the inputs that the file leaves to the default, and finds what is wrong with the settings.
    fn check(&mut self, scope: &mut Scope);
    /// The tables it reads, `step` or `step/table`; known after [`Stage::check`].
    fn inputs(&self) -> Vec<String>;
    /// Its phases, in order; known after [`Stage::check`].
    fn phases(&self) -> &[Phase];
    /// The pool sources that it compares, where it lets others pass as they are; none: all.
    fn compares(&self) -> Option<&[String]> {
        None
    }
    /// The sources whose copies it takes out of the pool.
    fn references(&self) -> &[String] {
        &[]
    }
    /// The share of rows that may be dropped in costly phases before the step is called failed.
    fn max_failed_share(&self) -> Option<f64> {
        None
    }
    /// What it costs, by arithmetic.
    fn costs(&self, scale: &Scale) -> Vec<Cost>;
    /// The tasks of one phase, now that the phases before it are whole.
    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan>;
}

/// Runs one task.
pub fn run(kind: StageKind, phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match kind {
        StageKind::Ingest => ingest::run(phase, order, task),
        StageKind::Embed => embed::run(phase, order, task),
        StageKind::Dedup => dedup::run(phase, order, task),
        StageKind::Cluster => cluster::run(phase, order, task),
        StageKind::Retrieve => retrieve::run(phase, order, task),
        StageKind::Sample => sample::run(phase, order, task),
        StageKind::Export => export::run(phase, order, task),
    }
}

fn to_value(value: impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::data("a task's spec", e))
}

/// Reads a spec back as the type it was written from.
fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T> {
    T::deserialize(value).map_err(|e| Error::data("a task's spec", format!("{e}: was it planned by another version?")))
}

/// A phase that no stage of this name has: a plan and a program of different versions.
fn no_such_phase(phase: &str) -> Error {
    Error::usage(format!("there is no phase {phase:?}"), "the plan was made by another version of lvd: plan again")
}
