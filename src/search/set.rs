//! A set of images as a person has it: a folder, tars, Parquet files or lists of URLs, read by the
//! code of the sources.

use std::path::Path;

use super::pictures::Arrived;
use crate::init::{self, LeftOut};
use crate::pipeline::check;
use lvd_base::error::{Error, Fault, Result};
use lvd_base::types::Dropped;
use lvd_io::fetch::Fetcher;
use lvd_io::secret;
use lvd_io::sources::{InputRow, Source};

/// Rows that are listed before they are fetched.
const LISTED: usize = 4096;
/// Files that are looked at together: enough to keep every core busy.
const BATCH_FILES: usize = 256;
/// Bytes that are looked at together, at most one file more.
const BATCH_BYTES: usize = 64 << 20;

/// The images of a place.
pub struct Set {
    sources: Vec<Source>,
    /// Its images; of lists, their rows.
    pub images: u64,
    /// What is in no source.
    pub left_out: Vec<LeftOut>,
}

impl Set {
    /// Looks at a place and counts its images.
    pub fn open(place: &Path) -> Result<Self> {
        let (found, left_out) = init::look(place)?;
        let mut set = Self { sources: Vec::new(), images: 0, left_out };
        // Lists of URLs beside images are of these images, as a rule.
        for source in found.into_iter().filter(|source| !source.commented_out) {
            let images =
                check::source(&source.settings).map_err(|Fault { fact, cure, .. }| Error::usage(fact, cure))?;
            set.sources.push(images);
            set.images += source.images;
        }
        Ok(set)
    }

    /// Calls `each` with the files of all images, some at a time, in the order of the sources.
    pub fn for_each(&self, fetcher: &Fetcher, each: &mut dyn FnMut(Vec<Arrived>) -> Result<()>) -> Result<()> {
        let mut batch = Batch { files: Vec::new(), bytes: 0, each };
        for source in &self.sources {
            let mut rows = Vec::new();
            source.list(&mut |row| {
                rows.push(row);
                if rows.len() < LISTED { Ok(()) } else { batch.fetch(fetcher, source, &std::mem::take(&mut rows)) }
            })?;
            batch.fetch(fetcher, source, &rows)?;
        }
        batch.flush()
    }
}

/// Files that wait to be looked at.
struct Batch<'a> {
    files: Vec<Arrived>,
    bytes: usize,
    each: &'a mut dyn FnMut(Vec<Arrived>) -> Result<()>,
}

impl Batch<'_> {
    fn fetch(&mut self, fetcher: &Fetcher, source: &Source, rows: &[InputRow]) -> Result<()> {
        fetcher.fetch_all(source, rows, &mut |row, answer| {
            self.push(place(source, &rows[row].location), answer.map(|fetched| fetched.bytes))
        })
    }

    fn push(&mut self, place: String, file: std::result::Result<Vec<u8>, Dropped>) -> Result<()> {
        self.bytes += file.as_ref().map_or(0, Vec::len);
        self.files.push((place, file));
        if self.files.len() < BATCH_FILES && self.bytes < BATCH_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        if self.files.is_empty() { Ok(()) } else { (self.each)(std::mem::take(&mut self.files)) }
    }
}

/// Where an image lies, as a person would open it; of URLs without their secrets.
fn place(source: &Source, location: &str) -> String {
    match source {
        Source::Folder { path, .. } => path.join(location).to_string_lossy().into_owned(),
        Source::Urls { .. } | Source::Archives { .. } => secret::redacted(location),
        Source::Tar { .. } | Source::Parquet { .. } => location.to_owned(),
    }
}
