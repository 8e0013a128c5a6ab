//! `lvd calibrate`: which threshold finds the copies, on the user's own images.

use std::fmt::Write as _;
use std::path::Path;

use std::any::Any;

use crate::calibrate::{self, Calibration, Event, Inputs, Settings, Suggestion, ThresholdRow};
use crate::cli::args::CalibrateArgs;
use crate::cli::choice::position;
use crate::cli::progress::Progress;
use crate::cli::say;
use crate::cli::stop::Stop;
use crate::cli::table::{columns, print, print_json, thousands};
use crate::cli::threads::compute_on;
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::{event, status};
use crate::stages::StageKind;
use crate::stages::dedup::Dedup;
use crate::stages::embed::Embed;
use lvd_base::error::Error;

/// The thresholds that are printed, in hundredths: those of cosines, and those of normalised
/// scores.
const PRINTED: [std::ops::RangeInclusive<i32>; 2] = [30..=95, 0..=65];

/// Images of which a calibration says little.
const FEW: u64 = 100;

/// Calibrates a step, writes the tables and prints what they say.
pub fn calibrate(pipeline: &Pipeline, args: &CalibrateArgs) -> std::result::Result<(), Stop> {
    let settings = Settings { images: args.images, normalise: args.normalise };
    let usage = |error| Stop::Usage(vec![error]);
    calibrate::check(&settings).map_err(usage)?;
    let (step, dedup) = step(pipeline, args.step.as_deref())?;
    let file = &pipeline.typed;
    let tables = status::inputs(pipeline, step)?.map_err(|table| {
        let above = table.split('/').next().unwrap_or(&table);
        let hint = format!("lvd run {file} --to {above}");
        Error::usage(format!("step {:?} reads {table:?}, which is not there yet", step.name), hint)
    })?;
    // What cannot be written to is said before the work.
    let folder = args.out.clone().unwrap_or_else(|| pipeline.store.work.root().join("_calibrate").join(&step.name));
    if args.out.is_none() && pipeline.store.work.is_bucket() {
        let hint = "say where its tables go: --out FOLDER";
        return Err(Stop::usage("the work folder is a bucket", hint));
    }
    lvd_io::publish::make_folder(&folder)?;
    let inputs = Inputs {
        catalog: &pipeline.catalog,
        work: &pipeline.store.work,
        step: &step.name,
        dedup,
        scaled_side: embed_step(pipeline, dedup).and_then(|embed| embed.scaled_side(&pipeline.catalog)),
        tables: &tables,
        threads: compute_on(args.threads)?,
    };
    let progress = Progress::new(args.quiet);
    let tell = |event| {
        progress.tell(&match event {
            Event::Begins(phase, pieces) => {
                event::Event::PhaseBegins { step: &step.name, phase, tasks: pieces, to_run: pieces, rows: None }
            }
            Event::Done => event::Event::TaskDone { rows: 0, dropped: 0 },
            Event::Ends => event::Event::PhaseEnds,
        });
    };
    let found = calibrate::run(&inputs, &settings, &tell);
    progress.clear();
    let found = found?;
    found.write(&folder)?;
    if args.json {
        return print_json("the numbers", &found.to_json());
    }
    print(&text(&found))?;
    if !args.quiet {
        say::text(&where_next(&folder, &found, file));
    }
    Ok(())
}

/// The step whose vectors it reads.
fn embed_step<'a>(pipeline: &'a Pipeline, dedup: &Dedup) -> Option<&'a Embed> {
    let name = dedup.vectors.name().split('/').next();
    let step = pipeline.steps.iter().find(|step| Some(step.name.as_str()) == name)?;
    (step.stage.as_ref() as &dyn Any).downcast_ref()
}

/// The dedup step of this name, or the only one.
fn step<'a>(pipeline: &'a Pipeline, name: Option<&str>) -> std::result::Result<(&'a Step, &'a Dedup), Stop> {
    let all: Vec<&Step> = pipeline.steps.iter().filter(|step| step.stage.kind() == StageKind::Dedup).collect();
    let names = all.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ");
    let file = &pipeline.typed;
    let wrong = |message: String, hint: String| Stop::usage(message, hint);
    let step = match (name, all.as_slice()) {
        (Some(name), _) => &pipeline.steps[position(pipeline, name)?],
        (None, [only]) => only,
        (None, []) => return Err(wrong(format!("{file} has no dedup step"), "add [steps.dedup]".into())),
        (None, [first, ..]) => {
            let hint = format!("say which: lvd calibrate {file} {}", first.name);
            return Err(wrong(format!("{file} has several dedup steps: {names}"), hint));
        }
    };
    let stage: &dyn Any = step.stage.as_ref();
    let dedup = stage.downcast_ref::<Dedup>().ok_or_else(|| {
        let message = format!("step {:?} is a {} step", step.name, step.stage.kind().name());
        wrong(message, format!("calibrate a dedup step: {names}"))
    })?;
    Ok((step, dedup))
}

fn text(found: &Calibration) -> String {
    let mut text = format!(
        "{}: {} copies of {} images, each compared with {} images of {}\n",
        found.step,
        thousands(found.copies),
        thousands(found.images),
        thousands(found.references),
        found.vectors
    );
    if let Some(with) = found.normalised {
        let _ = writeln!(
            text,
            "scores are normalised: the mean of the three highest cosines to {} other images is subtracted",
            thousands(with.background)
        );
    }
    let _ = writeln!(
        text,
        "undecided: {} pairs of images of the pool look alike: maybe copies, maybe not; where a copy of one finds \
         the other, nobody knows whether that is right\n",
        thousands(found.lookalikes.len() as u64)
    );
    let normalised = found.normalised.is_some();
    #[expect(clippy::cast_possible_truncation, reason = "a score in hundredths")]
    let on_grid = |row: &&ThresholdRow| {
        let hundredths = (row.threshold * 100.0).round() as i32;
        PRINTED[usize::from(normalised)].contains(&hundredths)
            && hundredths % 5 == 0
            && is(row.threshold, f64::from(hundredths) / 100.0)
    };
    let of_step = |row: &ThresholdRow| !normalised && is(row.threshold, found.threshold);
    let rows = found.thresholds.iter().filter(|row| on_grid(row) || of_step(row));
    let rows: Vec<Vec<String>> = rows
        .map(|row| {
            vec![
                if of_step(row) { "this step".into() } else { String::new() },
                if is(row.threshold * 100.0, (row.threshold * 100.0).round()) {
                    format!("{:.2}", row.threshold)
                } else {
                    row.threshold.to_string()
                },
                share(row.recall),
                share(row.precision),
                share(row.precision_at_least),
                thousands(row.right + row.wrong + row.undecided),
                thousands(row.right),
                thousands(row.wrong),
                thousands(row.undecided),
                row.drops.map_or("-".into(), thousands),
            ]
        })
        .collect();
    let header =
        ["", ">threshold", ">recall", ">precision", ">at least", ">pairs", ">right", ">wrong", ">undecided", ">drops"];
    text.push_str(&columns(&header, &rows));
    let _ = write!(text, "\nmicro-AP {} (at least {})", share(found.micro_ap), share(found.micro_ap_at_least));
    if let Some(with) = found.normalised {
        let _ = write!(text, "; of the plain cosines {}", share(with.cosine_micro_ap));
    }
    text.push_str("\n\n");
    let rows: Vec<Vec<String>> = found.suggestions.iter().map(suggestion).collect();
    text.push_str(&columns(
        &[">precision", ">lowest threshold", ">recall", ">if all undecided are wrong", ">recall", ">drops"],
        &rows,
    ));
    text.push_str(&by_edit(found));
    text
}

fn suggestion(known: &Suggestion) -> Vec<String> {
    let cells = |found: Option<(f64, f64)>| match found {
        Some((threshold, recall)) => [format!("{threshold:.2}"), share(recall)],
        None => ["none".into(), "-".into()],
    };
    let mut row = vec![format!(">= {}", known.precision)];
    row.extend(cells(known.lowest));
    row.extend(cells(known.cautious));
    row.push(known.drops.map_or("-".into(), thousands));
    row
}

fn by_edit(found: &Calibration) -> String {
    let lost = found.edits.iter().any(|row| row.lost > 0);
    let rows: Vec<Vec<String>> = found
        .edits
        .iter()
        .map(|row| {
            let median = row.median.map_or("-".into(), |median| format!("{median:.3}"));
            let mut cells =
                vec![row.edit.clone(), thousands(row.copies), thousands(row.found), share(row.recall), median];
            if lost {
                cells.push(thousands(row.lost));
            }
            cells
        })
        .collect();
    let mut header = vec!["edit", ">copies", ">found", ">recall", ">median score"];
    if lost {
        header.push(">no vector");
    }
    match found.edits_at {
        Some(threshold) => format!("\nRecall by edit at {threshold}\n\n{}", columns(&header, &rows)),
        None => "\nNo threshold has a precision of 0.99: recall by edit is not shown.\n".into(),
    }
}

fn where_next(folder: &Path, found: &Calibration, file: &str) -> String {
    let folder = folder.display();
    let mut text =
        format!("\nIn {folder}: thresholds.parquet, edits.parquet, copies.parquet, alike.parquet, summary.json\n");
    let Some(best) = found.suggestions.first().filter(|_| found.normalised.is_none()) else { return text };
    if found.images < FEW {
        let _ = writeln!(
            text,
            "warning: {} images say little, chance decides much: calibrate with 300 or more (--images)",
            found.images
        );
    }
    let plan = |threshold: f64| format!("lvd plan {file} --set {}.threshold={threshold}", found.step);
    let undecided = found.lookalikes.len();
    let _ = match (best.cautious, best.lowest) {
        (Some((sure, recall)), Some((lowest, more))) if sure > lowest => writeln!(
            text,
            "{sure} finds {recall:.3} of the edited copies and is sure; {lowest} finds {more:.3}, and is as precise only if the {undecided} \
             undecided pairs are copies: look at them (alike.parquet)\nnext: {}\n  or: {}",
            plan(sure),
            plan(lowest)
        ),
        (Some((threshold, recall)), _) | (None, Some((threshold, recall))) => {
            writeln!(text, "{threshold} finds {recall:.3} of the edited copies\nnext: {}", plan(threshold))
        }
        (None, None) if found.whiten => writeln!(
            text,
            "no threshold has a precision of {}: look at the wrong pairs in copies.parquet, or use an encoder for copies",
            best.precision
        ),
        (None, None) => writeln!(
            text,
            "no threshold has a precision of {}; next: lvd calibrate {file} {} --set {}.whiten=true",
            best.precision, found.step, found.step
        ),
    };
    text
}

fn share(share: f64) -> String {
    format!("{share:.3}")
}

fn is(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}
