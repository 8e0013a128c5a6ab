//! How even the balanced draw is, beside the pool it is from and beside other draws of the same
//! size.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::stages::sample::candidates::{Candidate, Candidates};
use crate::stages::sample::choose::{Sampled, tree};
use crate::stages::sample::draw::{DrawPlan, Drawn};
use crate::stages::sample::inputs::ChooseCommon;
use crate::stages::sample::settings::{DrawRule, Labels};
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::table;
use lvd_kernels::hash::Draw;
use lvd_ops::allocate::share;
use lvd_ops::balance::{entropy, kl_to_uniform, tail_covered};

table! {
    /// How evenly a draw covers the clusters of a level, or the labels.
    pub struct Balance {
        /// `level 1`, `level 2`, ... or `labels`.
        pub over: String,
        /// `pool`: the images that the balanced draw is from; `balanced`: that draw. Draws for
        /// comparison, from the same images: `flat` over level-1 clusters alone and `oracle` over
        /// the labels themselves, of the same size; `uniform`, where each image has the same
        /// chance, of nearly that size.
        pub draw: String,
        /// Images, copies counted.
        pub images: u64,
        /// Clusters or labels that it has any of.
        pub groups: u64,
        /// Entropy of the images over these, in bits.
        pub entropy: f64,
        /// Kullback-Leibler divergence from an even draw over all that the pool has, in bits.
        pub kl_to_uniform: f64,
        /// The share of the rarer half of the pool's clusters or labels that it has any of.
        pub tail_covered: f64,
    }
}

table! {
    /// What a label can be taken from.
    pub struct Labelled {
        /// Which image.
        pub id: ImageId,
        /// Where it came from.
        pub url: String,
        /// Its caption.
        pub caption: Option<String>,
    }
}

/// What the phase needs beside what chose.
#[derive(Serialize, Deserialize)]
pub struct BalanceCommon {
    pub chosen: ChooseCommon,
    pub sampled: Table,
    pub labels: Option<Labels>,
    /// The images, where they have labels.
    pub images: Vec<Part>,
}

/// The draws that are compared, in the order of the table.
const DRAWS: [&str; 4] = ["pool", "balanced", "uniform", "flat"];

/// Counts by group: a row a draw.
#[derive(Default)]
struct Counts([Vec<u64>; 4]);

impl Counts {
    fn add(&mut self, group: usize, copies: [u64; 4]) {
        for (counts, copies) in self.0.iter_mut().zip(copies) {
            if counts.len() <= group {
                counts.resize(group + 1, 0);
            }
            counts[group] += copies;
        }
    }
}

/// Measures and writes the `balance` table.
pub fn run(common: &BalanceCommon, task: &mut Task) -> Result<()> {
    let (mut taken, mut balanced): (Vec<ImageId>, HashMap<ImageId, u32>) = Default::default();
    task.for_each::<Sampled>(&common.sampled, |row| {
        match row.why.as_str() {
            "retrieved" => taken.push(row.id),
            "balanced" => _ = balanced.insert(row.id, row.copies),
            _ => {}
        }
        Ok(())
    })?;
    taken.sort_unstable();
    let chosen = &common.chosen;
    let total: u64 = balanced.values().map(|&copies| u64::from(copies)).sum();
    let draw = Draw::new(chosen.seed, "sample/compared");
    let (parents, clusters) = tree(&ChooseCommon { flat: false, ..chosen.clone() }, task)?;
    let mut written = Vec::new();
    let rows = {
        let candidates = Candidates { pool: &chosen.pool, taken: &taken, task };
        let wanted = DrawPlan {
            total,
            quotas: &[],
            max_copies: chosen.max_copies,
            per_cluster: u64::MAX,
            rule: DrawRule::Random,
            draw,
        };
        let flat = Drawn::new(&wanted, &[], clusters, &candidates)?;
        let mut images = 0u64;
        candidates.for_each(&mut |_| images += 1)?;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share_drawn = total as f64 / images.max(1) as f64;
        let copies = |candidate: &Candidate| {
            let uniform = draw.unit(candidate.id.0) < share_drawn;
            let balanced = balanced.get(&candidate.id).copied().unwrap_or(0);
            [1, u64::from(balanced), u64::from(uniform), u64::from(flat.copies(candidate))]
        };
        let mut level = Counts::default();
        candidates.for_each(&mut |candidate| level.add(candidate.cluster as usize, copies(&candidate)))?;
        for number in 1..=parents.len() + usize::from(!chosen.pool.assigned.is_empty()) {
            describe(&format!("level {number}"), &level, None, &mut written);
            if let Some(parents) = parents.get(number - 1) {
                let mut above = Counts::default();
                for (counts, above) in level.0.iter().zip(&mut above.0) {
                    above.resize(parents.iter().max().map_or(0, |&most| most as usize + 1), 0);
                    counts.iter().zip(parents).for_each(|(count, &parent)| above[parent as usize] += count);
                }
                level = above;
            }
        }
        if let Some(labels) = common.labels {
            let counts = labelled(labels, common, &candidates, &copies)?;
            let oracle = share(&counts.0[0], total, draw.within(1));
            describe("labels", &counts, Some(&oracle), &mut written);
        }
        images
    };
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    let mut writer = task.rows("balance")?;
    written.into_iter().try_for_each(|row| writer.push(row))?;
    let written = writer.finish()?;
    task.publish(written, "balance", None)
}

/// Counts by label.
fn labelled(
    labels: Labels,
    common: &BalanceCommon,
    candidates: &Candidates,
    copies: &dyn Fn(&Candidate) -> [u64; 4],
) -> Result<Counts> {
    let mut numbers: HashMap<String, usize> = HashMap::new();
    let mut counts = Counts::default();
    for (shard, selection) in common.chosen.pool.shards.iter().enumerate() {
        let mut of_image: HashMap<ImageId, usize> = HashMap::new();
        for part in common.images.iter().filter(|part| part.shard == selection.shard) {
            for batch in candidates.task.read::<Labelled>(part)? {
                for row in batch? {
                    let next = numbers.len();
                    of_image.insert(row.id, *numbers.entry(label(labels, &row)).or_insert(next));
                }
            }
        }
        for candidate in candidates.of_shard(shard)?.0 {
            if let Some(&label) = of_image.get(&candidate.id) {
                counts.add(label, copies(&candidate));
            }
        }
    }
    Ok(counts)
}

/// The label of an image; empty for none.
fn label(from: Labels, row: &Labelled) -> String {
    match from {
        Labels::Caption => row.caption.clone().unwrap_or_default(),
        Labels::Folder => row.url.rsplit('/').nth(1).unwrap_or_default().to_owned(),
    }
}

/// Adds a row for each draw.
fn describe(over: &str, counts: &Counts, oracle: Option<&Vec<u64>>, rows: &mut Vec<Balance>) {
    let pool = &counts.0[0];
    let groups = pool.iter().filter(|&&count| count > 0).count();
    let draws = DRAWS.iter().copied().zip(&counts.0).chain(oracle.map(|oracle| ("oracle", oracle)));
    rows.extend(draws.map(|(draw, counts)| Balance {
        over: over.into(),
        draw: draw.into(),
        images: counts.iter().sum(),
        groups: counts.iter().filter(|&&count| count > 0).count() as u64,
        entropy: entropy(counts),
        kl_to_uniform: kl_to_uniform(counts, groups),
        tail_covered: tail_covered(counts, pool),
    }));
}
