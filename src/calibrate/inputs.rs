//! What a calibration is given: settings, tables, and who is told what happens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::stages::catalog::Catalog;
use crate::stages::dedup::{self, Dedup};
use crate::stages::pool::VectorShard;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_io::work_folder::WorkFolder;
use lvd_ops::whiten::Whitening;

/// What to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Images to draw from the pool.
    pub images: usize,
    /// Subtract from each similarity the mean of the query's three highest ones to a background
    /// set.
    pub normalise: bool,
}

/// What to look at.
#[derive(Clone)]
pub struct Inputs<'a> {
    /// Seed, sources and embedders.
    pub catalog: &'a Catalog,
    /// The work folder.
    pub work: &'a WorkFolder,
    /// Name of the dedup step.
    pub step: &'a str,
    /// Its settings, checked.
    pub dedup: &'a Dedup,
    /// How its vectors' pictures were decoded ([`crate::stages::embed::Embed::scaled_side`]).
    pub scaled_side: Option<u32>,
    /// The tables it reads, by name.
    pub tables: &'a BTreeMap<String, Table>,
    /// The images table of the ingest step: pictures are edited.
    pub images: &'a Table,
    /// Threads to use.
    pub threads: usize,
    /// The folder for what is embedded, until the tables are written.
    pub kept: PathBuf,
}

/// What happens, for whoever shows it.
pub enum Event {
    /// So many images were drawn.
    Drawn(usize),
    /// So many images were edited and embedded by a command that was stopped.
    GoesOn(usize),
    /// A part of the work begins, of so many pieces.
    Begins(&'static str, usize),
    /// A piece is done.
    Done,
    /// The part is over.
    Ends,
}

/// What the step would search, and where the images lie.
pub struct Pool<'a> {
    /// The images of the pool that the step compares.
    pub shards: Vec<VectorShard>,
    /// Those of which copies are looked for: the same, or the reference sources.
    pub originals: Vec<VectorShard>,
    /// The images table of the ingest step.
    pub images: &'a Table,
    /// Fitted on what the step fits it on: so many vectors.
    pub whitening: Option<(usize, Arc<Whitening>)>,
}

impl Inputs<'_> {
    /// As the step itself would take it together. `both`: the whitening is fitted whether the step
    /// whitens or not.
    pub fn pool(&self, both: bool, task: &Task) -> Result<Pool<'_>> {
        let shards = self.dedup.shards(self.catalog, self.tables)?;
        let fit = || dedup::fit_whitening(&shards, self.catalog.seed, task);
        let whitening = (both || self.dedup.whiten).then(fit).transpose()?;
        let mut pool = [shards.unsettled, shards.settled].concat();
        pool.sort_by_key(VectorShard::shard);
        let originals = if self.is_relative() { shards.references } else { pool.clone() };
        Ok(Pool { shards: pool, originals, images: self.images, whitening })
    }

    /// Whether the step looks for copies of reference images.
    #[must_use]
    pub fn is_relative(&self) -> bool {
        !self.dedup.references.is_empty()
    }

    /// The threshold of the step, or one to count by where it has none.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.dedup.threshold()
    }
}
