//! Where vectors belong, and which other cells each of them probes.

/// Where vectors belong.
#[derive(Clone, Debug, PartialEq)]
pub struct Assigned {
    /// The cell of each vector.
    pub cells: Vec<u32>,
    /// Where each vector's probes begin, and the end of the last.
    pub starts: Vec<u32>,
    /// The cells that each vector probes beside its own, nearest first, each with how much less its
    /// cosine is.
    pub probes: Vec<(u32, f32)>,
}

impl Default for Assigned {
    fn default() -> Self {
        Self { cells: Vec::new(), starts: vec![0], probes: Vec::new() }
    }
}

impl Assigned {
    /// Appends what is known of other vectors.
    pub(super) fn extend(&mut self, more: &Self) {
        let held = number(self.probes.len());
        self.cells.extend(&more.cells);
        self.starts.extend(more.starts[1..].iter().map(|start| held + start));
        self.probes.extend(&more.probes);
    }

    /// The probes of one vector.
    #[must_use]
    pub fn of(&self, row: usize) -> &[(u32, f32)] {
        &self.probes[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

/// How much less than that of a vector's own cell the cosine of `cell` is; infinite where it is not
/// seen.
pub(super) fn gap(assigned: &Assigned, row: usize, cell: u32) -> f32 {
    if assigned.cells[row] == cell {
        return 0.0;
    }
    assigned.of(row).iter().find(|&&(probed, _)| probed == cell).map_or(f32::INFINITY, |&(_, gap)| gap)
}

/// An index as a number of 32 bits.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 vectors and cells")
}
