//! The walk over a folder of images: names sorted by bytes, symlinks followed, loops survived.
//!
//! Holds the names of the folders on the current path only, never the whole tree.

use std::fs::Metadata;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::location;
use lvd_base::error::{Error, Result};

/// A file that the walk came by.
pub(super) struct Found<'a> {
    /// Its escaped path below the folder.
    pub(super) location: &'a str,
    /// Of the file, or of the symlink itself where that is dangling.
    pub(super) metadata: &'a Metadata,
}

/// Calls `each` for every file below `root` but those at `except`, whatever they are called there, and those below them.
pub(super) fn walk(root: &Path, except: &[PathBuf], each: &mut dyn FnMut(Found) -> Result<()>) -> Result<()> {
    let metadata = std::fs::metadata(root).map_err(Error::io(root))?;
    if !metadata.is_dir() {
        return Err(Error::usage(
            format!("{}: not a folder", root.display()),
            "name the folder that holds the images; lists of URLs and Parquet files are other kinds of sources",
        ));
    }
    // What is not there yet cannot be met.
    let except: Vec<Identity> =
        except.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| identity(&metadata)).collect();
    descend(root, "", &except, &mut vec![identity(&metadata)], each)
}

/// Walks `folder`, whose escaped path below the root is `below`; `ancestors` are the folders entered to get here.
fn descend(
    folder: &Path,
    below: &str,
    except: &[Identity],
    ancestors: &mut Vec<Identity>,
    each: &mut dyn FnMut(Found) -> Result<()>,
) -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name().into_vec();
        if !name.starts_with(b".") {
            names.push(name);
        }
    }
    names.sort_unstable();
    for name in names {
        let path = folder.join(std::ffi::OsStr::from_bytes(&name));
        // A symlink that leads nowhere is looked at itself: it is a row, and fetching says what is wrong with it.
        let metadata = match std::fs::metadata(&path).or_else(|_| std::fs::symlink_metadata(&path)) {
            Ok(metadata) => metadata,
            // Removed since the folder was read.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(&path)(error)),
        };
        if except.contains(&identity(&metadata)) {
            continue;
        }
        let escaped = location::escape(&name);
        let location = if below.is_empty() { escaped } else { format!("{below}/{escaped}") };
        if metadata.is_dir() {
            let folder = identity(&metadata);
            if !ancestors.contains(&folder) {
                ancestors.push(folder);
                descend(&path, &location, except, ancestors, each)?;
                ancestors.pop();
            }
        } else if metadata.is_file() || metadata.is_symlink() {
            each(Found { location: &location, metadata: &metadata })?;
        }
    }
    Ok(())
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}
