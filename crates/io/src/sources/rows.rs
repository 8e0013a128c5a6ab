//! One row of a source, of bounded length, and what a person should know about all of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Each, location, urls};
use lvd_base::error::Result;

/// The longest URL, in bytes: servers take an eighth of it.
const MAX_URL_BYTES: usize = 64 << 10;
/// The longest cell that may hold several URLs, in bytes.
const MAX_CELL: usize = 1 << 20;
/// The longest caption that is kept, in bytes.
pub(super) const MAX_CAPTION_BYTES: usize = 64 << 10;

/// One image to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRow {
    /// Where it is; empty where the list has no URL in this row, and a text that says so where it
    /// has none that can be used.
    ///
    /// A folder: the path below it with `/`, where `%` and bytes that are no UTF-8 are written as
    /// `%XX`. A list: the URL. Parquet: `FILE:NAME#ROW`, the file's number among the source's files
    /// of its name, its name, and the row in it. A tar: `FILE:NAME#OFFSET+SIZE:MEMBER`, so that a member's bytes
    /// can be read without what is before them.
    pub location: String,
    /// What the source says about the image.
    pub caption: Option<String>,
    /// What else it says, as a JSON object of texts.
    pub extra: Option<String>,
}

impl InputRow {
    /// A row of which nothing else is known.
    #[must_use]
    pub fn new(location: String, caption: Option<String>) -> Self {
        Self { location, caption, extra: None }
    }

    /// The rows that one row of a list stands for: one, or one for each of several URLs in its cell.
    pub(super) fn each_of_list(
        unit: &str,
        number: u64,
        cells: &Cells,
        notes: &mut Notes,
        each: &mut Each,
    ) -> Result<()> {
        let cell = cells.url.unwrap_or_default();
        // A longer cell is no list of URLs that anybody wrote.
        let urls = if cell.len() > MAX_CELL { vec![Cow::Borrowed(cell)] } else { urls::split(cell) };
        for url in urls {
            let row = Self::of_list(unit, number, Some(&url), cells.caption, notes);
            each(Self { extra: cells.extra.clone(), ..row })?;
        }
        Ok(())
    }

    /// A row of a list; `unit` and `number` say where it is there (`line`, 17).
    pub(super) fn of_list(
        unit: &str,
        number: u64,
        url: Option<&[u8]>,
        caption: Option<&[u8]>,
        notes: &mut Notes,
    ) -> Self {
        let url = url.unwrap_or_default().trim_ascii();
        let fault = |what: &str| location::unusable(unit, number, what);
        if url.len() > MAX_URL_BYTES {
            let location = fault(&format!("a URL of {} bytes, more than {MAX_URL_BYTES}", url.len()));
            return Self::new(location, notes.caption(caption));
        }
        let url = urls::as_text(url);
        let location = match url.trim() {
            url if url.contains(['\n', '\r']) => fault("the URL runs over lines"),
            // What a mended JSON line has in place of what was no text.
            url if url.contains(char::REPLACEMENT_CHARACTER) => fault("the URL is no UTF-8"),
            url => url.to_owned(),
        };
        Self::new(location, notes.caption(caption))
    }

    /// A row that cannot be read.
    pub(super) fn unusable(unit: &str, number: u64, fault: &str) -> Self {
        Self::new(location::unusable(unit, number, fault), None)
    }
}

/// What a list has in one of its rows.
#[derive(Default)]
pub(super) struct Cells<'a> {
    pub(super) url: Option<&'a [u8]>,
    pub(super) caption: Option<&'a [u8]>,
    pub(super) extra: Option<String>,
}

/// The columns that are kept, as a JSON object; `None` where there are none.
pub(super) fn extra<'a>(columns: impl Iterator<Item = (&'a str, Value)>) -> Option<String> {
    let columns: Map<String, Value> = columns.map(|(name, value)| (name.to_owned(), value)).collect();
    (!columns.is_empty()).then(|| Value::Object(columns).to_string())
}

/// What a person should know about the rows that were listed.
#[derive(Debug, Default)]
pub struct Notes {
    /// Captions that were too long and are kept up to 64 KiB.
    pub captions_cut: u64,
    /// Captions that could not be read.
    pub captions_lost: u64,
    /// Captions with bytes that are no UTF-8, which became U+FFFD.
    pub captions_not_utf8: u64,
    /// How often something was seen that may be a mistake, and where first.
    suspicions: BTreeMap<&'static str, (u64, String)>,
    /// How often there was what is no mistake, by the name of a counter.
    counts: BTreeMap<&'static str, u64>,
}

impl Notes {
    /// What looks like a mistake, a sentence a kind.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.suspicions.iter().map(|(what, (count, first))| format!("{count} {what} The first is {first}"))
    }

    /// What was counted, by name.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(&name, &n)| (name, n))
    }

    /// Counts what is worth a line of the report.
    pub(super) fn count(&mut self, name: &'static str, n: u64) {
        if n > 0 {
            *self.counts.entry(name).or_default() += n;
        }
    }

    /// Counts something that may be a mistake, at a line, or at a byte of an archive; 0 is the whole
    /// file.
    pub(super) fn suspect(&mut self, path: &Path, line: u64, what: &'static str) {
        let place = || if line == 0 { path.display().to_string() } else { format!("{}:{line}", path.display()) };
        self.suspicions.entry(what).or_insert_with(|| (0, place())).0 += 1;
    }

    /// The text of a column that is kept, of bounded length.
    pub(super) fn kept(&mut self, text: &[u8]) -> Value {
        if text.len() > MAX_CAPTION_BYTES {
            self.count("kept_columns_cut", 1);
        }
        let text = String::from_utf8_lossy(&text[..text.len().min(MAX_CAPTION_BYTES)]);
        // A character that was cut in two.
        Value::from(text.trim_end_matches(char::REPLACEMENT_CHARACTER))
    }

    /// A caption of bounded length.
    pub(super) fn caption(&mut self, text: Option<&[u8]>) -> Option<String> {
        let text = text?;
        self.captions_not_utf8 += u64::from(std::str::from_utf8(text).is_err());
        // A character that is cut in two, or was none, has become U+FFFD by the time the caption is
        // cut.
        let mut caption = String::from_utf8_lossy(&text[..text.len().min(MAX_CAPTION_BYTES + 4)]).into_owned();
        if caption.len() > MAX_CAPTION_BYTES {
            self.captions_cut += 1;
            let end = (0..=MAX_CAPTION_BYTES).rev().find(|&end| caption.is_char_boundary(end));
            caption.truncate(end.unwrap_or(0));
        }
        Some(caption)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(url: &[u8]) -> String {
        InputRow::of_list("line", 7, Some(url), None, &mut Notes::default()).location
    }

    #[test]
    fn a_url_that_cannot_be_used_says_why() {
        assert_eq!(listed(b" http://a/1 "), "http://a/1");
        assert_eq!(listed(&vec![b'x'; MAX_URL_BYTES]).len(), MAX_URL_BYTES);
        assert_eq!(listed(&vec![b'x'; 65_537]), "(unusable) line 7: a URL of 65537 bytes, more than 65536");
        assert_eq!(listed("http://a/\u{fffd}".as_bytes()), "(unusable) line 7: the URL is no UTF-8");
        // What a server gets from a page in latin-1.
        assert_eq!(listed(b"http://a/caf\xe9\xff.jpg"), "http://a/caf%E9%FF.jpg");
        assert_eq!(listed(b"http://a/1\nhttp://a/2"), "(unusable) line 7: the URL runs over lines");
    }

    #[test]
    fn long_captions_are_cut_between_characters_and_counted() {
        let mut notes = Notes::default();
        assert_eq!(notes.caption(None), None);
        let whole = "\u{e9}".repeat(MAX_CAPTION_BYTES / 2);
        assert_eq!(notes.caption(Some(whole.as_bytes())).as_deref(), Some(&*whole));
        assert_eq!((notes.captions_cut, notes.captions_not_utf8), (0, 0));
        assert_eq!(notes.caption(Some(b"caf\xe9")).as_deref(), Some("caf\u{fffd}"));
        assert_eq!(notes.captions_not_utf8, 1);
        let odd = format!("x{whole}");
        let cut = notes.caption(Some(odd.as_bytes())).unwrap_or_default();
        assert_eq!((cut.len(), notes.captions_cut), (MAX_CAPTION_BYTES - 1, 1));
        assert!(odd.starts_with(&cut));
        assert_eq!(notes.caption(Some(&vec![0x80; 70_000])).map(|caption| caption.len()), Some(MAX_CAPTION_BYTES - 1));
    }
}
