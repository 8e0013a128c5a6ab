//! How centroids start.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How centroids start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Greedy k-means++.
    PlusPlus,
    /// k-means||.
    Parallel,
    /// Images drawn at random.
    Random,
}
