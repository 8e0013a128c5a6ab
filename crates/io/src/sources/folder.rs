//! A folder of images: each file in it and below it is a row, or each with one of some extensions.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{location, walk};
use lvd_base::error::{Error, Result};

/// A file that the walk came by.
pub(super) struct Found<'a> {
    pub(super) path: &'a Path,
    /// Its escaped path below the folder.
    pub(super) location: &'a str,
    /// Of the file, or of the symlink itself where that leads nowhere: it is a row, and fetching
    /// says what is wrong with it.
    pub(super) metadata: &'a Metadata,
}

/// The extension of a file in lower case, without its dot; empty where there is none.
pub(super) fn extension(path: &Path) -> String {
    path.extension().map_or_else(String::new, |extension| extension.to_string_lossy().to_lowercase())
}

/// Calls `each` for every file below `root` but those at `except`, whatever they are called there,
/// and those below them. With `extensions`, only files that have one of them. `closed` hears of what
/// may not be read.
pub(super) fn walk(
    root: &Path,
    except: &[PathBuf],
    extensions: &[String],
    each: &mut dyn FnMut(Found) -> Result<()>,
    closed: &mut dyn FnMut(&Path),
) -> Result<()> {
    if !std::fs::metadata(root).map_err(Error::io(root))?.is_dir() {
        return Err(Error::usage(
            format!("{}: not a folder", root.display()),
            "name the folder that holds the images; lists of URLs and Parquet files are other kinds of sources",
        ));
    }
    let each = &mut |path: &Path, metadata: &Metadata| {
        if !extensions.is_empty() && !extensions.contains(&extension(path)) {
            return Ok(());
        }
        let below = path.strip_prefix(root).unwrap_or(path);
        each(Found { path, location: &location::escape(below.as_os_str().as_bytes()), metadata })
    };
    walk::files(root, usize::MAX, except, each, closed)
}
