//! Members of tars, read where they lie.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::answer::{Answer, Fetched};
use super::folder::{MAX_READERS, too_many};
use super::limits::FetchLimits;
use super::window::{self, Room};
use crate::sources::InputRow;
use crate::sources::files::Named;
use crate::sources::location::{Located, TarMember};
use lvd_base::error::Result;
use lvd_base::types::{Dropped, Reason};

/// What is said of a member of another tar.
const GONE: &str = "its tar is not there any more";

/// Reads `rows` out of a source's tars.
pub(super) fn fetch(
    runtime: &Runtime,
    limits: &FetchLimits,
    files: &[PathBuf],
    rows: &[InputRow],
    each: &mut dyn FnMut(usize, Answer) -> Result<()>,
) -> Result<()> {
    let files = Named::new(files);
    // The tar that is being read: rows come tar by tar.
    let open: RefCell<Option<(PathBuf, Arc<File>)>> = RefCell::default();
    let opened = |path: &Path| {
        let mut open = open.borrow_mut();
        match &*open {
            Some((known, handle)) if known == path => Ok(handle.clone()),
            _ => File::open(path).map(|handle| open.insert((path.into(), Arc::new(handle))).1.clone()),
        }
    };
    let max_bytes = limits.max_bytes;
    let readers = Room::even(limits.concurrency.min(MAX_READERS));
    window::in_order(runtime, readers, rows, each, |row| {
        let unreadable = |why: String| Dropped::new(Reason::Unreadable, format!("{}: {why}", row.location));
        let found = match TarMember::read(&row.location, |number, name| files.get(number, name).is_some()) {
            Located::Here(member) => match files.get(member.file, member.archive).map(opened) {
                Some(Ok(handle)) => Ok((handle, member.offset, member.size)),
                Some(Err(error)) => Err(unreadable(error.to_string())),
                None => Err(unreadable(GONE.into())),
            },
            Located::Elsewhere => Err(unreadable(GONE.into())),
            Located::Nowhere => Err(unreadable("names no member of a tar".into())),
        };
        let location = row.location.clone();
        runtime.spawn_blocking(move || found.and_then(|(file, at, size)| read(&file, &location, at, size, max_bytes)))
    })
}

fn read(file: &File, location: &str, offset: u64, size: u64, max_bytes: u64) -> Answer {
    if size > max_bytes {
        return Err(too_many(size, max_bytes));
    }
    if size == 0 {
        return Err(Dropped::new(Reason::Empty, format!("{location}: no bytes, a link, or a sparse file")));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Fetched { bytes }),
        Err(error) => Err(Dropped::new(Reason::Unreadable, format!("{location}: {error}"))),
    }
}
