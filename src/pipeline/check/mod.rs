//! From a pipeline file to a pipeline that can run, or to everything that is wrong with it.

mod complaints;
mod depth;
mod embedders;
pub mod names;
mod slurm;
mod sources;
mod steps;

use std::path::Path;

use crate::pipeline::file::{EmbedderSettings, Source, SourceSettings};
use crate::pipeline::models;
use crate::pipeline::shell::typed;
use crate::pipeline::steps::Pipeline;
use crate::pipeline::store::Store;
use crate::stages::catalog::{Catalog, Embedder};
use complaints::{Complaints, fault_of};
use depth::Depth;
use lvd_base::error::{Error, Fault, Result};
use lvd_io::sources::Source as ImageSource;

/// A pipeline, or all that is wrong with its file.
type Checked = std::result::Result<Pipeline, Vec<Error>>;

/// The cure for a work folder that cannot be used.
const OTHER_WORK: &str = "name another folder by `work` or --work, or make this one writable";

/// Reads and checks a pipeline file, and counts its sources: what has to be known to plan and to
/// run.
pub fn load(path: &Path, overrides: &[String], work: Option<&str>) -> Checked {
    read(path, overrides, work, Depth::Named)
}

/// The same, and everything that the file names is opened and tried: its models and its work
/// folder.
pub fn examine(path: &Path, overrides: &[String], work: Option<&str>) -> Checked {
    read(path, overrides, work, Depth::Tried)
}

/// The file alone, for commands that only look at the work folder: sources are not counted, and may
/// be gone, as may models.
pub fn glance(path: &Path, overrides: &[String], work: Option<&str>) -> Checked {
    read(path, overrides, work, Depth::File)
}

/// The embedder of a table whose paths are absolute.
pub fn embedder(settings: &EmbedderSettings) -> std::result::Result<Embedder, Fault> {
    embedders::embedder(settings, Path::new(""), Depth::Named)
}

/// The images of a source whose paths are absolute, or those of the current folder.
pub fn source(settings: &SourceSettings) -> std::result::Result<ImageSource, Fault> {
    sources::image_source(settings, Path::new(""), &[])
}

fn read(path: &Path, overrides: &[String], work: Option<&str>, depth: Depth) -> Checked {
    let source = Source::read(path, overrides).map_err(|error| vec![error])?;
    let mut complaints = Complaints::new(&source);
    let Some(file) = complaints.usable(source.parse()) else { return Err(complaints.faults) };
    let base = path.parent().unwrap_or(Path::new(""));
    let store = store(&file.work, work, base).map_err(|error| vec![error])?;
    let unreadable = |error| vec![source.fault(&["work".into()], fault_of(&error, OTHER_WORK))];
    let numbers = store.dataset_numbers(file.sources.keys()).map_err(unreadable)?;
    if !(file.scale > 0.0 && file.scale.is_finite()) {
        complaints.fault(&["scale"], Fault::new(format!("a scale of {}", file.scale), "use 1, or less"));
    }
    let mut catalog = Catalog { seed: file.seed, ..Catalog::default() };
    let ours = [store.work.root(), path];
    let sizes = sources::sources(&file, base, &ours, &numbers, depth, &mut catalog, &mut complaints);
    if depth == Depth::File {
        store.trust_seen(&catalog).map_err(|error| vec![error])?;
    }
    embedders::embedders(&file, base, depth, &mut catalog, &mut complaints);
    let steps = steps::steps(&file, &source, &catalog, &sizes, &mut complaints);
    let slurm = slurm::slurm(file.engine.slurm, &steps, &source, &mut complaints);
    if depth == Depth::Tried {
        if let Err(error) = store.work.try_to_write() {
            complaints.fault(&["work"], Fault::new(error.to_string(), OTHER_WORK));
        }
        complaints.faults.extend(models::faults(&catalog, &steps, &store, &source));
    }
    let Complaints { mut faults, missing, undecided, .. } = complaints;
    if !faults.is_empty() {
        faults.extend(missing);
        faults.extend(undecided.into_iter().map(|(_, fault)| fault));
        return Err(faults);
    }
    let typed = typed(path, overrides, work);
    Ok(Pipeline { path: path.to_path_buf(), typed, source, store, catalog, steps, missing, undecided, sizes, slurm })
}

/// The work folder of the command line or, without one, of the file.
fn store(of_file: &str, work: Option<&str>, base: &Path) -> Result<Store> {
    let named = work.unwrap_or(of_file);
    if named == "~" || named.starts_with("~/") {
        let home = std::env::var("HOME").unwrap_or_else(|_| "/home/YOU".into());
        let fact = format!("work = {named:?}: only a shell takes ~ for your home folder");
        return Err(Error::usage(fact, format!("write it in full: {home}{}", &named[1..])));
    }
    match work {
        Some(work) => Store::open(work),
        None if of_file.contains("://") => Store::open(of_file),
        None => Store::open(&base.join(of_file).to_string_lossy()),
    }
}
