//! What decides the vectors of a shard: models, pixels, and which images there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stages::catalog::{Embedder, Model};
use crate::stages::table::Part;
use lvd_base::error::Result;
use lvd_base::types::Dropped;
use lvd_engines::onnx::Provider;
use lvd_io::decode::{self, ImageLimits, Picture};
use lvd_io::digest::sha256_of_bytes;
use lvd_io::model::{self, Identity};
use lvd_ops::preprocess::Preprocess;

/// What decides an embedder's vectors.
#[derive(Clone, Serialize, Deserialize)]
pub struct EmbedderSpec {
    pub name: String,
    pub model_sha256: String,
    /// SHA-256 of each file of weights beside the ONNX file; left out of the identity of models
    /// without.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights_sha256: BTreeMap<String, String>,
    pub preprocess: Preprocess,
    pub output: Option<String>,
    /// Values that a vector must have; left out of the identity of embedders without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dims: Option<u32>,
}

impl EmbedderSpec {
    /// What its model is known by.
    pub fn identity(&self) -> Identity {
        Identity { sha256: self.model_sha256.clone(), weights: self.weights_sha256.clone() }
    }
}

/// What all shards of a step are embedded by.
#[derive(Serialize, Deserialize)]
pub struct EmbedCommon {
    pub embedders: Vec<EmbedderSpec>,
    pub batch_images: usize,
    pub providers: Vec<Provider>,
    /// Whose pixels JPEGs have.
    #[serde(default)]
    pub jpeg_pixels: String,
    /// The least length of a side of a JPEG that is decoded at a smaller scale; left out of the
    /// identity of steps without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled_side: Option<u32>,
}

impl EmbedCommon {
    /// The picture in a file that ingest has checked against its own limits.
    pub fn decode(&self, bytes: &[u8]) -> std::result::Result<Picture, Dropped> {
        decode::decode_scaled(bytes, &ImageLimits::NONE, self.scaled_side)
    }
}

/// A shard to embed, and which of its images count.
#[derive(Serialize, Deserialize)]
pub struct EmbedTask {
    pub images: Part,
    pub kept: Part,
}

/// What decides the vectors of an embedder of this name.
pub fn spec_of(name: &str, embedder: &Embedder) -> Result<EmbedderSpec> {
    let Identity { sha256: model_sha256, weights: weights_sha256 } = match &embedder.model {
        Model::File(path) => model::identity(path)?,
        Model::Url { sha256, .. } => Identity { sha256: sha256.clone(), weights: BTreeMap::new() },
        Model::Builtin(builtin) => Identity { sha256: sha256_of_bytes(builtin.onnx()), weights: BTreeMap::new() },
    };
    let (preprocess, output) = (embedder.preprocess.clone(), embedder.output.clone());
    Ok(EmbedderSpec { name: name.into(), model_sha256, weights_sha256, preprocess, output, dims: embedder.dims })
}
