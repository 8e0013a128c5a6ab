//! Pairs for which a row's list has no room.
//!
//! Lists of the k nearest have the components of all pairs only where no more than k are near.
//! Where one pair links two crowds, no list has that pair. So a maximum spanning forest of these
//! pairs is kept beside the lists.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::forest::thinned;
use crate::pair::Pair;
use lvd_base::types::ImageId;

/// Pairs from which on a forest takes their place.
const MANY: usize = 1 << 20;
/// Pairs that are handed over together.
const SOME: usize = 4096;

/// What many threads have found no room for.
#[derive(Default)]
pub struct Lost {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    pairs: Vec<Pair>,
    /// Pairs of the last forest.
    least: usize,
}

impl Lost {
    /// A maximum spanning forest of all that was lost since the last time, ordered by ids. It does
    /// not depend on the order of the losses.
    pub fn take(&self) -> Vec<Pair> {
        let pairs = std::mem::take(&mut self.lock().pairs);
        let mut forest = thinned(pairs);
        forest.sort_unstable_by_key(|pair| (pair.id, pair.neighbour));
        forest
    }

    fn add(&self, some: &mut Vec<Pair>) {
        let full = {
            let mut held = self.lock();
            held.pairs.append(some);
            if held.pairs.len() < MANY.max(2 * held.least) {
                return;
            }
            std::mem::take(&mut held.pairs)
        };
        // Others add theirs meanwhile.
        let forest = thinned(full);
        let mut held = self.lock();
        held.least = forest.len();
        held.pairs.extend(forest);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one thread has found no room for.
pub(super) struct Losses<'a> {
    all: &'a Lost,
    some: Vec<Pair>,
}

impl<'a> Losses<'a> {
    pub fn to(all: &'a Lost) -> Self {
        Self { all, some: Vec::new() }
    }

    /// Notes a pair, the same one for both ends.
    pub fn add(&mut self, one: ImageId, other: ImageId, similarity: f32) {
        let pair = Pair { id: one.min(other), neighbour: one.max(other), similarity, attached: false };
        if self.some.last() != Some(&pair) {
            self.some.push(pair);
            if self.some.len() >= SOME {
                self.all.add(&mut self.some);
            }
        }
    }
}

impl Drop for Losses<'_> {
    fn drop(&mut self) {
        if !self.some.is_empty() {
            self.all.add(&mut self.some);
        }
    }
}
