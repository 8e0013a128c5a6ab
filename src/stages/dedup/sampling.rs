//! Drawing images of some shards, and reading the vectors of those that were drawn.

use rayon::prelude::*;

use crate::stages::dedup::shards::Member;
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::vectors::Vectors;
use lvd_kernels::hash::Draw;

/// Images with the lowest random numbers.
pub struct Lowest {
    draw: Draw,
    /// Ascending.
    keys: Vec<(u64, ImageId)>,
}

/// A draw, how many images it takes at most, and of which shards.
pub type Kind<'a> = (Draw, u64, &'a (dyn Fn(&Member) -> bool + Sync));

impl Lowest {
    /// Those `n` of them with the lowest.
    pub fn of_lowest(mut self, n: u64) -> Self {
        self.keys.truncate(usize::try_from(n).unwrap_or(usize::MAX));
        self
    }

    /// Whether an image of those that were looked at is one of them.
    pub fn holds(&self, id: ImageId) -> bool {
        self.keys.last().is_some_and(|&last| (self.draw.bits(id.0), id) <= last)
    }
}

/// Draws exactly so many images of each kind, or all there are; and counts the images. Reads ids
/// alone.
pub fn lowest<const N: usize>(members: &[Member], kinds: [Kind; N], task: &Task) -> Result<(u64, [Lowest; N])> {
    let mut rows = 0;
    let mut drawn = kinds.map(|(draw, ..)| Lowest { draw, keys: Vec::new() });
    let thin = |keys: &mut Vec<(u64, ImageId)>, n: u64| {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if keys.len() > n {
            keys.select_nth_unstable(n);
            keys.truncate(n);
        }
    };
    for some in members.chunks(rayon::current_num_threads()) {
        let ids = some.par_iter().map(|member| member.shard.ids(task)).collect::<Result<Vec<_>>>()?;
        rows += ids.iter().map(|ids| ids.len() as u64).sum::<u64>();
        for (Lowest { draw, keys }, (_, n, of)) in drawn.iter_mut().zip(kinds) {
            let wanted = some.iter().zip(&ids).filter(|(member, _)| of(member));
            keys.extend(wanted.flat_map(|(_, ids)| ids).map(|&id| (draw.bits(id.0), id)));
            thin(keys, n);
        }
    }
    for drawn in &mut drawn {
        drawn.keys.sort_unstable();
    }
    Ok((rows, drawn))
}

/// Reads all vectors of `members`, as many shards at once as there are threads. Each sample takes
/// those that are wanted in it.
pub fn draw<const N: usize>(
    members: &[Member],
    wanted: &(dyn Fn(&Member, ImageId) -> [bool; N] + Sync),
    task: &Task,
) -> Result<[Vectors; N]> {
    let of = |member: &Member| -> Result<[Vectors; N]> {
        let mut samples = std::array::from_fn(|_| Vectors::default());
        for block in member.shard.blocks(task)? {
            let block = block?;
            (task.progress)(Headway::Done(block.ids.len() as u64));
            for (row, &id) in block.ids.iter().enumerate() {
                for (taken, to) in wanted(member, id).into_iter().zip(&mut samples) {
                    if taken {
                        to.dimension = block.dimension;
                        to.ids.push(id);
                        to.values.extend(block.row(row));
                    }
                }
            }
        }
        Ok(samples)
    };
    let mut samples = std::array::from_fn(|_| Vectors::default());
    for members in members.chunks(rayon::current_num_threads()) {
        for drawn in members.par_iter().map(of).collect::<Result<Vec<_>>>()? {
            for (to, from) in samples.iter_mut().zip(drawn).filter(|(_, from)| !from.ids.is_empty()) {
                to.extend(from);
            }
        }
    }
    Ok(samples)
}
