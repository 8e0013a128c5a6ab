//! Lines of a text file, one at a time, of bounded length.

use std::io::BufRead;
use std::path::Path;

use super::text;
use lvd_base::error::{Error, Result};

/// The longest line that is kept, in bytes: far beyond any URL with its caption, far below what
/// hurts in memory.
pub(super) const MAX_LINE_BYTES: usize = 16 << 20;

/// Hears of a line: its number, and its bytes.
type Each<'a> = dyn FnMut(u64, Option<&[u8]>) -> Result<()> + 'a;

/// Calls `each` for every line with its number from 1, without its line break: LF, CR LF or CR.
/// `None` is a line over the limit of 16 MiB.
pub(super) fn for_each(path: &Path, each: &mut Each) -> Result<()> {
    let mut input = text::open(path)?;
    let (mut line, mut length, mut number, mut after_cr) = (Vec::new(), 0, 0, false);
    loop {
        let mut block = input.fill_buf().map_err(Error::io(path))?;
        if block.is_empty() {
            return if length > 0 { each(number + 1, kept(&line, length)) } else { Ok(()) };
        }
        let read = block.len();
        if std::mem::take(&mut after_cr) {
            block = block.strip_prefix(b"\n").unwrap_or(block);
        }
        while let Some(end) = block.iter().position(|&byte| byte == b'\n' || byte == b'\r') {
            keep(&mut line, &mut length, &block[..end]);
            number += 1;
            each(number, kept(&line, length))?;
            (length, after_cr) = (0, block[end] == b'\r');
            line.clear();
            block = &block[end + 1..];
            if after_cr && !block.is_empty() {
                after_cr = false;
                block = block.strip_prefix(b"\n").unwrap_or(block);
            }
        }
        keep(&mut line, &mut length, block);
        input.consume(read);
    }
}

fn keep(line: &mut Vec<u8>, length: &mut usize, piece: &[u8]) {
    *length += piece.len();
    if *length <= MAX_LINE_BYTES {
        line.extend_from_slice(piece);
    }
}

fn kept(line: &[u8], length: usize) -> Option<&[u8]> {
    (length <= MAX_LINE_BYTES).then_some(line)
}
