//! Runs: vectors sorted by their cells, a file a task, so that the rows of any range of cells are one slice of each run.
//!
//! A vector is written once. Little-endian, in this order: magic, version, d, rows, cells, areas of adjacency; where each cell begins
//! (u64, cells + 1); pairs of regions that some row ties together (u32, u32); ids (u64); settled (u8); where the bytes of each row's probes
//! begin (u32, rows + 1); probes, ascending, each as what it is more than the one before, in bytes of seven bits; vectors (fp16).
//! Only `lvd` itself reads them, between two phases.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::error::{Error, Result};
use crate::types::{CellRows, ImageId};

const MAGIC: [u8; 8] = *b"lvd-run2";
/// Bytes before where the cells begin: magic, d, rows, cells, ties.
const HEAD: u64 = 40;

/// Writes `rows`, sorted by cell, of `cells` cells, as a run at `path`; `ties` are pairs of regions that hold a row and a cell it probes.
pub fn write(path: &Path, rows: &CellRows, d: usize, cells: u32, ties: &[(u32, u32)]) -> Result<()> {
    assert!(rows.cells.is_sorted(), "a run is sorted by cell");
    let file = File::create_new(path).map_err(Error::io(path))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io(path));
    put(&MAGIC)?;
    for number in [d as u64, rows.ids.len() as u64, u64::from(cells), ties.len() as u64] {
        put(&number.to_le_bytes())?;
    }
    for cell in 0..=cells {
        put(&(rows.cells.partition_point(|&of| of < cell) as u64).to_le_bytes())?;
    }
    for &(from, to) in ties {
        put(&from.to_le_bytes())?;
        put(&to.to_le_bytes())?;
    }
    for id in &rows.ids {
        put(&id.0.to_le_bytes())?;
    }
    put(&rows.settled.iter().map(|&settled| u8::from(settled)).collect::<Vec<u8>>())?;
    let (mut starts, mut probes) = (vec![0], Vec::new());
    for bounds in rows.probe_starts.windows(2) {
        pack(&rows.probes[bounds[0]..bounds[1]], &mut probes);
        starts.push(probes.len());
    }
    for start in starts {
        put(&u32::try_from(start).map_err(|e| Error::data(path, e))?.to_le_bytes())?;
    }
    put(&probes)?;
    let mut bytes = Vec::with_capacity(2 * d);
    for vector in rows.halves.chunks(d.max(1)) {
        bytes.clear();
        bytes.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
        put(&bytes)?;
    }
    let file = out.into_inner().map_err(|error| Error::io(path)(error.into_error()))?;
    file.sync_all().map_err(Error::io(path))
}

/// A run that can be read in slices. Holds no file open and no rows.
#[derive(Clone, Debug)]
pub struct Run {
    path: PathBuf,
    /// Numbers a vector.
    pub d: usize,
    /// Pairs of regions that some row ties together.
    pub ties: Vec<(u32, u32)>,
    rows: u64,
    cells: u64,
    probe_bytes: u64,
}

impl Run {
    /// Reads the head of a run.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let mut head = [0; 40];
        file.read_exact_at(&mut head, 0).map_err(Error::io(path))?;
        if head[..8] != MAGIC {
            return Err(Error::data(path, "not a run of vectors of this version"));
        }
        let number = |at: usize| u64::from_le_bytes(head[8 * at..8 * at + 8].try_into().expect("eight bytes"));
        let [d, rows, cells, ties] = [number(1), number(2), number(3), number(4)];
        let mut run = Self {
            path: path.into(),
            d: usize::try_from(d).unwrap_or(0),
            ties: Vec::new(),
            rows,
            cells,
            probe_bytes: 0,
        };
        let ties = run.numbers::<4>(&file, run.ties_at(), 2 * ties)?;
        run.ties =
            ties.chunks_exact(2).map(|pair| (u32::from_le_bytes(pair[0]), u32::from_le_bytes(pair[1]))).collect();
        let end = run.numbers::<4>(&file, run.probe_starts_at() + 4 * rows, 1)?;
        run.probe_bytes = u64::from(u32::from_le_bytes(end[0]));
        Ok(run)
    }

    /// Where the cells `range` begin among the rows, and the end of the last.
    pub fn starts(&self, range: Range<u32>) -> Result<Vec<u64>> {
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        let starts =
            self.numbers::<8>(&file, HEAD + 8 * u64::from(range.start), u64::from(range.end - range.start) + 1)?;
        Ok(starts.into_iter().map(u64::from_le_bytes).collect())
    }

    /// Appends the rows at `rows` of the cells `cells` (which hold them all) to `to`.
    pub fn read(&self, cells: Range<u32>, rows: Range<u64>, to: &mut CellRows) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        let count = rows.end - rows.start;
        let starts = self.starts(cells.clone())?;
        for (cell, bounds) in cells.zip(starts.windows(2)) {
            let inside = bounds[1].min(rows.end).saturating_sub(bounds[0].max(rows.start));
            to.cells.extend(std::iter::repeat_n(cell, usize::try_from(inside).unwrap_or(0)));
        }
        let ids = self.numbers::<8>(&file, self.ids_at() + 8 * rows.start, count)?;
        to.ids.extend(ids.into_iter().map(|id| ImageId(u64::from_le_bytes(id))));
        let settled = self.numbers::<1>(&file, self.settled_at() + rows.start, count)?;
        to.settled.extend(settled.into_iter().map(|[flag]| flag != 0));
        let starts = self.numbers::<4>(&file, self.probe_starts_at() + 4 * rows.start, count + 1)?;
        let starts: Vec<u32> = starts.into_iter().map(u32::from_le_bytes).collect();
        let (first, last) = (starts[0], starts[starts.len() - 1]);
        let probes = self.numbers::<1>(&file, self.probes_at() + u64::from(first), u64::from(last - first))?;
        if to.probe_starts.is_empty() {
            to.probe_starts.push(0);
        }
        for bounds in starts.windows(2) {
            let packed = &probes[(bounds[0] - first) as usize..(bounds[1] - first) as usize];
            unpack(packed.as_flattened(), &mut to.probes);
            to.probe_starts.push(to.probes.len());
        }
        let d = self.d as u64;
        let begin = to.halves.len();
        let length = usize::try_from(count * d).map_err(|e| Error::data(&self.path, e))?;
        to.halves.resize(begin + length, f16::ZERO);
        let halves = to.halves[begin..].reinterpret_cast_mut();
        let bytes = self.numbers::<2>(&file, self.vectors_at() + 2 * d * rows.start, count * d)?;
        for (half, bytes) in halves.iter_mut().zip(bytes) {
            *half = u16::from_le_bytes(bytes);
        }
        Ok(())
    }

    /// `count` numbers of `N` bytes from `at` on.
    fn numbers<const N: usize>(&self, file: &File, at: u64, count: u64) -> Result<Vec<[u8; N]>> {
        let count = usize::try_from(count).map_err(|e| Error::data(&self.path, e))?;
        let mut numbers = vec![[0; N]; count];
        file.read_exact_at(numbers.as_flattened_mut(), at).map_err(Error::io(&self.path))?;
        Ok(numbers)
    }

    fn ties_at(&self) -> u64 {
        HEAD + 8 * (self.cells + 1)
    }

    fn ids_at(&self) -> u64 {
        self.ties_at() + 8 * self.ties.len() as u64
    }

    fn settled_at(&self) -> u64 {
        self.ids_at() + 8 * self.rows
    }

    fn probe_starts_at(&self) -> u64 {
        self.settled_at() + self.rows
    }

    fn probes_at(&self) -> u64 {
        self.probe_starts_at() + 4 * (self.rows + 1)
    }

    fn vectors_at(&self) -> u64 {
        self.probes_at() + self.probe_bytes
    }
}

/// Appends probes as differences, seven bits a byte, the lowest first; the highest bit says that more follow.
fn pack(probes: &[u32], to: &mut Vec<u8>) {
    let mut sorted = probes.to_vec();
    sorted.sort_unstable();
    let mut last = 0;
    for probe in sorted {
        let mut more = probe - last;
        last = probe;
        while more > 0x7f {
            to.push(more.to_le_bytes()[0] | 0x80);
            more >>= 7;
        }
        to.push(more.to_le_bytes()[0]);
    }
}

/// Appends the probes that [`pack`] made bytes of.
fn unpack(bytes: &[u8], to: &mut Vec<u32>) {
    let (mut last, mut more, mut shift) = (0, 0, 0);
    for &byte in bytes {
        more |= u32::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            last += more;
            to.push(last);
            (more, shift) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_slice_of_a_run_comes_back() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let path = folder.path().join("run");
        let rows = CellRows {
            ids: (10..15).map(ImageId).collect(),
            cells: vec![0, 2, 2, 2, 3],
            settled: vec![false, true, false, false, true],
            halves: (0..15u8).map(f16::from).collect(),
            probe_starts: vec![0, 1, 1, 3, 3, 4],
            probes: vec![7, 70_000, 9, 200],
        };
        write(&path, &rows, 3, 5, &[(0, 1), (1, 0)])?;
        let run = Run::open(&path)?;
        assert_eq!((run.d, &run.ties[..]), (3, &[(0, 1), (1, 0)][..]));
        assert_eq!(run.starts(1..5)?, [1, 1, 4, 5, 5]);
        let mut back = CellRows::default();
        run.read(2..4, 2..5, &mut back)?;
        run.read(0..1, 0..1, &mut back)?;
        assert_eq!(back.ids, [12, 13, 14, 10].map(ImageId));
        assert_eq!((back.cells, back.settled), (vec![2, 2, 3, 0], vec![false, false, true, false]));
        assert_eq!((back.probe_starts, back.probes), (vec![0, 2, 2, 3, 4], vec![9, 70_000, 200, 7]));
        assert_eq!(back.halves, [6, 7, 8, 9, 10, 11, 12, 13, 14, 0, 1, 2].map(|x: u8| f16::from(x)));
        assert!(matches!(Run::open(&folder.path().join("none")), Err(Error::Io { .. })));
        Ok(())
    }
}
