//! The kinds of work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kinds of work, in the order of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StageKind {
    /// Fetch, check and store images.
    Ingest,
    /// Turn images into vectors with ONNX models.
    Embed,
    /// Find copies among the pool, or copies of reference images.
    Dedup,
    /// Group the pool by k-means.
    Cluster,
    /// Find the pool images that are like the seed images.
    Retrieve,
    /// Choose the data set.
    Sample,
    /// Write the data set.
    Export,
}

impl StageKind {
    /// Every kind, in order.
    pub const ALL: [Self; 7] =
        [Self::Ingest, Self::Embed, Self::Dedup, Self::Cluster, Self::Retrieve, Self::Sample, Self::Export];

    /// Its name in the pipeline file and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Embed => "embed",
            Self::Dedup => "dedup",
            Self::Cluster => "cluster",
            Self::Retrieve => "retrieve",
            Self::Sample => "sample",
            Self::Export => "export",
        }
    }
}
