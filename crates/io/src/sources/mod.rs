//! Where images come from: a folder, lists of URLs, or Parquet files or tars that hold the bytes.
//!
//! A source lists its rows in a fixed order, so that a row's place in the list is its identity for good; it never
//! fetches an image. [`crate::fetch`] does that, from the rows alone.

mod columns;
mod files;
mod fingerprint;
mod folder;
mod json;
mod lines;
pub(crate) mod location;
mod rows;
mod separated;
pub(crate) mod table;
pub(crate) mod tar;
mod text;
mod urls;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use columns::Columns;
use lvd_base::error::{Error, Result};

pub(crate) use files::expand;
pub use rows::{InputRow, Notes};

/// The caption column that is taken when none is named.
const DEFAULT_CAPTION: &str = "caption";

/// One input data set.
///
/// An entry of `files` that is a folder stands for the files in it (not below) with a right extension, by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Every file below a folder is an image.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Files and folders of our own, which are left out wherever they lie below it: the work folder, the pipeline file.
        #[serde(default)]
        except: Vec<PathBuf>,
    },
    /// Lists of URLs.
    Urls {
        /// List files, or folders of them.
        files: Vec<PathBuf>,
        /// Their format; by extension where `None`.
        format: Option<UrlFormat>,
        /// The column or JSON key that holds the URL; of no meaning for text lists.
        url_column: String,
        /// The column or JSON key of the caption; `None` takes `caption` where there is one.
        caption_column: Option<String>,
    },
    /// Parquet files that hold the images' bytes.
    Parquet {
        /// Parquet files, or folders of them.
        files: Vec<PathBuf>,
        /// A binary column, or Hugging Face's `struct<bytes: binary, path: string>`.
        image_column: String,
        /// The column of the caption; `None` takes `caption` where there is one.
        caption_column: Option<String>,
    },
    /// Tars of images, as of `WebDataset`.
    Tar {
        /// Uncompressed tars, or folders of them.
        files: Vec<PathBuf>,
        /// The key of the caption in a sample's `.json`; `None` takes its `.txt`, or else `caption`.
        caption_key: Option<String>,
    },
}

/// The format of a list of URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UrlFormat {
    /// One URL a line; blank lines and lines that start with `#` are skipped.
    Txt,
    /// Comma-separated with a header line; fields may be quoted.
    Csv,
    /// Tab-separated with a header line; fields may be quoted, as pandas, `DuckDB` and pyarrow write them.
    Tsv,
    /// Tab-separated with a header line; a quote is an ordinary character.
    #[serde(rename = "tsv_unquoted")]
    TsvUnquoted,
    /// One JSON object a line.
    Jsonl,
    /// A Parquet table.
    Parquet,
}

impl UrlFormat {
    /// The extensions of a format; those of all where it is open.
    pub(crate) fn extensions(format: Option<Self>) -> &'static [&'static str] {
        match format {
            None => &["txt", "csv", "tsv", "jsonl", "ndjson", "parquet"],
            Some(Self::Txt) => &["txt"],
            Some(Self::Csv) => &["csv"],
            Some(Self::Tsv | Self::TsvUnquoted) => &["tsv"],
            Some(Self::Jsonl) => &["jsonl", "ndjson"],
            Some(Self::Parquet) => &["parquet"],
        }
    }

    /// The format that a file's extension tells.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "txt" => Some(Self::Txt),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

impl Source {
    /// Streams the rows in their fixed order; an error of `each` stops the listing. Returns what a person should know of them.
    ///
    /// A folder's names are sorted by bytes, folder by folder. Names that start with `.` are skipped, symlinks are
    /// followed (a loop is not entered twice), and a dangling one is a row.
    ///
    /// # Errors
    /// A file or folder that cannot be read, a column that is not there, or whatever `each` returns.
    pub fn list(&self, each: &mut dyn FnMut(InputRow) -> Result<()>) -> Result<Notes> {
        let mut notes = Notes::default();
        match self {
            Self::Folder { path, except } => folder::walk(path, except, &mut |found| {
                each(InputRow { location: found.location.to_owned(), caption: None })
            })?,
            Self::Urls { url_column, caption_column, .. } => {
                let columns = Columns { url: url_column, caption: caption_column.as_deref() };
                for (path, format) in self.files()? {
                    urls::list(&path, format, columns, &mut notes, each)?;
                }
            }
            Self::Parquet { image_column, caption_column, .. } => {
                for (index, (path, _)) in self.files()?.iter().enumerate() {
                    table::list_images(path, index, image_column, caption_column.as_deref(), &mut notes, each)?;
                }
            }
            Self::Tar { files, caption_key } => {
                for (index, path) in expand(files, tar::EXTENSIONS)?.iter().enumerate() {
                    tar::list(path, index, caption_key.as_deref(), &mut notes, each)?;
                }
            }
        }
        Ok(notes)
    }

    /// Looks at every file and returns the number of rows, without fetching anything: a tar's headers, a Parquet file's footer and first
    /// row, all lines of a list (of JSON lines the first thousand are parsed).
    ///
    /// # Errors
    /// A file that is missing or not what its format says, a quote that is never closed, or a column that is missing or of a wrong type;
    /// the hint names the columns there are.
    pub fn check(&self) -> Result<u64> {
        match self {
            Self::Folder { path, except } => {
                let mut rows = 0;
                folder::walk(path, except, &mut |_| {
                    rows += 1;
                    Ok(())
                })?;
                Ok(rows)
            }
            Self::Urls { url_column, caption_column, .. } => {
                let columns = Columns { url: url_column, caption: caption_column.as_deref() };
                self.files()?.iter().map(|(path, format)| urls::check(path, *format, columns)).sum()
            }
            Self::Parquet { image_column, caption_column, .. } => self
                .files()?
                .iter()
                .map(|(path, _)| table::check_images(path, image_column, caption_column.as_deref()))
                .sum(),
            Self::Tar { files, .. } => expand(files, tar::EXTENSIONS)?.par_iter().map(|path| tar::check(path)).sum(),
        }
    }

    /// A SHA-256 (hex) over the settings and over every file's name, size and time of change, in the order of the
    /// list: another fingerprint means that rows may have other places. Moving the whole source keeps it.
    ///
    /// # Errors
    /// A file or folder that cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        fingerprint::of(self)
    }

    /// The column of captions that the user names.
    #[must_use]
    pub fn caption_column(&self) -> Option<&str> {
        match self {
            Self::Folder { .. } => None,
            Self::Urls { caption_column, .. } | Self::Parquet { caption_column, .. } => caption_column.as_deref(),
            Self::Tar { caption_key, .. } => caption_key.as_deref(),
        }
    }

    /// The files and folders it names.
    pub fn paths(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Folder { path, except } => std::iter::once(path).chain(except).collect(),
            Self::Urls { files, .. } | Self::Parquet { files, .. } | Self::Tar { files, .. } => {
                files.iter_mut().collect()
            }
        }
    }

    /// The files of the source in their order, each with its format; none for a folder and for tars.
    fn files(&self) -> Result<Vec<(PathBuf, UrlFormat)>> {
        match self {
            Self::Folder { .. } | Self::Tar { .. } => Ok(Vec::new()),
            Self::Parquet { files, .. } => {
                let files = expand(files, UrlFormat::extensions(Some(UrlFormat::Parquet)))?;
                Ok(files.into_iter().map(|path| (path, UrlFormat::Parquet)).collect())
            }
            Self::Urls { files, format, .. } => expand(files, UrlFormat::extensions(*format))?
                .into_iter()
                .map(|path| match format.or_else(|| UrlFormat::of(&path)) {
                    Some(format) => Ok((path, format)),
                    None => Err(Error::usage(
                        format!("{}: the extension does not tell the format of this list of URLs", path.display()),
                        "set `format` to txt, csv, tsv, tsv_unquoted, jsonl or parquet",
                    )),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
