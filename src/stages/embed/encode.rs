//! One of a step's models for files that are no rows of it, used exactly as a task uses it: a
//! picture of the pool that comes as a file gets the vector that is stored of it.

use std::path::PathBuf;

use crate::stages::embed::Embed;
use crate::stages::embed::model_file::{MODELS, present};
use crate::stages::embed::sessions::Sessions;
use crate::stages::embed::spec::EmbedCommon;
use crate::stages::embed::work::{flow, job_images, model_files};
use crate::stages::embed::worker::Worker;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Reason};
use lvd_engines::onnx::Patches;
use lvd_io::images::ImageFile;
use lvd_io::model;
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::{dot, to_f16, to_f32};
use lvd_ops::preprocess::{Preprocess, preprocess};

/// Cosine of a stored vector and one that the model gives now, below which they are not of the same
/// model.
const SAME_MODEL: f32 = 0.99;

/// The vector of a file, or why the step would store none.
pub type VectorOrReason = std::result::Result<Vec<f32>, Reason>;

/// A picture as a model sees it, and what it says of its patches.
pub struct Seen {
    /// Pixels of a side.
    pub side: u32,
    /// The pixels.
    pub rgb: Vec<u8>,
    /// What the model says.
    pub patches: Patches,
}

/// A model, open.
pub struct Encoder {
    common: EmbedCommon,
    sessions: Sessions,
    threads: usize,
}

impl Encoder {
    /// Opens the embedder `name` of the step `embed`.
    pub fn open(embed: &Embed, name: &str, task: &Task) -> Result<Self> {
        let common = embed.common(&[name.to_owned()], task.catalog)?;
        let models = model_files(&common, task)?;
        let sessions = Sessions::open(models, &common.providers, common.batch_images, task.threads)?;
        Ok(Self { common, sessions, threads: task.threads })
    }

    /// Numbers a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.sessions.fits().first().map_or(0, |fit| fit.dimension)
    }

    /// The providers that were asked for first, and why each cannot be used.
    #[must_use]
    pub fn passed_over(&self) -> &[String] {
        self.sessions.passed_over()
    }

    /// What the model says of the patches of files that ingest has passed; nothing where it is no
    /// Vision Transformer that gives them.
    pub fn patches(&self, files: &[Vec<u8>]) -> Result<Vec<Seen>> {
        let Some(fit) = self.sessions.fits().first() else { return Ok(Vec::new()) };
        let (spec, side) = (&fit.preprocess, fit.preprocess.crop);
        let shape = [1, 3, side as usize, side as usize];
        let mut pixels = vec![0.0; spec.values()];
        self.sessions.with(0, |sessions| {
            let mut seen = Vec::new();
            let Some(session) = sessions.first_mut() else { return Ok(seen) };
            for picture in files.iter().filter_map(|file| self.common.decode(file).ok()) {
                preprocess(picture.width, picture.height, &picture.rgb, spec, &mut pixels);
                let Some(patches) = session.patches(&pixels, shape)? else { return Ok(seen) };
                seen.push(Seen { side, rgb: levels(&pixels, spec), patches });
            }
            Ok(seen)
        })
    }

    /// The vectors of files in their order, as the step stores them: of unit norm and rounded to
    /// half precision. The files have passed ingest's look at them, so all can be decoded.
    pub fn vectors(&self, files: Vec<Vec<u8>>) -> Result<Vec<VectorOrReason>> {
        let count = files.len();
        let number = |row: usize| ImageId(row as u64);
        let file = |(row, bytes)| ImageFile { id: number(row), sha256: String::new(), bytes };
        let mut files = files.into_iter().enumerate().map(file);
        let rows = job_images(&self.common);
        let jobs = std::iter::from_fn(|| {
            let job: Vec<ImageFile> = files.by_ref().take(rows).collect();
            (!job.is_empty()).then_some(Ok(job))
        });
        let threads = self.threads.min(count.div_ceil(rows));
        let worker = |number| Worker::new(number, &self.sessions, &self.common);
        let (mut vectors, mut drops) = (vec![None; count], Vec::new());
        flow(jobs, threads, &worker, &mut |embedded| {
            let values = embedded.vectors.first().map_or(&[][..], Vec::as_slice);
            let d = values.len() / embedded.ids.len().max(1);
            for (id, vector) in embedded.ids.iter().zip(values.chunks_exact(d.max(1))) {
                if let Some(place) = usize::try_from(id.0).ok().and_then(|row| vectors.get_mut(row)) {
                    *place = Some(to_f32(&to_f16(vector)));
                }
            }
            drops.extend(embedded.drops);
            Ok(())
        })?;
        // Jobs come back in order, and a job's drops are in the order of its rows.
        let mut drops = drops.into_iter();
        let filled =
            vectors.into_iter().map(|vector| vector.ok_or_else(|| drops.next().unwrap_or(Reason::ModelFailed)));
        Ok(filled.collect())
    }
}

/// Bytes of the model of an embedder, where nothing has to be downloaded for it.
pub fn at_hand(embedder: &str, task: &Task) -> Result<Option<u64>> {
    let Some(known) = task.catalog.embedders.get(embedder) else { return Ok(None) };
    let Some(path) = present(&known.model, &task.shared_folder(MODELS)) else { return Ok(None) };
    let weights = model::external(&path)?.into_iter().map(|name| path.with_file_name(name));
    let length = |path: PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
    Ok(Some(std::iter::once(path.clone()).chain(weights).map(length).sum()))
}

/// A model's input as a picture again.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "levels; `as` keeps them from 0 to 255")]
fn levels(pixels: &[f32], spec: &Preprocess) -> Vec<u8> {
    let plane = pixels.len() / 3;
    let level = |at: usize, channel: usize| {
        let value = pixels[channel * plane + at] * spec.std[channel] + spec.mean[channel];
        (value * 255.0).round() as u8
    };
    (0..plane).flat_map(|at| [0, 1, 2].map(|channel| level(at, channel))).collect()
}

/// Whether the model gives for images what is stored of them; `again`, n x d, is what it gives now.
pub fn same_model(stored: &Vectors, again: &[f32]) -> Result<()> {
    for (row, again) in again.chunks_exact(stored.dimension).enumerate() {
        let cosine = dot(stored.row(row), again);
        if cosine < SAME_MODEL {
            let id = stored.ids[row].0;
            return Err(Error::usage(
                format!(
                    "image {id:016x}: the stored vector and the one the model gives now have a cosine of {cosine:.3}"
                ),
                "the model or how pixels become its input was changed: lvd embed FILE --replace",
            ));
        }
    }
    Ok(())
}
