//! The list of files of a source: entries that are folders stand for the files in them.

use std::path::{Path, PathBuf};

use lvd_base::error::{Error, Result};

/// The files that `entries` stand for, in the order of the entries; those of a folder sorted by name.
///
/// `extensions`, in lower case, are what a folder's files must have.
pub(crate) fn expand(entries: &[PathBuf], extensions: &[&str]) -> Result<Vec<PathBuf>> {
    if entries.is_empty() {
        return Err(Error::usage("the source names no files", "name at least one file or folder in `files`"));
    }
    let mut files = Vec::new();
    for entry in entries {
        let metadata = std::fs::metadata(entry).map_err(Error::io(entry))?;
        if metadata.is_dir() {
            files.extend(folder(entry, extensions)?);
        } else if metadata.is_file() {
            files.push(entry.clone());
        } else {
            return Err(Error::data(entry, "neither a file nor a folder"));
        }
    }
    Ok(files)
}

fn folder(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        let file = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let extension = file.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let wanted = extension.is_some_and(|extension| extensions.contains(&extension.as_str()));
        if !hidden && wanted && std::fs::metadata(&file).map_err(Error::io(&file))?.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        let extensions = extensions.join(" or ");
        return Err(Error::usage(
            format!("{}: no file in this folder has the extension {extensions}", path.display()),
            "name the files themselves, or another folder (folders below it are not searched)",
        ));
    }
    files.sort();
    Ok(files)
}
