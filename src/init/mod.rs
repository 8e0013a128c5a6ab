//! `lvd init`: from a folder to a pipeline file that fits it.
//!
//! `find` looks at a place, `sources` makes sources of what is there, `propose` chooses the numbers
//! and `write` puts all of it into words. Nothing here prints, and nothing but the pipeline file is
//! written.

mod columns;
mod find;
mod left_out;
mod names;
mod place;
mod propose;
mod sources;
mod write;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::stages::catalog::Role;
use lvd_base::error::{Error, Result};

pub use left_out::LeftOut;
pub use place::are_there;
pub use propose::Proposal;
pub use sources::{Kind, Source};

/// What the user asks for.
pub struct Wanted {
    /// The images: a folder, or a file of a known kind.
    pub folder: PathBuf,
    /// Curated images.
    pub seeds: Vec<PathBuf>,
    /// Images to keep out.
    pub references: Vec<PathBuf>,
    /// The pipeline file; left out, one that is called like the folder.
    pub out: Option<PathBuf>,
    /// Whether a file that is there is overwritten.
    pub force: bool,
}

/// What was found, and what was made of it.
#[derive(Serialize)]
pub struct Outcome {
    /// The pipeline file that was written.
    pub file: PathBuf,
    /// The work folder that it names.
    pub work: String,
    /// Its sources.
    pub sources: Vec<Source>,
    /// What is in no source.
    pub left_out: Vec<LeftOut>,
    /// The numbers in it.
    pub proposal: Proposal,
}

/// Looks at what is there, and writes a pipeline file for it.
///
/// # Errors
/// A place that is not there or has no images, two places of which one lies in the other, a
/// pipeline file or a work folder whose name is taken.
pub fn init(wanted: &Wanted) -> Result<Outcome> {
    let roles = std::iter::once((&wanted.folder, Role::Pool))
        .chain(wanted.seeds.iter().map(|path| (path, Role::Seed)))
        .chain(wanted.references.iter().map(|path| (path, Role::Reference)));
    let places: Vec<(&PathBuf, Role)> = roles.collect();
    let paths: Vec<&Path> = places.iter().map(|(path, _)| path.as_path()).collect();
    place::are_there(&paths)?;
    place::are_apart(&paths)?;
    let file = wanted.out.clone().unwrap_or_else(|| format!("{}.toml", names::slug(&wanted.folder)).into());
    let base = place::folder_of(&file)?;
    is_free(&file, wanted.force)?;
    let work = format!("work-{}", names::slug_of_file(&file));
    place::holds_no_other(&base.join(&work))?;

    let ours = [file.clone(), base.join(&work)];
    let mut found = sources::Sources::default();
    for (path, role) in places {
        let heap = find::look(path, &ours)?;
        found.add(heap, role, &base)?;
    }
    let sources::Sources { sources, left_out } = found;
    let proposal = Proposal::of(&sources);
    let text = write::text(&file, &work, &sources, &proposal)?;
    publish(&file, &text, wanted.force)?;
    Ok(Outcome { file, work, sources, left_out: left_out.into_vec(), proposal })
}

/// What a folder or file holds: sources, named from the current folder, and what is in none of them.
///
/// # Errors
/// A place that is not there, or has no images.
pub fn look(folder: &Path) -> Result<(Vec<Source>, Vec<LeftOut>)> {
    place::are_there(&[folder])?;
    let mut found = sources::Sources::default();
    found.add(find::look(folder, &[])?, Role::Pool, Path::new(""))?;
    Ok((found.sources, found.left_out.into_vec()))
}

/// Refuses a pipeline file that is there, before anything is looked at.
fn is_free(file: &Path, force: bool) -> Result<()> {
    if file.is_dir() {
        return Err(Error::usage(format!("-o {}: a folder", file.display()), "name a file in it: -o FOLDER/NAME.toml"));
    }
    if force || std::fs::symlink_metadata(file).is_err() { Ok(()) } else { Err(taken(file)) }
}

fn taken(file: &Path) -> Error {
    let fact = format!("{} is there already", file.display());
    Error::usage(fact, "name another file with -o, or overwrite it with --force")
}

fn publish(file: &Path, text: &str, force: bool) -> Result<()> {
    let mut options = OpenOptions::new();
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    let mut out = options.write(true).open(file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => taken(file),
        _ => Error::usage(format!("{}: {error}", file.display()), "name a file elsewhere with -o"),
    })?;
    out.write_all(text.as_bytes()).map_err(Error::io(file))
}
