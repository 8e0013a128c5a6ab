//! Rows of a folder: plain files only, checked for their size before they are read.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use tokio::runtime::Runtime;

use super::answer::{Answer, Fetched};
use super::limits::FetchLimits;
use super::window::{self, Room};
use crate::sources::{InputRow, location};
use lvd_base::error::Result;
use lvd_base::types::{Dropped, Reason};

/// The most files read at a time: enough to hide the latency of a network file system.
pub(super) const MAX_READERS: usize = 16;

/// Reads `rows` below `root`.
pub(super) fn fetch(
    runtime: &Runtime,
    limits: &FetchLimits,
    root: &Path,
    rows: &[InputRow],
    each: &mut dyn FnMut(usize, Answer) -> Result<()>,
) -> Result<()> {
    let max_bytes = limits.max_bytes;
    let readers = Room::even(limits.concurrency.min(MAX_READERS));
    window::in_order(runtime, readers, rows, each, |row| {
        let path = resolve(root, &row.location);
        runtime.spawn_blocking(move || path.and_then(|path| read(&path, max_bytes)))
    })
}

/// The file of a location, which must lie below `root`.
fn resolve(root: &Path, location: &str) -> std::result::Result<PathBuf, Dropped> {
    let unreadable = |why: &str| Dropped::new(Reason::Unreadable, format!("{location:?}: {why}"));
    let bytes = location::unescape(location).ok_or_else(|| unreadable("a `%` without two digits"))?;
    let below = PathBuf::from(OsString::from_vec(bytes));
    let inside = below.components().all(|component| matches!(component, Component::Normal(_)));
    if inside && below.components().next().is_some() {
        Ok(root.join(below))
    } else {
        Err(unreadable("not a path below the folder"))
    }
}

fn read(path: &Path, max_bytes: u64) -> Answer {
    let unreadable = |error: std::io::Error| Dropped::new(Reason::Unreadable, format!("{}: {error}", path.display()));
    let plain = |metadata: std::fs::Metadata| {
        let no_file = || Dropped::new(Reason::Unreadable, format!("{}: not a regular file", path.display()));
        if metadata.is_file() { Ok(metadata.len()) } else { Err(no_file()) }
    };
    // Asked before opening, since opening a device can do something, and after, since the name may
    // lead elsewhere by then; opened without blocking, since a FIFO would wait for a writer.
    plain(std::fs::metadata(path).map_err(unreadable)?)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let size = plain(file.metadata().map_err(unreadable)?)?;
    if size > max_bytes {
        return Err(too_many(size, max_bytes));
    }
    read_all(&file, size, max_bytes).map_err(unreadable).and_then(|bytes| match bytes.len() as u64 {
        0 => Err(Dropped::new(Reason::Empty, format!("{}: no bytes", path.display()))),
        read if read > max_bytes => Err(too_many(read, max_bytes)),
        _ => Ok(Fetched { bytes }),
    })
}

/// Reads a file that may have grown since its size was asked.
fn read_all(file: &File, size: u64, max_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn too_many(bytes: u64, max_bytes: u64) -> Dropped {
    Dropped::new(Reason::TooManyBytes, format!("{bytes} bytes are more than max_bytes = {max_bytes}"))
}
