//! `lvd verify`: every part and report of a work folder against its SHA-256.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::choice::position;
use crate::cli::stop::Stop;
use crate::cli::table::{bytes, columns, print, print_json, thousands};
use crate::pipeline::steps::Pipeline;
use crate::pipeline::verify::{self, Verified};
use crate::stages::table::Part;
use lvd_base::error::Error;

/// Reads all parts of `step`, or of every step; with `set_aside` the bad ones are put where the
/// next run makes them again.
pub fn verify(
    pipeline: &Pipeline,
    step: Option<&str>,
    set_aside: bool,
    as_json: bool,
) -> std::result::Result<(), Stop> {
    let steps = match step {
        Some(name) => vec![position(pipeline, name)?],
        None => (0..pipeline.steps.len()).collect(),
    };
    let _lock = if set_aside { Some(pipeline.store.lock()?) } else { None };
    let mut all = Vec::new();
    for index in steps {
        all.push(verify::verify(&pipeline.store, &pipeline.steps[index].name)?);
    }
    if as_json {
        print_json("what was found", &all.iter().map(to_json).collect::<Vec<_>>())?;
    } else {
        print(&table(&all))?;
    }
    let wrong: Vec<&(Part, String)> = all.iter().flat_map(|found| &found.wrong).collect();
    if set_aside {
        for (part, _) in &wrong {
            pipeline.store.work.set_aside(&part.path)?;
        }
    }
    let file = &pipeline.typed;
    if wrong.is_empty() {
        let reports: usize = all.iter().map(|found| found.reports.len()).sum();
        if reports == 0 {
            return Ok(());
        }
        let hint = format!("lvd run {file} writes them again");
        return Err(Error::usage(format!("{reports} reports are not as they were written"), hint).into());
    }
    let hint = if set_aside {
        format!("they were set aside, in the folders _damaged: lvd run {file} makes them again")
    } else {
        format!("lvd verify {file} --set-aside, then lvd run {file}, which makes them again")
    };
    Err(Error::usage(format!("{} parts are damaged or gone", thousands(wrong.len() as u64)), hint).into())
}

fn table(all: &[Verified]) -> String {
    let row = |found: &Verified| {
        let wrong = thousands(found.wrong.len() as u64);
        vec![found.step.clone(), thousands(found.parts as u64), bytes(found.bytes), wrong]
    };
    let mut text = columns(&["step", ">parts", ">size", ">damaged"], &all.iter().map(row).collect::<Vec<_>>());
    for found in all {
        for (part, fault) in &found.wrong {
            let _ = writeln!(text, "{} {fault}", part.path);
        }
        for report in &found.reports {
            let _ = writeln!(text, "{report} is not as it was written");
        }
        if found.open {
            let step = &found.step;
            let _ = writeln!(text, "{step} is not whole, or its _manifest.json is gone: the next run goes on with it");
        }
    }
    text
}

fn to_json(found: &Verified) -> serde_json::Value {
    let wrong: Vec<_> = found.wrong.iter().map(|(part, fault)| json!({"part": part.path, "fault": fault})).collect();
    json!({
        "step": found.step,
        "parts": found.parts,
        "bytes": found.bytes,
        "damaged": wrong,
        "reports": found.reports,
        "open": found.open,
    })
}
