//! From files that are no rows of the pipeline to vectors, by the code of ingest and embed.

use rayon::prelude::*;
use serde::Serialize;

use super::view::View;
use crate::pipeline::event::{Event, Observer};
use crate::stages::embed::encode::{Encoder, same_model};
use crate::stages::ingest::Ingest;
use crate::stages::pool::VectorShard;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{Dropped, Reason};
use lvd_io::images;
use lvd_io::vectors::Vectors;

/// A file and where it came from, or why there is none.
pub type Arrived = (String, std::result::Result<Vec<u8>, Dropped>);

/// A picture with its vector.
pub struct Picture {
    /// Where it came from.
    pub place: String,
    pub width: u32,
    pub height: u32,
    pub sha256: String,
    /// As it is stored: of unit norm, in half precision, not whitened.
    pub vector: Vec<f32>,
}

/// A file that is no usable picture.
#[derive(Clone, Debug, Serialize)]
pub struct Unusable {
    /// Where it came from.
    pub path: String,
    /// Why.
    pub reason: Reason,
    /// What was found.
    pub detail: String,
}

/// What looks at pictures: ingest's checks and an encoder.
pub struct Eye<'a> {
    ingest: &'a Ingest,
    encoder: Encoder,
}

impl<'a> Eye<'a> {
    /// Opens the encoder, and compares it with what is stored: `vectors` are its table.
    pub fn open(view: &View<'a>, vectors: &Table, task: &Task, tell: &Observer) -> Result<Self> {
        let encoder = Encoder::open(view.embed.1, view.embedder, task)?;
        let passed_over = encoder.passed_over().iter();
        passed_over.for_each(|reason| tell(Event::Warning(format!("not used: {reason}"))));
        let images = view.pipeline.tables(view.ingest.0)?.remove("").unwrap_or_default();
        is_the_one(&encoder, vectors, &images, task)?;
        Ok(Self { ingest: view.ingest.1, encoder })
    }

    /// Looks at files, in their order.
    pub fn look(&self, files: Vec<Arrived>) -> Result<Vec<std::result::Result<Picture, Unusable>>> {
        let look = |(path, file): Arrived| match file.and_then(|bytes| self.ingest.look_at(bytes)) {
            Ok((facts, sha256, bytes)) => {
                let (place, vector) = (path, Vec::new());
                Ok((Picture { place, width: facts.width, height: facts.height, sha256, vector }, bytes))
            }
            Err(Dropped { reason, detail }) => Err(Unusable { path, reason, detail }),
        };
        let mut looked: Vec<_> = files.into_par_iter().map(look).collect();
        let usable = looked.iter_mut().filter_map(|picture| picture.as_mut().ok());
        let bytes = usable.map(|(_, bytes)| std::mem::take(bytes)).collect();
        let mut vectors = self.encoder.vectors(bytes)?.into_iter();
        let filled = looked.into_iter().map(|picture| {
            let (picture, _) = picture?;
            match vectors.next().unwrap_or(Err(Reason::ModelFailed)) {
                Ok(vector) => Ok(Picture { vector, ..picture }),
                Err(reason) => {
                    let detail = "the encoder has no vector for it".to_owned();
                    Err(Unusable { path: picture.place, reason, detail })
                }
            }
        });
        Ok(filled.collect())
    }
}

/// Whether an encoder is the one that the vectors are of, by one of their images.
fn is_the_one(encoder: &Encoder, vectors: &Table, images: &Table, task: &Task) -> Result<()> {
    let part = vectors.parts.iter().find(|part| part.rows > 0);
    let Some(part) = part else { return Ok(()) };
    let shard = VectorShard::new(part.clone(), None)?;
    let Some(block) = shard.blocks(task)?.next().transpose()? else { return Ok(()) };
    let stored = Vectors { ids: vec![block.ids[0]], values: block.row(0).to_vec(), dimension: block.dimension };
    if encoder.dimension() != stored.dimension {
        let fact = format!(
            "the model gives vectors of {} numbers, and the stored ones have {}",
            encoder.dimension(),
            stored.dimension
        );
        return Err(Error::usage(fact, "the model was changed: lvd embed FILE --replace"));
    }
    let Some(images) = images.of_shard(shard.shard()) else { return Ok(()) };
    let mut groups = images::read_some(&task.open(images)?, stored.ids.clone())?;
    let Some(file) = groups.next().transpose()?.and_then(|mut files| files.pop()) else { return Ok(()) };
    let again = encoder.vectors(vec![file.bytes])?.pop();
    same_model(&stored, &again.and_then(std::result::Result::ok).unwrap_or_else(|| vec![0.0; stored.dimension]))
}
