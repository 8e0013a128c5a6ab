//! What a pipeline got right, by the ground truth: planted copies found, held-out copies gone, and
//! how even the result is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::edits::Edit;
use crate::truth::TruthRow;

/// Planted copies of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Copies of pool pictures that were planted.
    pub planted: u64,
    /// Of these, the ones in the component of the picture they are a copy of.
    pub found: u64,
}

impl Found {
    /// found / planted.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    pub fn recall(&self) -> f64 {
        if self.planted == 0 { 1.0 } else { self.found as f64 / self.planted as f64 }
    }
}

/// How well copies were found.
#[derive(Clone, Debug, Default)]
pub struct CopyScore {
    /// By edit, in the order of [`Edit::ALL`].
    pub by_edit: Vec<(Edit, Found)>,
    /// All edits that the encoder can be expected to see through.
    pub expected: Found,
    /// Pairs of pool files in one component.
    pub pairs: u64,
    /// Of these, the pairs that show the same picture.
    pub right_pairs: u64,
}

impl CopyScore {
    /// Share of the pairs in one component that are right.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
    pub fn precision(&self) -> f64 {
        if self.pairs == 0 { 1.0 } else { self.right_pairs as f64 / self.pairs as f64 }
    }
}

/// Compares components (path to component, of the pool files that got a vector) with the planted
/// copies.
#[must_use]
pub fn copies(truth: &[TruthRow], component_of: &BTreeMap<String, u64>) -> CopyScore {
    let mut score = CopyScore::default();
    let mut by_edit: BTreeMap<Edit, Found> = BTreeMap::new();
    let pool: HashSet<&str> = truth.iter().filter(|row| row.role == "pool").map(|row| row.path.as_str()).collect();
    for row in truth.iter().filter(|row| row.role == "pool") {
        let (Some(edit), Some(of)) = (&row.edit, &row.copy_of) else { continue };
        let Some(edit) = Edit::ALL.into_iter().find(|known| known.name() == edit) else { continue };
        if pool.contains(of.as_str()) {
            let component = component_of.get(&row.path);
            let found = component.is_some() && component == component_of.get(of);
            let entry = by_edit.entry(edit).or_default();
            entry.planted += 1;
            entry.found += u64::from(found);
            if edit.is_expected() {
                score.expected.planted += 1;
                score.expected.found += u64::from(found);
            }
        }
    }
    score.by_edit = by_edit.into_iter().collect();
    // A picture is known by the file that nothing is copied from.
    let shown = |row: &TruthRow| row.copy_of.clone().unwrap_or_else(|| row.path.clone());
    let mut members: HashMap<u64, BTreeMap<String, u64>> = HashMap::new();
    for row in truth.iter().filter(|row| row.role == "pool") {
        if let Some(component) = component_of.get(&row.path) {
            *members.entry(*component).or_default().entry(shown(row)).or_default() += 1;
        }
    }
    let pairs = |n: u64| n * n.saturating_sub(1) / 2;
    for pictures in members.values() {
        score.pairs += pairs(pictures.values().sum());
        score.right_pairs += pictures.values().map(|&n| pairs(n)).sum::<u64>();
    }
    score
}

/// Copies of held-out pictures that were planted in the pool, and how many of them are no longer
/// `kept` (paths).
#[must_use]
pub fn contamination(truth: &[TruthRow], kept: &BTreeSet<String>) -> Found {
    let reference: HashSet<&str> =
        truth.iter().filter(|row| row.role == "reference").map(|row| row.path.as_str()).collect();
    let mut found = Found::default();
    let planted = truth
        .iter()
        .filter(|row| row.role == "pool" && row.copy_of.as_deref().is_some_and(|of| reference.contains(of)));
    for row in planted {
        found.planted += 1;
        found.found += u64::from(!kept.contains(&row.path));
    }
    found
}

/// How evenly images are spread over concepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    /// Images.
    pub images: u64,
    /// Entropy of the shares, in bits.
    pub entropy_bits: f64,
    /// The same over its maximum, the logarithm of the number of concepts: 1 is perfectly even.
    pub evenness: f64,
    /// Share of the most frequent concept.
    pub largest_share: f64,
    /// Images of the rarest concept.
    pub smallest: u64,
}

/// The balance of counts.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a share needs no more")]
pub fn balance(counts: &BTreeMap<String, u64>) -> Balance {
    let images: u64 = counts.values().sum();
    let shares: Vec<f64> = counts.values().map(|&n| n as f64 / images.max(1) as f64).collect();
    let entropy_bits = -shares.iter().filter(|&&p| p > 0.0).map(|p| p * p.log2()).sum::<f64>();
    let most = (counts.len().max(2) as f64).log2();
    Balance {
        images,
        entropy_bits,
        evenness: entropy_bits / most,
        largest_share: shares.iter().copied().fold(0.0, f64::max),
        smallest: counts.values().min().copied().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, role: &str, edit: Option<&str>, copy_of: Option<&str>) -> TruthRow {
        TruthRow {
            path: path.into(),
            role: role.into(),
            source: "web".into(),
            concept: "fish".into(),
            kind: if edit.is_some() { "edited_copy" } else { "original" }.into(),
            edit: edit.map(str::to_owned),
            copy_of: copy_of.map(str::to_owned),
        }
    }

    #[test]
    fn copies_are_scored_by_edit_and_by_pair() {
        let truth = [
            row("a", "pool", None, None),
            row("a1", "pool", Some("resize"), Some("a")),
            row("a2", "pool", Some("flip"), Some("a")),
            row("b", "pool", None, None),
            row("b1", "pool", Some("blur"), Some("b")),
            row("r", "reference", None, None),
            row("r1", "pool", Some("resize"), Some("r")),
        ];
        // a and a1 together, with b wrongly; everything else alone.
        let components = [("a", 1), ("a1", 1), ("b", 1), ("a2", 2), ("b1", 3), ("r1", 4)];
        let components = components.map(|(path, component)| (path.to_owned(), component)).into();
        let score = copies(&truth, &components);
        assert_eq!(score.expected, Found { planted: 2, found: 1 });
        let flip = score.by_edit.iter().find(|(edit, _)| *edit == Edit::Flip).map(|(_, found)| found.clone());
        assert_eq!(flip, Some(Found { planted: 1, found: 0 }));
        assert_eq!((score.right_pairs, score.pairs), (1, 3));
        let kept = ["a", "r1"].map(str::to_owned).into();
        assert_eq!(contamination(&truth, &kept), Found { planted: 1, found: 0 });
        assert_eq!(contamination(&truth, &BTreeSet::new()), Found { planted: 1, found: 1 });
    }

    #[test]
    fn an_even_spread_has_evenness_one() {
        let even: BTreeMap<String, u64> = ["a", "b", "c", "d"].map(|name| (name.to_owned(), 5)).into();
        let balance_of_even = balance(&even);
        assert!((balance_of_even.entropy_bits - 2.0).abs() < 1e-12 && (balance_of_even.evenness - 1.0).abs() < 1e-12);
        let skewed: BTreeMap<String, u64> =
            [("a", 97), ("b", 1), ("c", 1), ("d", 1)].map(|(name, n)| (name.to_owned(), n)).into();
        let skewed = balance(&skewed);
        assert!(skewed.evenness < 0.2 && skewed.smallest == 1 && (skewed.largest_share - 0.97).abs() < 1e-12);
    }
}
