//! The vectors that level 1 is trained on: held, where they fit into the memory allowed, else read again for every pass.

use std::sync::mpsc::sync_channel;

use crate::error::{Error, Result};
use crate::native::exact::squares;
use crate::ops::hash::Draw;
use crate::ops::kmeans::{Block, Held, Points};
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;

/// Rows of a block that is read.
const BLOCK_ROWS: usize = 32_768;
/// Blocks that wait to be used.
const BLOCKS_AHEAD: usize = 2;

/// Which vectors of which shards.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    pub shards: &'a [VectorShard],
    pub draw: Draw,
    pub share: f64,
}

/// The training vectors, and how many rows they were drawn from.
pub fn load<'a>(sample: Sample<'a>, memory: usize, task: &'a Task<'a>) -> Result<(Box<dyn Points + 'a>, u64)> {
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
            (task.progress)(block.ids.len() as u64);
        }
    }
    if count == 0 {
        return Err(Error::usage(
            "there is no vector to cluster",
            "look at the reports of the steps before; or are there fewer shards than `splits`?",
        ));
    }
    let points: Box<dyn Points> =
        if held { Box::new(Held::new(values, d)) } else { Box::new(Read { sample, task, count, d }) };
    Ok((points, rows))
}

impl Sample<'_> {
    fn of<'b>(&'b self, ids: &'b [crate::types::ImageId]) -> impl Iterator<Item = usize> + 'b {
        ids.iter().enumerate().filter(|(_, id)| self.draw.unit(id.0) < self.share).map(|(row, _)| row)
    }
}

/// Vectors that are read for every pass, ahead of their use.
struct Read<'a> {
    sample: Sample<'a>,
    task: &'a Task<'a>,
    count: usize,
    d: usize,
}

impl Read<'_> {
    /// Hands full blocks to `give`, which says whether to go on.
    fn read(&self, give: &mut dyn FnMut(Vec<f32>) -> bool) -> Result<()> {
        let full = BLOCK_ROWS * self.d;
        let mut values = Vec::with_capacity(full);
        for shard in self.sample.shards {
            for block in shard.blocks(self.task)? {
                let block = block?;
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

impl Points for Read<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn dimension(&self) -> usize {
        self.d
    }

    fn pass(&self, each: &mut dyn FnMut(Block) -> Result<()>) -> Result<()> {
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(BLOCKS_AHEAD);
            let reader = scope.spawn(move || self.read(&mut |values| sender.send(values).is_ok()));
            let mut first = 0;
            let mut used = Ok(());
            for values in &receiver {
                used = each(Block { first, values: &values, squares: &squares(&values, self.d) });
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
