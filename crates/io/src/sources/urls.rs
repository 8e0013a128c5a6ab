//! Lists of URLs: text, CSV, TSV, JSON lines and Parquet, each streamed.
//!
//! A malformed line is a row whose location says so, and so is counted as a drop. What stops the
//! listing is a file that is not what it is called, and a quote that is never closed: nobody knows
//! what it swallowed.

use std::path::Path;

use super::columns::{self, Columns, DEFAULT_CAPTION};
use super::kinds::UrlFormat;
use super::rows::{InputRow, Notes};
use super::separated::{self, Dialect};
use super::{json, lines, table};
use lvd_base::error::{Error, Result};

/// How many JSON lines the check looks at for the keys.
const LINES_CHECKED: usize = 1000;
const TOO_LONG: &str = "longer than 16 MiB";

/// Streams the rows of one list.
pub(super) fn list(
    path: &Path,
    format: UrlFormat,
    columns: Columns,
    notes: &mut Notes,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    match format {
        UrlFormat::Txt => lines::for_each(path, &mut |number, line| match line {
            Some(line) if !is_url(line) => Ok(()),
            Some(line) => each(InputRow::of_list("line", number, Some(line), None, notes)),
            None => each(InputRow::unusable("line", number, TOO_LONG)),
        }),
        UrlFormat::Jsonl => lines::for_each(path, &mut |number, line| match line {
            Some(line) if line.trim_ascii().is_empty() => Ok(()),
            Some(line) => each(of_json(number, line, columns, notes)),
            None => each(InputRow::unusable("line", number, TOO_LONG)),
        }),
        UrlFormat::Parquet => table::list_urls(path, columns, notes, each),
        UrlFormat::Csv => separated::list(path, Dialect { delimiter: b',', quotes: true }, columns, notes, each),
        UrlFormat::Tsv => separated::list(path, Dialect { delimiter: b'\t', quotes: true }, columns, notes, each),
        UrlFormat::TsvUnquoted => {
            separated::list(path, Dialect { delimiter: b'\t', quotes: false }, columns, notes, each)
        }
    }
}

/// Checks that the columns are there and returns how many rows one list has.
pub(super) fn check(path: &Path, format: UrlFormat, columns: Columns) -> Result<u64> {
    match (format, columns.caption) {
        (UrlFormat::Txt, Some(caption)) => Err(Error::usage(
            format!("{}: a text list has no caption column {caption:?}", path.display()),
            "leave the caption column out, or use csv, tsv, jsonl or parquet",
        )),
        (UrlFormat::Jsonl, _) => check_json(path, columns),
        (UrlFormat::Parquet, _) => table::check_urls(path, columns),
        // A quote that is open on the first line may be noticed on the last.
        _ => {
            let mut rows = 0;
            list(path, format, columns, &mut Notes::default(), &mut |_| {
                rows += 1;
                Ok(())
            })?;
            Ok(rows)
        }
    }
}

/// Whether a line of a text list is meant as a URL.
fn is_url(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    !line.is_empty() && !line.starts_with(b"#")
}

fn of_json(number: u64, line: &[u8], columns: Columns, notes: &mut Notes) -> InputRow {
    match json::pick(line, [columns.url, columns.caption.unwrap_or(DEFAULT_CAPTION)]) {
        Ok([url, caption]) => {
            let [url, caption] = [&url, &caption].map(|text| text.as_ref().map(String::as_bytes));
            InputRow::of_list("line", number, url, caption, notes)
        }
        Err(error) => InputRow::unusable("line", number, &format!("no JSON object: {error}")),
    }
}

/// Rows may lack a key, so a key is missing only if none of the first rows has it.
fn check_json(path: &Path, columns: Columns) -> Result<u64> {
    let (mut rows, mut seen, mut first_fault) = (0, Vec::<String>::new(), None);
    lines::for_each(path, &mut |number, line| {
        if line.is_some_and(|line| line.trim_ascii().is_empty()) {
            return Ok(());
        }
        rows += 1;
        if rows <= LINES_CHECKED as u64 {
            match line.map(json::keys) {
                Some(Ok(keys)) => {
                    let fresh: Vec<String> = keys.into_iter().filter(|key| !seen.contains(key)).collect();
                    seen.extend(fresh);
                }
                Some(Err(error)) => drop(first_fault.get_or_insert((number, error))),
                None => drop(first_fault.get_or_insert((number, TOO_LONG.to_owned()))),
            }
        }
        Ok(())
    })?;
    match first_fault {
        Some((line, fault)) if seen.is_empty() => Err(Error::usage(
            format!("{}:{line}: no JSON object: {fault}", path.display()),
            "JSON lines are one object a line, {\"url\": ...}; an array of objects has to be taken apart",
        )),
        _ if rows == 0 => Ok(0),
        _ => {
            let wanted = std::iter::once(columns.url).chain(columns.caption);
            let missing = wanted.into_iter().find(|key| !seen.iter().any(|name| name == key));
            missing.map_or(Ok(rows), |key| Err(columns::missing(path, key, &seen)))
        }
    }
}
