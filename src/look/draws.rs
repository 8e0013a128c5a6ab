//! What is drawn from a table in one pass, in bounded memory: the things of the lowest keys, how
//! many different things there are, and how often some of them come.
//!
//! A key is a rank, or a hash of what is drawn: so a draw depends on the table and the seed, and
//! not on the order of rows.

use std::collections::BTreeMap;

/// Hashes that are kept to count different things: up to so many the count is exact, beyond it is
/// right within a hundredth or so.
const HASHES: usize = 16_384;

/// The things of the `most` lowest keys. Of several with one key, the first stays.
pub struct Lowest<K, T> {
    most: usize,
    held: BTreeMap<K, T>,
}

impl<K: Ord + Copy, T> Lowest<K, T> {
    /// None so far.
    pub fn new(most: usize) -> Self {
        Self { most, held: BTreeMap::new() }
    }

    /// Whether a thing with this key would be taken.
    pub fn takes(&self, key: K) -> bool {
        self.held.len() < self.most || self.held.last_key_value().is_some_and(|(last, _)| key < *last)
    }

    /// Takes a thing, if its key is among the lowest.
    pub fn push(&mut self, key: K, thing: T) {
        if self.most > 0 && self.takes(key) {
            self.held.entry(key).or_insert(thing);
            if self.held.len() > self.most {
                self.held.pop_last();
            }
        }
    }

    /// Those so far, the lowest key first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.held.values()
    }

    /// Those that were taken, the lowest key first.
    pub fn into_sorted(self) -> Vec<T> {
        self.held.into_values().collect()
    }
}

/// How many different things there are, by the lowest of their hashes (Bar-Yossef et al. 2002).
pub struct Different {
    hashes: Lowest<u64, ()>,
}

/// A count, and whether it is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub n: u64,
    /// Whether it is exactly as many.
    pub exact: bool,
}

impl Different {
    /// None so far.
    pub fn new() -> Self {
        Self { hashes: Lowest::new(HASHES) }
    }

    /// Counts the thing with this hash, unless it was counted before.
    pub fn add(&mut self, hash: u64) {
        self.hashes.push(hash, ());
    }

    /// How many there were.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub fn count(&self) -> Count {
        let held = self.hashes.held.len();
        match self.hashes.held.last_key_value() {
            Some((&last, ())) if held == HASHES => {
                let share = last as f64 / 2f64.powi(64);
                Count { n: ((HASHES - 1) as f64 / share).round() as u64, exact: false }
            }
            _ => Count { n: held as u64, exact: true },
        }
    }
}

/// How often things come, of those with the lowest hashes. What is counted is counted from its
/// first coming on, so each count is exact; beyond `most` different things, they are a random draw.
pub struct Tallies<T> {
    of: Lowest<u64, (T, u64)>,
    different: Different,
}

impl<T> Tallies<T> {
    /// None so far.
    pub fn new(most: usize) -> Self {
        Self { of: Lowest::new(most), different: Different::new() }
    }

    /// Counts a thing with this hash.
    pub fn add(&mut self, hash: u64, thing: T) {
        self.different.add(hash);
        match self.of.held.get_mut(&hash) {
            Some((_, count)) => *count += 1,
            None => self.of.push(hash, (thing, 1)),
        }
    }

    /// How many different things came.
    pub fn different(&self) -> Count {
        self.different.count()
    }

    /// The things that came most often, with their counts; ties by hash.
    pub fn most(self, n: usize) -> Vec<(T, u64)> {
        let mut all = self.of.into_sorted();
        all.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        all.truncate(n);
        all
    }
}

/// A number that orders as `x` does.
pub fn ascending(x: f32) -> u32 {
    let bits = x.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// A number that orders the other way round.
pub fn descending(x: f32) -> u32 {
    !ascending(x)
}

#[cfg(test)]
mod tests {
    use lvd_kernels::hash::Draw;

    use super::*;

    #[test]
    fn a_draw_is_that_of_sorting_everything() {
        let draw = Draw::new(1, "look");
        let mut lowest = Lowest::new(20);
        // Each thing twice: what is drawn is different things.
        for thing in (0..500u64).chain(0..500) {
            lowest.push(draw.bits(thing), thing);
        }
        let mut sorted: Vec<u64> = (0..500).collect();
        sorted.sort_by_key(|&thing| draw.bits(thing));
        assert_eq!(lowest.into_sorted(), sorted[..20]);
    }

    #[test]
    fn different_things_are_counted_once() {
        let draw = Draw::new(2, "look");
        for (n, exact) in [(0u64, true), (7, true), (16_383, true), (200_000, false)] {
            let mut different = Different::new();
            (0..n).chain(0..n / 2).for_each(|thing| different.add(draw.bits(thing)));
            let count = different.count();
            assert_eq!(count.exact, exact, "{n}");
            assert!(count.n.abs_diff(n) <= if exact { 0 } else { n / 40 }, "{n}: {count:?}");
        }
    }

    #[test]
    fn what_comes_often_is_counted_exactly() {
        let draw = Draw::new(3, "look");
        let mut tallies = Tallies::new(50);
        for round in 0..10u64 {
            (0..1_000).filter(|thing| thing % 10 <= round).for_each(|thing| tallies.add(draw.bits(thing), thing));
        }
        assert_eq!(tallies.different(), Count { n: 1_000, exact: true });
        let most = tallies.most(50);
        assert!(most.len() == 50 && most.is_sorted_by_key(|&(_, count)| std::cmp::Reverse(count)));
        assert!(most.iter().all(|&(thing, count)| count == 10 - thing % 10), "{most:?}");
    }

    #[test]
    fn numbers_order_as_they_are() {
        let values = [-2.0f32, -0.5, -0.0, 0.0, 0.25, 1.0];
        assert!(values.map(ascending).is_sorted());
        assert!(values.map(descending).iter().rev().is_sorted());
    }
}
