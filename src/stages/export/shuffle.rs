//! A global shuffle of rows with pixels in two passes: every image has a random 64-bit order, a final shard is a range of orders.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::error::{Error, Result};
use crate::io::images::{self, GROUP_ROWS};
use crate::io::part;
use crate::io::row::{self, Cell, Row as _};
use crate::ops::hash::Draw;
use crate::stages::known::Part;
use crate::stages::sample::Sampled;
use crate::stages::task::Task;
use crate::table;
use crate::types::ImageId;

table! {
    /// Why an image is in the data set: columns that follow the image's own.
    pub struct Provenance {
        /// How often it is to be used.
        pub copies: u32,
        /// `seed`, `retrieved` or `balanced`.
        pub why: String,
        /// The seed source it belongs to or was retrieved for.
        pub seed_set: Option<String>,
        /// The seed image it is most like, where it was retrieved by similarity.
        pub seed_id: Option<ImageId>,
        /// Cosine to that seed image.
        pub similarity: Option<f32>,
        /// Its level-1 cluster, where it was drawn from one.
        pub cluster: Option<u32>,
    }
}

/// The column of the random order, in scattered parts only.
const ORDER: &str = "order";

/// Sorts the chosen rows of one shard by their random order.
pub fn scatter(images: &Part, sampled: &Part, seed: u64, task: &mut Task) -> Result<()> {
    let draw = Draw::new(seed, "export");
    let mut chosen: HashMap<ImageId, Sampled> =
        task.read_all::<Sampled>(sampled)?.into_iter().map(|row| (row.id, row)).collect();
    task.outcome.rows_in = chosen.len() as u64;
    let stored = task.open(images)?;
    let mut rows = Rows::default();
    for batch in part::read(&stored, &[], GROUP_ROWS)? {
        let batch = batch?;
        let ids = row::column::<ImageId>(&batch, "id").map_err(|message| Error::data(&stored.path, message))?;
        let (mut picks, mut why, mut orders) = (Vec::new(), Vec::new(), Vec::new());
        for (row, id) in ids.iter().enumerate() {
            let Some(found) = chosen.remove(id) else { continue };
            let Sampled { copies, why: reason, seed_set, seed_id, similarity, cluster, .. } = found;
            picks.push((0, row));
            why.push(Provenance { copies, why: reason, seed_set, seed_id, similarity, cluster });
            orders.push(draw.bits(id.0));
        }
        if picks.is_empty() {
            continue;
        }
        let picked = interleave_record_batch(&[&batch], &picks).map_err(|e| Error::data(&stored.path, e))?;
        rows.add(extend(&picked, why, &orders)?, orders);
    }
    if let Some(id) = chosen.keys().min() {
        return Err(Error::data(&stored.path, format!("holds no image {:016x}, which was chosen from it", id.0)));
    }
    task.outcome.rows_out = task.outcome.rows_in;
    (task.progress)(task.outcome.rows_in);
    rows.write_sorted("scattered", images.shard, task, |schema| schema)
}

/// Merges the rows of one final shard.
pub fn gather(shard: u64, scattered: &[Part], shards: u64, task: &mut Task) -> Result<()> {
    let range = orders_of(shard, shards);
    let mut rows = Rows::default();
    for part in scattered {
        let stored = task.open(part)?;
        let overlaps = |group: RangeInclusive<u64>| group.start() <= range.end() && group.end() >= range.start();
        for batch in part::read_groups(&stored, ORDER, &overlaps, GROUP_ROWS)? {
            let batch = batch?;
            let orders = row::column::<u64>(&batch, ORDER).map_err(|message| Error::data(&stored.path, message))?;
            let inside: Vec<(usize, usize)> =
                orders.iter().enumerate().filter(|(_, order)| range.contains(order)).map(|(row, _)| (0, row)).collect();
            if !inside.is_empty() {
                let orders = inside.iter().map(|&(_, row)| orders[row]).collect();
                rows.add(
                    interleave_record_batch(&[&batch], &inside).map_err(|e| Error::data(&stored.path, e))?,
                    orders,
                );
            }
        }
    }
    task.outcome.rows_in = rows.places.len() as u64;
    task.outcome.rows_out = task.outcome.rows_in;
    (task.progress)(task.outcome.rows_in);
    let without_order = |schema: SchemaRef| {
        let fields: Vec<_> = schema.fields().iter().filter(|field| field.name() != ORDER).cloned().collect();
        images::with_features(&Schema::new(fields))
    };
    rows.write_sorted("data", None, task, without_order)
}

/// The orders that fall into final shard `shard` of `shards`.
fn orders_of(shard: u64, shards: u64) -> RangeInclusive<u64> {
    let edge = |i: u64| (u128::from(i) << 64).div_ceil(u128::from(shards));
    let low = u64::try_from(edge(shard)).unwrap_or(u64::MAX);
    let high = u64::try_from(edge(shard + 1) - 1).unwrap_or(u64::MAX);
    low..=high
}

/// Adds provenance and order to image rows; the image stays last but for the order.
fn extend(images: &RecordBatch, why: Vec<Provenance>, orders: &[u64]) -> Result<RecordBatch> {
    let why = Provenance::encode(why)?;
    let last = images.num_columns() - 1;
    let schema = images.schema();
    let mut fields: Vec<_> = schema.fields()[..last].to_vec();
    fields.extend(why.schema().fields().iter().cloned());
    fields.push(schema.fields()[last].clone());
    fields.push(std::sync::Arc::new(row::field::<u64>(ORDER)));
    let mut columns: Vec<ArrayRef> = images.columns()[..last].to_vec();
    columns.extend(why.columns().iter().cloned());
    columns.push(images.column(last).clone());
    columns.push(u64::encode(orders.to_vec()));
    row::batch(std::sync::Arc::new(Schema::new(fields)), columns)
}

/// Rows in memory with their orders.
#[derive(Default)]
struct Rows {
    batches: Vec<RecordBatch>,
    /// Order, batch and row.
    places: Vec<(u64, usize, usize)>,
}

impl Rows {
    fn add(&mut self, batch: RecordBatch, orders: Vec<u64>) {
        let number = self.batches.len();
        self.places.extend(orders.into_iter().enumerate().map(|(row, order)| (order, number, row)));
        self.batches.push(batch);
    }

    /// Writes the rows by rising order, with the columns of the schema that `shape` makes of theirs.
    fn write_sorted(
        mut self,
        table: &str,
        shard: Option<crate::types::ShardId>,
        task: &mut Task,
        shape: impl Fn(SchemaRef) -> SchemaRef,
    ) -> Result<()> {
        let Some(first) = self.batches.first() else { return Ok(()) };
        let schema = shape(first.schema());
        self.places.sort_unstable();
        let aside = task.aside(table);
        let mut writer = task.batches(table, schema.clone(), &images::LAYOUT)?;
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        for group in self.places.chunks(GROUP_ROWS) {
            let picks: Vec<(usize, usize)> = group.iter().map(|&(_, batch, row)| (batch, row)).collect();
            let sorted = interleave_record_batch(&batches, &picks).map_err(|e| Error::data(&aside, e))?;
            let columns = schema.fields().iter().filter_map(|field| sorted.column_by_name(field.name()).cloned());
            writer.write(&row::batch(schema.clone(), columns.collect())?)?;
        }
        let written = writer.finish()?;
        task.publish(written, table, shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_falls_into_one_shard() {
        for shards in [1, 2, 3, 7, 1000] {
            let mut next = 0u128;
            for shard in 0..shards {
                let range = orders_of(shard, shards);
                assert_eq!(u128::from(*range.start()), next);
                next = u128::from(*range.end()) + 1;
            }
            assert_eq!(next, 1 << 64);
        }
    }
}
