//! Where images come from: a folder, lists of URLs, or Parquet files or tars that hold the bytes.
//!
//! A source lists its rows in a fixed order. A row is known again by its location, its caption and
//! the version of the file it is in, wherever it stands in a later list. A source never fetches an
//! image. [`crate::fetch`] does that, from the rows alone.

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

use rayon::prelude::*;

use columns::Columns;
use lvd_base::error::Result;

pub use kinds::{Source, UrlFormat};
pub use rows::{InputRow, Notes};

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
                folder::walk(path, except, extensions, &mut |found| {
                    let caption = if *captions { beside::caption(found.path, &mut notes) } else { None };
                    let row = InputRow { location: found.location.to_owned(), caption };
                    each(row, &fingerprint::version(found.metadata))
                })?;
            }
            Self::Urls { format, url_column, caption_column, .. } => {
                let columns = Columns { url: url_column, caption: caption_column.as_deref() };
                for (path, format) in kinds::lists(self, *format)? {
                    urls::list(&path, format, columns, &mut notes, &mut |row| each(row, ""))?;
                }
            }
            Self::Parquet { image_column, caption_column, .. } => {
                for (number, path) in files::numbered(&self.files()?) {
                    let version = fingerprint::version_of(path)?;
                    let each = &mut |row| each(row, &version);
                    table::list_images(path, number, image_column, caption_column.as_deref(), &mut notes, each)?;
                }
            }
            Self::Tar { caption_key, .. } => {
                for (number, path) in files::numbered(&self.files()?) {
                    let version = fingerprint::version_of(path)?;
                    tar::list(path, number, caption_key.as_deref(), &mut notes, &mut |row| each(row, &version))?;
                }
            }
        }
        Ok(notes)
    }

    /// Looks at every file and returns the number of rows, without fetching anything: a tar's
    /// headers, a Parquet file's footer and first row, all lines of a list (of JSON lines the first
    /// thousand are parsed).
    ///
    /// # Errors
    /// A file that is missing or not what its format says, a quote that is never closed, or a
    /// column that is missing or of a wrong type; the hint names the columns there are.
    pub fn check(&self) -> Result<u64> {
        match self {
            Self::Folder { path, except, extensions, .. } => {
                let mut rows = 0;
                folder::walk(path, except, extensions, &mut |_| {
                    rows += 1;
                    Ok(())
                })?;
                Ok(rows)
            }
            Self::Urls { format, url_column, caption_column, .. } => {
                let columns = Columns { url: url_column, caption: caption_column.as_deref() };
                kinds::lists(self, *format)?.iter().map(|(path, format)| urls::check(path, *format, columns)).sum()
            }
            Self::Parquet { image_column, caption_column, .. } => self
                .files()?
                .iter()
                .map(|path| table::check_images(path, image_column, caption_column.as_deref()))
                .sum(),
            Self::Tar { .. } => self.files()?.par_iter().map(|path| tar::check(path)).sum(),
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
