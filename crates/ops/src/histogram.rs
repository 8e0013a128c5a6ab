//! Histograms with fixed bins, so that those of tasks can be added.

use serde::{Deserialize, Serialize};

/// Counts in bins between fixed edges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Bin `i` is `[edges[i], edges[i + 1])`; the last one includes its upper edge.
    pub edges: Vec<f64>,
    /// Values in each bin.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Bins of equal width between `low` and `high`.
    #[must_use]
    pub fn linear(low: f64, high: f64, bins: u32) -> Self {
        let edges = (0..=bins).map(|i| low + (high - low) * f64::from(i) / f64::from(bins)).collect();
        Self { edges, counts: vec![0; bins as usize] }
    }

    /// Bins whose edges are the powers of two: 1, 2, 4, ... 2^`bins`.
    #[must_use]
    pub fn powers_of_two(bins: u32) -> Self {
        Self { edges: (0..=bins).map(|i| 2f64.powi(i.cast_signed())).collect(), counts: vec![0; bins as usize] }
    }

    /// Counts `value`; below the first edge it goes to the first bin, beyond the last to the last.
    pub fn add(&mut self, value: f64) {
        let bin = self.edges.partition_point(|&edge| edge <= value).saturating_sub(1);
        let last = self.counts.len().saturating_sub(1);
        if let Some(count) = self.counts.get_mut(bin.min(last)) {
            *count += 1;
        }
    }

    /// Adds another histogram with the same edges.
    pub fn merge(&mut self, other: &Self) {
        if self.edges.is_empty() {
            self.clone_from(other);
        } else {
            assert_eq!(self.edges, other.edges, "histograms of one name have the same edges");
            self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        }
    }
}

/// The least of `values` that a share `q` of them does not exceed; 0 for none.
#[must_use]
pub fn quantile(values: &mut [f32], q: f64) -> f32 {
    values.sort_unstable_by(f32::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let place = (q * values.len() as f64).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_their_bins() {
        let mut histogram = Histogram::linear(0.0, 1.0, 4);
        for value in [-1.0, 0.0, 0.25, 0.3, 0.99, 1.0, 7.0] {
            histogram.add(value);
        }
        assert_eq!(histogram.counts, [2, 2, 0, 3]);
        let mut sizes = Histogram::powers_of_two(3);
        for value in [1.0, 2.0, 3.0, 4.0, 100.0] {
            sizes.add(value);
        }
        assert_eq!(sizes.counts, [1, 2, 2]);
        let mut sum = Histogram::default();
        sum.merge(&sizes);
        sum.merge(&sizes);
        assert_eq!(sum.counts, [2, 4, 4]);
    }
}
