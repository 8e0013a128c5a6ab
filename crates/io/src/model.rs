//! What a model is known by: the hash of its ONNX file, and those of the files in which it keeps
//! its weights.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::digest::sha256_cached;
use lvd_base::error::{Error, Result};

mod external;
#[allow(missing_docs, clippy::pedantic, reason = "generated from the standard")]
pub mod proto;

/// The hashes that a model is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of the ONNX file.
    pub sha256: String,
    /// SHA-256 of each file of weights, by its place below the folder of the ONNX file; mostly
    /// there are none.
    pub weights: BTreeMap<String, String>,
}

/// Hashes a model's files, those that were not hashed before.
///
/// # Errors
/// When a file cannot be read, or weights lie outside of the model's folder.
pub fn identity(path: &Path) -> Result<Identity> {
    let sha256 = sha256_cached(path)?;
    let hash = |location: String| sha256_cached(&beside(path, &location)).map(|hash| (location, hash));
    Ok(Identity { sha256, weights: weights(path)?.into_iter().map(hash).collect::<Result<_>>()? })
}

/// The places, below its folder, in which a model keeps weights, whether or not they are there.
///
/// # Errors
/// When the file cannot be read, or names a place outside of its folder.
pub fn external(path: &Path) -> Result<Vec<String>> {
    let locations = external::locations(path).map_err(Error::io(path))?;
    let inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
    let outside = |location: &&String| location.is_empty() || !Path::new(location).components().all(inside);
    match locations.iter().find(outside) {
        Some(location) => Err(Error::usage(
            format!("{}: its weights are in {location:?}, outside of the model's folder", path.display()),
            "use a model that you trust, or export it again with its weights beside it",
        )),
        None => Ok(locations.into_iter().collect()),
    }
}

/// The same, of files that are all there.
///
/// # Errors
/// As [`external`], or when one is not there.
pub fn weights(path: &Path) -> Result<Vec<String>> {
    let locations = external(path)?;
    match locations.iter().map(|location| beside(path, location)).find(|file| !file.is_file()) {
        Some(file) => Err(Error::usage(
            format!("{}: its weights are in {}, which is not there", path.display(), file.display()),
            "copy all files of the model into one folder, under the names they were exported with",
        )),
        None => Ok(locations),
    }
}

/// Fails when a model's files are not those that `expected` was made of.
///
/// # Errors
/// When they differ, with both hashes, or cannot be read.
pub fn verify(path: &Path, expected: &Identity) -> Result<()> {
    let found = identity(path)?;
    let hint = "run the same command again: it goes by the files as they are; or put the old ones back";
    if found.sha256 != expected.sha256 {
        let (got, planned) = (&found.sha256, &expected.sha256);
        let fact = format!("{}: its SHA-256 is {got}, and was {planned} when the step was planned", path.display());
        return Err(Error::usage(fact, hint));
    }
    let changed = found.weights.iter().find(|(name, hash)| expected.weights.get(*name) != Some(hash));
    match changed {
        Some((name, got)) => {
            let planned = expected.weights.get(name).map_or("not known", String::as_str);
            let file = beside(path, name);
            let fact = format!("{}: its SHA-256 is {got}, and was {planned} when the step was planned", file.display());
            Err(Error::usage(fact, hint))
        }
        None => Ok(()),
    }
}

fn beside(path: &Path, location: &str) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(location)
}

#[cfg(test)]
mod tests;
