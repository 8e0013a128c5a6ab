//! Export: the data set as Parquet shards, shuffled, each image with where it came from and why it is there.
//!
//! `scatter` takes the chosen rows of each ingested shard and sorts them by a random order, `gather` merges them into the final
//! shards, `composition` counts what the data set is made of. The chosen pixels are written twice; the first copy goes when
//! the step is whole. Memory: 1 GiB of files, which are sorted in runs where a shard has more, and the row group being written.

mod composition;
mod shuffle;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::cost::{Cost, Scale, Work, short};
use crate::stages::known::{Known, Part};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};
use lvd_base::error::Result;

pub use composition::Row as CompositionRow;
pub use shuffle::Provenance;

const PHASES: &[Phase] =
    &[Phase::helping("scatter").scratch(), Phase::counting("gather"), Phase::helping("composition")];

/// Write the data set: pixels, metadata and provenance, in shuffled Parquet shards.
///
/// Memory: about 1.5 GB a task, whatever the pictures: 1 GiB of files are sorted at a time. Disk: the chosen pixels twice, until the step is whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// The sample step to write. Left out: the only one above.
    pub sample: Input,
    /// The ingest step that has the pixels. Left out: the only one above.
    pub images: Input,
    /// Images a shard, about: images go to shards by a random order, so shards differ by a few.
    pub shard_rows: u32,
}

impl Default for Export {
    fn default() -> Self {
        Self { sample: Input::default(), images: Input::default(), shard_rows: 10_000 }
    }
}

#[derive(Serialize, Deserialize)]
struct ScatterTask {
    images: Part,
    sampled: Part,
}

#[derive(Serialize, Deserialize)]
struct GatherCommon {
    scattered: Vec<Part>,
    shards: u64,
}

impl Stage for Export {
    fn kind(&self) -> StageKind {
        StageKind::Export
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire(&mut self.sample, StageKind::Sample, "sample");
        scope.wire(&mut self.images, StageKind::Ingest, "images");
        scope.require(self.shard_rows > 0, "shard_rows", "no image a shard", "use at least 1");
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.sample.name().to_owned(), self.images.name().to_owned()]
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        // The sample's size comes as the pool of this step.
        let n = scale.pool;
        let bytes = n * scale.image_bytes;
        let work = Work::Rows { rows: n, a_core_second: 2000.0 };
        vec![
            Cost {
                moved: 2.0 * bytes,
                scratch: bytes,
                tasks: n / 10_000.0,
                ..Cost::new("scatter", work, format!("{} images read and dealt out", short(n)))
            },
            Cost {
                moved: 2.0 * bytes,
                kept: bytes,
                tasks: n / f64::from(self.shard_rows),
                ..Cost::new("gather", work, format!("{} images shuffled and written", short(n)))
            },
        ]
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        let sampled = known.table(self.sample.name())?;
        let shards = sampled.rows().div_ceil(u64::from(self.shard_rows));
        match phase {
            "scatter" => {
                let images = known.table(self.images.name())?;
                let chosen = sampled.parts.iter().filter(|part| part.rows > 0);
                let tasks = chosen.filter_map(|sampled| {
                    Some(ScatterTask { images: images.of_shard(sampled.shard?)?.clone(), sampled: sampled.clone() })
                });
                PhasePlan::new(known.catalog.seed, tasks)
            }
            "gather" => {
                let scattered = known.made("scatter", "scattered").parts;
                PhasePlan::new(GatherCommon { scattered, shards }, 0..shards)
            }
            "composition" => {
                let sources: Vec<(u16, String)> =
                    known.catalog.sources.iter().map(|(name, entry)| (entry.number, name.clone())).collect();
                PhasePlan::new((sampled, sources), [()])
            }
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "scatter" => {
            let ScatterTask { images, sampled } = from_value(order.spec)?;
            shuffle::scatter(&images, &sampled, from_value(order.common)?, task)
        }
        "gather" => {
            let GatherCommon { scattered, shards } = from_value(order.common)?;
            shuffle::gather(from_value(order.spec)?, &scattered, shards, task)
        }
        "composition" => {
            let (sampled, sources): (_, Vec<_>) = from_value(order.common)?;
            composition::run(&sampled, &sources, task)
        }
        _ => Err(no_such_phase(phase)),
    }
}
