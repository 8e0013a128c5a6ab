//! What a step did: `report.parquet` (a row a task, and one a drop reason of a task),
//! `histogram.parquet` and `summary.json`.

use std::collections::{BTreeMap, BTreeSet};

use crate::pipeline::keys::format;
use crate::pipeline::records::{Manifest, Marker, Planned};
use crate::pipeline::status;
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::store::Store;
use crate::pipeline::summary::{Summary, share};
use crate::stages::plan::fingerprint;
use crate::stages::task::Outcome;
use crate::stages::{Phase, StageKind};
use lvd_base::error::{Error, Result};
use lvd_base::types::Reason;
use lvd_io::part::sha256;
use lvd_io::table;
use lvd_io::{digest, publish, row, sealed};
use lvd_ops::histogram::Histogram;

table! {
    /// What tasks did. A row with a null `reason` is a task; the rows with a reason that follow it
    /// are its drops.
    pub struct TaskReport {
        /// Phase of the step.
        pub phase: String,
        /// Whether this phase decides about the step's rows; the others prepare, and their rows are
        /// not the step's.
        pub counts: bool,
        /// Number of the task in its phase.
        pub task: u32,
        /// Rows it was given; null in a row about drops.
        pub rows_in: Option<u64>,
        /// Rows that go on; null in a row about drops.
        pub rows_out: Option<u64>,
        /// Why rows were dropped; null in the row about the task.
        pub reason: Option<String>,
        /// How many were dropped for this reason; null in the row about the task.
        pub count: Option<u64>,
        /// Bytes of the parts it wrote; null in a row about drops.
        pub bytes: Option<u64>,
        /// Wall time; null in a row about drops.
        pub seconds: Option<f64>,
        /// Threads it had; null in a row about drops.
        pub threads: Option<u32>,
        /// Highest resident memory of the process when the task ended; null in a row about drops.
        pub peak_memory_bytes: Option<u64>,
        /// Where it ran; null in a row about drops.
        pub host: Option<String>,
    }
}

table! {
    /// Distributions that a step measured: similarities, sizes.
    pub struct HistogramBin {
        /// What was measured.
        pub name: String,
        /// Lower edge of the bin; the first bin also counts what lies below.
        pub low: f64,
        /// Upper edge of the bin; the last bin also counts what lies beyond.
        pub high: f64,
        /// Values in the bin.
        pub count: u64,
    }
}

/// Adds up a whole step, and checks that its phases hand on all rows.
pub fn summarise(pipeline: &Pipeline, step: &Step, phases: &[(Phase, Planned, Vec<Marker>)]) -> Result<Summary> {
    let mut summary = Summary {
        step: step.name.clone(),
        stage: step.stage.kind().name().into(),
        rows_in: 0,
        rows_out: 0,
        drops: BTreeMap::new(),
        failed_share: None,
        sources: BTreeMap::new(),
        counters: BTreeMap::new(),
        facts: BTreeMap::new(),
        warnings: BTreeSet::new(),
        tasks: 0,
        seconds: 0.0,
        bytes: 0,
        peak_memory_bytes: 0,
        settings: serde_json::to_value(&step.settings).map_err(|e| Error::data("the settings", e))?,
        inputs: content_of_inputs(pipeline, step)?,
        seed: pipeline.catalog.seed,
        made_by: made_by(step.stage.kind()),
    };
    let mut handed_on = None;
    for (phase, _, markers) in phases {
        let sum = |of: fn(&Marker) -> u64| markers.iter().map(of).sum::<u64>();
        let (rows_in, rows_out) = (sum(|marker| marker.outcome.rows_in), sum(|marker| marker.outcome.rows_out));
        if phase.counts {
            if let Some(rows) = handed_on.filter(|&rows| rows != rows_in) {
                return Err(does_not_add_up(
                    pipeline,
                    step,
                    phase,
                    &format!("{rows} rows were handed on, {rows_in} came in"),
                ));
            }
            if let Some(marker) = markers.iter().find(|marker| !marker.outcome.balances()) {
                let outcome = &marker.outcome;
                let text = format!("{} rows in are not {} out and drops", outcome.rows_in, outcome.rows_out);
                return Err(does_not_add_up(pipeline, step, phase, &text));
            }
            if handed_on.is_none() {
                summary.rows_in = rows_in;
            }
            handed_on = Some(rows_out);
            summary.rows_out = rows_out;
            for (reason, rows) in markers.iter().flat_map(|marker| &marker.outcome.drops) {
                *summary.drops.entry(reason.name().into()).or_default() += rows;
            }
        }
        for outcome in markers.iter().map(|marker| &marker.outcome) {
            let gone = outcome.drops.contains_key(&Reason::NoLongerListed) || !outcome.gone.is_empty();
            if let Some(source) = source_of(pipeline, outcome).filter(|_| gone) {
                summary.leave_out(source, outcome);
            }
        }
        if phase.costly && rows_in > 0 {
            let share = share(rows_in.saturating_sub(rows_out), rows_in);
            summary.failed_share = Some(summary.failed_share.map_or(share, |known| known.max(share)));
            for outcome in markers.iter().map(|marker| &marker.outcome) {
                if let Some(source) = source_of(pipeline, outcome) {
                    summary.sources.entry(source.to_owned()).or_default().add(outcome);
                }
            }
        }
        for marker in markers {
            for (counter, n) in &marker.outcome.counters {
                *summary.counters.entry(counter.clone()).or_default() += n;
            }
            summary.facts.extend(marker.outcome.facts.clone());
            summary.warnings.extend(marker.outcome.warnings.clone());
            summary.tasks += 1;
            summary.seconds += marker.seconds;
            summary.bytes += if phase.scratch { 0 } else { marker.outcome.parts.iter().map(|part| part.bytes).sum() };
            summary.peak_memory_bytes = summary.peak_memory_bytes.max(marker.peak_memory_bytes);
        }
    }
    Ok(summary)
}

/// The source whose rows a task decided about.
fn source_of<'a>(pipeline: &'a Pipeline, outcome: &Outcome) -> Option<&'a str> {
    let shard = outcome.shard.or(outcome.parts.first().and_then(|part| part.shard))?;
    pipeline.catalog.source_of(shard).map(|(source, _)| source)
}

/// Tasks check this when they end: a marker was changed since, or is another pipeline's.
fn does_not_add_up(pipeline: &Pipeline, step: &Step, phase: &Phase, fact: &str) -> Error {
    let folder = pipeline.store.work.named(&format!("{}/_done/{}", step.name, phase.name));
    Error::usage(
        format!("{}/{}: {fact}", step.name, phase.name),
        format!(
            "a marker in {} does not belong there: remove that folder, and its tasks are done again",
            folder.display()
        ),
    )
}

/// The content of the tables a step reads.
pub fn content_of_inputs(pipeline: &Pipeline, step: &Step) -> Result<BTreeMap<String, String>> {
    let tables = status::inputs(pipeline, step)?.map_err(|table| {
        let fact = format!("step {:?} reads {table:?}, which is not there any more", step.name);
        Error::usage(fact, "run its step first: lvd run FILE")
    })?;
    tables.into_iter().map(|(name, table)| Ok((name, fingerprint(&table)?))).collect()
}

fn made_by(kind: StageKind) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::from([
        ("lvd".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("format".to_owned(), format(kind).to_string()),
    ]);
    versions.insert("blas_kernel".into(), lvd_kernels::blas::kernel().unwrap_or_else(|| "unknown".into()));
    if let Ok(version) = lvd_engines::onnx::version() {
        versions.insert("onnxruntime".into(), version);
    }
    versions
}

/// The first of a step's files for people that is gone, or not as the manifest has it.
pub fn first_wrong(store: &Store, step: &str, manifest: &Manifest) -> Result<Option<String>> {
    for (name, expected) in &manifest.reports {
        let path = format!("{step}/{name}");
        if store.work.read(&path)?.is_none_or(|bytes| sha256(&bytes) != *expected) {
            return Ok(Some(store.work.named(&path).display().to_string()));
        }
    }
    // A manifest of an earlier version does not know them.
    Ok(manifest.reports.is_empty().then(|| format!("{step}/summary.json")))
}

/// Writes the step's reports into its folder, and returns the SHA-256 of each.
pub fn write(
    store: &Store,
    summary: &Summary,
    phases: &[(Phase, Planned, Vec<Marker>)],
    manifest: &Manifest,
) -> Result<BTreeMap<String, String>> {
    let mut written = BTreeMap::new();
    let mut reports = Vec::new();
    let mut histograms: BTreeMap<String, Histogram> = BTreeMap::new();
    for (phase, _, markers) in phases {
        for (marker, task) in markers.iter().zip(0u32..) {
            reports.push(task_report(phase, task, marker));
            let drops = marker.outcome.drops.iter();
            reports.extend(drops.map(|(reason, count)| drop_report(phase, task, *reason, *count)));
            for (name, histogram) in &marker.outcome.histograms {
                histograms.entry(name.clone()).or_default().merge(histogram);
            }
        }
    }
    let bins = histograms.into_iter().flat_map(|(name, histogram)| {
        let edges = histogram.edges.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>();
        let bins = edges.into_iter().zip(histogram.counts);
        bins.map(move |((low, high), count)| HistogramBin { name: name.clone(), low, high, count })
    });
    let folder = store.work.root().join(&summary.step);
    publish::make_folder(&folder)?;
    row::replace(&folder.join("report.parquet"), reports)?;
    row::replace(&folder.join("histogram.parquet"), bins.collect())?;
    for name in ["report.parquet", "histogram.parquet"] {
        written.insert(name.to_owned(), digest::sha256_of(&folder.join(name))?);
        store.work.hand_in(&format!("{}/{name}", summary.step))?;
    }
    let mut put = |name: &str, bytes: Vec<u8>| {
        written.insert(name.to_owned(), sha256(&bytes));
        store.work.replace(&format!("{}/{name}", summary.step), bytes)
    };
    put("summary.json", sealed::seal(summary).map_err(|e| Error::data("the summary", e))?)?;
    // A table of one part is handed out under a plain name too, where people look for it.
    if let Some(part) = manifest.tables.get("composition").and_then(|table| table.parts.first()) {
        let bytes = store.work.read(&part.path)?.unwrap_or_default();
        if sha256(&bytes) != part.sha256 {
            return Err(part.stored(store.work.named(&part.path)).damaged("is gone, or not as it was written"));
        }
        put("composition.parquet", bytes)?;
    }
    Ok(written)
}

fn task_report(phase: &Phase, task: u32, marker: &Marker) -> TaskReport {
    TaskReport {
        rows_in: Some(marker.outcome.rows_in),
        rows_out: Some(marker.outcome.rows_out),
        bytes: Some(marker.outcome.parts.iter().map(|part| part.bytes).sum()),
        seconds: Some(marker.seconds),
        threads: Some(marker.threads),
        peak_memory_bytes: Some(marker.peak_memory_bytes),
        host: Some(marker.host.clone()),
        ..blank(phase, task)
    }
}

fn drop_report(phase: &Phase, task: u32, reason: Reason, count: u64) -> TaskReport {
    TaskReport { reason: Some(reason.name().into()), count: Some(count), ..blank(phase, task) }
}

fn blank(phase: &Phase, task: u32) -> TaskReport {
    TaskReport {
        phase: phase.name.into(),
        counts: phase.counts,
        task,
        rows_in: None,
        rows_out: None,
        reason: None,
        count: None,
        bytes: None,
        seconds: None,
        threads: None,
        peak_memory_bytes: None,
        host: None,
    }
}
