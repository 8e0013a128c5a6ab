//! What the data set is made of, row by row, as in the `DINOv2` paper's Table 15.

use std::collections::BTreeMap;

use crate::stages::plan::broken;
use crate::stages::sample::Sampled;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_io::table;

table! {
    /// The images of the data set that share a source, a reason and a seed set.
    pub struct Row {
        /// The seed set they belong to or were retrieved for; null for a balanced draw.
        pub seed_set: Option<String>,
        /// `seed`, `retrieved` or `balanced`.
        pub why: String,
        /// The source they came from.
        pub source: String,
        /// Images.
        pub images: u64,
        /// Images, copies counted.
        pub copies: u64,
    }
}

/// Counts the data set.
pub fn run(sampled: &Table, sources: &[(u16, String)], task: &mut Task) -> Result<()> {
    let mut groups: BTreeMap<(Option<String>, String, String), (u64, u64)> = BTreeMap::new();
    task.for_each::<Sampled>(sampled, |row| {
        let dataset = row.id.shard().dataset();
        let source = sources.iter().find(|(number, _)| *number == dataset).map(|(_, name)| name.clone());
        let source = source.ok_or_else(|| broken(format!("no source has the data set {dataset}")))?;
        let group = groups.entry((row.seed_set, row.why, source)).or_default();
        *group = (group.0 + 1, group.1 + u64::from(row.copies));
        Ok(())
    })?;
    task.outcome.rows_in = sampled.rows();
    task.outcome.rows_out = sampled.rows();
    let mut writer = task.rows("composition")?;
    for ((seed_set, why, source), (images, copies)) in groups {
        writer.push(Row { seed_set, why, source, images, copies })?;
    }
    let written = writer.finish()?;
    task.publish(written, "composition", None)
}
