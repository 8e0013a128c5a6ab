//! Tables as stages see them: parts that are whole, each named by its content.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use lvd_base::types::ShardId;
use lvd_io::checked::{Published, Stored, Tail};

/// A file of a table, whole and named by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The table within its step; empty for the step's main table.
    pub table: String,
    /// Relative to the work folder.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Its end, with the checksums of its blocks; none in a part of an earlier version, or of a
    /// kind that is read whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// The shard of images whose facts it holds, for tables that follow the shards.
    pub shard: Option<ShardId>,
}

impl Part {
    /// The part as the file at `path`.
    #[must_use]
    pub fn stored(&self, path: PathBuf) -> Stored {
        let published = Published { name: self.path.clone(), bytes: self.bytes, tail: self.tail };
        Stored { path, published: Some(published) }
    }
}

/// A table: its parts in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its parts.
    pub parts: Vec<Part>,
}

impl Table {
    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// The part with the facts of `shard`.
    #[must_use]
    pub fn of_shard(&self, shard: ShardId) -> Option<&Part> {
        self.parts.iter().find(|part| part.shard == Some(shard))
    }
}
