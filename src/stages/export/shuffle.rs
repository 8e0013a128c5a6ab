//! A global shuffle of rows with pixels in two passes: every image has a random 64-bit order, a
//! final shard is a range of orders.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::stages::sample::Sampled;
use crate::stages::table::Part;
use crate::stages::task::{Headway, Task};
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, ShardId};
use lvd_io::checked::Stored;
use lvd_io::images::{self, GROUP_BYTES, Groups};
use lvd_io::part::{self, PartWriter};
use lvd_io::row::{self, Cell, Row as _};
use lvd_io::table;
use lvd_kernels::hash::Draw;

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

/// The column of a file's size.
const SIZE: &str = "size_bytes";
/// Bytes of files that are sorted at a time. A shard of pictures of 100 kB fits; one of more is
/// sorted in runs.
const RUN_BYTES: u64 = 1 << 30;

/// Sorts the chosen rows of one shard by their random order, in runs: a part each.
pub fn scatter(ingested: &Part, sampled: &Part, seed: u64, task: &mut Task) -> Result<()> {
    let draw = Draw::new(seed, "export");
    let mut chosen: HashMap<ImageId, Sampled> =
        task.read_all::<Sampled>(sampled)?.into_iter().map(|row| (row.id, row)).collect();
    task.outcome.rows_in = chosen.len() as u64;
    let stored = task.open(ingested)?;
    let mut rows = Rows::default();
    for batch in part::read_groups(&stored, &[], "id", &|_| true)? {
        let batch = images::complete(batch?)?;
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
        rows.add(extend(&picked, why, &orders)?, orders).map_err(|message| Error::data(&stored.path, message))?;
        if rows.bytes + GROUP_BYTES > RUN_BYTES {
            std::mem::take(&mut rows).write_run(ingested.shard, task)?;
        }
    }
    if let Some(id) = chosen.keys().min() {
        return Err(Error::data(&stored.path, format!("holds no image {:016x}, which was chosen from it", id.0)));
    }
    task.outcome.rows_out = task.outcome.rows_in;
    (task.progress)(Headway::Done(task.outcome.rows_in));
    rows.write_run(ingested.shard, task)
}

/// Merges the rows of one final shard: first who falls into it and how big they are, then the
/// files, a run at a time.
pub fn gather(shard: u64, scattered: &[Part], shards: u64, task: &mut Task) -> Result<()> {
    let opened = scattered.iter().map(|part| task.open(part)).collect::<Result<Vec<_>>>()?;
    let mut sizes: Vec<(u64, u64)> = Vec::new();
    for_each_within(&opened, &[ORDER, SIZE], &orders_of(shard, shards), |batch, orders| {
        sizes.extend(orders.into_iter().zip(row::column::<u64>(&batch, SIZE)?));
        Ok(())
    })?;
    sizes.sort_unstable();
    let mut sorted = None;
    for run in runs(&sizes) {
        let mut rows = Rows::default();
        for_each_within(&opened, &[], &run, |batch, orders| rows.add(batch, orders))?;
        let Some(first) = rows.batches.first() else { continue };
        let sorted = match &mut sorted {
            Some(sorted) => sorted,
            none => none.insert(Sorted::create("data", without_order(&first.schema()), task)?),
        };
        sorted.write(rows)?;
    }
    task.outcome.rows_in = sizes.len() as u64;
    task.outcome.rows_out = task.outcome.rows_in;
    (task.progress)(Headway::Done(task.outcome.rows_in));
    match sorted {
        Some(sorted) => task.publish(sorted.part.finish()?, "data", None),
        None => Ok(()),
    }
}

/// Calls `each` with the rows of scattered parts whose orders are in `range`, and their orders,
/// some at a time.
fn for_each_within(
    parts: &[Stored],
    columns: &[&str],
    range: &RangeInclusive<u64>,
    mut each: impl FnMut(RecordBatch, Vec<u64>) -> std::result::Result<(), String>,
) -> Result<()> {
    let overlaps = |group: RangeInclusive<u64>| group.start() <= range.end() && group.end() >= range.start();
    for part in parts {
        for batch in part::read_groups(part, columns, ORDER, &overlaps)? {
            let batch = batch?;
            let orders = row::column::<u64>(&batch, ORDER).map_err(|message| Error::data(&part.path, message))?;
            let inside: Vec<(usize, usize)> =
                orders.iter().enumerate().filter(|(_, order)| range.contains(order)).map(|(row, _)| (0, row)).collect();
            if !inside.is_empty() {
                let orders = inside.iter().map(|&(_, row)| orders[row]).collect();
                let rows = interleave_record_batch(&[&batch], &inside).map_err(|e| Error::data(&part.path, e))?;
                each(rows, orders).map_err(|message| Error::data(&part.path, message))?;
            }
        }
    }
    Ok(())
}

/// Cuts rows, sorted by their orders and with the sizes of their files, into ranges of orders: each
/// of whole row groups with [`RUN_BYTES`] of files at most, or of one group.
fn runs(rows: &[(u64, u64)]) -> Vec<RangeInclusive<u64>> {
    let (mut groups, mut runs, mut bytes) = (Groups::default(), Vec::new(), 0);
    let Some(&(mut first, size)) = rows.first() else { return runs };
    groups.end_before(size);
    for pair in rows.windows(2) {
        let [(last, size), (next, next_size)] = [pair[0], pair[1]];
        bytes += size;
        // Rows of one order, should there ever be any, stay together.
        if groups.end_before(next_size) && bytes + GROUP_BYTES > RUN_BYTES && next > last {
            runs.push(first..=last);
            (first, bytes) = (next, 0);
        }
    }
    runs.extend(rows.last().map(|row| first..=row.0));
    runs
}

/// The columns of the final shards.
fn without_order(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().filter(|field| field.name() != ORDER).cloned().collect();
    images::with_features(&Schema::new(fields))
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
    /// Order, batch, row, and the size of its file.
    places: Vec<(u64, usize, usize, u64)>,
    /// Of all files.
    bytes: u64,
}

impl Rows {
    fn add(&mut self, batch: RecordBatch, orders: Vec<u64>) -> std::result::Result<(), String> {
        let number = self.batches.len();
        let sizes = row::column::<u64>(&batch, SIZE)?;
        self.bytes += sizes.iter().sum::<u64>();
        let places = orders.into_iter().zip(sizes).enumerate();
        self.places.extend(places.map(|(row, (order, size))| (order, number, row, size)));
        self.batches.push(batch);
        Ok(())
    }

    /// Publishes the rows by rising order as a scattered part.
    fn write_run(self, shard: Option<ShardId>, task: &mut Task) -> Result<()> {
        let Some(first) = self.batches.first() else { return Ok(()) };
        let mut sorted = Sorted::create("scattered", first.schema(), task)?;
        sorted.write(self)?;
        task.publish(sorted.part.finish()?, "scattered", shard)
    }
}

/// A part being written, whose rows come by rising order.
struct Sorted {
    part: PartWriter,
    schema: SchemaRef,
    groups: Groups,
    aside: PathBuf,
}

impl Sorted {
    fn create(table: &str, schema: SchemaRef, task: &Task) -> Result<Self> {
        let part = task.batches(table, schema.clone(), &images::LAYOUT)?;
        Ok(Self { part, schema, groups: Groups::default(), aside: task.aside(table) })
    }

    /// Appends rows, sorted, in row groups.
    fn write(&mut self, mut rows: Rows) -> Result<()> {
        rows.places.sort_unstable();
        let batches: Vec<&RecordBatch> = rows.batches.iter().collect();
        let mut group: Vec<(usize, usize)> = Vec::new();
        for &(_, batch, row, size) in &rows.places {
            if self.groups.end_before(size) {
                self.write_group(&batches, &std::mem::take(&mut group))?;
                self.part.end_group()?;
            }
            group.push((batch, row));
        }
        self.write_group(&batches, &group)
    }

    fn write_group(&mut self, batches: &[&RecordBatch], picks: &[(usize, usize)]) -> Result<()> {
        if picks.is_empty() {
            return Ok(());
        }
        let sorted = interleave_record_batch(batches, picks).map_err(|e| Error::data(&self.aside, e))?;
        let columns = self.schema.fields().iter().filter_map(|field| sorted.column_by_name(field.name()).cloned());
        self.part.write(&row::batch(self.schema.clone(), columns.collect())?)
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

    #[test]
    fn runs_hold_all_rows_in_whole_groups_and_no_more_than_their_bytes() {
        let check = |sizes: &[u64], expect: &[usize]| {
            let rows: Vec<(u64, u64)> = (10..).zip(sizes.iter().copied()).collect();
            let lengths: Vec<usize> =
                runs(&rows).iter().map(|run| rows.iter().filter(|(order, _)| run.contains(order)).count()).collect();
            assert_eq!(lengths, expect);
        };
        check(&[], &[]);
        check(&[1], &[1]);
        // Ten groups of a hundred rows: what is left below 1 GiB is less than a group may have.
        check(&vec![1_000_000; 2500], &[1000, 1000, 500]);
        // Eight groups of six.
        check(&[21 << 20; 100], &[48, 48, 4]);
        check(&[2_000_000_000; 3], &[1, 1, 1]);
    }

    #[test]
    fn rows_of_one_order_stay_in_one_run() {
        let rows = [(1, RUN_BYTES), (2, RUN_BYTES), (2, RUN_BYTES), (3, 1)];
        assert_eq!(runs(&rows), [1..=1, 2..=2, 3..=3]);
    }

    /// Rows of one column of orders and one of sizes; the files that are so big are not there.
    fn rows(orders: &[u64]) -> Result<Rows> {
        let schema = Schema::new(vec![row::field::<u64>(SIZE), row::field::<u64>(ORDER)]);
        let columns = vec![u64::encode(vec![30 << 20; orders.len()]), u64::encode(orders.to_vec())];
        let mut rows = Rows::default();
        let batch = row::batch(std::sync::Arc::new(schema), columns)?;
        rows.add(batch, orders.to_vec()).map_err(|fact| Error::data("rows", fact))?;
        Ok(rows)
    }

    fn write(path: &std::path::Path, runs: Vec<Rows>) -> Result<()> {
        let schema = runs[0].batches[0].schema();
        let part = PartWriter::create(path, schema.clone(), &images::LAYOUT)?;
        let mut sorted = Sorted { part, schema, groups: Groups::default(), aside: path.into() };
        runs.into_iter().try_for_each(|rows| sorted.write(rows))?;
        sorted.part.finish().map(drop)
    }

    #[test]
    fn runs_give_the_bytes_of_all_rows_at_once() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a folder"))?;
        let path = |name: &str| folder.path().join(name);
        let orders: Vec<u64> = (0..250).map(|n| n * 7919 % 1009).collect();
        write(&path("a"), vec![rows(&orders[..100])?])?;
        write(&path("b"), vec![rows(&orders[100..])?])?;
        let parts = [Stored::from(&path("a")), Stored::from(&path("b"))];
        let mut sizes: Vec<(u64, u64)> = Vec::new();
        for_each_within(&parts, &[ORDER, SIZE], &(0..=u64::MAX), |batch, orders| {
            sizes.extend(orders.into_iter().zip(row::column::<u64>(&batch, SIZE)?));
            Ok(())
        })?;
        sizes.sort_unstable();
        let runs = runs(&sizes);
        assert!(runs.len() > 5, "{runs:?}");
        let mut gathered = Vec::new();
        for run in &runs {
            let mut rows = Rows::default();
            for_each_within(&parts, &[], run, |batch, orders| rows.add(batch, orders))?;
            assert!(rows.bytes <= RUN_BYTES);
            gathered.push(rows);
        }
        write(&path("runs"), gathered)?;
        write(&path("at once"), vec![rows(&orders)?])?;
        let bytes = |name: &str| std::fs::read(path(name)).map_err(Error::io(path(name)));
        assert!(bytes("runs")? == bytes("at once")?);
        let mut read = Vec::new();
        for batch in part::read_groups(&Stored::from(&path("runs")), &[], ORDER, &|_| true)? {
            let batch = batch?;
            assert!(batch.num_rows() <= 4);
            read.extend(row::column::<u64>(&batch, ORDER).map_err(|fact| Error::data("rows", fact))?);
        }
        let mut expect = orders;
        expect.sort_unstable();
        assert_eq!(read, expect);
        Ok(())
    }
}
