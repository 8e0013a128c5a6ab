//! Text files as people have them: UTF-8 with or without its mark, plain or of gzip or zstd, never
//! taken for text when they are something else.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use lvd_base::error::{Error, Result};

/// Bytes that are looked at to see what a file is.
const FIRST: usize = 1 << 16;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// UTF-16 and UTF-32 by their marks.
const WIDE: [&[u8]; 3] = [b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff"];
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
/// What compresses files, by their first bytes.
const COMPRESSED: [(&[u8], &str); 4] =
    [(GZIP, "gzip -d"), (b"BZh", "bzip2 -d"), (b"\xfd7zXZ", "xz -d"), (ZSTD, "zstd -d")];
/// Other files that are given the name of a list.
const OTHERS: [(&[u8], &str); 3] = [(b"PAR1", "Parquet"), (b"PK\x03\x04", "a zip or a spreadsheet"), (b"%PDF", "PDF")];

/// The command that unpacks a file with these first bytes.
pub(super) fn unpacks(first: &[u8]) -> Option<&'static str> {
    COMPRESSED.iter().find(|(magic, _)| first.starts_with(magic)).map(|(_, command)| *command)
}

/// Opens a text, which may be compressed, behind its byte order mark.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(FIRST, File::open(path).map_err(Error::io(path))?);
    let first = file.fill_buf().map_err(Error::io(path))?;
    let mut input: Box<dyn BufRead> = if first.starts_with(GZIP) {
        Box::new(BufReader::with_capacity(FIRST, MultiGzDecoder::new(file)))
    } else if first.starts_with(ZSTD) {
        Box::new(BufReader::with_capacity(FIRST, ZstdDecoder::with_buffer(file).map_err(Error::io(path))?))
    } else {
        Box::new(file)
    };
    let first = input.fill_buf().map_err(Error::io(path))?;
    if let Some((fact, hint)) = foreign(first) {
        return Err(Error::usage(format!("{}: {fact}", path.display()), hint));
    }
    if first.starts_with(BYTE_ORDER_MARK) {
        input.consume(BYTE_ORDER_MARK.len());
    }
    Ok(input)
}

/// What a file is that is no text, and the cure.
fn foreign(first: &[u8]) -> Option<(String, String)> {
    if let Some(command) = unpacks(first) {
        return Some(("compressed, not text".into(), format!("unpack it with `{command}`")));
    }
    if let Some((_, kind)) = OTHERS.iter().find(|(magic, _)| first.starts_with(magic)) {
        return Some((format!("{kind}, not text"), "name the file by what it is, or set `format`".into()));
    }
    // Half of the bytes of UTF-16 are zero where the text is ASCII, as URLs are.
    let pieces = first.split(|&byte| byte == 0).count();
    if WIDE.iter().any(|mark| first.starts_with(mark)) || pieces > first.len() / 4 + 1 {
        return Some(("UTF-16 or binary, not UTF-8 text".into(), "convert it with `iconv -f UTF-16 -t UTF-8`".into()));
    }
    None
}
