//! What a step costs, by arithmetic.

use crate::stages::cost::{Cost, Scale, Work, count, number, short, tasks};
use crate::stages::dedup::phases::DedupPhase;
use crate::stages::dedup::settings::Dedup;
use crate::stages::dedup::shards::TASK_ROWS;
use crate::stages::dedup::{join, train, whiten};

/// The share of all pairs that cells let through on hard data (docs/dedup.md).
const PAIRS_COMPARED: f64 = 0.03;
/// Bytes of the probes of a row on hard data.
const PROBE_BYTES: u64 = 1080;

impl Dedup {
    /// The costs of all phases; those of one phase are summed.
    pub(super) fn estimate(&self, scale: &Scale) -> Vec<Cost> {
        let d = scale.dims(self.vectors.name());
        let references: f64 = self
            .references
            .iter()
            .filter_map(|name| scale.references.get(name).or_else(|| scale.seeds.get(name)))
            .sum();
        let n = scale.pool + references;
        let parts = tasks(n, TASK_ROWS);
        // Pairs of the pool are compared once; those within the references not at all.
        let pairs = if self.references.is_empty() { n * n / 2.0 } else { scale.pool * references };
        let components = Cost {
            moved: n * 60.0,
            kept: n * 12.0,
            memory: 4.0 * n + 2e8,
            ..Cost::new(
                DedupPhase::Components,
                Work::Rows { rows: n, a_core_second: 2e6 },
                format!("{} rows, union-find in 4 bytes each", short(n)),
            )
        };
        let codes = |operations: f64, of_sgemm| Work::Products { operations, of_sgemm };
        let fitted = number(whiten::SAMPLE).min(n);
        let fitting = Cost {
            moved: n * 2.0 * d,
            memory: fitted * d * 4.0 + 2e8,
            ..Cost::new(
                DedupPhase::Whiten,
                codes(2.0 * fitted * d * d, 0.2),
                format!("{fitted} vectors x 2 x {d} x {d}"),
            )
        };
        let whitening = |phase| {
            let why = format!("{} vectors x {d} x {d} to whiten them, at 0.6 x sgemm", short(n));
            Cost { tasks: parts, ..Cost::new(phase, codes(n * d * d, 0.6), why) }
        };
        let whitened = |phases: &[DedupPhase]| phases.iter().copied().filter(|_| self.whiten).map(whitening).collect();
        let mut costs: Vec<Cost> = self.whiten.then_some(fitting).into_iter().collect();
        if n <= number(self.exact_up_to) {
            let why = format!("{} pairs x 2 x {d}, by codes at 2.5 x sgemm", short(pairs));
            costs.extend::<Vec<Cost>>(whitened(&[DedupPhase::Move]));
            costs.extend([
                Cost { moved: n * 2.0 * d, ..Cost::new(DedupPhase::Join, codes(pairs * 2.0 * d, 2.5), why) },
                components,
            ]);
            return costs;
        }
        let cells = number(train::cells(count(n), self.cell_images));
        let row = 2.0 * d + 500.0;
        let memory = f64::from(self.memory_mib) * f64::from(1 << 20);
        let groups = (n * number(join::row_bytes(count(d), PROBE_BYTES)) / memory).ceil();
        let share = 100.0 * PAIRS_COMPARED;
        let queries = number(train::QUERIES);
        costs.extend([
            Cost { moved: n * d, ..Cost::new(DedupPhase::Train, codes(2e6 * cells * d, 1.5), format!("{} cells", short(cells))) },
            Cost {
                moved: n * 2.0 * d,
                tasks: parts,
                ..Cost::new(
                    DedupPhase::Tune,
                    codes(queries * n * 2.0 * d, 2.7),
                    format!("{queries} images with {}, x 2 x {d}, by sketches at 2.7 x sgemm", short(n)),
                )
            },
            Cost {
                moved: n * (2.0 * d + row),
                scratch: n * row,
                memory: cells * d * 5.0 + 5e8,
                tasks: parts,
                ..Cost::new(
                    DedupPhase::Move,
                    codes(2.0 * n * cells * d, 1.8),
                    format!(
                        "2 x {} vectors x {} cells x {d}, by codes at 1.8 x sgemm; fewer with districts",
                        short(n),
                        short(cells)
                    ),
                )
            },
            Cost {
                // A row is read for its own cell and for the groups of cells that it probes, its
                // probes for each group before it.
                moved: n * (row * groups.min(8.0) + 100.0 * groups),
                kept: n * 24.0,
                memory,
                tasks: groups,
                assumes: "3% of all pairs are compared, as at 1 million vectors with nothing in common; at 10 million with nested clouds it was 0.1%",
                ..Cost::new(
                    DedupPhase::Join,
                    codes(pairs * PAIRS_COMPARED * 2.0 * d, 1.6),
                    format!("{share}% of {} pairs x 2 x {d}, by codes and sketches at 1.6 x sgemm", short(pairs)),
                )
            },
            components,
        ]);
        // The costs of one phase are summed.
        costs.extend::<Vec<Cost>>(whitened(&[DedupPhase::Tune, DedupPhase::Move]));
        costs
    }
}
