//! Lists of URLs: text, CSV, TSV, JSON lines and Parquet, each streamed.
//!
//! A malformed line is a row whose location says so, and so is counted as a drop. What stops the
//! listing is a file that is not what it is called, and a quote that is never closed: nobody knows
//! what it swallowed.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

use super::columns::{self, Columns, DEFAULT_CAPTION};
use super::kinds::UrlFormat;
use super::rows::{self, Cells, InputRow, Notes};
use super::separated::{self, Dialect};
use super::{Each, json, lines, table};
use lvd_base::error::{Error, Result};

/// How many JSON lines the check looks at for the keys.
const LINES_CHECKED: usize = 1000;
const TOO_LONG: &str = "longer than 16 MiB";

/// Streams the rows of one list.
pub(super) fn list(path: &Path, format: UrlFormat, columns: Columns, notes: &mut Notes, each: &mut Each) -> Result<()> {
    match format {
        UrlFormat::Txt => lines::for_each(path, &mut |number, line| match line {
            Some(line) if !is_url(line) => Ok(()),
            // What follows a tab is said of the image.
            Some(line) => {
                let tab = line.iter().position(|&byte| byte == b'\t').unwrap_or(line.len());
                let caption = line.get(tab + 1..).map(<[u8]>::trim_ascii).filter(|caption| !caption.is_empty());
                let cells = Cells { url: Some(&line[..tab]), caption, extra: None };
                InputRow::each_of_list("line", number, &cells, notes, each)
            }
            None => each(InputRow::unusable("line", number, TOO_LONG)),
        }),
        UrlFormat::Jsonl => lines::for_each(path, &mut |number, line| match line {
            Some(line) if line.trim_ascii().is_empty() => Ok(()),
            Some(line) => of_json(number, line, columns, notes, each),
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
    let has_lines = matches!(format, UrlFormat::Csv | UrlFormat::Tsv | UrlFormat::TsvUnquoted);
    if columns.headless && !has_lines {
        return Err(Error::usage(
            format!("{}: `header = false` is for csv and tsv", path.display()),
            "remove `header`, or make this list a source of its own",
        ));
    }
    match (format, columns.caption.or(columns.keep.first().map(String::as_str))) {
        (UrlFormat::Txt, Some(column)) => Err(Error::usage(
            format!("{}: a text list has no column {column:?}", path.display()),
            "leave the column out (what follows a tab is the caption), or use csv, tsv, jsonl or parquet",
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

fn of_json(number: u64, line: &[u8], columns: Columns, notes: &mut Notes, each: &mut Each) -> Result<()> {
    let texts = json::pick(line, [columns.url, columns.caption.unwrap_or(DEFAULT_CAPTION)]);
    let kept = if columns.keep.is_empty() { Ok(Vec::new()) } else { json::values(line, columns.keep) };
    match texts.and_then(|texts| Ok((texts, kept?))) {
        Ok(([url, caption], kept)) => {
            let [url, caption] = [&url, &caption].map(|text| text.as_ref().map(String::as_bytes));
            let kept = columns.keep.iter().map(String::as_str).zip(kept);
            let extra = rows::extra(kept.filter_map(|(name, value)| Some((name, value?))));
            InputRow::each_of_list("line", number, &Cells { url, caption, extra }, notes, each)
        }
        Err(error) => each(InputRow::unusable("line", number, &format!("no JSON object: {error}"))),
    }
}

/// Rows may lack a key, so a key is missing only if none of the first rows has it.
fn check_json(path: &Path, columns: Columns) -> Result<u64> {
    let (mut rows, mut checked, mut seen, mut first_fault) = (0, 0, Vec::<String>::new(), None);
    lines::for_each(path, &mut |number, line| {
        if line.is_some_and(|line| line.trim_ascii().is_empty()) {
            return Ok(());
        }
        // A line may hold several.
        rows +=
            line.map_or(1, |line| line.windows(4).filter(|bytes| bytes.eq_ignore_ascii_case(b"http")).count().max(1));
        checked += 1;
        if checked <= LINES_CHECKED {
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
            let kept = columns.keep.iter().map(String::as_str);
            let wanted = std::iter::once(columns.url).chain(columns.caption).chain(kept);
            let missing = wanted.into_iter().find(|key| !seen.iter().any(|name| name == key));
            missing.map_or(Ok(rows as u64), |key| Err(columns::missing(path, key, &seen)))
        }
    }
}

/// The URLs in a cell: one, or several with blanks or `|` between them, or in brackets, as pandas
/// and JSON write lists. A cell without any is one that is empty.
pub(super) fn split(cell: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let cell = cell.trim_ascii();
    let inside = cell.strip_prefix(b"[").and_then(|cell| cell.strip_suffix(b"]"));
    let between = |byte: u8| byte.is_ascii_whitespace() || byte == b'|' || inside.is_some() && byte == b',';
    let pieces = inside.unwrap_or(cell).split(|&byte| between(byte));
    let quoted = |piece: &'_ [u8]| inside.is_some() && piece.first().is_some_and(|first| b"'\"".contains(first));
    let mut urls: Vec<Vec<u8>> = Vec::new();
    let mut several = false;
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let piece = if quoted(piece) && piece.len() > 1 { &piece[1..piece.len() - 1] } else { piece };
        if !is_web(piece) {
            // Not a list of URLs, but one with a blank in it, or none at all.
            return vec![Cow::Borrowed(cell)];
        }
        several |= !urls.is_empty() || inside.is_some();
        urls.push(piece.to_vec());
    }
    if several { urls.into_iter().map(Cow::Owned).collect() } else { vec![Cow::Borrowed(cell)] }
}

fn is_web(text: &[u8]) -> bool {
    [&b"http://"[..], b"https://"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme)))
}

/// A URL as text: bytes that are no UTF-8 become `%XX`, as they do on a page in latin-1.
pub(super) fn as_text(url: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(url) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(url.len());
    for chunk in url.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_may_hold_several_urls() {
        let check = |cell: &str, expect: &[&str]| {
            let found: Vec<String> = split(cell.as_bytes()).iter().map(|url| as_text(url).into_owned()).collect();
            assert_eq!(found, expect, "{cell}");
        };
        check("http://a/1", &["http://a/1"]);
        check(" http://a/1 HTTPS://b/2\n", &["http://a/1", "HTTPS://b/2"]);
        check("http://a/1|http://b/2", &["http://a/1", "http://b/2"]);
        check("['http://a/1', 'http://b/2']", &["http://a/1", "http://b/2"]);
        check("[\"http://a/1\",\"http://b/2\"]", &["http://a/1", "http://b/2"]);
        check("['http://a/1' 'http://b/2'\n 'http://c/3']", &["http://a/1", "http://b/2", "http://c/3"]);
        check("[http://a/1]", &["http://a/1"]);
        check("http://a/1 2.jpg", &["http://a/1 2.jpg"]);
        check("http://a/x,http://b/y|z", &["http://a/x,http://b/y|z"]);
        check("", &[""]);
        check("[]", &["[]"]);
    }
}
