//! The walk over a folder: names sorted by bytes, those with a dot before them left out, symlinks
//! followed, loops survived.
//!
//! Holds the names in the folders on the current path only, never the whole tree.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use lvd_base::error::{Error, Result};

/// Hears of a file: its path, and what the system says of it, or of the symlink itself where that
/// leads nowhere.
type Each<'a> = dyn FnMut(&Path, &Metadata) -> Result<()> + 'a;

/// Calls `each` for every file below `root`, `depth` names deep at most, but those at `except`,
/// whatever they are called there, and those below them.
pub(super) fn files(
    root: &Path,
    depth: usize,
    except: &[PathBuf],
    each: &mut Each,
    closed: &mut dyn FnMut(&Path),
) -> Result<()> {
    all(root, depth, except, each, &mut |_| {}, closed)
}

/// The same, and calls `hidden` for each file and folder that is left out for its name, and `closed`
/// for each below `root` that this user may not read.
pub(super) fn all(
    root: &Path,
    depth: usize,
    except: &[PathBuf],
    each: &mut Each,
    hidden: &mut dyn FnMut(&Path),
    closed: &mut dyn FnMut(&Path),
) -> Result<()> {
    // What is not there yet cannot be met.
    let except: Vec<Identity> =
        except.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| identity(&metadata)).collect();
    // The folders entered to get where the walk is: a link may lead to one of them, or above all.
    let mut entered = vec![identity(&std::fs::metadata(root).map_err(Error::io(root))?)];
    let walk = WalkDir::new(root).follow_links(true).min_depth(1).max_depth(depth).sort_by_file_name();
    let mut entries = walk.into_iter();
    while let Some(entry) = entries.next() {
        let Some((path, folder_at)) = place(root, entry, closed)? else { continue };
        let metadata = match std::fs::metadata(&path).or_else(|_| std::fs::symlink_metadata(&path)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                closed(&path);
                continue;
            }
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let identity = identity(&metadata);
        let mut passed_over = except.contains(&identity);
        if is_hidden(&path) && !passed_over {
            hidden(&path);
            passed_over = true;
        }
        if let Some(depth) = folder_at {
            entered.truncate(depth);
            passed_over |= entered.contains(&identity);
            entered.push(identity);
            if passed_over {
                entries.skip_current_dir();
            }
        } else if !passed_over && (metadata.is_file() || metadata.is_symlink()) {
            each(&path, &metadata)?;
        }
    }
    Ok(())
}

/// Where an entry is, and for a folder how deep; `None` for what is nothing to us.
fn place(
    root: &Path,
    entry: walkdir::Result<DirEntry>,
    closed: &mut dyn FnMut(&Path),
) -> Result<Option<(PathBuf, Option<usize>)>> {
    let error = match entry {
        Ok(entry) => {
            let depth = entry.file_type().is_dir().then_some(entry.depth());
            return Ok(Some((entry.into_path(), depth)));
        }
        Err(error) if error.loop_ancestor().is_some() => return Ok(None),
        Err(error) => error,
    };
    let path = error.path().unwrap_or(root).to_path_buf();
    // A symlink that leads nowhere is looked at itself.
    if path.is_symlink() && !path.is_dir() {
        return Ok(Some((path, None)));
    }
    match io::Error::from(error) {
        // Removed since the folder was read.
        error if error.kind() == ErrorKind::NotFound => Ok(None),
        error if error.kind() == ErrorKind::PermissionDenied && path != root => {
            closed(&path);
            Ok(None)
        }
        error => Err(Error::io(path)(error)),
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."))
}

/// Device and inode.
type Identity = (u64, u64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}
