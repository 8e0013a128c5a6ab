//! Every part and report of a step against its SHA-256.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::pipeline::store::Store;
use crate::stages::table::Part;
use lvd_base::error::{Error, Result};
use lvd_io::digest;
use lvd_io::part::sha256;

/// What was found in a step's folder.
pub struct Verified {
    /// The step.
    pub step: String,
    /// Its parts.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The parts that are gone or other than they were written, each with what is wrong.
    pub wrong: Vec<(Part, String)>,
    /// The reports that are gone or other than they were written.
    pub reports: Vec<String>,
    /// Whether its tasks have run and nothing says that it is whole.
    pub open: bool,
}

/// Compares a step's parts: those of its manifest, and those of an open step's markers that are
/// there.
pub fn verify(store: &Store, step: &str) -> Result<Verified> {
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
    Ok(Verified { step: step.to_owned(), parts: parts.len(), bytes, wrong, reports, open })
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
