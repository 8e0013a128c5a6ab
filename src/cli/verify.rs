//! `lvd verify`: every part and report of a work folder against its SHA-256.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rayon::prelude::*;
use serde_json::json;

use crate::cli::plan::json_text;
use crate::cli::table::{bytes, columns, print, thousands};
use crate::cli::{Stop, position, shown};
use crate::pipeline::check::Pipeline;
use crate::pipeline::store::Store;
use crate::stages::table::Part;
use lvd_base::error::{Error, Result};
use lvd_io::digest;
use lvd_io::part::sha256;

/// What was found in a step's folder.
struct Found {
    step: String,
    parts: usize,
    bytes: u64,
    /// The parts that are gone or other than they were written, each with what is wrong.
    wrong: Vec<(Part, String)>,
    /// The reports that are gone or other than they were written.
    reports: Vec<String>,
    /// Whether its tasks have run and nothing says that it is whole.
    open: bool,
}

/// Reads all parts of `step`, or of every step; with `set_aside` the bad ones are put where the next run makes them again.
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
        all.push(look(&pipeline.store, &pipeline.steps[index].name)?);
    }
    if as_json {
        json_text(&all.iter().map(to_json).collect::<Vec<_>>().into())?;
    } else {
        print(&table(&all))?;
    }
    let wrong: Vec<&(Part, String)> = all.iter().flat_map(|found| &found.wrong).collect();
    if set_aside {
        for (part, _) in &wrong {
            pipeline.store.work.set_aside(&part.path)?;
        }
    }
    let file = shown(&pipeline.path);
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

/// Compares a step's parts: those of its manifest, and those of an open step's markers that are there.
fn look(store: &Store, step: &str) -> Result<Found> {
    let manifest = store.manifest(step)?;
    let tables = manifest.iter().flat_map(|manifest| manifest.tables.values());
    let needed = tables.flat_map(|table| &table.parts).map(|part| (part.path.clone(), (part.clone(), true)));
    let mut parts: BTreeMap<String, (Part, bool)> = needed.collect();
    for part in store.marked_parts(step)? {
        parts.entry(part.path.clone()).or_insert((part, false));
    }
    let parts: Vec<(Part, bool)> = parts.into_values().collect();
    let wrong = |(part, needed): &(Part, bool)| Ok(fault(store, part, *needed)?.map(|fault| (part.clone(), fault)));
    let wrong: Vec<Option<(Part, String)>> = parts.par_iter().map(wrong).collect::<Result<_>>()?;
    let bytes = parts.iter().map(|(part, _)| part.bytes).sum();
    let wrong = wrong.into_iter().flatten().collect();
    let mut reports = Vec::new();
    for (name, expected) in manifest.iter().flat_map(|manifest| &manifest.reports) {
        let path = format!("{step}/{name}");
        if store.work.read(&path)?.is_none_or(|bytes| sha256(&bytes) != *expected) {
            reports.push(path);
        }
    }
    let open = manifest.is_none() && !parts.is_empty();
    Ok(Found { step: step.to_owned(), parts: parts.len(), bytes, wrong, reports, open })
}

/// What is wrong with a part. One that is not `needed` may be gone: it was scratch.
fn fault(store: &Store, part: &Part, needed: bool) -> Result<Option<String>> {
    Ok(match store.work.size(&part.path)? {
        None if needed => Some("is gone".into()),
        None => None,
        Some(bytes) if bytes != part.bytes => Some(format!("has {bytes} bytes, and {} were written", part.bytes)),
        Some(_) => {
            let copy = store.part(part)?.path;
            let same = digest::sha256_of(&copy)? == part.sha256;
            // Of a bucket, no more is kept here than is being read.
            if store.work.is_bucket() {
                std::fs::remove_file(&copy).map_err(Error::io(&copy))?;
            }
            (!same).then(|| "is not as it was written".into())
        }
    })
}

fn table(all: &[Found]) -> String {
    let row = |found: &Found| {
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
            let _ = writeln!(
                text,
                "{} is not whole, or its _manifest.json is gone: the next run goes on with it",
                found.step
            );
        }
    }
    text
}

fn to_json(found: &Found) -> serde_json::Value {
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
