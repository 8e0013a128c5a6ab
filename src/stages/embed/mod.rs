//! Embed: every image through every embedder, pixels decoded once.
//!
//! A task is a shard of images. Memory: for each thread a session of every model, and four jobs of
//! 8 files in flight.

pub mod bench;
mod carry;
pub mod encode;
pub mod fit;
pub mod model_file;
mod rate;
mod resume;
mod sessions;
pub(crate) mod spec;
mod work;
mod worker;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::spec::{EmbedCommon, EmbedTask, spec_of};
use crate::stages::catalog::Catalog;
use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Model, Scale, Work, short, tasks};
use crate::stages::former::{Done, Former};
use crate::stages::kind::StageKind;
use crate::stages::phase::{Phase, phases};
use crate::stages::plan::{PhasePlan, TaskInput, broken};
use crate::stages::pool::SHARD_ROWS;
use crate::stages::scope::{Input, Scope};
use crate::stages::stage::{Phased, StageSettings};
use crate::stages::table::Part;
use crate::stages::task::Task;
use lvd_base::error::{Result, choices};
use lvd_engines::onnx::Provider;
use lvd_io::decode;

/// Images a batch where a GPU computes.
const GPU_BATCH: u32 = 32;

phases! {
    /// What an embed step does.
    pub enum EmbedPhase {
        /// Embeds a shard of images.
        Embed = Phase::counting("embed").costly(),
    }
}

/// Turn images into unit vectors with ONNX models, all named models in one pass over the pixels.
///
/// Memory: for each thread a session of every model, and four jobs of 8 files (or of a batch, where
/// that is more).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Embed {
    /// The ingest step to read. Left out: the only one above.
    pub images: Input,
    /// Names of the embedders to run. Left out: all. Each gives a table `STEP/EMBEDDER`.
    pub embedders: Option<Vec<String>>,
    /// Where the models compute: the first that can be used, and a warning when it is not the first
    /// of the list. `openvino` and `openvino_bf16` (twice as fast, on a processor that has it) need
    /// the ONNX Runtime of `PyPI`'s `onnxruntime-openvino`, `cuda` and `tensorrt` one for GPUs and
    /// an `lvd` built with `--features cuda` (docs/embedding.md). Another list changes vectors, by
    /// last bits or by as much as bf16 does, so it embeds again.
    pub providers: Vec<Provider>,
    /// Images a batch of the model, 1 to 1024. Left out: 1 on processors, which is fastest there
    /// (docs/embedding.md), and 32 where a GPU comes first. A model made for a fixed number of
    /// images wants that number here. Batches are cut by row number, so results do not depend on
    /// threads; another batch size may change last bits, and the vectors of dynamically quantised
    /// models visibly, so it embeds again.
    pub batch_images: Option<u32>,
    /// Decode a JPEG at 1/2, 1/4 or 1/8 of its size (a smaller inverse DCT; Pillow's `draft`) where
    /// both sides are then still at least this many times as long as the shorter side that the
    /// embedders resize to, 1 to 16. Left out: at its full size. `2` decodes photos of 3 megapixels
    /// 1.6 times as fast, of 12 megapixels 3 times, and hardly moves vectors (docs/embedding.md).
    /// Another value embeds again.
    pub scaled_decoding: Option<f64>,
    /// Share of the images, 0 to 1, that may get no usable vector. Beyond it, the step is reported
    /// and the command ends with exit code 3.
    pub max_failed_share: f64,
}

impl Default for Embed {
    fn default() -> Self {
        Self {
            images: Input::default(),
            embedders: None,
            providers: vec![Provider::Cpu],
            batch_images: None,
            scaled_decoding: None,
            max_failed_share: 0.01,
        }
    }
}

impl Embed {
    /// The embedders it runs, by name.
    pub fn tables(&self, known: impl Iterator<Item = String>) -> Vec<String> {
        self.embedders.clone().unwrap_or_else(|| known.collect())
    }

    /// How long the sides of a JPEG that is decoded at a smaller scale must stay, for its
    /// embedders; `None`: all are decoded in full.
    #[must_use]
    pub fn scaled_side(&self, catalog: &Catalog) -> Option<u32> {
        let names = self.tables(catalog.embedders.keys().cloned());
        let embedders = names.iter().filter_map(|name| catalog.embedders.get(name));
        let side = embedders.map(|embedder| embedder.preprocess.resize.shorter_side()).max()?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a side, at most 16 times as long")]
        self.scaled_decoding.map(|times| (times * f64::from(side)).ceil() as u32)
    }

    /// What decides the vectors of these embedders.
    fn common(&self, names: &[String], catalog: &Catalog) -> Result<EmbedCommon> {
        let embedders = names.iter().filter_map(|name| catalog.embedders.get(name).map(|e| spec_of(name, e)));
        Ok(EmbedCommon {
            embedders: embedders.collect::<Result<_>>()?,
            scaled_side: self.scaled_side(catalog),
            batch_images: self.batch_images() as usize,
            providers: self.providers.clone(),
            jpeg_pixels: decode::JPEG_PIXELS.into(),
        })
    }

    /// Images a batch, as set or by what computes.
    #[must_use]
    pub fn batch_images(&self) -> u32 {
        let default = if self.providers.first().is_some_and(|provider| provider.is_gpu()) { GPU_BATCH } else { 1 };
        self.batch_images.unwrap_or(default)
    }
}

impl StageSettings for Embed {
    fn kind(&self) -> StageKind {
        StageKind::Embed
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire(&mut self.images, StageKind::Ingest, "images");
        let known: Vec<String> = scope.catalog.embedders.keys().cloned().collect();
        let tables = self.tables(known.iter().cloned());
        let is_broken = |name: &String| scope.broken.contains(name);
        let unknown: Vec<&String> = tables.iter().filter(|name| !known.contains(name) && !is_broken(name)).collect();
        let any = !tables.is_empty() || !scope.broken.is_empty();
        scope.require(any, "embedders", "no embedder to run", "add an [embedders.NAME] with a `model`");
        for name in unknown {
            scope.fault(
                "embedders",
                format!("there is no embedder {name:?}"),
                choices(name, &format!("embedders are: {}", known.join(", ")), known.iter().map(String::as_str)),
            );
        }
        let doubled = tables.iter().enumerate().find(|&(at, name)| tables[..at].contains(name));
        if let Some((_, name)) = doubled {
            scope.fault("embedders", format!("{name:?} is named twice"), "name each embedder once");
        }
        scope.within("max_failed_share", "a share of", self.max_failed_share, 0.0..=1.0);
        let none = "nowhere to compute";
        scope.require(!self.providers.is_empty(), "providers", none, "leave it out, or name \"cpu\"");
        for provider in self.providers.iter().filter(|provider| !provider.built_in()) {
            let message = format!("this lvd was built without {}", provider.name());
            scope.fault("providers", message, "build it with: cargo build --release --features cuda");
        }
        let batch = self.batch_images();
        scope.require((1..=1024).contains(&batch), "batch_images", format!("{batch} images a batch"), "use 1 to 1024");
        scope.within("scaled_decoding", "a multiple of", self.scaled_decoding.unwrap_or(1.0), 1.0..=16.0);
    }

    fn max_failed_share(&self) -> Option<f64> {
        Some(self.max_failed_share)
    }

    fn inputs(&self) -> Vec<String> {
        vec![self.images.name().to_owned(), format!("{}/kept", self.images.name())]
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let names = self.tables(scale.models.keys().cloned());
        let models: Vec<_> = names.iter().filter_map(|name| Some((name, scale.models.get(name)?))).collect();
        let images = scale.all();
        // The image is decoded once for all models.
        let tasks = tasks(images, SHARD_ROWS.into());
        let decoding = Cost {
            moved: images * scale.image_bytes,
            tasks,
            assumes: "70 images a core-second are decoded and resized (500 x 375; a photo of 3 megapixels takes five times as long)",
            ..Cost::new(
                EmbedPhase::Embed,
                Work::Rows { rows: images, a_core_second: 70.0 },
                format!("{} images decoded at 70 a core-second", short(images)),
            )
        };
        let model = |(name, model): (&String, &Model)| Cost {
            kept: images * model.dims * 2.0,
            moved: images * model.dims * 2.0,
            memory: 1.5e9,
            tasks,
            ..Cost::new(
                EmbedPhase::Embed,
                Work::Products { operations: images * model.operations, of_sgemm: 0.85 },
                format!("{name}: {} images x {} operations, at 0.85 of sgemm", short(images), short(model.operations)),
            )
        };
        std::iter::once(decoding).chain(models.into_iter().map(model)).collect()
    }
}

impl Phased for Embed {
    type Phase = EmbedPhase;

    fn plan(&self, EmbedPhase::Embed: EmbedPhase, context: &PlanContext) -> Result<PhasePlan> {
        let names = self.tables(context.catalog.embedders.keys().cloned());
        let common = self.common(&names, context.catalog)?;
        let kept = context.table(&format!("{}/kept", self.images.name()))?;
        let images = &context.table(self.images.name())?.parts;
        let task = |images: &Part| {
            let kept = images.shard.and_then(|shard| kept.of_shard(shard)).cloned();
            let kept = kept.ok_or_else(|| broken(format!("nothing says which images of {} count", images.path)))?;
            Ok(EmbedTask { images: images.clone(), kept })
        };
        let tasks = images.iter().map(task).collect::<Result<Vec<_>>>()?;
        let rows = tasks.iter().map(|task| task.kept.rows).collect();
        Ok(PhasePlan::new(common, tasks)?.with_rows(Some(rows)))
    }

    fn former(
        &self,
        phase: EmbedPhase,
        plan: &PhasePlan,
        missing: &[usize],
        done: &dyn Fn(EmbedPhase) -> Result<Vec<Done>>,
    ) -> Result<BTreeMap<usize, Former>> {
        carry::former(plan, missing, done(phase)?)
    }

    fn run(EmbedPhase::Embed: EmbedPhase, input: TaskInput, task: &mut Task) -> Result<()> {
        work::run(&input.spec()?, &input.common()?, input.former()?.as_ref(), task)
    }
}
