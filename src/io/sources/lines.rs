//! Lines of a text file, one at a time, of bounded length, and how many there are.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// The longest line that is kept, in bytes: far beyond any URL with its caption, far below what hurts in memory.
const MAX_LINE_BYTES: usize = 16 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Calls `each` for every line without its line break; `None` is a line over the limit of 16 MiB.
pub(super) fn for_each(path: &Path, each: &mut dyn FnMut(Option<&[u8]>) -> Result<()>) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 16, File::open(path).map_err(Error::io(path))?);
    let mut line = Vec::new();
    let mut first = true;
    loop {
        line.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        if input.by_ref().take(limit).read_until(b'\n', &mut line).map_err(Error::io(path))? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() > MAX_LINE_BYTES {
            input.skip_until(b'\n').map_err(Error::io(path))?;
            each(None)?;
        } else {
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            each(Some(line.strip_prefix(BYTE_ORDER_MARK).filter(|_| first).unwrap_or(line)))?;
        }
        first = false;
    }
}

/// How many lines there are, whichever of LF, CR LF and CR ends them.
pub(super) fn count(path: &Path) -> Result<u64> {
    let mut input = BufReader::with_capacity(1 << 20, File::open(path).map_err(Error::io(path))?);
    let (mut lines, mut last) = (0, b'\n');
    loop {
        let block = input.fill_buf().map_err(Error::io(path))?;
        if block.is_empty() {
            return Ok(lines + u64::from(last != b'\n' && last != b'\r'));
        }
        for &byte in block {
            lines += u64::from(byte == b'\r' || byte == b'\n' && last != b'\r');
            last = byte;
        }
        let read = block.len();
        input.consume(read);
    }
}
