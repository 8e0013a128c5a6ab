//! Published files, checked while they are read.
//!
//! What [`crate::part::Sink`] writes carries a CRC-32 of each of its blocks: in the metadata of a
//! Parquet file, or at the end of any other. That end is the file's *tail*, and whoever publishes
//! the file keeps the tail's own CRC-32. So a reader knows of each byte that it gets whether it was
//! written so, and pays for no byte that it does not read.

mod sums;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use serde::{Deserialize, Serialize};

use lvd_base::error::{Error, Result};

pub use sums::{BlockSums, Summing};

/// The key under which a Parquet file holds the checksums of its blocks.
pub const KEY: &str = "lvd.crc32";
/// Bytes a block of a Parquet file.
pub const BLOCK: u32 = 64 << 10;
/// Bytes a block of a file that is read a few rows at a time.
pub const SMALL_BLOCK: u32 = 4 << 10;

/// The end of a published file, where the checksums of its blocks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// Where it begins: the blocks end there.
    pub at: u64,
    /// CRC-32 of its bytes.
    pub crc32: u32,
}

/// A file to read, and what it has to be.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where it lies.
    pub path: PathBuf,
    /// Its name in the work folder, size and tail, where it was published.
    pub published: Option<Published>,
}

/// What a marker or manifest says of a file.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its name in the work folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its tail; none for a file of a version that wrote none.
    pub tail: Option<Tail>,
}

impl From<&Path> for Stored {
    fn from(path: &Path) -> Self {
        Self { path: path.to_path_buf(), published: None }
    }
}

impl From<&PathBuf> for Stored {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl Stored {
    /// That the file is not what was published.
    pub fn damaged(&self, message: impl Into<String>) -> Error {
        let part = self.published.as_ref().map(|published| published.name.clone());
        Error::damaged(&self.path, part, message)
    }

    /// Opens the file, and compares its size with what was published.
    fn open(&self) -> Result<(File, u64)> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.published.is_some() => {
                return Err(self.damaged("is gone"));
            }
            file => file.map_err(Error::io(&self.path))?,
        };
        let bytes = file.metadata().map_err(Error::io(&self.path))?.len();
        let Some(published) = &self.published else { return Ok((file, bytes)) };
        if bytes != published.bytes {
            return Err(self.damaged(format!("has {bytes} bytes, and {} were written", published.bytes)));
        }
        Ok((file, bytes))
    }

    fn tail(&self) -> Option<Tail> {
        self.published.as_ref()?.tail
    }

    fn compare_tail(&self, file: &File, bytes: u64) -> Result<()> {
        let Some(tail) = self.tail() else { return Ok(()) };
        let found = read(file, tail.at, bytes.saturating_sub(tail.at)).map_err(Error::io(&self.path))?;
        let same = crc32fast::hash(&found) == tail.crc32;
        if same { Ok(()) } else { Err(self.damaged("its end is not as it was written")) }
    }

    /// A file whose tail is the checksums of its blocks.
    pub fn raw(&self) -> Result<Checked> {
        let (file, bytes) = self.open()?;
        self.compare_tail(&file, bytes)?;
        self.raw_again()
    }

    /// The same, where its tail was compared before.
    pub fn raw_again(&self) -> Result<Checked> {
        let (file, bytes) = self.open()?;
        Ok(match self.tail() {
            Some(tail) => Checked::new(self, file, bytes, SMALL_BLOCK, tail.at, Sums::At(tail.at)),
            None => Checked::new(self, file, bytes, SMALL_BLOCK, bytes, Sums::None),
        })
    }

    /// A Parquet file, none of its blocks checked yet: for its metadata, which are in the tail.
    pub fn unread(&self) -> Result<Checked> {
        let (file, bytes) = self.open()?;
        self.compare_tail(&file, bytes)?;
        Ok(Checked::new(self, file, bytes, BLOCK, bytes, Sums::None))
    }
}

fn read(file: &File, at: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Where an open file's checksums are.
#[derive(Debug)]
enum Sums {
    /// Nowhere: another program wrote it, or an earlier version.
    None,
    /// In memory.
    Here(Vec<u32>),
    /// In the file, from there on: files of vectors are large and many.
    At(u64),
}

/// An open file whose blocks are compared with their checksums as they are read. Copies share the
/// file.
#[derive(Clone, Debug)]
pub struct Checked(Arc<Open>);

#[derive(Debug)]
struct Open {
    stored: Stored,
    file: File,
    bytes: u64,
    block: u64,
    covered: u64,
    sums: Sums,
    /// The last small piece: of a page, the header and the values are asked for one after the
    /// other.
    last: Mutex<(u64, Bytes)>,
    /// What was found wrong: other libraries hand on its text alone.
    wrong: OnceLock<String>,
}

impl Checked {
    fn new(stored: &Stored, file: File, bytes: u64, block: u32, covered: u64, sums: Sums) -> Self {
        let (last, wrong) = (Mutex::default(), OnceLock::new());
        let (stored, block) = (stored.clone(), u64::from(block));
        Self(Arc::new(Open { stored, file, bytes, block, covered, sums, last, wrong }))
    }

    /// The same file, to be compared with these checksums.
    pub fn with(&self, sums: BlockSums) -> Result<Self> {
        let file = self.0.file.try_clone().map_err(Error::io(&self.0.stored.path))?;
        let BlockSums { block, covered, sums } = sums;
        Ok(Self::new(&self.0.stored, file, self.0.bytes, block, covered, Sums::Here(sums)))
    }

    /// Bytes without the tail.
    #[must_use]
    pub fn content(&self) -> u64 {
        self.0.covered
    }

    /// That the file is damaged, if that was found out; otherwise the error of a library that read
    /// it.
    pub fn fault(&self, error: impl std::fmt::Display) -> Error {
        match self.0.wrong.get() {
            Some(wrong) => self.0.stored.damaged(wrong.clone()),
            None => Error::data(&self.0.stored.path, error),
        }
    }

    /// Fills `to` with the bytes from `at` on.
    pub fn read_exact_at(&self, to: &mut [u8], at: u64) -> Result<()> {
        self.fill(to, at).map_err(|e| self.fault(e))
    }

    fn fill(&self, to: &mut [u8], at: u64) -> std::io::Result<()> {
        let (open, end) = (&self.0, at + to.len() as u64);
        if matches!(open.sums, Sums::None) {
            return open.file.read_exact_at(to, at);
        }
        // Whole blocks are read where they belong; of the first and the last, a part may be wanted
        // only.
        let first = at.next_multiple_of(open.block).min(end);
        let last = (end / open.block * open.block).max(first);
        let place = |byte: u64| usize::try_from(byte - at).unwrap_or(usize::MAX);
        let (before, rest) = to.split_at_mut(place(first));
        let (middle, after) = rest.split_at_mut(place(last) - place(first));
        if !middle.is_empty() {
            open.file.read_exact_at(middle, first)?;
            self.compare(first / open.block, middle)?;
        }
        for (piece, from) in [(before, at), (after, last)] {
            if !piece.is_empty() {
                piece.copy_from_slice(&self.get(from, piece.len())?);
            }
        }
        Ok(())
    }

    /// All bytes without the tail.
    pub fn read_all(&self) -> Result<Vec<u8>> {
        let length = usize::try_from(self.content()).map_err(|e| self.fault(e))?;
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Compares whole blocks, from `first` on, with their checksums.
    fn compare(&self, first: u64, blocks: &[u8]) -> std::io::Result<()> {
        let open = &self.0;
        let block = usize::try_from(open.block).unwrap_or(usize::MAX);
        let count = blocks.len().div_ceil(block);
        let right = |(bytes, sum): (&[u8], u32)| crc32fast::hash(bytes) == sum;
        let wrong = match &open.sums {
            Sums::None => None,
            Sums::Here(sums) => {
                let sums = usize::try_from(first).ok().and_then(|first| sums.get(first..first + count));
                let sums = sums.ok_or_else(|| std::io::Error::other("it has fewer checksums than blocks"))?;
                blocks.chunks(block).zip(sums.iter().copied()).position(|pair| !right(pair))
            }
            Sums::At(at) => {
                let sums = read(&open.file, at + 4 * first, 4 * count as u64)?;
                let sums = sums.as_chunks::<4>().0.iter().map(|sum| u32::from_le_bytes(*sum));
                blocks.chunks(block).zip(sums).position(|pair| !right(pair))
            }
        };
        let Some(wrong) = wrong else { return Ok(()) };
        let begin = (first + wrong as u64) * open.block;
        let end = (begin + open.block).min(open.covered);
        let text = format!("its bytes {begin} to {end} are not as they were written");
        Err(std::io::Error::other(open.wrong.get_or_init(|| text).clone()))
    }

    /// The bytes from `at` on.
    fn get(&self, at: u64, length: usize) -> std::io::Result<Bytes> {
        let (open, end) = (&self.0, at + length as u64);
        let slice = |from: u64, bytes: &Bytes| {
            let begin = usize::try_from(at - from).unwrap_or(usize::MAX);
            bytes.slice(begin..begin + length)
        };
        {
            let last = open.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0 <= at && end <= last.0 + last.1.len() as u64 {
                return Ok(slice(last.0, &last.1));
            }
        }
        if matches!(open.sums, Sums::None) || at >= open.covered {
            return read(&open.file, at, length as u64).map(Bytes::from);
        }
        let from = at / open.block * open.block;
        let to = end.next_multiple_of(open.block).min(open.covered);
        let bytes = read(&open.file, from, to.max(end) - from)?;
        let checked = usize::try_from(to - from).unwrap_or(usize::MAX).min(bytes.len());
        self.compare(from / open.block, &bytes[..checked])?;
        let bytes = Bytes::from(bytes);
        if bytes.len() as u64 <= 2 * open.block {
            *open.last.lock().unwrap_or_else(PoisonError::into_inner) = (from, bytes.clone());
        }
        Ok(slice(from, &bytes))
    }
}

impl Length for Checked {
    fn len(&self) -> u64 {
        self.0.bytes
    }
}

impl ChunkReader for Checked {
    type T = Ahead;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Ahead> {
        Ok(Ahead { file: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.get(start, length).map_err(ParquetError::from)
    }
}

/// Reads on from a place, a block at a time.
pub struct Ahead {
    file: Checked,
    at: u64,
}

impl Read for Ahead {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let open = &self.file.0;
        let block_end = (self.at / open.block + 1) * open.block;
        let end = if self.at < open.covered { block_end.min(open.covered) } else { block_end };
        let left = end.min(open.bytes).saturating_sub(self.at);
        let length = to.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        to[..length].copy_from_slice(&self.file.get(self.at, length)?);
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
