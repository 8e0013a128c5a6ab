//! A pool as stages see it: shards of vectors, each with the part of a selection that says which of
//! its images still count.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::plan::broken;
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, ShardId};
use lvd_io::table;
use lvd_io::vectors::{self, Vectors};
use lvd_kernels::hash::{Draw, Lowest};
use lvd_ops::whiten::Whitening;

/// Images of a shard, where ingest is told no other number.
pub const SHARD_ROWS: u32 = 10_000;

table! {
    /// The two columns every selection has.
    pub struct Decision {
        /// Which image.
        pub id: ImageId,
        /// Whether it goes on.
        pub kept: bool,
    }
}

table! {
    /// The column every table has.
    pub struct Identity {
        /// Which image.
        pub id: ImageId,
    }
}

/// A shard of vectors and the decisions about its images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct VectorShard {
    /// Which shard.
    #[serde(skip)]
    shard: ShardId,
    /// Its vectors.
    pub vectors: Part,
    /// Which of them count; all, when there is no selection.
    pub selection: Option<Part>,
    /// What is done to the vectors when they are read.
    #[serde(skip)]
    pub whitening: Option<Arc<Whitening>>,
}

/// A shard as it is kept.
#[derive(Deserialize)]
struct Parts {
    vectors: Part,
    selection: Option<Part>,
}

impl TryFrom<Parts> for VectorShard {
    type Error = Error;

    fn try_from(Parts { vectors, selection }: Parts) -> Result<Self> {
        Self::new(vectors, selection)
    }
}

/// The shards of `vectors` that `wanted` takes, each with its part of `selection`. A shard that the
/// selection does not know is left out.
pub fn shards(vectors: &Table, selection: Option<&Table>, wanted: impl Fn(ShardId) -> bool) -> Vec<VectorShard> {
    let parts = vectors.parts.iter().filter_map(|part| Some((part.shard.filter(|&shard| wanted(shard))?, part)));
    parts
        .filter_map(|(shard, part)| {
            let selection = match selection {
                Some(table) => Some(table.of_shard(shard)?.clone()),
                None => None,
            };
            Some(VectorShard { shard, vectors: part.clone(), selection, whitening: None })
        })
        .collect()
}

/// Draws `wanted` of the images of `shards` that count, or all where there are no more; and how
/// many count. By ids alone: no vector is read. Memory: the ids of as many shards as there are
/// threads.
pub fn lowest(shards: &[VectorShard], draw: Draw, wanted: u64, task: &Task) -> Result<(Lowest, u64)> {
    draw.lowest(wanted, &|each| {
        for some in shards.chunks(rayon::current_num_threads()) {
            let ids = some.par_iter().map(|shard| shard.ids(task)).collect::<Result<Vec<_>>>()?;
            ids.into_iter().flatten().for_each(|id| each(id.0));
        }
        Ok(())
    })
}

impl VectorShard {
    /// The vectors of a shard, and which of them count; all, without a selection.
    ///
    /// # Errors
    /// When the part does not say which shard it is of.
    pub fn new(vectors: Part, selection: Option<Part>) -> Result<Self> {
        let shard =
            vectors.shard.ok_or_else(|| broken(format!("{} does not say of which shard it is", vectors.path)))?;
        Ok(Self { shard, vectors, selection, whitening: None })
    }

    /// An upper bound of its rows.
    #[must_use]
    pub fn rows_at_most(&self) -> u64 {
        self.vectors.rows
    }

    /// Its rows; `None`: a selection says which count, and has to be read.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        self.selection.is_none().then_some(self.vectors.rows)
    }

    /// The shard it is about.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The ids that count, sorted.
    pub fn ids(&self, task: &Task) -> Result<Vec<ImageId>> {
        let mut ids: Vec<ImageId> = task.read_all::<Identity>(&self.vectors)?.into_iter().map(|row| row.id).collect();
        if let Some(part) = &self.selection {
            let kept = kept_ids(task, part)?;
            ids.retain(|id| kept.binary_search(id).is_ok());
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// The same shard, its vectors whitened when they are read.
    #[must_use]
    pub fn whitened(&self, whitening: Option<&Arc<Whitening>>) -> Self {
        Self { whitening: whitening.cloned(), ..self.clone() }
    }

    /// The vectors that count, in id order.
    pub fn load(&self, task: &Task) -> Result<Vectors> {
        let mut all = Vectors::default();
        for block in self.blocks(task)? {
            all.extend(block?);
        }
        Ok(all)
    }

    /// The vectors that count, in id order, some thousands at a time.
    pub fn blocks(&self, task: &Task) -> Result<impl Iterator<Item = Result<Vectors>> + use<>> {
        let kept = self.selection.as_ref().map(|part| kept_ids(task, part)).transpose()?;
        let whitening = self.whitening.clone();
        let blocks = vectors::read(&task.open(&self.vectors)?)?;
        Ok(blocks.map(move |block| {
            let mut block = block?;
            if let Some(whitening) = &whitening {
                whitening.apply(&mut block.values);
            }
            let Some(kept) = &kept else { return Ok(block) };
            let mut some = Vectors { dimension: block.dimension, ..Vectors::default() };
            for (row, id) in block.ids.iter().enumerate().filter(|(_, id)| kept.binary_search(id).is_ok()) {
                some.ids.push(*id);
                some.values.extend(block.row(row));
            }
            Ok(some)
        }))
    }
}

/// The ids that a part of a selection keeps, sorted.
pub fn kept_ids(task: &Task, selection: &Part) -> Result<Vec<ImageId>> {
    let mut ids = Vec::new();
    for batch in task.read::<Decision>(selection)? {
        ids.extend(batch?.into_iter().filter(|row| row.kept).map(|row| row.id));
    }
    ids.sort_unstable();
    Ok(ids)
}
