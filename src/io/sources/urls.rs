//! Lists of URLs: text, CSV, TSV, JSON lines and Parquet, each streamed.
//!
//! A malformed line is a row with an empty location, so that it is counted as a drop; it never stops the listing.

use std::fs::File;
use std::path::Path;

use serde_json::Value;

use super::{DEFAULT_CAPTION, InputRow, UrlFormat, lines, table};
use crate::error::{Error, Result};

/// How many JSON lines the check looks at for the URL's key.
const LINES_CHECKED: usize = 100;

/// Which columns to read.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) url: &'a str,
    pub(super) caption: Option<&'a str>,
}

/// Streams the rows of one list.
pub(super) fn list(
    path: &Path,
    format: UrlFormat,
    columns: Columns,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    match format {
        UrlFormat::Txt => lines::for_each(path, &mut |line| match line {
            Some(line) if line.trim_ascii().is_empty() || line.starts_with(b"#") => Ok(()),
            line => each(InputRow { location: text(line), caption: None }),
        }),
        UrlFormat::Csv => separated(path, b',', columns, each),
        UrlFormat::Tsv => separated(path, b'\t', columns, each),
        UrlFormat::Jsonl => lines::for_each(path, &mut |line| match line {
            Some(line) if line.trim_ascii().is_empty() => Ok(()),
            line => each(line.and_then(|line| json(line, columns)).unwrap_or_else(malformed)),
        }),
        UrlFormat::Parquet => table::list_urls(path, columns.url, columns.caption, each),
    }
}

/// Checks that the columns are there and returns how many rows one list has at most.
pub(super) fn check(path: &Path, format: UrlFormat, columns: Columns) -> Result<u64> {
    match format {
        UrlFormat::Txt => match columns.caption {
            None => lines::count(path),
            Some(caption) => Err(Error::usage(
                format!("{}: a text list has no caption column {caption:?}", path.display()),
                "leave the caption column out, or use csv, tsv, jsonl or parquet",
            )),
        },
        UrlFormat::Csv => check_separated(path, b',', columns),
        UrlFormat::Tsv => check_separated(path, b'\t', columns),
        UrlFormat::Jsonl => check_json(path, columns),
        UrlFormat::Parquet => table::check_urls(path, columns.url, columns.caption),
    }
}

fn malformed() -> InputRow {
    InputRow { location: String::new(), caption: None }
}

/// A URL's bytes as text; empty where they are none.
fn text(bytes: Option<&[u8]>) -> String {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default().trim().to_owned()
}

fn json(line: &[u8], columns: Columns) -> Option<InputRow> {
    let row: Value = serde_json::from_slice(line).ok()?;
    let string = |key| row.get(key).and_then(Value::as_str);
    Some(InputRow {
        location: string(columns.url).unwrap_or_default().trim().to_owned(),
        caption: string(columns.caption.unwrap_or(DEFAULT_CAPTION)).map(str::to_owned),
    })
}

fn check_json(path: &Path, columns: Columns) -> Result<u64> {
    // Rows may lack a key, so the key is missing only if none of the first rows has it; the error ends the reading.
    let (mut seen, mut keys, mut found) = (0, Vec::<String>::new(), false);
    let stop = || Error::data(path, "enough lines were read");
    let read = lines::for_each(path, &mut |line| {
        if let Some(Ok(Value::Object(row))) = line.map(serde_json::from_slice) {
            found |= row.contains_key(columns.url);
            keys.extend(row.keys().filter(|key| !keys.contains(key)).cloned().collect::<Vec<_>>());
        }
        seen += 1;
        if found || seen == LINES_CHECKED { Err(stop()) } else { Ok(()) }
    });
    if let Err(error @ Error::Io { .. }) = read {
        return Err(error);
    }
    if seen > 0 && !found {
        return Err(missing(path, columns.url, &keys));
    }
    lines::count(path)
}

/// A missing column, with those there are.
pub(super) fn missing(path: &Path, column: &str, available: &[String]) -> Error {
    let hint = match available {
        [] => "the file has no columns at all".to_owned(),
        names => format!("the columns are: {}", names.join(", ")),
    };
    Error::usage(format!("{}: no column {column:?}", path.display()), hint)
}

/// Places of the URL and of the caption in the header.
struct Header {
    url: usize,
    caption: Option<usize>,
}

fn open(path: &Path, delimiter: u8, columns: Columns) -> Result<(csv::Reader<File>, Header)> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        // Tab-separated files do not quote: there, one stray quote would swallow the lines up to the next.
        .quoting(delimiter == b',')
        .flexible(true)
        .from_reader(file);
    let header = reader.byte_headers().map_err(|error| broken(path, error))?;
    let place = |name: &str| header.iter().position(|field| field == name.as_bytes());
    let names = || header.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect::<Vec<_>>();
    let url = place(columns.url).ok_or_else(|| missing(path, columns.url, &names()))?;
    let caption = match columns.caption {
        Some(name) => Some(place(name).ok_or_else(|| missing(path, name, &names()))?),
        None => place(DEFAULT_CAPTION),
    };
    Ok((reader, Header { url, caption }))
}

fn separated(path: &Path, delimiter: u8, columns: Columns, each: &mut dyn FnMut(InputRow) -> Result<()>) -> Result<()> {
    let (mut reader, header) = open(path, delimiter, columns)?;
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| broken(path, error))? {
        let caption = header.caption.and_then(|place| record.get(place)).filter(|caption| !caption.is_empty());
        each(InputRow {
            location: text(record.get(header.url)),
            caption: caption.map(|caption| String::from_utf8_lossy(caption).into_owned()),
        })?;
    }
    Ok(())
}

fn check_separated(path: &Path, delimiter: u8, columns: Columns) -> Result<u64> {
    open(path, delimiter, columns)?;
    // A quoted line break makes the rows fewer than the lines; the first line is the header.
    Ok(lines::count(path)?.saturating_sub(1))
}

fn broken(path: &Path, error: csv::Error) -> Error {
    let message = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::io(path)(source),
        _ => Error::data(path, message),
    }
}
