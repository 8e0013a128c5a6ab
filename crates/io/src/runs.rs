//! Runs: vectors sorted by their cells, a file a task, so that the rows of any range of cells are
//! one slice of each run.
//!
//! A vector is written once. Little-endian, in this order: magic, version, d, rows, cells, areas of
//! adjacency; where each cell begins (u64, cells + 1); pairs of regions that some row ties together
//! (u32, u32); ids (u64); settled (u8); where the bytes of each row's probes begin (u32, rows + 1);
//! probes, ascending, each as what it is more than the one before, in bytes of seven bits; vectors
//! (fp16); the checksums of all that ([`crate::checked`]). Only `lvd` itself reads them, between
//! two phases.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use half::f16;
use rayon::prelude::*;
use zerocopy::IntoBytes;

use crate::checked::{Checked, SMALL_BLOCK, Stored};
use crate::part::{Sink, Written};
use lvd_base::error::{Error, Result};
use lvd_base::types::{CellRows, ImageId};

const MAGIC: [u8; 8] = *b"lvd-run2";
/// Bytes before where the cells begin: magic, d, rows, cells, ties.
const HEAD: u64 = 40;
/// Rows of which one is wanted at least are read in one go.
const BETWEEN_ROWS: u64 = 8;
/// Vectors that are brought into order at a time.
const GATHERED_ROWS: usize = 8192;

/// Writes `rows`, of `cells` cells and in any order, as a run at `path`; `ties` are pairs of
/// regions that hold a row and a cell it probes.
pub fn write(path: &Path, rows: &CellRows, d: usize, cells: u32, ties: &[(u32, u32)]) -> Result<Written> {
    let mut order: Vec<u32> = (0..).take(rows.ids.len()).collect();
    order.par_sort_unstable_by_key(|&row| (rows.cells[row as usize], row));
    let order: Vec<usize> = order.into_iter().map(|row| row as usize).collect();
    let mut head = Vec::from(MAGIC);
    for number in [d as u64, order.len() as u64, u64::from(cells), ties.len() as u64] {
        head.extend(number.to_le_bytes());
    }
    for cell in 0..=cells {
        head.extend((order.partition_point(|&row| rows.cells[row] < cell) as u64).to_le_bytes());
    }
    head.extend(ties.iter().flat_map(|&(from, to)| [from.to_le_bytes(), to.to_le_bytes()].concat()));
    head.extend(order.iter().flat_map(|&row| rows.ids[row].0.to_le_bytes()));
    head.extend(order.iter().map(|&row| u8::from(rows.settled[row])));
    let (mut starts, mut probes) = (vec![0], Vec::new());
    for &row in &order {
        pack(&rows.probes[rows.probe_starts[row]..rows.probe_starts[row + 1]], &mut probes);
        starts.push(probes.len());
    }
    for start in starts {
        head.extend(u32::try_from(start).map_err(|e| Error::data(path, e))?.to_le_bytes());
    }
    let mut file = Sink::create_in_blocks(path, SMALL_BLOCK)?;
    let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(Error::io(path));
    put(&head)?;
    put(&probes)?;
    let gather = |some: &[usize], to: &mut Vec<f16>| {
        to.resize(some.len() * d, f16::ZERO);
        to.par_chunks_mut(d.max(1)).zip(some).with_min_len(64).for_each(|(to, &row)| {
            let vector = &rows.halves[row * d..][..d];
            to.iter_mut().zip(vector).for_each(|(to, from)| *to = f16::from_bits(from.to_bits().to_le()));
        });
    };
    // Some are written while the next are gathered.
    let (mut full, mut next): (Vec<f16>, _) = (Vec::new(), Vec::new());
    for some in order.chunks(GATHERED_ROWS) {
        let (written, ()) = rayon::join(|| put(full[..].as_bytes()), || gather(some, &mut next));
        written?;
        std::mem::swap(&mut full, &mut next);
    }
    put(full[..].as_bytes())?;
    file.finish_raw(order.len() as u64)
}

/// A run that can be read in slices. Holds no file open and no rows.
#[derive(Clone, Debug)]
pub struct Run {
    stored: Stored,
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
    pub fn open(part: &Stored) -> Result<Self> {
        let stored = part.clone();
        let file = stored.raw()?;
        let mut head = [0; 40];
        file.read_exact_at(&mut head, 0)?;
        if head[..8] != MAGIC {
            return Err(file.fault("not a run of vectors of this version"));
        }
        let number = |at: usize| u64::from_le_bytes(head[8 * at..8 * at + 8].try_into().expect("eight bytes"));
        let [d, rows, cells, ties] = [number(1), number(2), number(3), number(4)];
        let d = usize::try_from(d).map_err(|error| file.fault(error))?;
        let mut run = Self { stored, d, ties: Vec::new(), rows, cells, probe_bytes: 0 };
        let ties = run.numbers::<4>(&file, run.ties_at(), 2 * ties)?;
        run.ties =
            ties.chunks_exact(2).map(|pair| (u32::from_le_bytes(pair[0]), u32::from_le_bytes(pair[1]))).collect();
        let end = run.numbers::<4>(&file, run.probe_starts_at() + 4 * rows, 1)?;
        run.probe_bytes = u64::from(u32::from_le_bytes(end[0]));
        Ok(run)
    }

    /// Where the cells `range` begin among the rows, and the end of the last.
    pub fn starts(&self, range: Range<u32>) -> Result<Vec<u64>> {
        let starts = self.numbers::<8>(
            &self.stored.raw_again()?,
            HEAD + 8 * u64::from(range.start),
            u64::from(range.end - range.start) + 1,
        )?;
        Ok(starts.into_iter().map(u64::from_le_bytes).collect())
    }

    /// The rows at `rows` of the cells `cells` (which hold them all) whose probes are `wanted`, and
    /// the vectors of no others.
    pub fn read(&self, cells: Range<u32>, rows: Range<u64>, wanted: impl Fn(&[u32]) -> bool) -> Result<CellRows> {
        let mut read = CellRows { probe_starts: vec![0], ..CellRows::default() };
        if rows.is_empty() {
            return Ok(read);
        }
        let file = self.stored.raw_again()?;
        let count = rows.end - rows.start;
        let cell_starts = self.starts(cells.clone())?;
        let ids = self.numbers::<8>(&file, self.ids_at() + 8 * rows.start, count)?;
        let settled = self.numbers::<1>(&file, self.settled_at() + rows.start, count)?;
        let starts = self.numbers::<4>(&file, self.probe_starts_at() + 4 * rows.start, count + 1)?;
        let starts: Vec<u32> = starts.into_iter().map(u32::from_le_bytes).collect();
        let (first, last) = (starts[0], starts[starts.len() - 1]);
        let probes = self.numbers::<1>(&file, self.probes_at() + u64::from(first), u64::from(last - first))?;
        let (mut cell, mut chosen) = (0, Vec::new());
        for (row, (bounds, (&id, &[flag]))) in rows.zip(starts.windows(2).zip(ids.iter().zip(&settled))) {
            while cell_starts[cell + 1] <= row {
                cell += 1;
            }
            let packed = &probes[(bounds[0] - first) as usize..(bounds[1] - first) as usize];
            let before = read.probes.len();
            unpack(packed.as_flattened(), &mut read.probes);
            if wanted(&read.probes[before..]) {
                chosen.push(row);
                read.ids.push(ImageId(u64::from_le_bytes(id)));
                read.cells.push(cells.start + u32::try_from(cell).map_err(|e| Error::data(&self.stored.path, e))?);
                read.settled.push(flag != 0);
                read.probe_starts.push(read.probes.len());
            } else {
                read.probes.truncate(before);
            }
        }
        read.halves = self.vectors(&file, &chosen)?;
        Ok(read)
    }

    /// The vectors of some rows, ascending. What lies between near ones is read with them.
    fn vectors(&self, file: &Checked, rows: &[u64]) -> Result<Vec<f16>> {
        let mut halves = vec![f16::ZERO; rows.len() * self.d];
        let (mut rest, mut between) = (&mut halves[..], Vec::new());
        for near in rows.chunk_by(|a, b| b - a <= BETWEEN_ROWS) {
            let (first, last) = (near[0], near[near.len() - 1]);
            let at = self.vectors_at() + 2 * self.d as u64 * first;
            let some;
            (some, rest) = rest.split_at_mut(near.len() * self.d);
            if last - first + 1 == near.len() as u64 {
                file.read_exact_at(some.as_mut_bytes(), at)?;
                continue;
            }
            let place = |row: u64| usize::try_from(row - first).unwrap_or(usize::MAX) * self.d;
            between.resize(place(last + 1), f16::ZERO);
            file.read_exact_at(between.as_mut_bytes(), at)?;
            for (to, &row) in some.chunks_mut(self.d).zip(near) {
                to.copy_from_slice(&between[place(row)..][..self.d]);
            }
        }
        for half in &mut halves {
            *half = f16::from_bits(u16::from_le(half.to_bits()));
        }
        Ok(halves)
    }

    /// `count` numbers of `N` bytes from `at` on.
    fn numbers<const N: usize>(&self, file: &Checked, at: u64, count: u64) -> Result<Vec<[u8; N]>> {
        let count = usize::try_from(count).map_err(|e| Error::data(&self.stored.path, e))?;
        let mut numbers = vec![[0; N]; count];
        file.read_exact_at(numbers.as_flattened_mut(), at)?;
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

/// Appends probes as differences, seven bits a byte, the lowest first; the highest bit says that
/// more follow.
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
    use crate::checked::Published;

    #[test]
    fn any_slice_of_a_run_comes_back() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let path = folder.path().join("run");
        let rows = CellRows {
            ids: [14, 10, 11, 12, 13].map(ImageId).to_vec(),
            cells: vec![3, 0, 2, 2, 2],
            settled: vec![true, false, true, false, false],
            halves: [12, 13, 14, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11u8].map(f16::from).to_vec(),
            probe_starts: vec![0, 1, 2, 2, 4, 4],
            probes: vec![200, 7, 70_000, 9],
        };
        let written = write(&path, &rows, 3, 5, &[(0, 1), (1, 0)])?;
        let published = Published { name: "run".into(), bytes: written.bytes, tail: written.tail };
        let run = Run::open(&Stored { path, published: Some(published) })?;
        assert_eq!((run.d, &run.ties[..]), (3, &[(0, 1), (1, 0)][..]));
        assert_eq!(run.starts(1..5)?, [1, 1, 4, 5, 5]);
        let back = run.read(2..4, 2..5, |_| true)?;
        assert_eq!(back.ids, [12, 13, 14].map(ImageId));
        assert_eq!((back.cells, back.settled), (vec![2, 2, 3], vec![false, false, true]));
        assert_eq!((back.probe_starts, back.probes), (vec![0, 2, 2, 3], vec![9, 70_000, 200]));
        assert_eq!(back.halves, [6, 7, 8, 9, 10, 11, 12, 13, 14].map(|x: u8| f16::from(x)));
        for (wanted, halves) in [(7, vec![0, 1, 2]), (9, vec![6, 7, 8]), (8, vec![])] {
            let back = run.read(0..4, 0..5, |probes| probes.contains(&wanted))?;
            assert_eq!(back.halves, halves.into_iter().map(|x: u8| f16::from(x)).collect::<Vec<f16>>());
        }
        // Two with one between them.
        let back = run.read(0..4, 0..5, |probes| !probes.is_empty() && probes != [200])?;
        assert_eq!((back.ids, back.cells), ([10, 12].map(ImageId).to_vec(), vec![0, 2]));
        assert_eq!(back.halves, [0, 1, 2, 6, 7, 8].map(|x: u8| f16::from(x)));
        let none = Stored::from(&folder.path().join("none"));
        assert!(matches!(Run::open(&none), Err(Error::Io { .. })));
        Ok(())
    }
}
