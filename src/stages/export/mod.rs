//! Export: the data set as Parquet shards, shuffled, each image with where it came from and why it
//! is there.
//!
//! `scatter` takes the chosen rows of each ingested shard and sorts them by a random order,
//! `gather` merges them into the final shards, `composition` counts what the data set is made of.
//! The chosen pixels are written twice; the first copy goes when the step is whole. Memory: 1 GiB
//! of files, which are sorted in runs where a shard has more, and the row group being written.

mod composition;
mod shuffle;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Scale, Work, short, tasks};
use crate::stages::kind::StageKind;
use crate::stages::phase::{Phase, phases};
use crate::stages::plan::{PhasePlan, TaskInput, broken};
use crate::stages::pool::SHARD_ROWS;
use crate::stages::scope::{Input, Scope};
use crate::stages::stage::{Phased, StageSettings};
use crate::stages::table::Part;
use crate::stages::task::Task;
use lvd_base::error::Result;

pub use composition::Row as CompositionRow;
pub use shuffle::Provenance;

phases! {
    /// What an export step does, in order.
    pub enum ExportPhase {
        /// Takes the chosen rows of each ingested shard, and sorts them by a random order.
        Scatter = Phase::helping("scatter").scratch(),
        /// Merges them into the final shards.
        Gather = Phase::counting("gather"),
        /// Counts what the data set is made of.
        Composition = Phase::helping("composition"),
    }
}

/// Write the data set: pixels, metadata and provenance, in shuffled Parquet shards.
///
/// Memory: about 1.5 GB a task, whatever the pictures: 1 GiB of files are sorted at a time. Disk:
/// the chosen pixels twice, until the step is whole.
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

impl StageSettings for Export {
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

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        // The sample's size comes as the pool of this step.
        let n = scale.pool;
        let bytes = n * scale.image_bytes;
        let work = Work::Rows { rows: n, a_core_second: 2000.0 };
        vec![
            Cost {
                moved: 2.0 * bytes,
                scratch: bytes,
                tasks: tasks(n, SHARD_ROWS.into()),
                ..Cost::new(ExportPhase::Scatter, work, format!("{} images read and dealt out", short(n)))
            },
            Cost {
                moved: 2.0 * bytes,
                kept: bytes,
                tasks: tasks(n, self.shard_rows.into()),
                ..Cost::new(ExportPhase::Gather, work, format!("{} images shuffled and written", short(n)))
            },
        ]
    }
}

impl Phased for Export {
    type Phase = ExportPhase;

    fn plan(&self, phase: ExportPhase, context: &PlanContext) -> Result<PhasePlan> {
        let sampled = context.table(self.sample.name())?;
        let shards = sampled.rows().div_ceil(u64::from(self.shard_rows));
        match phase {
            ExportPhase::Scatter => {
                let images = context.table(self.images.name())?;
                let task = |sampled: &Part| {
                    let images = sampled.shard.and_then(|shard| images.of_shard(shard)).cloned();
                    let images = images.ok_or_else(|| broken(format!("{} has no images", sampled.path)))?;
                    Ok(ScatterTask { images, sampled: sampled.clone() })
                };
                let chosen = || sampled.parts.iter().filter(|part| part.rows > 0);
                let rows = chosen().map(|part| part.rows).collect();
                let tasks = chosen().map(task).collect::<Result<Vec<_>>>()?;
                Ok(PhasePlan::new(context.catalog.seed, tasks)?.with_rows(Some(rows)))
            }
            ExportPhase::Gather => {
                let scattered = context.made(ExportPhase::Scatter, "scattered").parts;
                PhasePlan::new(GatherCommon { scattered, shards }, 0..shards)
            }
            ExportPhase::Composition => {
                let sources = context.catalog.sources.iter();
                let sources: Vec<(u16, String)> = sources.map(|(name, entry)| (entry.number, name.clone())).collect();
                Ok(PhasePlan::new((sampled, sources), [()])?.with_rows(Some(vec![sampled.rows()])))
            }
        }
    }

    fn run(phase: ExportPhase, input: TaskInput, task: &mut Task) -> Result<()> {
        match phase {
            ExportPhase::Scatter => {
                let ScatterTask { images, sampled } = input.spec()?;
                shuffle::scatter(&images, &sampled, input.common()?, task)
            }
            ExportPhase::Gather => {
                let GatherCommon { scattered, shards } = input.common()?;
                shuffle::gather(input.spec()?, &scattered, shards, task)
            }
            ExportPhase::Composition => {
                let (sampled, sources): (_, Vec<_>) = input.common()?;
                composition::run(&sampled, &sources, task)
            }
        }
    }
}
