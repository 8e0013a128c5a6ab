//! The cells of a block, and the rows that probe them.

use std::ops::Range;

/// The rows of a cell: those that are not settled, then those that are.
pub struct Cell {
    /// Its number among all cells.
    pub number: u32,
    /// Where they are in the block.
    pub rows: Range<usize>,
    /// The first settled row.
    pub first_settled: usize,
}

impl Cell {
    /// What the rows `chosen` are compared with: all rows here, or those that are not settled if
    /// they are settled.
    pub fn for_settled(&self, settled: bool) -> Range<usize> {
        if settled { self.rows.start..self.first_settled } else { self.rows.clone() }
    }
}

/// Rows by the cells that they probe.
pub struct Probes {
    /// Where the rows of each cell begin, and the end of the last.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Probes {
    /// Of the cells that each row probes. Counted, not sorted.
    pub fn new<'a>(targets: impl Iterator<Item = &'a [u32]> + Clone) -> Self {
        let cells = targets.clone().flatten().max().map_or(0, |&last| last as usize + 1);
        let mut starts = vec![0u32; cells + 1];
        for &target in targets.clone().flatten() {
            starts[target as usize + 1] += 1;
        }
        for cell in 0..cells {
            starts[cell + 1] += starts[cell];
        }
        let mut places = starts.clone();
        let mut rows = vec![0; starts[cells] as usize];
        for (row, targets) in targets.enumerate() {
            for &target in targets {
                let place = &mut places[target as usize];
                rows[*place as usize] = row_number(row);
                *place += 1;
            }
        }
        Self { starts, rows }
    }

    /// The rows that probe `cell`, ascending.
    pub fn of(&self, cell: u32) -> &[u32] {
        match self.starts.get(cell as usize..cell as usize + 2) {
            Some(&[begin, end]) => &self.rows[begin as usize..end as usize],
            _ => &[],
        }
    }
}

/// The number of a row of a block.
pub fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a block has fewer than 2^32 rows")
}
