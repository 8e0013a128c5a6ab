//! What a data set is chosen from: seeds, the pool, what was retrieved, and the tree of clusters.

use serde::{Deserialize, Serialize};

use crate::stages::sample::settings::DrawRule;
use crate::stages::table::Part;

/// A shard of a seed set, and the selection that says which of its images are there.
#[derive(Clone, Serialize, Deserialize)]
pub struct SeedShard {
    pub set: String,
    pub selection: Part,
}

/// The pool: selections by shard, and the clusters of what they keep.
#[derive(Clone, Serialize, Deserialize)]
pub struct Pool {
    pub shards: Vec<Part>,
    /// Nothing, for a uniform draw.
    pub assigned: Vec<Part>,
}

/// What the choice is made of.
#[derive(Clone, Serialize, Deserialize)]
pub struct ChooseCommon {
    pub seeds: Vec<SeedShard>,
    pub pool: Pool,
    pub retrieved: Vec<Part>,
    pub tree: Vec<Part>,
    pub flat: bool,
    pub per_cluster: Option<u64>,
    /// By data set number.
    pub quotas: Vec<(u16, u64)>,
    pub target: u64,
    pub fill: bool,
    pub draw: DrawRule,
    pub max_copies: u32,
    pub seed: u64,
}
