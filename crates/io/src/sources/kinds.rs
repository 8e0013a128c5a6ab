//! The kinds of sources, and the files that each stands for.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::archive;
use super::files::expand;
use lvd_base::error::{Error, Result};

/// One input data set.
///
/// An entry of `files` is a file, a folder, which stands for the files in it (not below) with a
/// right extension, or a pattern with `*`, `**`, `?`, `[a-z]`, `{a,b}` or `{000..099}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Every file below a folder is an image, or those with some extensions.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Files and folders of our own, which are left out wherever they lie below it: the work
        /// folder, the pipeline file.
        #[serde(default)]
        except: Vec<PathBuf>,
        /// The extensions of the files that are images, in lower case and without the dot; the
        /// empty one is that of a name without a dot. None: every file is one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        extensions: Vec<String>,
        /// Whether captions are read from the files beside the images.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        captions: bool,
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
        /// Other columns or keys that are kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keep: Vec<String>,
        /// Whether the columns of a csv or tsv are numbered, since it has no line with their names.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        headless: bool,
    },
    /// Crawl archives, whose pages name images by their URLs.
    Archives {
        /// Archives, or folders of them.
        files: Vec<PathBuf>,
    },
    /// Parquet files that hold the images' bytes.
    Parquet {
        /// Parquet files, or folders of them.
        files: Vec<PathBuf>,
        /// A binary column, or Hugging Face's `struct<bytes: binary, path: string>`.
        image_column: String,
        /// The column of the caption; `None` takes `caption` where there is one.
        caption_column: Option<String>,
        /// Other columns that are kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keep: Vec<String>,
    },
    /// Tars of images, as of `WebDataset`.
    Tar {
        /// Uncompressed tars, or folders of them.
        files: Vec<PathBuf>,
        /// The key of the caption in a sample's `.json`; `None` takes its `.txt`, or else
        /// `caption`.
        caption_key: Option<String>,
        /// Other keys of the `.json` that are kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keep: Vec<String>,
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
    /// Tab-separated with a header line; fields may be quoted, as pandas, `DuckDB` and pyarrow
    /// write them.
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
    fn extensions(format: Option<Self>) -> &'static [&'static str] {
        match format {
            None => &[
                "txt",
                "txt.gz",
                "txt.zst",
                "csv",
                "csv.gz",
                "csv.zst",
                "tsv",
                "tsv.gz",
                "tsv.zst",
                "jsonl",
                "jsonl.gz",
                "jsonl.zst",
                "ndjson",
                "ndjson.gz",
                "ndjson.zst",
                "parquet",
            ],
            Some(Self::Txt) => &["txt", "txt.gz", "txt.zst"],
            Some(Self::Csv) => &["csv", "csv.gz", "csv.zst"],
            Some(Self::Tsv | Self::TsvUnquoted) => &["tsv", "tsv.gz", "tsv.zst"],
            Some(Self::Jsonl) => &["jsonl", "jsonl.gz", "jsonl.zst", "ndjson", "ndjson.gz", "ndjson.zst"],
            Some(Self::Parquet) => &["parquet"],
        }
    }

    /// The format that a file's extension tells; of `l.csv.gz`, the one before the last.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let packed = path.extension().is_some_and(|last| ["gz", "zst"].iter().any(|it| last.eq_ignore_ascii_case(it)));
        let stem = path.with_extension("");
        let format = Self::of_plain(if packed { &stem } else { path });
        format.filter(|format| !packed || *format != Self::Parquet)
    }

    fn of_plain(path: &Path) -> Option<Self> {
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
    /// The column of captions that the user names.
    #[must_use]
    pub fn caption_column(&self) -> Option<&str> {
        match self {
            Self::Folder { .. } | Self::Archives { .. } => None,
            Self::Urls { caption_column, .. } | Self::Parquet { caption_column, .. } => caption_column.as_deref(),
            Self::Tar { caption_key, .. } => caption_key.as_deref(),
        }
    }

    /// What the locations of its rows are read as: under another reading, they are other rows.
    #[must_use]
    pub fn reads(&self) -> String {
        match self {
            Self::Folder { .. } => "files of a folder".into(),
            Self::Urls { .. } => "URLs".into(),
            Self::Archives { .. } => "pages of archives".into(),
            Self::Parquet { image_column, .. } => format!("column {image_column:?} of Parquet files"),
            Self::Tar { .. } => "members of tars".into(),
        }
    }

    /// Whether its rows are URLs, which strangers wrote and a network answers.
    #[must_use]
    pub fn is_of_urls(&self) -> bool {
        matches!(self, Self::Urls { .. } | Self::Archives { .. })
    }

    /// The files and folders it names.
    pub fn paths(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Folder { path, except, .. } => std::iter::once(path).chain(except).collect(),
            Self::Urls { files, .. }
            | Self::Archives { files }
            | Self::Parquet { files, .. }
            | Self::Tar { files, .. } => files.iter_mut().collect(),
        }
    }

    /// The files that its entries stand for, in their order; none for a folder.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        match self {
            Self::Folder { .. } => Ok(Vec::new()),
            Self::Urls { files, format, .. } => expand(files, UrlFormat::extensions(*format)),
            Self::Archives { files } => expand(files, &archive::EXTENSIONS),
            Self::Parquet { files, .. } => expand(files, &["parquet"]),
            Self::Tar { files, .. } => expand(files, &["tar"]),
        }
    }
}

/// The lists of URLs among `files`, each with its format.
pub(super) fn lists(source: &Source, format: Option<UrlFormat>) -> Result<Vec<(PathBuf, UrlFormat)>> {
    let with_format = |path: PathBuf| match format.or_else(|| UrlFormat::of(&path)) {
        Some(format) => Ok((path, format)),
        None => Err(Error::usage(
            format!("{}: the extension does not tell the format of this list of URLs", path.display()),
            "set `format` to txt, csv, tsv, tsv_unquoted, jsonl or parquet",
        )),
    };
    source.files()?.into_iter().map(with_format).collect()
}
