//! How far images have to look to find their neighbours: what was measured, and the margin that
//! follows.

use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::table;
use lvd_ops::histogram::quantile;

/// Pairs from which on the measurement is taken as it is.
const ENOUGH: usize = 200;

table! {
    /// A near pair, and the margin with which the cells find it.
    pub struct Need {
        /// The image that looks.
        pub id: ImageId,
        /// Its neighbour; itself for a made-up pair.
        pub neighbour: ImageId,
        /// Their cosine.
        pub similarity: f32,
        /// The least margin; infinite where none finds it.
        pub need: f32,
        /// The margin of districts that goes with it.
        pub districts: f32,
    }
}

/// What the measurement says.
#[derive(Clone, Copy, Debug)]
pub struct Tuned {
    /// How much less a cell's cosine may be than that of the own cell, to be probed.
    pub margin: f32,
    /// How much less a district's may be than that of the nearest, for its cells to be looked at.
    pub districts: f32,
    /// The share of the measured pairs that it finds; none where too few were there.
    pub recall: Option<f64>,
    /// The measured pairs.
    pub pairs: usize,
}

/// The margin to use: the least that misses three tenths of what `recall` allows, for it is
/// measured on a sample. (Of 1,000 pairs and for a recall of 99% it misses three. Then, one time in
/// a hundred, more than 1% are missed in truth.) Where no margin does, that which just reaches
/// `recall`, or as much as can be reached. And the least margin of districts that hides nothing of
/// this.
pub fn margin(needs: &Table, planted: &Table, neighbours: usize, recall: f64, task: &Task) -> Result<Tuned> {
    let mut measured: Vec<Need> = Vec::new();
    task.for_each::<Need>(needs, |need| {
        measured.push(need);
        Ok(())
    })?;
    measured.sort_by(|a, b| {
        a.id.cmp(&b.id).then(b.similarity.total_cmp(&a.similarity)).then(a.neighbour.cmp(&b.neighbour))
    });
    let of_one = measured.chunk_by(|a, b| a.id == b.id);
    let found: Vec<(f32, f32)> =
        of_one.flat_map(|one| one.iter().take(neighbours).map(|need| (need.need, need.districts))).collect();
    let mut all = found.clone();
    if found.len() < ENOUGH {
        task.for_each::<Need>(planted, |need| {
            all.push((need.need, need.districts));
            Ok(())
        })?;
    }
    let lost = 1.0 - recall;
    let margin = reached(all.iter().map(|need| need.0).collect(), [1.0 - 0.3 * lost, recall]);
    // Those that the margin does not find are not found by any districts either.
    let met = all.iter().map(|need| if need.0 <= margin { need.1 } else { f32::INFINITY });
    let districts = reached(met.collect(), [1.0 - 0.3 * lost, recall]);
    let is_found = |need: &&(f32, f32)| need.0 <= margin && need.1 <= districts;
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = found.iter().filter(is_found).count() as f64 / found.len() as f64;
    Ok(Tuned { margin, districts, recall: (found.len() >= ENOUGH).then_some(share), pairs: found.len() })
}

/// The least of `values` that the first of some shares of them does not exceed; where it is
/// infinite the next, or the largest that is not.
fn reached(mut values: Vec<f32>, shares: [f64; 2]) -> f32 {
    let least = shares.map(|share| quantile(&mut values, share)).into_iter().find(|need| need.is_finite());
    least.unwrap_or_else(|| values.iter().copied().filter(|need| need.is_finite()).fold(0.0, f32::max))
}
