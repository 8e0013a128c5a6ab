//! What steps refer to by name: the sources of images and the models that embed them.

use std::path::PathBuf;
use std::sync::OnceLock;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use lvd_base::error::{Error, Result};
use lvd_base::types::ShardId;
use lvd_encoders::{Builtin, CopyThresholds};
use lvd_io::sources::Source;
use lvd_ops::preprocess::Preprocess;

/// What a source is to the pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Uncurated images: deduplicated, searched, clustered and sampled.
    #[default]
    Pool,
    /// A curated set: goes into the data set as it is, and its neighbours in the pool are
    /// retrieved.
    Seed,
    /// Held-out images, such as an evaluation set: what is near them must leave the pool.
    Reference,
}

impl Role {
    /// Its name in the pipeline file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Seed => "seed",
            Self::Reference => "reference",
        }
    }
}

/// A source of images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Its data set number in this work folder: the upper 16 bits of its images' ids.
    pub number: u16,
    /// What it is to the pipeline.
    pub role: Role,
    /// Where its rows come from.
    pub source: Source,
    #[serde(skip)]
    fingerprint: OnceLock<String>,
}

impl SourceEntry {
    /// A source of the pipeline.
    #[must_use]
    pub fn new(number: u16, role: Role, source: Source) -> Self {
        Self { number, role, source, fingerprint: OnceLock::new() }
    }

    /// What its content is identified by, where that was looked up.
    #[must_use]
    pub fn known_fingerprint(&self) -> Option<&str> {
        self.fingerprint.get().map(String::as_str)
    }

    /// Takes an earlier fingerprint for the source's, so that nobody looks it up.
    pub fn trust(&self, fingerprint: String) {
        self.fingerprint.get_or_init(|| fingerprint);
    }

    /// What its content is identified by; looked up once a process, since a folder may be large.
    pub fn fingerprint(&self) -> Result<String> {
        if let Some(known) = self.fingerprint.get() {
            return Ok(known.clone());
        }
        let found = self.source.fingerprint()?;
        Ok(self.fingerprint.get_or_init(|| found).clone())
    }
}

/// Where a model's file is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// A file of the user's.
    File(PathBuf),
    /// A file to download, known by its hash.
    Url {
        /// http or https.
        url: String,
        /// SHA-256 of the file, lower-case hex.
        sha256: String,
    },
    /// One that comes with the program.
    Builtin(Builtin),
}

/// A model that turns an image into a vector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Embedder {
    /// Its ONNX file.
    pub model: Model,
    /// How pixels become its input.
    pub preprocess: Preprocess,
    /// Whether the user set the mean or the deviation himself.
    #[serde(default)]
    pub normalised: bool,
    /// Which output to take; the first when not named.
    pub output: Option<String>,
    /// Values of a vector, where they are known beforehand.
    pub dims: Option<u32>,
    /// Operations an image, where the preset tells.
    #[serde(default)]
    pub operations: Option<u64>,
    /// From which cosines two images are copies, where the model was made to find copies.
    #[serde(default)]
    pub copies: Option<CopyThresholds>,
}

/// Everything with a name that is no step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Catalog {
    /// The seed of every draw.
    pub seed: u64,
    /// Sources by name, in the order of the file.
    pub sources: IndexMap<String, SourceEntry>,
    /// Embedders by name, in the order of the file.
    pub embedders: IndexMap<String, Embedder>,
}

impl Catalog {
    /// The same with absolute paths, for a program that starts in another folder.
    pub fn absolute(&self) -> Result<Self> {
        let mut catalog = self.clone();
        let mut paths: Vec<&mut PathBuf> = Vec::new();
        for entry in catalog.sources.values_mut() {
            paths.extend(entry.source.paths());
        }
        for embedder in catalog.embedders.values_mut() {
            if let Model::File(path) = &mut embedder.model {
                paths.push(path);
            }
        }
        for path in paths {
            *path = std::path::absolute(&*path).map_err(Error::io(&*path))?;
        }
        Ok(catalog)
    }

    /// The entry of a source by its name.
    pub fn named(&self, source: &str) -> Result<&SourceEntry> {
        let unknown = || Error::usage(format!("there is no source {source:?}"), "put it back into the pipeline file");
        self.sources.get(source).ok_or_else(unknown)
    }

    /// The name and entry of the source that a shard must belong to.
    pub fn source(&self, shard: ShardId) -> Result<(&str, &SourceEntry)> {
        let unknown = || {
            let fact = format!("shard {} is of data set {}, which no source has", shard.0, shard.dataset());
            Error::usage(fact, "was its source taken out of the pipeline file? put it back")
        };
        self.source_of(shard).ok_or_else(unknown)
    }

    /// The name and entry of the source that a shard belongs to.
    #[must_use]
    pub fn source_of(&self, shard: ShardId) -> Option<(&str, &SourceEntry)> {
        let found = self.sources.iter().find(|(_, entry)| entry.number == shard.dataset());
        found.map(|(name, entry)| (name.as_str(), entry))
    }

    /// What a shard is to the pipeline; a shard of a source that is no longer in the file is
    /// nothing.
    #[must_use]
    pub fn role_of(&self, shard: ShardId) -> Option<Role> {
        self.source_of(shard).map(|(_, entry)| entry.role)
    }
}
