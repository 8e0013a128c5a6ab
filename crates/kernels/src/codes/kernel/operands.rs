//! What kernels multiply.

use crate::codes::line::Line;

/// Rows of signed codes, and groups of packed ones (codes plus 128).
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// The rows: four codes a line that is used, at least.
    pub codes: &'a [&'a [i8]],
    /// What each row's products are too large by, since packed codes are.
    pub offsets: &'a [i32],
    /// The groups.
    pub packed: &'a [Line],
    /// Lines a group.
    pub lines: usize,
    /// Lines of each group that are multiplied: the first.
    pub used: usize,
}

impl Operands<'_> {
    /// Checks the lengths that kernels rely on.
    ///
    /// # Panics
    /// When groups or rows are not whole.
    pub fn check(&self) {
        let &Operands { codes, offsets, packed, lines, used } = self;
        assert!(used <= lines && lines > 0 && packed.len().is_multiple_of(lines), "whole groups of codes");
        assert!(codes.len() == offsets.len() && codes.iter().all(|row| row.len() >= 4 * used), "whole rows of codes");
    }
}
