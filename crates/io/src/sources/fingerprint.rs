//! What a source looked like when it was listed, as one hash: names, sizes, times, settings; never
//! absolute paths.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::kinds::{Source, lists};
use super::{beside, folder};
use crate::digest::hex;
use lvd_base::error::{Error, Result};

/// See [`Source::fingerprint`].
pub(super) fn of(source: &Source) -> Result<String> {
    let mut hash = Fields(Sha256::new());
    match source {
        Source::Folder { path, except, extensions, captions } => {
            hash.text("folder");
            let mut extensions = extensions.clone();
            if *captions {
                hash.text("captions");
                let all = extensions.is_empty();
                extensions.extend(beside::EXTENSIONS.into_iter().filter(|_| !all).map(str::to_owned));
            }
            let each = &mut |found: folder::Found| {
                hash.file(found.location.as_bytes(), found.metadata);
                Ok(())
            };
            folder::walk(path, except, &extensions, each, &mut |_| {})?;
        }
        Source::Urls { format, url_column, caption_column, keep, headless, .. } => {
            hash.text("urls").text(url_column).option(caption_column.as_deref()).kept(keep);
            if *headless {
                hash.text("headless");
            }
            for (path, format) in lists(source, *format)? {
                hash.text(&format!("{format:?}")).named(&path)?;
            }
        }
        Source::Archives { .. } => {
            hash.text("archives");
            for path in source.files()? {
                hash.named(&path)?;
            }
        }
        Source::Parquet { image_column, caption_column, keep, .. } => {
            hash.text("parquet").text(image_column).option(caption_column.as_deref()).kept(keep);
            for path in source.files()? {
                hash.text("Parquet").named(&path)?;
            }
        }
        Source::Tar { caption_key, keep, .. } => {
            hash.text("tar").option(caption_key.as_deref()).kept(keep);
            for path in source.files()? {
                hash.named(&path)?;
            }
        }
    }
    Ok(hex(&hash.0.finalize()))
}

/// What tells that a file is another one: its size and its time of change.
pub(super) fn version(metadata: &Metadata) -> String {
    format!("{}@{}.{:09}", metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

/// The version of the file at a path.
pub(super) fn version_of(path: &Path) -> Result<String> {
    std::fs::metadata(path).map(|metadata| version(&metadata)).map_err(Error::io(path))
}

/// A hash over fields, each with its length: no two lists of fields look alike.
struct Fields(Sha256);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn option(&mut self, text: Option<&str>) -> &mut Self {
        self.0.update([u8::from(text.is_some())]);
        self.text(text.unwrap_or_default())
    }

    /// Columns that are kept; nothing where there are none, as in the time before there were any.
    fn kept(&mut self, columns: &[String]) -> &mut Self {
        columns.iter().fold(self, |hash, column| hash.text("keep").text(column))
    }

    /// A file by its name, without its folder.
    fn named(&mut self, path: &Path) -> Result<&mut Self> {
        let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
        Ok(self.file(path.file_name().unwrap_or_default().as_bytes(), &metadata))
    }

    fn file(&mut self, name: &[u8], metadata: &Metadata) -> &mut Self {
        self.bytes(name);
        self.0.update(metadata.size().to_le_bytes());
        self.0.update(metadata.mtime().to_le_bytes());
        self.0.update(metadata.mtime_nsec().to_le_bytes());
        self
    }
}
