//! The walk over a folder of images: names sorted by bytes, symlinks followed, loops survived.
//!
//! Holds the names in the folders on the current path only, never the whole tree.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::location;
use lvd_base::error::{Error, Result};

/// A file that the walk came by.
pub(super) struct Found<'a> {
    /// Its escaped path below the folder.
    pub(super) location: &'a str,
    /// Of the file, or of the symlink itself where that is dangling.
    pub(super) metadata: &'a Metadata,
}

/// Calls `each` for every file below `root` but those at `except`, whatever they are called there, and those
/// below them.
pub(super) fn walk(root: &Path, except: &[PathBuf], each: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    if !std::fs::metadata(root).map_err(Error::io(root))?.is_dir() {
        return Err(Error::usage(
            format!("{}: not a folder", root.display()),
            "name the folder that holds the images; lists of URLs and Parquet files are other kinds of sources",
        ));
    }
    // What is not there yet cannot be met.
    let except: Vec<Identity> =
        except.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| identity(&metadata)).collect();
    let mut entries = WalkDir::new(root).follow_links(true).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        let (path, is_folder) = match entry {
            Ok(entry) => (entry.path().to_path_buf(), entry.file_type().is_dir()),
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => match error.path() {
                // A symlink that leads nowhere is looked at itself: it is a row, and fetching says what is
                // wrong with it.
                Some(path) if path.is_symlink() && !path.is_dir() => (path.to_path_buf(), false),
                path => {
                    let path = path.unwrap_or(root).to_path_buf();
                    match io::Error::from(error) {
                        // Removed since the folder was read.
                        error if error.kind() == ErrorKind::NotFound => continue,
                        error => return Err(Error::io(path)(error)),
                    }
                }
            },
        };
        let metadata = match std::fs::metadata(&path).or_else(|_| std::fs::symlink_metadata(&path)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(&path)(error)),
        };
        if is_hidden(&path) || except.contains(&identity(&metadata)) {
            if is_folder {
                entries.skip_current_dir();
            }
        } else if metadata.is_file() || metadata.is_symlink() {
            let below = path.strip_prefix(root).unwrap_or(&path);
            each(Found { location: &location::escape(below.as_os_str().as_bytes()), metadata: &metadata })?;
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}
