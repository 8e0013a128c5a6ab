//! Where images come from: a folder, lists of URLs, crawl archives, or Parquet files or tars that
//! hold the bytes.
//!
//! A source lists its rows in a fixed order. A row is known again by its location, its caption and
//! the version of the file it is in, wherever it stands in a later list. A source never fetches an
//! image. [`crate::fetch`] does that, from the rows alone.

mod archive;
mod beside;
mod columns;
pub(crate) mod files;
mod fingerprint;
mod folder;
mod json;
mod kinds;
mod lines;
pub(crate) mod location;
pub mod look;
pub(crate) mod parquet_file;
mod pattern;
mod rows;
mod separated;
pub(crate) mod table;
mod tar;
mod text;
mod urls;
mod walk;
mod whole;

use rayon::prelude::*;

use columns::Columns;
use lvd_base::error::Result;

pub use kinds::{Source, UrlFormat};
pub use rows::{InputRow, Notes};

/// The images of a source that nobody counted: more than ids can number, with 24 bits each for shard
/// and row.
pub const UNCOUNTED: u64 = 1 << 48;

const CLOSED: &str = "folders or files below may not be read, and are left out.";

/// Hears of a row; its error stops the listing.
type Each<'a> = dyn FnMut(InputRow) -> Result<()> + 'a;

impl Source {
    /// Streams the rows in their fixed order; an error of `each` stops the listing. Returns what a
    /// person should know of them.
    ///
    /// A folder's names are sorted by bytes, folder by folder. Names that start with `.` are
    /// skipped, symlinks are followed (a loop is not entered twice), and a dangling one is a row.
    ///
    /// # Errors
    /// A file or folder that cannot be read, a column that is not there, or whatever `each`
    /// returns.
    pub fn list(&self, each: &mut dyn FnMut(InputRow) -> Result<()>) -> Result<Notes> {
        self.list_versions(&mut |row, _| each(row))
    }

    /// The same, each row with the version of the file that holds the image: its size and its time
    /// of change. It is empty for a URL, behind which nobody can look.
    ///
    /// # Errors
    /// As above.
    pub fn list_versions(&self, each: &mut dyn FnMut(InputRow, &str) -> Result<()>) -> Result<Notes> {
        let mut notes = Notes::default();
        match self {
            Self::Folder { path, except, extensions, captions } => {
                let mut closed = Vec::new();
                let each = &mut |found: folder::Found| {
                    let caption = if *captions { beside::caption(found.path, &mut notes) } else { None };
                    each(InputRow::new(found.location.to_owned(), caption), &fingerprint::version(found.metadata))
                };
                folder::walk(path, except, extensions, each, &mut |path| closed.push(path.to_path_buf()))?;
                for path in closed {
                    notes.suspect(&path, 0, CLOSED);
                }
            }
            Self::Urls { format, url_column, caption_column, keep, headless, .. } => {
                let columns =
                    Columns { url: url_column, caption: caption_column.as_deref(), keep, headless: *headless };
                let lists = kinds::lists(self, *format)?;
                for (index, (path, format)) in lists.iter().enumerate() {
                    let read =
                        &mut |notes: &mut Notes, each: &mut Each| urls::list(path, *format, columns, notes, each);
                    whole::or_a_row(index, lists.len(), path, read, &mut notes, &mut |row| each(row, ""))?;
                }
            }
            Self::Archives { .. } => {
                for path in self.files()? {
                    archive::list(&path, &mut notes, &mut |row| each(row, ""))?;
                }
            }
            Self::Parquet { image_column, caption_column, keep, .. } => {
                let columns = Columns { url: image_column, caption: caption_column.as_deref(), keep, headless: false };
                let files = self.files()?;
                for (index, (number, path)) in files::numbered(&files).into_iter().enumerate() {
                    let version = fingerprint::version_of(path)?;
                    let read = &mut |notes: &mut Notes, each: &mut Each| {
                        table::list_images(path, number, columns, notes, each)
                    };
                    whole::or_a_row(index, files.len(), path, read, &mut notes, &mut |row| each(row, &version))?;
                }
            }
            Self::Tar { caption_key, keep, .. } => {
                let files = self.files()?;
                for (index, (number, path)) in files::numbered(&files).into_iter().enumerate() {
                    let version = fingerprint::version_of(path)?;
                    let read = &mut |notes: &mut Notes, each: &mut Each| {
                        tar::list(path, number, caption_key.as_deref(), keep, notes, each)
                    };
                    whole::or_a_row(index, files.len(), path, read, &mut notes, &mut |row| each(row, &version))?;
                }
            }
        }
        Ok(notes)
    }

    /// Looks at every file and returns the number of rows, without fetching anything: a tar's
    /// headers, a Parquet file's footer and first row, all lines of a list (of JSON lines the first
    /// thousand are parsed). Archives are read if they are small: the answer may be [`UNCOUNTED`].
    ///
    /// # Errors
    /// A file that is missing or not what its format says, a quote that is never closed, or a
    /// column that is missing or of a wrong type; the hint names the columns there are.
    pub fn check(&self) -> Result<u64> {
        match self {
            Self::Folder { path, except, extensions, .. } => {
                let mut rows = 0;
                let each = &mut |_: folder::Found| {
                    rows += 1;
                    Ok(())
                };
                folder::walk(path, except, extensions, each, &mut |_| {})?;
                Ok(rows)
            }
            Self::Urls { format, url_column, caption_column, keep, headless, .. } => {
                let columns =
                    Columns { url: url_column, caption: caption_column.as_deref(), keep, headless: *headless };
                let lists = kinds::lists(self, *format)?;
                whole::count(lists.iter().map(|(path, format)| urls::check(path, *format, columns)))
            }
            Self::Archives { .. } => archive::check(&self.files()?),
            Self::Parquet { image_column, caption_column, keep, .. } => {
                let columns = Columns { url: image_column, caption: caption_column.as_deref(), keep, headless: false };
                whole::count(self.files()?.iter().map(|path| table::check_images(path, columns)))
            }
            Self::Tar { .. } => {
                let counted: Vec<Result<u64>> = self.files()?.par_iter().map(|path| tar::check(path)).collect();
                whole::count(counted.into_iter())
            }
        }
    }

    /// A SHA-256 (hex) over the settings and over every file's name, size and time of change, in
    /// the order of the list: another fingerprint means that rows may have other places. Moving the
    /// whole source keeps it.
    ///
    /// # Errors
    /// A file or folder that cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        fingerprint::of(self)
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
