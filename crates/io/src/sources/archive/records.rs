//! Records of an archive: WARC 0.17 to 1.1, and ARC 1 and 2, which came before it.
//!
//! Read by a reader of our own. The crate `warc` reads whole archives of WARC only, and stops at
//! the first record that is none; crawls of many years hold archives that were cut off, put
//! together or written wrongly. Such a place is counted, and reading goes on at the next line that
//! begins a record.

use std::path::Path;

use super::input::{CUT_OFF, Input, Stop};
use crate::sources::rows::Notes;
use lvd_base::error::Result;

/// The longest body that is kept, in bytes. Common Crawl keeps the first 5 MiB of a page.
pub(super) const MAX_BODY: usize = 16 << 20;
/// The longest line of a head, in bytes, and the most lines.
const MAX_LINE: usize = 64 << 10;
const MAX_LINES: usize = 1000;
/// The most bytes of a body by which is decided whether it is wanted.
const FIRST: usize = 32 << 10;

const NO_RECORD: &str = "places in archives begin no record: what follows there is skipped up to the next one.";
const NO_LENGTH: &str = "records do not say how long they are, and are skipped.";
const TOO_SHORT: &str = "records are shorter than they say.";
const TOO_LONG: &str = "pages are longer than 16 MiB, and read up to there.";

/// The head of a record or of an answer: names in lower case, and values.
#[derive(Default)]
pub(super) struct Head(Vec<(String, String)>);

impl Head {
    /// Adds a line `Name: value`; a line that begins with a blank goes on with the one before.
    pub(super) fn add(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if let (true, Some((_, value))) = (line.starts_with([' ', '\t']), self.0.last_mut()) {
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            self.0.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The value of a name; of several, the last.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A record whose body is wanted.
pub(super) struct Record {
    pub(super) head: Head,
    /// The body, as far as it is there and is kept.
    pub(super) body: Vec<u8>,
    /// Where it is in the file.
    pub(super) place: u64,
}

/// The archive's kind, by its first line.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Unknown,
    Warc,
    /// With so many fields behind the URL.
    Arc(usize),
}

/// The records of an archive, one after the other.
pub(super) struct Records<'a> {
    input: Input,
    path: &'a Path,
    kind: Kind,
    /// Whether the reader looks for a record, and that was counted.
    lost: bool,
    /// How many records there were.
    pub(super) seen: u64,
}

impl<'a> Records<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        Ok(Self { input: Input::open(path)?, path, kind: Kind::Unknown, lost: false, seen: 0 })
    }

    /// The next record that `wants` takes by its head and the first bytes of its body.
    pub(super) fn next(&mut self, wants: &mut Wants, notes: &mut Notes) -> Result<Option<Record>> {
        loop {
            match self.try_next(wants, notes) {
                Ok(Next::Wanted(record)) => return Ok(Some(record)),
                Ok(Next::Other) => {}
                Ok(Next::End) => return Ok(None),
                Err(Stop::Fault(error)) => return Err(error),
                Err(Stop::Damage(what)) => notes.suspect(self.path, self.input.place(), what),
            }
        }
    }

    fn try_next(&mut self, wants: &mut Wants, notes: &mut Notes) -> Reading<Next> {
        let place = self.input.place();
        let Some(line) = self.line()? else { return Ok(Next::End) };
        if line.trim_ascii().is_empty() {
            return Ok(Next::Other);
        }
        let (head, length) = if line.starts_with(b"WARC/") {
            self.kind = if self.kind == Kind::Unknown { Kind::Warc } else { self.kind };
            let head = self.head()?;
            let length = head.get("content-length").and_then(|length| length.parse().ok());
            (head, length)
        } else if let Some(found) = self.arc_head(&line) {
            found
        } else {
            if !std::mem::replace(&mut self.lost, true) {
                notes.suspect(self.path, place, NO_RECORD);
            }
            return Ok(Next::Other);
        };
        (self.lost, self.seen) = (false, self.seen + 1);
        let Some(length) = length else {
            // Whatever its body is, it begins no record.
            self.lost = true;
            notes.suspect(self.path, place, NO_LENGTH);
            return Ok(Next::Other);
        };
        let body = self.body(&head, length, wants, place, notes)?;
        Ok(body.map_or(Next::Other, |body| Next::Wanted(Record { head, body, place })))
    }

    /// Reads a body, as far as it is there, or passes over it where it is not wanted.
    fn body(
        &mut self,
        head: &Head,
        length: u64,
        wants: &mut Wants,
        place: u64,
        notes: &mut Notes,
    ) -> Reading<Option<Vec<u8>>> {
        let (mut body, mut read, mut wanted) = (Vec::new(), 0, None);
        let fault = loop {
            if wanted.is_none() && (body.len() >= FIRST || read == length) {
                wanted = Some(wants(head, &body));
            }
            if read == length {
                break (length > MAX_BODY as u64).then_some(TOO_LONG);
            }
            match self.input.more() {
                Ok(true) => {}
                Ok(false) => break Some(CUT_OFF),
                Err(Stop::Damage(what)) => break Some(what),
                Err(fault) => return Err(fault),
            }
            let block = self.input.block();
            // Records are compressed one by one, so the next one has begun.
            if self.input.at_start() && read > 0 && block.starts_with(b"WARC/") {
                break Some(TOO_SHORT);
            }
            let taken = block.len().min(usize::try_from(length - read).unwrap_or(usize::MAX));
            if wanted != Some(false) {
                body.extend_from_slice(&block[..taken.min(MAX_BODY - body.len())]);
            }
            self.input.take(taken);
            read += taken as u64;
        };
        let wanted = wanted.unwrap_or_else(|| wants(head, &body));
        if let Some(fault) = fault.filter(|fault| wanted || *fault != TOO_LONG) {
            notes.suspect(self.path, place, fault);
        }
        Ok(wanted.then_some(body))
    }

    /// The next line, without its end and of bounded length; `None` at the end.
    fn line(&mut self) -> Reading<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            // A line ends with the file, and before a member that begins a record.
            let more = self.input.more()?;
            let block = self.input.block();
            let ends = !more || self.input.at_start() && !line.is_empty() && block.starts_with(b"WARC/");
            if ends {
                return Ok((!line.is_empty()).then_some(line));
            }
            let end = block.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(block.len(), |end| end + 1);
            let kept = end.unwrap_or(block.len()).min(MAX_LINE - line.len());
            line.extend_from_slice(&block[..kept]);
            self.input.take(taken);
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }

    /// The lines of a head, up to an empty one.
    fn head(&mut self) -> Reading<Head> {
        let mut head = Head::default();
        for _ in 0..MAX_LINES {
            match self.line()? {
                Some(line) if !line.trim_ascii().is_empty() => head.add(line.trim_ascii_end()),
                _ => break,
            }
        }
        Ok(head)
    }

    /// The head of a record of ARC, and how long its body is: its line has the URL, which may hold
    /// blanks, an address, a time, a kind of file and, at last, the length.
    fn arc_head(&mut self, line: &[u8]) -> Option<(Head, Option<u64>)> {
        if self.kind == Kind::Unknown && line.starts_with(b"filedesc:") {
            let fields = line.split(|&byte| byte == b' ').count();
            self.kind = Kind::Arc(if fields >= 10 { 9 } else { 4 });
        }
        let Kind::Arc(fields) = self.kind else { return None };
        let line = String::from_utf8_lossy(line);
        let mut found: Vec<&str> = line.trim_end().rsplitn(fields + 1, ' ').collect();
        let url = found.pop().filter(|url| url.contains(':') && found.len() == fields)?;
        found.reverse();
        let is_time = found[1].len() >= 8 && found[1].bytes().all(|byte| byte.is_ascii_digit());
        if !is_time {
            return None;
        }
        let mut head = Head::default();
        let kind = if url.starts_with("http:") || url.starts_with("https:") { "response" } else { "other" };
        let of_record = [("warc-type", kind), ("warc-target-uri", url), ("content-type", "application/http")];
        head.0.extend(of_record.map(|(name, value)| (name.to_owned(), value.to_owned())));
        Some((head, found[fields - 1].parse().ok()))
    }
}

/// Says of a record, by its head and the first bytes of its body, whether it is wanted.
pub(super) type Wants<'a> = dyn FnMut(&Head, &[u8]) -> bool + 'a;

enum Next {
    Wanted(Record),
    Other,
    End,
}

type Reading<T> = std::result::Result<T, Stop>;
