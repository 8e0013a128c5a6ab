//! `lvd calibrate`: which threshold finds the copies, on the user's own images.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::calibrate::{self, Calibration, Event, Inputs, OtherWay, Settings, Suggestion, ThresholdRow, Whitened};
use crate::cli::advice::{best, where_next};
use crate::cli::args::CalibrateArgs;
use crate::cli::choice::position;
use crate::cli::progress::Progress;
use crate::cli::say;
use crate::cli::signals;
use crate::cli::stop::{Stop, stopped};
use crate::cli::table::{columns, counted, print, print_json, thousands};
use crate::cli::threads::compute_on;
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::{event, status};
use crate::stages::dedup::Dedup;
use crate::stages::embed::Embed;
use crate::stages::table::Table;
use lvd_ops::edits::Edit;

/// The thresholds that are printed, in hundredths: those of cosines, and those of normalised
/// scores.
const PRINTED: [std::ops::RangeInclusive<i32>; 2] = [30..=95, 0..=65];

/// Calibrates the dedup steps that are named, writes the tables and prints what they say.
pub fn calibrate(pipeline: &Pipeline, args: &CalibrateArgs) -> std::result::Result<(), Stop> {
    let settings = Settings { images: args.images, normalise: args.normalise };
    calibrate::check(&settings).map_err(|error| Stop::Usage(vec![error]))?;
    if args.out.is_none() && pipeline.store.work.is_bucket() {
        let hint = "say where its tables go: --out FOLDER";
        return Err(Stop::usage("the work folder is a bucket", hint));
    }
    let chosen = chosen(pipeline, args.step.as_deref())?;
    let several = chosen.len() > 1;
    let mut any = false;
    for (step, dedup) in chosen {
        let tables = match status::inputs(pipeline, step)? {
            Ok(tables) => tables,
            Err(table) if any => {
                say::text(&format!("{}: {table} is not there yet, so it is not calibrated\n", step.name));
                continue;
            }
            Err(table) => return Err(not_there(pipeline, step, &table)),
        };
        any = true;
        let out = args.out.clone().unwrap_or_else(|| pipeline.store.work.root().join("_calibrate"));
        let folder = if args.out.is_none() || several { out.join(&step.name) } else { out };
        // What cannot be written to is said before the work.
        lvd_io::publish::make_folder(&folder)?;
        let kept = folder.join("_kept");
        let found = one(pipeline, args, &settings, (step, dedup, &tables), kept.clone())?;
        found.write(&folder)?;
        calibrate::clear(&kept)?;
        if args.json {
            print_json("the numbers", &found.to_json())?;
            continue;
        }
        print(&text(&found))?;
        if !args.quiet {
            say::text(&where_next(&folder, &found, &pipeline.typed));
        }
    }
    Ok(())
}

/// A table that a step reads and nobody has made.
fn not_there(pipeline: &Pipeline, step: &Step, table: &str) -> Stop {
    let above = table.split('/').next().unwrap_or(table);
    let hint = format!("lvd run {} --to {above}", pipeline.typed);
    Stop::usage(format!("step {:?} reads {table:?}, which is not there yet", step.name), hint)
}

/// Calibrates one step.
fn one(
    pipeline: &Pipeline,
    args: &CalibrateArgs,
    settings: &Settings,
    (step, dedup, tables): (&Step, &Dedup, &BTreeMap<String, Table>),
    kept: PathBuf,
) -> std::result::Result<Calibration, Stop> {
    let images = pipeline.tables(dedup.images.name())?.remove("").unwrap_or_default();
    let inputs = Inputs {
        images: &images,
        catalog: &pipeline.catalog,
        work: &pipeline.store.work,
        step: &step.name,
        dedup,
        scaled_side: embed_step(pipeline, dedup).and_then(|embed| embed.scaled_side(&pipeline.catalog)),
        tables,
        threads: compute_on(args.threads)?,
        kept,
    };
    let progress = Progress::new(args.quiet);
    let pieces_done = AtomicU64::new(0);
    let tell = |event| {
        progress.tell(&match event {
            Event::Begins(phase, pieces) => {
                pieces_done.store(0, Ordering::Relaxed);
                let rows = Some(pieces as u64);
                event::Event::PhaseBegins { step: &step.name, phase, tasks: 1, to_run: 1, rows }
            }
            Event::Drawn(images) => event::Event::Note(format!(
                "{}: {} images are edited in {} ways, and all pictures embedded: {} of them; --images sets how many",
                step.name,
                thousands(images as u64),
                Edit::ALL.len(),
                thousands((images * (Edit::ALL.len() + 1)) as u64),
            )),
            Event::GoesOn(images) => event::Event::Note(format!(
                "{}: goes on: {} of these images were embedded by a command that was stopped",
                step.name,
                thousands(images as u64)
            )),
            Event::Done => event::Event::Rows(pieces_done.fetch_add(1, Ordering::Relaxed) + 1),
            Event::Ends => event::Event::PhaseEnds,
        });
    };
    let hear = |signal| stopped(&progress, "", signal);
    let found = signals::heard(&[], hear, || calibrate::run(&inputs, settings, &tell))?;
    progress.clear();
    Ok(found?)
}

/// The step whose vectors it reads.
fn embed_step<'a>(pipeline: &'a Pipeline, dedup: &Dedup) -> Option<&'a Embed> {
    let name = dedup.vectors.name().split('/').next();
    let step = pipeline.steps.iter().find(|step| Some(step.name.as_str()) == name)?;
    (step.stage.as_ref() as &dyn Any).downcast_ref()
}

/// The dedup step of this name, or all of them.
fn chosen<'a>(pipeline: &'a Pipeline, name: Option<&str>) -> std::result::Result<Vec<(&'a Step, &'a Dedup)>, Stop> {
    let dedup = |step: &'a Step| {
        let stage: &dyn Any = step.stage.as_ref();
        Some((step, stage.downcast_ref::<Dedup>()?))
    };
    let all: Vec<(&Step, &Dedup)> = pipeline.steps.iter().filter_map(dedup).collect();
    let Some(name) = name else {
        let none = || Stop::usage(format!("{} has no dedup step", pipeline.typed), "add [steps.dedup]");
        return if all.is_empty() { Err(none()) } else { Ok(all) };
    };
    let step = &pipeline.steps[position(pipeline, name)?];
    let found = dedup(step).ok_or_else(|| {
        let names = all.iter().map(|(step, _)| step.name.as_str()).collect::<Vec<_>>().join(", ");
        let fact = format!("step {:?} is a {} step", step.name, step.stage.kind().name());
        Stop::usage(fact, format!("calibrate a dedup step: {names}"))
    })?;
    Ok(vec![found])
}

fn text(found: &Calibration) -> String {
    let mut text = format!(
        "{}: {} copies of {}, each compared with {} of {}\n",
        found.step,
        thousands(found.copies),
        counted(found.images, "image"),
        counted(found.references, "image"),
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
        "undecided: {} of images of the pool {} alike: maybe copies, maybe not; where a copy of one finds \
         the other, nobody knows whether that is right\n",
        counted(found.lookalikes.len() as u64, "pair"),
        if found.lookalikes.len() == 1 { "looks" } else { "look" }
    );
    let normalised = found.normalised.is_some();
    #[expect(clippy::cast_possible_truncation, reason = "a score in hundredths")]
    let on_grid = |row: &&ThresholdRow| {
        let hundredths = (row.threshold * 100.0).round() as i32;
        PRINTED[usize::from(normalised)].contains(&hundredths)
            && hundredths % 5 == 0
            && is(row.threshold, f64::from(hundredths) / 100.0)
    };
    let of_step =
        |row: &ThresholdRow| !normalised && found.threshold.is_some_and(|threshold| is(row.threshold, threshold));
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
                row.unlike.map_or("-".into(), thousands),
            ]
        })
        .collect();
    let header = [
        "",
        ">threshold",
        ">recall",
        ">precision",
        ">at least",
        ">pairs",
        ">right",
        ">wrong",
        ">undecided",
        ">drops",
        ">unlike",
    ];
    text.push_str(&columns(&header, &rows));
    let _ = write!(text, "\nmicro-AP {} (at least {})", share(found.micro_ap), share(found.micro_ap_at_least));
    if let Some(with) = found.normalised {
        let _ = write!(text, "; of the plain cosines {}", share(with.cosine_micro_ap));
    }
    text.push_str("\n\n");
    let rows: Vec<Vec<String>> = found.suggestions.iter().map(suggestion).collect();
    text.push_str(&columns(&[">precision", ">lowest threshold", ">recall", ">sure", ">recall", ">drops"], &rows));
    if let Some(other) = &found.other {
        let _ = writeln!(text, "\n{}{}", other_way(other), too_few(found));
    }
    text.push_str(&by_edit(found));
    text
}

/// What the same vectors would find whitened, or unwhitened.
fn other_way(other: &OtherWay) -> String {
    let how = if other.whiten { "whitened" } else { "not whitened" };
    let micro_ap = share(other.micro_ap);
    match best(other.suggestion.as_ref()) {
        Some((threshold, recall)) => {
            format!("{how}: micro-AP {micro_ap}; {threshold:.2} finds {recall:.3} of the edited copies")
        }
        None => format!("{how}: micro-AP {micro_ap}; no threshold is precise"),
    }
}

/// What makes whitened vectors say little, whichever way they are compared.
fn too_few(found: &Calibration) -> String {
    match found.whitened.filter(|whitened| !whitened.is_enough()) {
        Some(Whitened { on, fewest }) => format!(
            "\nwhitened on {} vectors, too few: under {} copies among them move apart",
            thousands(on as u64),
            thousands(fewest as u64)
        ),
        None => String::new(),
    }
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

fn share(share: f64) -> String {
    format!("{share:.3}")
}

fn is(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}
