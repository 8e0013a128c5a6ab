//! The vectors that level 1 is trained on: held, where they fit into the memory allowed, else read
//! again for every pass.

use std::sync::mpsc::sync_channel;

use crate::stages::pool::VectorShard;
use crate::stages::task::{Headway, Task};
use lvd_base::error::{Error, Result};
use lvd_kernels::hash::Lowest;
use lvd_ops::kmeans::{HeldPoints, PointBlock, Points};

/// Rows of a block that is read.
const BLOCK_ROWS: usize = 32_768;
/// Blocks that wait to be used.
const BLOCKS_AHEAD: usize = 2;

/// Which vectors of which shards.
#[derive(Clone, Copy)]
pub struct TrainingImages<'a> {
    pub shards: &'a [VectorShard],
    pub drawn: Lowest,
}

/// The training vectors, and how many rows they were drawn from.
pub fn load<'a>(sample: TrainingImages<'a>, memory: usize, task: &'a Task<'a>) -> Result<(Box<dyn Points + 'a>, u64)> {
    load_any(sample, memory, task)?.ok_or_else(|| {
        Error::usage(
            "there is no vector to cluster",
            "look at the reports of the steps before; or are there fewer shards than `splits`?",
        )
    })
}

/// The same; `None` where no vector is drawn.
pub fn load_any<'a>(
    sample: TrainingImages<'a>,
    memory: usize,
    task: &'a Task<'a>,
) -> Result<Option<(Box<dyn Points + 'a>, u64)>> {
    let (mut values, mut count, mut rows, mut d) = (Vec::new(), 0, 0, 0);
    let mut held = true;
    for shard in sample.shards {
        for block in shard.blocks(task)? {
            let block = block?;
            rows += block.ids.len() as u64;
            d = block.dimension;
            for row in sample.of(&block.ids) {
                count += 1;
                if held && (values.len() + d) * size_of::<f32>() > memory {
                    (held, values) = (false, Vec::new());
                }
                if held {
                    values.extend_from_slice(block.row(row));
                }
            }
            (task.progress)(Headway::Done(block.ids.len() as u64));
        }
    }
    if count == 0 {
        return Ok(None);
    }
    let points: Box<dyn Points> =
        if held { Box::new(HeldPoints::new(values, d)) } else { Box::new(ReadPoints { sample, task, count, d }) };
    Ok(Some((points, rows)))
}

impl TrainingImages<'_> {
    fn of<'b>(&'b self, ids: &'b [lvd_base::types::ImageId]) -> impl Iterator<Item = usize> + 'b {
        ids.iter().enumerate().filter(|(_, id)| self.drawn.has(id.0)).map(|(row, _)| row)
    }
}

/// Vectors that are read for every pass, ahead of their use.
struct ReadPoints<'a> {
    sample: TrainingImages<'a>,
    task: &'a Task<'a>,
    count: usize,
    d: usize,
}

impl ReadPoints<'_> {
    /// Hands full blocks to `give`, which says whether to go on.
    fn read(&self, give: &mut dyn FnMut(Vec<f32>) -> bool) -> Result<()> {
        let full = BLOCK_ROWS * self.d;
        let mut values = Vec::with_capacity(full);
        for shard in self.sample.shards {
            for block in shard.blocks(self.task)? {
                let block = block?;
                if self.sample.drawn.last == u64::MAX && values.is_empty() {
                    // All of it: as it is.
                    if give(block.values) {
                        continue;
                    }
                    return Ok(());
                }
                for row in self.sample.of(&block.ids) {
                    values.extend_from_slice(block.row(row));
                    if values.len() == full && !give(std::mem::replace(&mut values, Vec::with_capacity(full))) {
                        return Ok(());
                    }
                }
            }
        }
        if !values.is_empty() {
            give(values);
        }
        Ok(())
    }
}

impl Points for ReadPoints<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn dimension(&self) -> usize {
        self.d
    }

    fn pass(&self, each: &mut dyn FnMut(PointBlock) -> Result<()>) -> Result<()> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
            let read = move || self.read(&mut |values| sender.send(values).is_ok());
            let reader = std::thread::Builder::new().spawn_scoped(scope, read).map_err(Error::thread)?;
            let mut first = 0;
            let mut used = Ok(());
            for values in &receiver {
                used = each(PointBlock { first, values: &values });
                first += values.len() / self.d;
                if used.is_err() {
                    break;
                }
            }
            drop(receiver);
            let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            used.and(read)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::catalog::Catalog;
    use crate::stages::table::Part;
    use crate::stages::task::Place;
    use lvd_base::types::ShardId;
    use lvd_io::vectors::VectorWriter;
    use lvd_io::work_folder::WorkFolder;
    use lvd_kernels::hash::Draw;
    use lvd_ops::kmeans::gather;

    #[test]
    fn vectors_that_do_not_fit_are_read_again_in_the_same_order() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let draw = Draw::new(1, "training");
        let mut shards = Vec::new();
        for (number, rows) in [(0u32, 40_000u32), (1, 1), (2, 30_000)] {
            let path = format!("part-{number}.parquet");
            let mut writer = VectorWriter::create(&folder.path().join(&path), 2)?;
            let ids = (0..rows).map(|row| ShardId::new(0, number).image(row)).collect();
            #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
            let values: Vec<f32> = (0..2 * rows).map(|i| draw.within(number.into()).unit(i.into()) as f32).collect();
            writer.write(ids, vec![String::new(); rows as usize], &values)?;
            let written = writer.finish()?;
            let (rows, bytes, shard) = (written.rows, written.bytes, Some(ShardId::new(0, number)));
            let (table, sha256, tail) = (String::new(), written.sha256, written.tail);
            let vectors = Part { table, path, rows, bytes, sha256, tail, shard };
            shards.push(VectorShard::new(vectors, None)?);
        }
        let catalog = Catalog::default();
        let unused = || folder.path().to_path_buf();
        let work = WorkFolder::open(&folder.path().to_string_lossy())?;
        let place =
            Place { work, copies: unused(), step: String::new(), number: 0, aside: unused(), checkpoint: unused() };
        let task = Task::new(&catalog, place, 1, &|_| ());
        for wanted in [u64::MAX, 50_000] {
            let (drawn, rows) = crate::stages::pool::lowest(&shards, draw, wanted, &task)?;
            assert_eq!(rows, 70_001);
            let sample = TrainingImages { shards: &shards, drawn };
            let (held, rows) = load(sample, usize::MAX, &task)?;
            let (read, again) = load(sample, 1000, &task)?;
            assert_eq!((rows, again, held.count()), (70_001, 70_001, read.count()));
            assert_eq!(held.count() as u64, wanted.min(70_001), "exactly as many as are wanted");
            assert!(gather(held.as_ref(), |_| true)? == gather(read.as_ref(), |_| true)?);
            let mut firsts = Vec::new();
            read.pass(&mut |block| {
                firsts.push(block.first);
                assert!(block.values.len() <= 2 * BLOCK_ROWS);
                Ok(())
            })?;
            assert!(firsts.len() >= 2 && firsts[0] == 0, "{firsts:?}");
            // A pass that is given up ends at once.
            assert!(read.pass(&mut |_| Err(Error::usage("enough", ""))).is_err());
        }
        Ok(())
    }
}
