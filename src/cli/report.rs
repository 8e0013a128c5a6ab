//! `lvd report`, and the table at the end of a run.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::args::ReportFormat;
use crate::cli::choice::position;
use crate::cli::say::say;
use crate::cli::stop::Stop;
use crate::cli::table::{bytes, columns, counted, print, thousands};
use crate::pipeline::report::{HistogramBin, TaskReport};
use crate::pipeline::shell;
use crate::pipeline::standing::changed;
use crate::pipeline::steps::Pipeline;
use crate::pipeline::summary::Summary;
use crate::stages::sample::Balance;
use lvd_base::error::{Error, Result};
use lvd_io::row;

/// Widest bar of a histogram, in characters.
const BAR: u64 = 40;

/// How a report is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Csv,
}

impl ReportFormat {
    fn chosen(&self) -> Format {
        match (self.json, self.csv) {
            (true, _) => Format::Json,
            (_, true) => Format::Csv,
            _ => Format::Text,
        }
    }
}

/// Prints what the steps did.
pub fn report(pipeline: &Pipeline, step: Option<&str>, format: &ReportFormat) -> std::result::Result<(), Stop> {
    if let Some(step) = step {
        position(pipeline, step)?;
    }
    let mut summaries = Vec::new();
    for known in &pipeline.steps {
        if step.is_none_or(|wanted| wanted == known.name)
            && let Some(summary) = pipeline.store.summary(&known.name)?
        {
            let now = serde_json::to_value(&known.settings).map_err(|e| Error::data("the settings", e))?;
            let changed = changed(&summary.settings, &now).join(", ");
            if !changed.is_empty() {
                say!("warning: {} ran before the file was changed: {changed}", known.name);
            }
            summaries.push((summary, true));
        }
    }
    if summaries.is_empty() {
        let what = step.map_or_else(|| "no step".to_owned(), |step| format!("step {step:?} not"));
        let hint = format!("lvd run {}", pipeline.typed);
        return Err(Stop::usage(format!("{what} run yet in {}", pipeline.store.work.location()), hint));
    }
    let text = match format.chosen() {
        Format::Json => {
            let all: Vec<&Summary> = summaries.iter().map(|(summary, _)| summary).collect();
            serde_json::to_string_pretty(&all).map_err(|e| Error::data("the summaries", e))?
        }
        Format::Csv => csv(pipeline, &summaries)?,
        Format::Text if step.is_some() => {
            let mut text = String::new();
            for (summary, _) in &summaries {
                text.push_str(&detail(pipeline, summary)?);
            }
            text
        }
        Format::Text => overview(&summaries),
    };
    Ok(print(&text)?)
}

/// A line a step: rows in, out, dropped by reason, time, speed.
pub fn overview(summaries: &[(Summary, bool)]) -> String {
    let rows: Vec<Vec<String>> = summaries
        .iter()
        .map(|(summary, fresh)| {
            let drops: Vec<String> =
                summary.drops.iter().map(|(reason, rows)| format!("{reason} {}", thousands(*rows))).collect();
            #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
            let speed = if summary.seconds > 0.0 { summary.rows_in as f64 / summary.seconds } else { 0.0 };
            vec![
                summary.step.clone(),
                thousands(summary.rows_in),
                thousands(summary.rows_out),
                if *fresh { format!("{:.1}", summary.seconds) } else { format!("({:.1})", summary.seconds) },
                format!("{speed:.0}"),
                if drops.is_empty() { "-".into() } else { drops.join(", ") },
            ]
        })
        .collect();
    columns(&["step", ">in", ">out", ">seconds", ">images/s", "dropped"], &rows)
}

/// Where the result is and how to look at it.
pub fn where_next(pipeline: &Pipeline, summaries: &[(Summary, bool)]) -> String {
    let mut text = String::new();
    if summaries.iter().any(|(_, fresh)| !fresh) {
        text.push_str("\nSeconds in brackets: done before, skipped now.\n");
    }
    let work = pipeline.store.work.location();
    let file = &pipeline.typed;
    if let Some((export, _)) = summaries.iter().find(|(summary, _)| summary.stage == "export") {
        let images = counted(export.rows_out, "image");
        let _ = write!(
            text,
            "\nThe data set:   {images} in {work}/{0}/data/*.parquet\n\
             What is in it:  {work}/{0}/composition.parquet\n\
             In Python:      datasets.load_dataset(\"parquet\", data_files=\"{work}/{0}/data/*.parquet\")\n",
            export.step
        );
    }
    let dedup = summaries.iter().map(|(summary, _)| summary).find(|summary| summary.stage == "dedup");
    let other = if dedup.is_some_and(|dedup| dedup.settings["threshold"] == 0.9) { 0.95 } else { 0.9 };
    let dedup = dedup.map(|dedup| dedup.step.as_str());
    let first = summaries.first().map_or("STEP", |(summary, _)| &summary.step);
    let change = dedup.map_or("seed=2".into(), |step| format!("{step}.threshold={other}"));
    let step = dedup.unwrap_or(first);
    let mut further = vec![
        (format!("lvd look {file}"), "pages that show what each step chose, to open in a browser"),
        (format!("lvd report {file} {step}"), "what it kept and dropped, with histograms"),
        (format!("lvd plan {}", shell::changed(file, &[change])), "what a change would run again"),
        (format!("duckdb -c \"select * from '{work}/{first}/report.parquet'\""), "each step has such a table"),
    ];
    if let Some(step) = dedup {
        let calibrate = format!("lvd calibrate {file} {step}");
        further.insert(2, (calibrate, "which threshold finds edited copies of your images"));
    }
    text.push_str("\nLook further:\n");
    let lines = further.into_iter().map(|(command, what)| vec![format!("  {command}"), what.to_owned()]);
    text.push_str(&columns(&["", ""], &lines.collect::<Vec<_>>()));
    text
}

/// One step with its counters, decisions and histograms.
fn detail(pipeline: &Pipeline, summary: &Summary) -> Result<String> {
    let mut text = format!("{} ({})\n\n", summary.step, summary.stage);
    let mut rows = vec![("rows in", thousands(summary.rows_in)), ("rows out", thousands(summary.rows_out))];
    rows.extend(summary.drops.iter().map(|(reason, rows)| (reason.as_str(), thousands(*rows))));
    let mut lines: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    let failed = summary.sources.iter().map(|(name, count)| (name, count.failed()));
    lines.extend(failed.filter(|(_, n)| *n > 0).map(|(name, n)| vec![format!("failed of {name}"), thousands(n)]));
    lines.extend(summary.counters.iter().map(|(name, n)| vec![name.clone(), thousands(*n)]));
    let fact = |value: &Value| {
        value.as_f64().filter(|_| value.is_f64()).map_or_else(|| value.to_string(), |x| format!("{x:.4}"))
    };
    lines.extend(summary.facts.iter().map(|(name, value)| vec![name.clone(), fact(value)]));
    lines.push(vec!["tasks".into(), thousands(summary.tasks)]);
    lines.push(vec!["seconds".into(), format!("{:.1}", summary.seconds)]);
    lines.push(vec!["bytes".into(), bytes(summary.bytes)]);
    lines.push(vec!["peak memory".into(), bytes(summary.peak_memory_bytes)]);
    text.push_str(&columns(&["", ">"], &lines));
    text.push_str(&balance(pipeline, summary)?);
    for warning in &summary.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let mut bins: Vec<HistogramBin> = Vec::new();
    if let Some(path) = pipeline.store.file(&summary.step, "histogram.parquet")? {
        for batch in row::read(&(&path).into())? {
            bins.extend(batch?);
        }
    }
    for bins in bins.chunk_by(|a, b| a.name == b.name).filter(|bins| bins.iter().any(|bin| bin.count > 0)) {
        text.push_str(&histogram(bins));
    }
    Ok(text)
}

/// How even the draw of a sample step is.
fn balance(pipeline: &Pipeline, summary: &Summary) -> Result<String> {
    let tables = pipeline.store.manifest(&summary.step)?.map(|manifest| manifest.tables).unwrap_or_default();
    let parts = tables.get("balance").filter(|_| summary.stage == "sample").map_or(&[][..], |table| &table.parts);
    let mut lines = Vec::new();
    for part in parts {
        for batch in row::read::<Balance>(&pipeline.store.part(part)?)? {
            lines.extend(batch?.into_iter().map(|row| {
                vec![
                    row.over,
                    row.draw,
                    thousands(row.images),
                    thousands(row.groups),
                    format!("{:.3}", row.entropy),
                    format!("{:.3}", row.kl_to_uniform),
                    format!("{:.3}", row.tail_covered),
                ]
            }));
        }
    }
    let names = ["even over", "draw", ">images", ">groups", ">entropy, bits", ">KL to uniform", ">tail covered"];
    Ok(if lines.is_empty() { String::new() } else { format!("\n{}\n", columns(&names, &lines)) })
}

/// The bins of one histogram from the first to the last that holds something.
fn histogram(bins: &[HistogramBin]) -> String {
    let first = bins.iter().position(|bin| bin.count > 0).unwrap_or(0);
    let last = bins.iter().rposition(|bin| bin.count > 0).unwrap_or(0);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1);
    let edge = |x: f64| if x.fract() == 0.0 && x.abs() >= 2.0 { format!("{x:.0}") } else { format!("{x:.3}") };
    let lines = bins[first..=last].iter().map(|bin| {
        let bar = "#".repeat(usize::try_from((bin.count * BAR).div_ceil(most)).unwrap_or(0));
        vec![edge(bin.low), edge(bin.high), thousands(bin.count), bar]
    });
    format!("\n{}\n{}", bins[0].name, columns(&[">from", ">to", ">count", ""], &lines.collect::<Vec<_>>()))
}

/// The rows of the steps' report.parquet.
fn csv(pipeline: &Pipeline, summaries: &[(Summary, bool)]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fault = |e: csv::Error| Error::data("the report", e);
    let names = <TaskReport as row::Row>::columns();
    let header: Vec<&str> = std::iter::once("step").chain(names.iter().map(|column| column.name)).collect();
    writer.write_record(header).map_err(fault)?;
    for (summary, _) in summaries {
        let path = pipeline.store.file(&summary.step, "report.parquet")?;
        let path = path.ok_or_else(|| Error::data(&summary.step, "report.parquet is gone"))?;
        for batch in row::read::<TaskReport>(&(&path).into())? {
            for r in batch? {
                let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
                let record = [
                    summary.step.clone(),
                    r.phase,
                    r.counts.to_string(),
                    r.task.to_string(),
                    number(r.rows_in),
                    number(r.rows_out),
                    r.reason.unwrap_or_default(),
                    number(r.count),
                    number(r.bytes),
                    r.seconds.map(|s| format!("{s:.3}")).unwrap_or_default(),
                    number(r.threads.map(u64::from)),
                    number(r.peak_memory_bytes),
                    r.host.unwrap_or_default(),
                ];
                writer.write_record(record).map_err(fault)?;
            }
        }
    }
    let bytes = writer.into_inner().map_err(|e| Error::data("the report", e))?;
    String::from_utf8(bytes).map_err(|e| Error::data("the report", e))
}
