//! Crawl archives: the pictures that their pages show, as a list of URLs.
//!
//! WARC (`.warc`, also of gzip or zstd), Common Crawl's WAT, and ARC. Pages are read some at a
//! time, by all threads, and their rows handed on in the order of the archive. What is damaged is
//! counted and passed over. Never fetches anything.

mod charset;
mod html;
mod input;
mod links;
mod records;
mod response;
mod srcset;
#[cfg(test)]
mod tests;
mod wat;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use encoding_rs::UTF_8;
use rayon::prelude::*;
use serde_json::json;

use self::links::Page;
use self::records::{Head, MAX_BODY, Record, Records};
use super::rows::{InputRow, Notes};
use super::{Each, UNCOUNTED};
use lvd_base::error::{Error, Result};

/// How the names of archives end.
pub const EXTENSIONS: [&str; 7] = ["warc", "warc.gz", "warc.zst", "wat", "wat.gz", "arc", "arc.gz"];

/// Pages that are read together, and their bytes, at most one page more.
const BATCH_RECORDS: usize = 1000;
const BATCH_BYTES: usize = 64 << 20;
/// Bytes of archives that are read to count their rows before anything runs.
const COUNTED_BYTES: u64 = 16 << 20;
/// Bytes of one archive by which the number of its rows is guessed.
const ESTIMATED_BYTES: u64 = 8 << 20;

const NO_PAGE: &str = "records of pages cannot be read as what they say they are.";
const LEFT: &str = "pages nest too deep or have too many attributes, and are read up to there.";
const STUMBLED: &str = "pages could not be parsed, and are skipped.";
const UNPACKED: &str = "pages are longer than 16 MiB when unpacked, and read up to there.";
const EMPTY: &str = "archives have no record.";

/// How often there was what gives no row.
type Counts = BTreeMap<&'static str, u64>;

/// Streams the pictures of one archive.
pub(super) fn list(path: &Path, notes: &mut Notes, each: &mut Each) -> Result<()> {
    let mut records = Records::open(path)?;
    let mut counts = Counts::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(record) = records.next(&mut |head, first| is_wanted(head, first, &mut counts), notes)? {
        bytes += record.body.len();
        batch.push(record);
        if bytes >= BATCH_BYTES || batch.len() == BATCH_RECORDS {
            hand_on(path, std::mem::take(&mut batch), notes, each)?;
            bytes = 0;
        }
    }
    hand_on(path, batch, notes, each)?;
    if records.seen == 0 {
        notes.suspect(path, 0, EMPTY);
    }
    notes.count("archive_records", records.seen);
    for (name, n) in counts {
        notes.count(name, n);
    }
    Ok(())
}

/// How many rows archives have; [`UNCOUNTED`] where that would take long to find out.
pub(super) fn check(paths: &[PathBuf]) -> Result<u64> {
    let size = |path: &PathBuf| Ok(std::fs::metadata(path).map_err(Error::io(path))?.len());
    if paths.iter().map(size).sum::<Result<u64>>()? > COUNTED_BYTES {
        return Ok(UNCOUNTED);
    }
    let rows = |path: &PathBuf| {
        let mut rows = 0;
        list(path, &mut Notes::default(), &mut |_| {
            rows += 1;
            Ok(())
        })?;
        Ok(rows)
    };
    paths.iter().map(rows).sum()
}

/// How many rows an archive has, about, by its first bytes.
pub(super) fn estimate(path: &Path) -> Result<u64> {
    let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
    let mut records = Records::open(path)?;
    let (mut counts, mut notes, mut rows, mut place) = (Counts::new(), Notes::default(), 0, 0);
    while place < ESTIMATED_BYTES {
        let wants = &mut |head: &Head, first: &[u8]| is_wanted(head, first, &mut counts);
        let Some(record) = records.next(wants, &mut notes)? else { return Ok(rows) };
        place = record.place;
        hand_on(path, vec![record], &mut notes, &mut |_| {
            rows += 1;
            Ok(())
        })?;
    }
    Ok(u64::try_from(u128::from(rows) * u128::from(size) / u128::from(place)).unwrap_or(rows))
}

/// Whether a record may hold a page; counts what does not.
fn is_wanted(head: &Head, first: &[u8], counts: &mut Counts) -> bool {
    let mut other = |name| {
        *counts.entry(name).or_default() += 1;
        false
    };
    let kind = head.get("content-type").unwrap_or_default();
    match head.get("warc-type").unwrap_or_default() {
        "response" if kind.starts_with("application/http") => match response::head(first) {
            Some((200..=299, head, body)) if is_page(head.get("content-type"), body) => true,
            Some((200..=299, ..)) => other("archive_no_pages"),
            Some(_) => other("archive_failures"),
            // Counted when it is read.
            None => true,
        },
        "resource" if is_page(Some(kind), first) => true,
        "metadata" if kind.starts_with("application/json") && wat::begins(first) => true,
        "response" | "resource" => other("archive_no_pages"),
        "revisit" => other("archive_revisits"),
        // The end of a page whose beginning is read as far as it goes.
        "continuation" => other("archive_continuations"),
        _ => false,
    }
}

/// Whether something is HTML by what it says of itself, or else by how it begins.
fn is_page(content_type: Option<&str>, first: &[u8]) -> bool {
    let Some(content_type) = content_type.filter(|text| !text.is_empty()) else {
        let first = first.trim_ascii_start();
        let begins = |tag: &&[u8]| first.get(..tag.len()).is_some_and(|first| first.eq_ignore_ascii_case(tag));
        return [&b"<!doctype html"[..], b"<html", b"<head"].iter().any(begins);
    };
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "text/html" || kind == "application/xhtml+xml"
}

/// A record that was read: its page, and what is wrong.
#[derive(Default)]
struct Read {
    page: Option<Page>,
    faults: Vec<&'static str>,
    failures: u64,
}

/// Reads records and hands on their rows.
fn hand_on(path: &Path, batch: Vec<Record>, notes: &mut Notes, each: &mut Each) -> Result<()> {
    let stumbled = || Read { faults: vec![STUMBLED], ..Read::default() };
    // A page is written by strangers: it must not end the process.
    let read_one = |record: Record| {
        let read = catch_unwind(AssertUnwindSafe(|| read(&record))).unwrap_or_else(|_| stumbled());
        (record.place, read)
    };
    let pages: Vec<(u64, Read)> = batch.into_par_iter().map(read_one).collect();
    for (place, Read { page, faults, failures }) in pages {
        for fault in faults {
            notes.suspect(path, place, fault);
        }
        notes.count("archive_failures", failures);
        let Some(page) = page else { continue };
        notes.count("archive_pages", 1);
        notes.count("archive_inline_images", page.inline);
        notes.count("archive_unusable_links", page.unusable);
        let extra = match &page.license {
            Some(license) => json!({"page": page.url, "license": license}),
            None => json!({"page": page.url}),
        };
        let extra = Some(extra.to_string());
        for (url, alt) in page.pictures {
            let row = InputRow::of_list("byte", place, Some(url.as_bytes()), alt.as_deref().map(str::as_bytes), notes);
            each(InputRow { extra: extra.clone(), ..row })?;
        }
    }
    Ok(())
}

/// Reads a record: a page as it is, in an answer, or as a WAT tells of it.
fn read(record: &Record) -> Read {
    let kind = record.head.get("content-type").unwrap_or_default();
    if kind.starts_with("application/json") {
        return match wat::read(&record.body) {
            Some(wat::Found::Page(url, links)) => Read { page: Some(links.of_page(&url, UTF_8)), ..Read::default() },
            Some(wat::Found::Failure) => Read { failures: 1, ..Read::default() },
            Some(wat::Found::Other) => Read::default(),
            None => Read { faults: vec![NO_PAGE], ..Read::default() },
        };
    }
    let (body, kind) = if kind.starts_with("application/http") {
        let Some(response) = response::read(&record.body) else {
            return Read { faults: vec![NO_PAGE], ..Read::default() };
        };
        let kind = response.head.get("content-type").unwrap_or_default().to_owned();
        (response.body, kind)
    } else {
        (record.body.clone(), kind.to_owned())
    };
    let mut read = Read::default();
    if body.len() >= MAX_BODY && record.body.len() < MAX_BODY {
        read.faults.push(UNPACKED);
    }
    let (text, encoding) = charset::text(&body, &kind);
    let (links, whole) = html::links(&text);
    if !whole {
        read.faults.push(LEFT);
    }
    // GNU Wget writes the address in brackets.
    let url = record.head.get("warc-target-uri").unwrap_or_default();
    let url = url.strip_prefix('<').and_then(|url| url.strip_suffix('>')).unwrap_or(url);
    read.page = Some(links.of_page(url, encoding));
    read
}
