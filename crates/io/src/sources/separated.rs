//! CSV and TSV, record by record, as pandas, `DuckDB` and pyarrow write them: a field may be
//! quoted, a quote in it is doubled.
//!
//! Read by a parser of our own, since a stray quote swallows the lines up to the next one, or to
//! the end of the file, and has to be found. Like those three it is lenient with quotes that do not
//! begin a field, with line ends (LF, CR LF, CR) and with records of fewer or more fields than the
//! header.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::columns::Columns;
use super::lines::MAX_LINE_BYTES;
use super::rows::{Cells, InputRow, Notes, extra};
use super::{Each, text};
use lvd_base::error::{Error, Result};

/// How fields are told apart.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Whether a quote at the beginning of a field quotes it.
    pub(super) quotes: bool,
}

/// Rows in one field beyond which it is no caption, but a quote that was never closed.
const ROWS_IN_A_FIELD: usize = 3;

/// Streams the rows of one file.
pub(super) fn list(path: &Path, dialect: Dialect, columns: Columns, notes: &mut Notes, each: &mut Each) -> Result<()> {
    let mut records = Records { input: text::open(path)?, path: path.into(), dialect, line: 1, after_cr: false };
    let mut record = Record::default();
    let has_first = records.next(&mut record)?;
    let header = if columns.headless { numbers(&record) } else { header(&record) };
    if !has_first && columns.headless {
        return Ok(());
    }
    let (url, caption) = (columns.url_in(path, &header)?, columns.caption_in(path, &header)?);
    let kept = columns.kept_in(path, &header)?;
    let mut is_row = columns.headless;
    while std::mem::take(&mut is_row) || records.next(&mut record)? {
        if record.cut {
            each(InputRow::unusable("line", record.line, "longer than 16 MiB"))?;
            continue;
        }
        if look_for_rows(&record, &records, url, header.len())? {
            notes.suspect(path, record.line, "quoted fields hold lines that look like rows: is a quote left open?");
        }
        if record.fields().skip(header.len()).any(|field| !field.trim_ascii().is_empty()) {
            let what = "rows have more fields than the header: is a field that holds the delimiter not quoted?";
            notes.suspect(path, record.line, what);
        }
        let caption = caption.and_then(|place| record.field(place)).filter(|caption| !caption.is_empty());
        let extra = extra(kept.iter().map(|&(name, place)| {
            let text = record.field(place).filter(|text| !text.is_empty());
            (name, text.map_or(Value::Null, |text| notes.kept(text)))
        }));
        let cells = Cells { url: record.field(url), caption, extra };
        InputRow::each_of_list("line", record.line, &cells, notes, each)?;
    }
    Ok(())
}

/// The names in the header, and the fields of the first row.
pub(super) fn first(path: &Path, dialect: Dialect) -> Result<(Vec<String>, Vec<Vec<u8>>)> {
    let mut records = Records { input: text::open(path)?, path: path.into(), dialect, line: 1, after_cr: false };
    let mut record = Record::default();
    records.next(&mut record)?;
    let header = header(&record);
    records.next(&mut record)?;
    Ok((header, record.fields().map(<[u8]>::to_vec).collect()))
}

/// The columns by their numbers.
fn numbers(record: &Record) -> Vec<String> {
    (1..=record.fields().count()).map(|number| number.to_string()).collect()
}

/// The names of the columns.
fn header(record: &Record) -> Vec<String> {
    record.fields().map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()).collect()
}

/// Whether quoted fields hold rows of their own; an error where there is no doubt that they do.
fn look_for_rows(record: &Record, records: &Records, url: usize, columns: usize) -> Result<bool> {
    let delimiter = records.dialect.delimiter;
    let fields = record.fields().enumerate();
    let rows = fields.map(|(place, field)| rows_in(field, delimiter, place, url, columns)).max().unwrap_or(0);
    match record.opened {
        Some(line) if rows > ROWS_IN_A_FIELD => Err(records.open_quote(line, &format!("holds {rows} more rows"))),
        Some(line) if record.torn && (rows > 0 || record.ends.len() != columns) => {
            Err(records.open_quote(line, "is closed lines later, in the middle of a field"))
        }
        _ => Ok(rows > 0),
    }
}

/// How many URLs a field at `place` holds where a row would have its own, had the quote before the
/// field not been there: the field's first line ends the row that it begins in, its last line
/// begins another, and those between are rows.
fn rows_in(field: &[u8], delimiter: u8, place: usize, url: usize, columns: usize) -> usize {
    let lines: Vec<&[u8]> = field.split(|&byte| byte == b'\n' || byte == b'\r').collect();
    let last = lines.len() - 1;
    let has_url = |(number, line): &(usize, &&[u8])| {
        // The columns that the line has of its row.
        let (from, to) = match *number {
            0 => (place, columns),
            number if number == last => (0, place + 1),
            _ => (0, columns),
        };
        let mut fields = line.split(|&byte| byte == delimiter);
        let is_url = |field: &[u8]| [&b"http://"[..], b"https://"].iter().any(|scheme| field.starts_with(scheme));
        fields.clone().count() == to.saturating_sub(from)
            && (*number > 0 || url > place)
            && url.checked_sub(from).and_then(|nth| fields.nth(nth)).is_some_and(is_url)
    };
    if last == 0 { 0 } else { lines.iter().enumerate().filter(has_url).count() }
}

/// A record: its fields one behind the other.
#[derive(Default)]
struct Record {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// The line on which it begins.
    line: u64,
    /// Whether it was too long to be kept.
    cut: bool,
    /// The line of the first quote whose field runs over lines.
    opened: Option<u64>,
    /// Whether text follows where such a field is closed.
    torn: bool,
}

impl Record {
    fn field(&self, place: usize) -> Option<&[u8]> {
        let start = if place == 0 { 0 } else { *self.ends.get(place - 1)? };
        self.bytes.get(start..*self.ends.get(place)?)
    }

    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|place| self.field(place))
    }

    fn clear(&mut self) {
        let (mut bytes, mut ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
        bytes.clear();
        ends.clear();
        *self = Self { bytes, ends, ..Self::default() };
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > MAX_LINE_BYTES {
            self.cut = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn end_field(&mut self) {
        if self.ends.len() < MAX_LINE_BYTES / 16 {
            self.ends.push(self.bytes.len());
        } else {
            self.cut = true;
        }
    }

    /// Whether nothing has been read of it: a blank line.
    fn is_blank(&self) -> bool {
        self.ends.is_empty() && self.bytes.is_empty()
    }
}

/// Where the parser stands.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Before a field.
    Start,
    /// In a field, outside of quotes.
    Plain,
    /// In quotes that were opened on this line.
    Quoted(u64),
    /// Behind a quote in them: it closes the field, or is the first of two.
    Quote(u64),
}

/// The records of a file.
struct Records {
    input: Box<dyn BufRead>,
    path: PathBuf,
    dialect: Dialect,
    /// The line that is being read.
    line: u64,
    /// Whether a CR came last, and a LF would be of the same line end.
    after_cr: bool,
}

impl Records {
    /// Reads the next record; `false` at the end. Blank lines are none.
    fn next(&mut self, record: &mut Record) -> Result<bool> {
        record.clear();
        record.line = self.line;
        let mut at = At::Start;
        loop {
            let block = self.input.fill_buf().map_err(Error::io(&self.path))?;
            if block.is_empty() {
                return self.end(record, at);
            }
            let (read, ended) = step(block, &mut at, &mut self.line, &mut self.after_cr, self.dialect, record);
            self.input.consume(read);
            if let (At::Quoted(line), true) = (at, record.cut && record.opened.is_some()) {
                return Err(self.open_quote(line, "is not closed within 16 MiB"));
            }
            if ended && at == At::Start && record.is_blank() {
                record.line = self.line;
            } else if ended {
                record.end_field();
                return Ok(true);
            }
        }
    }

    /// The end of the file, which may end the last record.
    fn end(&self, record: &mut Record, at: At) -> Result<bool> {
        match at {
            At::Quoted(line) => Err(self.open_quote(line, "is never closed")),
            At::Start if record.is_blank() => Ok(false),
            _ => {
                record.end_field();
                Ok(true)
            }
        }
    }

    fn open_quote(&self, line: u64, fact: &str) -> Error {
        let unquoted = match self.dialect.delimiter {
            b'\t' => "; where quotes are ordinary characters, set `format = \"tsv_unquoted\"`",
            _ => "",
        };
        Error::usage(
            format!("{}:{line}: the quote that opens a field on this line {fact}", self.path.display()),
            format!("close it, remove it, or quote the whole field and double the quotes in it{unquoted}"),
        )
    }
}

/// Reads on in a block; returns how many bytes were read, and whether a line end outside of quotes
/// was.
fn step(
    block: &[u8],
    at: &mut At,
    line: &mut u64,
    after_cr: &mut bool,
    dialect: Dialect,
    record: &mut Record,
) -> (usize, bool) {
    let mut place = 0;
    while let Some(&byte) = block.get(place) {
        let is_second_half = std::mem::take(after_cr) && byte == b'\n';
        let line_end = matches!(byte, b'\n' | b'\r');
        match *at {
            At::Quoted(_) if is_second_half => record.push(b"\n"),
            _ if is_second_half => {}
            At::Quoted(opened) => {
                let plain = run(&block[place..], |byte| !matches!(byte, b'"' | b'\n' | b'\r'));
                record.push(&block[place..place + plain]);
                place += plain;
                let Some(&byte) = block.get(place) else { break };
                if byte == b'"' {
                    *at = At::Quote(opened);
                } else {
                    record.push(&[byte]);
                    record.opened.get_or_insert(opened);
                    *line += 1;
                    *after_cr = byte == b'\r';
                }
            }
            _ if line_end => {
                *line += 1;
                *after_cr = byte == b'\r';
                return (place + 1, true);
            }
            _ if byte == dialect.delimiter => {
                record.end_field();
                *at = At::Start;
            }
            At::Start if byte == b'"' && dialect.quotes => *at = At::Quoted(*line),
            At::Quote(opened) if byte == b'"' => {
                record.push(b"\"");
                *at = At::Quoted(opened);
            }
            other => {
                record.torn |= matches!(other, At::Quote(opened) if opened < *line);
                let plain = run(&block[place..], |byte| byte != dialect.delimiter && byte != b'\n' && byte != b'\r');
                record.push(&block[place..place + plain]);
                place += plain;
                *at = At::Plain;
                continue;
            }
        }
        place += 1;
    }
    (place, false)
}

/// How many bytes at the beginning are such.
fn run(bytes: &[u8], such: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !such(byte)).unwrap_or(bytes.len())
}
