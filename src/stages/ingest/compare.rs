//! What a source lists now against what was fetched of it before, row by row.
//!
//! A row is known again by its location, what is said of it and the version of its file; rows that are
//! alike, by their number. While both lists run alike, nothing is kept. From the first difference
//! on, 24 bytes a row are sorted, on the disk where there are many.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::stages::ingest::list::Listed;
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_io::digest::sha256_of_texts;
use lvd_io::sorter::{Sorted, Sorter};
use lvd_io::sources::InputRow;

/// Records that a sorter holds: 24 MB of rows.
const HELD: usize = 1 << 20;
/// Bytes of a row's digest: no two rows of any list have the same by accident.
const DIGEST: usize = 16;
/// Bytes of a digest and the number of the row.
const RECORD: usize = DIGEST + 8;

/// What is known of a row as soon as it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was fetched before.
    Before,
    /// It was not.
    New,
    /// That is known when all rows were seen: it is the row of this number among those of which
    /// this is said.
    Later(u64),
}

/// What changed.
pub struct Changes {
    /// Rows that were fetched before and are still there.
    pub before: u64,
    /// The ids of those that are not there any more, ascending.
    pub gone: Sorted<8>,
    /// The numbers of the new ones among those of which it was known later, ascending.
    pub new: Sorted<8>,
}

/// A comparison under way.
pub struct Comparison<'a> {
    former: Rows<'a>,
    aside: PathBuf,
    before: u64,
    apart: Option<Apart>,
}

/// The rows from the first difference on.
struct Apart {
    former: Sorter<RECORD>,
    now: Sorter<RECORD>,
    rows: u64,
}

impl<'a> Comparison<'a> {
    /// A comparison with the rows of `former`, in their order; `aside` is where files may go.
    pub fn new(former: &'a Table, aside: PathBuf) -> Self {
        Self {
            former: Rows { parts: former.parts.iter(), batch: Vec::new().into_iter() },
            aside,
            before: 0,
            apart: None,
        }
    }

    /// Takes the next row of the source.
    pub fn see(&mut self, row: &InputRow, version: &str, task: &Task) -> Result<Seen> {
        if self.apart.is_none() {
            match self.former.next(task)? {
                None => return Ok(Seen::New),
                Some(former) if is_same(&former, row, version) => {
                    self.before += 1;
                    return Ok(Seen::Before);
                }
                Some(former) => {
                    let mut apart = Apart {
                        former: Sorter::new(named(&self.aside, "former"), HELD),
                        now: Sorter::new(named(&self.aside, "now"), HELD),
                        rows: 0,
                    };
                    apart.former.push(record_of(&former))?;
                    self.apart = Some(apart);
                }
            }
        }
        let Some(Apart { now, rows, .. }) = &mut self.apart else { return Ok(Seen::New) };
        now.push(record(&row.location, [&row.caption, &row.extra], version, *rows))?;
        *rows += 1;
        Ok(Seen::Later(*rows - 1))
    }

    /// What changed, now that all rows were seen.
    pub fn finish(mut self, task: &Task) -> Result<Changes> {
        let mut gone = Sorter::new(named(&self.aside, "gone"), HELD);
        let mut new = Sorter::new(named(&self.aside, "new"), HELD);
        let Some(mut apart) = self.apart else {
            while let Some(row) = self.former.next(task)? {
                gone.push(row.id.0.to_be_bytes())?;
            }
            return Ok(Changes { before: self.before, gone: gone.finish()?, new: new.finish()? });
        };
        while let Some(row) = self.former.next(task)? {
            apart.former.push(record_of(&row))?;
        }
        let (mut formers, mut nows) = (apart.former.finish()?, apart.now.finish()?);
        let (mut former, mut now) = (formers.next().transpose()?, nows.next().transpose()?);
        loop {
            let order = match (&former, &now) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(former), Some(now)) => former[..DIGEST].cmp(&now[..DIGEST]),
            };
            match (order, former, now) {
                (Ordering::Less, Some(row), _) => gone.push(number(&row))?,
                (Ordering::Greater, _, Some(row)) => new.push(number(&row))?,
                _ => self.before += 1,
            }
            if order.is_le() {
                former = formers.next().transpose()?;
            }
            if order.is_ge() {
                now = nows.next().transpose()?;
            }
        }
        Ok(Changes { before: self.before, gone: gone.finish()?, new: new.finish()? })
    }
}

/// The rows of parts that were listed, one after the other.
struct Rows<'a> {
    parts: std::slice::Iter<'a, Part>,
    batch: std::vec::IntoIter<Listed>,
}

impl Rows<'_> {
    fn next(&mut self, task: &Task) -> Result<Option<Listed>> {
        loop {
            if let Some(row) = self.batch.next() {
                return Ok(Some(row));
            }
            let Some(part) = self.parts.next() else { return Ok(None) };
            self.batch = task.read_all::<Listed>(part)?.into_iter();
        }
    }
}

fn is_same(former: &Listed, row: &InputRow, version: &str) -> bool {
    let is_said = former.caption == row.caption && former.extra == row.extra;
    former.location == row.location && former.version == version && is_said
}

fn record_of(row: &Listed) -> [u8; RECORD] {
    record(&row.location, [&row.caption, &row.extra], &row.version, row.id.0)
}

/// The digest of a row and its number.
fn record(location: &str, said: [&Option<String>; 2], version: &str, number: u64) -> [u8; RECORD] {
    let has = said.map(|text| if text.is_some() { "1" } else { "0" });
    let said = said.map(|text| text.as_deref().unwrap_or_default());
    let texts = [location, version, has[0], said[0], has[1], said[1]];
    let mut record = [0; RECORD];
    record[..DIGEST].copy_from_slice(&sha256_of_texts(&texts)[..DIGEST]);
    record[DIGEST..].copy_from_slice(&number.to_be_bytes());
    record
}

fn number(record: &[u8; RECORD]) -> [u8; 8] {
    std::array::from_fn(|at| record[DIGEST + at])
}

fn named(aside: &Path, name: &str) -> PathBuf {
    let mut path = aside.as_os_str().to_owned();
    path.push(format!("-{name}"));
    PathBuf::from(path)
}
