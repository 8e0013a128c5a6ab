//! Sorting more records than memory holds: sorted runs on the disk, which are merged as they are
//! read.
//!
//! A record is a fixed number of bytes and is ordered by them, so numbers are written with their
//! highest byte first. Runs have no name: what is killed leaves nothing behind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use lvd_base::error::{Error, Result};

/// Runs that are merged at once: each has a file open and a buffer.
const AT_ONCE: usize = 64;

/// Sorts records of `N` bytes.
pub struct Sorter<const N: usize> {
    aside: PathBuf,
    held: Vec<[u8; N]>,
    most: usize,
    /// Runs on the disk: those of a level are merged into one of the next.
    levels: Vec<Vec<File>>,
}

impl<const N: usize> Sorter<N> {
    /// A sorter that holds `most` records; `aside` is a path at which nothing else is.
    #[must_use]
    pub fn new(aside: PathBuf, most: usize) -> Self {
        Self { aside, held: Vec::new(), most: most.max(1), levels: Vec::new() }
    }

    /// Takes a record.
    pub fn push(&mut self, record: [u8; N]) -> Result<()> {
        if self.held.len() == self.most {
            self.held.sort_unstable();
            let run = write_run(&self.aside, self.held.drain(..).map(Ok))?;
            self.keep(run, 0)?;
        }
        self.held.push(record);
        Ok(())
    }

    fn keep(&mut self, run: File, level: usize) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(run);
        if self.levels[level].len() < AT_ONCE {
            return Ok(());
        }
        let runs = std::mem::take(&mut self.levels[level]);
        let merged = write_run(&self.aside, Sorted::<N>::new(&self.aside, Vec::new(), runs)?)?;
        self.keep(merged, level + 1)
    }

    /// The records in order.
    pub fn finish(mut self) -> Result<Sorted<N>> {
        self.held.sort_unstable();
        Sorted::new(&self.aside, self.held, self.levels.into_iter().flatten().collect())
    }
}

/// Writes a run to a file that is gone when it is closed.
fn write_run<const N: usize>(aside: &Path, records: impl Iterator<Item = Result<[u8; N]>>) -> Result<File> {
    let mut file = File::options().read(true).write(true).create_new(true).open(aside).map_err(Error::io(aside))?;
    std::fs::remove_file(aside).map_err(Error::io(aside))?;
    let mut writer = BufWriter::with_capacity(1 << 20, &file);
    for record in records {
        writer.write_all(&record?).map_err(Error::io(aside))?;
    }
    writer.flush().map_err(Error::io(aside))?;
    drop(writer);
    file.rewind().map_err(Error::io(aside))?;
    Ok(file)
}

/// Records in order.
pub struct Sorted<const N: usize> {
    aside: PathBuf,
    held: std::vec::IntoIter<[u8; N]>,
    runs: Vec<BufReader<File>>,
    /// The next record of each run, and of those that are held, which have no run.
    next: BinaryHeap<Reverse<([u8; N], Option<usize>)>>,
}

impl<const N: usize> Sorted<N> {
    fn new(aside: &Path, held: Vec<[u8; N]>, runs: Vec<File>) -> Result<Self> {
        let runs: Vec<_> = runs.into_iter().map(|run| BufReader::with_capacity(64 << 10, run)).collect();
        let of = std::iter::once(None).chain((0..runs.len()).map(Some));
        let mut sorted = Self { aside: aside.into(), held: held.into_iter(), runs, next: BinaryHeap::new() };
        of.into_iter().try_for_each(|of| sorted.advance(of))?;
        Ok(sorted)
    }

    /// Looks at the next record of a run.
    fn advance(&mut self, of: Option<usize>) -> Result<()> {
        let record = match of {
            None => self.held.next(),
            Some(run) => {
                let mut record = [0; N];
                match self.runs[run].read_exact(&mut record) {
                    Ok(()) => Some(record),
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
                    Err(error) => return Err(Error::io(&self.aside)(error)),
                }
            }
        };
        self.next.extend(record.map(|record| Reverse((record, of))));
        Ok(())
    }
}

impl<const N: usize> Iterator for Sorted<N> {
    type Item = Result<[u8; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, of)) = self.next.pop()?;
        Some(self.advance(of).map(|()| record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_memory_comes_back_in_order() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        // Of 3 held records, 5,000 are more runs than are merged at once.
        for (records, most) in [(0, 3), (3, 3), (100, 7), (5000, 3), (5000, 10_000)] {
            let mut sorter: Sorter<8> = Sorter::new(folder.path().join("run"), most);
            let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1000;
            (0..records).try_for_each(|n| sorter.push(number(n).to_be_bytes()))?;
            let mut expect: Vec<u64> = (0..records).map(number).collect();
            expect.sort_unstable();
            let numbers = sorter.finish()?.map(|record| record.map(u64::from_be_bytes)).collect::<Result<Vec<_>>>()?;
            assert_eq!(numbers, expect);
        }
        assert_eq!(std::fs::read_dir(folder.path()).map_err(Error::io(folder.path()))?.count(), 0);
        Ok(())
    }
}
