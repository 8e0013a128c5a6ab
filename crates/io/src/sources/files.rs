//! The list of files of a source: what its entries stand for.
//!
//! An entry is a file, a folder, which stands for the files in it, or a pattern of such.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{location, pattern};
use lvd_base::error::{Error, Result};

/// The files that `entries` stand for, in the order of the entries; those of one entry sorted by
/// bytes.
///
/// `extensions`, in lower case, are what a folder's files must have.
pub(super) fn expand(entries: &[PathBuf], extensions: &[&str]) -> Result<Vec<PathBuf>> {
    if entries.is_empty() {
        return Err(Error::usage("the source names no files", "name at least one file or folder in `files`"));
    }
    let mut files = Vec::new();
    for entry in entries {
        let mut found = Vec::new();
        for path in pattern::names(entry)? {
            found.extend(if pattern::has_stars(&path) { pattern::search(&path)? } else { at(&path, extensions)? });
        }
        found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        found.dedup();
        files.extend(found);
    }
    Ok(files)
}

/// Each file with its number among those of its name, which mostly is 0. Rows name their file so:
/// a file that is added leaves the rows of all others where they are.
pub(crate) fn numbered(files: &[PathBuf]) -> Vec<(usize, &Path)> {
    let mut seen: HashMap<&OsStr, usize> = HashMap::new();
    let numbered = files.iter().map(|path| {
        let of_this_name = seen.entry(path.file_name().unwrap_or_default()).or_default();
        *of_this_name += 1;
        (*of_this_name - 1, path.as_path())
    });
    numbered.collect()
}

/// The files of a source by what rows call them: a number and an escaped name.
pub(crate) struct Named<'a>(HashMap<String, Vec<&'a Path>>);

impl<'a> Named<'a> {
    pub(crate) fn new(files: &'a [PathBuf]) -> Self {
        let mut named: HashMap<String, Vec<&Path>> = HashMap::new();
        for path in files {
            named.entry(location::file_name(path)).or_default().push(path);
        }
        Self(named)
    }

    /// A file, where it is still there.
    pub(crate) fn get(&self, number: usize, name: &str) -> Option<&'a Path> {
        self.0.get(name)?.get(number).copied()
    }
}

/// The file at a path, or those in the folder there.
fn at(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if metadata.is_dir() {
        folder(path, extensions)
    } else if metadata.is_file() {
        Ok(vec![path.to_path_buf()])
    } else {
        Err(Error::data(path, "neither a file nor a folder"))
    }
}

fn folder(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        let file = entry.path();
        let hidden = entry.file_name().as_bytes().starts_with(b".");
        let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
        let ends = |extension: &&str| name.strip_suffix(extension).is_some_and(|stem| stem.ends_with('.'));
        let wanted = extensions.iter().any(ends);
        if !hidden && wanted && std::fs::metadata(&file).map_err(Error::io(&file))?.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        let extensions = extensions.join(" or ");
        return Err(Error::usage(
            format!("{}: no file in this folder has the extension {extensions}", path.display()),
            "name the files themselves, another folder, or a pattern: `FOLDER/**/*.EXTENSION` searches the \
             folders below it, too",
        ));
    }
    Ok(files)
}
