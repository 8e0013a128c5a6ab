//! The nearest rows of codes to each query, and all that may be as near.

use std::ops::Range;

use super::kernel::sink::{Best, Looking};
use super::line::LANES;
use super::{Codes, ScanMode};

impl Codes {
    /// For each chosen query the rows whose estimated cosine is less than that of the nearest by at
    /// most `margin`, in order, each with the estimate.
    #[must_use]
    pub fn nearest(&self, queries: &Self, chosen: &[u32], margin: f32) -> Vec<Vec<(u32, f32)>> {
        let everyone = (0..).take(chosen.len()).collect();
        self.nearest_among(queries, chosen, margin, &[(0..self.rows, everyone)])
    }

    /// The same where each chosen query is compared with some ranges of rows only (and with those
    /// that share a group with them): each range comes with the places among `chosen` of its
    /// queries.
    #[must_use]
    pub fn nearest_among(
        &self,
        queries: &Self,
        chosen: &[u32],
        margin: f32,
        ranges: &[(Range<usize>, Vec<u32>)],
    ) -> Vec<Vec<(u32, f32)>> {
        assert!(self.residual.is_none(), "codes of whole vectors");
        let mut scales = self.coding.scales.clone();
        // What fills up the last group is nobody's nearest.
        scales[self.rows..].fill(f32::NAN);
        // Products are compared without the query's own scale; it is 0 for one without a direction.
        let own = |query: u32| queries.coding.scales[query as usize];
        let of = |&query: &u32| Looking::new(if own(query) > 0.0 { margin / own(query) } else { 0.0 });
        let mut looking: Vec<Looking> = chosen.iter().map(of).collect();
        for (rows, places) in ranges {
            let groups = self.groups(rows);
            let some: Vec<u32> = places.iter().map(|&place| chosen[place as usize]).collect();
            let mut theirs: Vec<Looking> = places
                .iter()
                .map(|&place| std::mem::replace(&mut looking[place as usize], Looking::new(0.0)))
                .collect();
            let scales = &scales[groups.start * LANES..groups.end * LANES];
            let first = groups.start * LANES;
            self.multiply(queries, &some, &groups, ScanMode::Full, &mut Best { scales, first, looking: &mut theirs });
            for (&place, their) in places.iter().zip(theirs) {
                looking[place as usize] = their;
            }
        }
        let counts = |(&query, Looking { mut found, least, .. }): (&u32, Looking)| {
            found.retain(|&(_, value)| value >= least);
            if ranges.len() > 1 {
                // Two ranges may share a group.
                found.sort_unstable_by_key(|&(row, _)| row);
                found.dedup_by_key(|&mut (row, _)| row);
            }
            for (_, value) in &mut found {
                *value *= own(query);
            }
            found
        };
        chosen.iter().zip(looking).map(counts).collect()
    }
}
