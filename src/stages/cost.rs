//! What a stage costs, by arithmetic: how much is computed, moved, kept and held for so many
//! images.
//!
//! A phase's cost is a formula of the sizes in [`Scale`] and of the step's settings. The rates that
//! turn work into time are assumptions with a default from the benches of this project; a report of
//! an earlier run replaces them by what was measured.

use std::collections::BTreeMap;

use crate::stages::phase::PhaseId;

/// How large the inputs are.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Images of the pool that reach the step.
    pub pool: f64,
    /// Images of each seed set.
    pub seeds: BTreeMap<String, f64>,
    /// Images of each reference set.
    pub references: BTreeMap<String, f64>,
    /// Bytes of a stored image.
    pub image_bytes: f64,
    /// Models by name.
    pub models: BTreeMap<String, Model>,
}

/// A model in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Values of a vector.
    pub dims: f64,
    /// Floating-point operations an image, a product and its sum counted as two.
    pub operations: f64,
}

impl Scale {
    /// Every image: pool, seed sets and reference sets.
    #[must_use]
    pub fn all(&self) -> f64 {
        self.pool + self.seeds.values().sum::<f64>() + self.references.values().sum::<f64>()
    }

    /// Values of the vectors in `STEP/EMBEDDER`.
    #[must_use]
    pub fn dims(&self, table: &str) -> f64 {
        let name = table.rsplit('/').next().unwrap_or(table);
        self.models.get(name).map_or(512.0, |model| model.dims)
    }
}

/// What is to be done, in units of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// Matrix products, at a share of the machine's `sgemm`: more than 1 where eight-bit codes do
    /// them.
    Products {
        /// Operations, a product and its sum counted as two.
        operations: f64,
        /// Their speed, as a multiple of `sgemm`'s.
        of_sgemm: f64,
    },
    /// Rows, at so many a second and core.
    Rows {
        /// How many.
        rows: f64,
        /// Of these a core does in a second.
        a_core_second: f64,
    },
}

impl Work {
    /// Seconds of one core that does `sgemm` operations a second.
    #[must_use]
    pub fn core_seconds(self, sgemm: f64) -> f64 {
        match self {
            Self::Products { operations, of_sgemm } => operations / (of_sgemm * sgemm),
            Self::Rows { rows, a_core_second } => rows / a_core_second,
        }
    }
}

/// What a phase costs.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The phase.
    pub phase: &'static str,
    /// The computation.
    pub work: Work,
    /// The arithmetic, for people.
    pub why: String,
    /// What it rests on that is not known beforehand; empty where nothing much can go wrong.
    pub assumes: &'static str,
    /// Bytes read and written in the work folder.
    pub moved: f64,
    /// Bytes that stay when the step is whole.
    pub kept: f64,
    /// Bytes that are kept only until the step is whole.
    pub scratch: f64,
    /// Memory of a task.
    pub memory: f64,
    /// Independent tasks.
    pub tasks: f64,
}

impl Cost {
    /// Work in one task, that moves and keeps nothing.
    #[must_use]
    pub fn new(phase: impl PhaseId, work: Work, why: String) -> Self {
        Self {
            phase: phase.name(),
            work,
            why,
            assumes: "",
            moved: 0.0,
            kept: 0.0,
            scratch: 0.0,
            memory: 2e8,
            tasks: 1.0,
        }
    }
}

/// A number of images as a count.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate")]
pub fn count(number: f64) -> u64 {
    number as u64
}

/// Tasks of so many rows each, at least one.
#[must_use]
pub fn tasks(rows: f64, a_task: u64) -> f64 {
    (rows / number(a_task)).ceil().max(1.0)
}

/// A count as a number to reckon with.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub fn number(count: u64) -> f64 {
    count as f64
}

/// A number as people write it: 1.2e9, 744 M, 4.1 T.
#[must_use]
pub fn short(number: f64) -> String {
    let units = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = units.into_iter().find(|(size, _)| number >= *size);
    let (value, unit) = unit.map_or((number, String::new()), |(size, name)| (number / size, format!(" {name}")));
    let digits = if value >= 100.0 || value.fract() == 0.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 7.0, 999.0, 1500.0, 1.2e9, 7.44e8, 2.16e16].map(short);
        assert_eq!(all, ["0", "7", "999", "1.50 k", "1.20 G", "744 M", "21.6 P"]);
    }

    #[test]
    fn work_takes_the_time_of_its_rate() {
        let products = Work::Products { operations: 4e12, of_sgemm: 2.0 };
        assert!((products.core_seconds(1e12) - 2.0).abs() < 1e-9);
        assert!((Work::Rows { rows: 100.0, a_core_second: 50.0 }.core_seconds(1.0) - 2.0).abs() < 1e-9);
    }
}
