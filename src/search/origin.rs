//! Where images of a pipeline came from: a few rows of tables that follow the shards.

use serde::{Serialize, Serializer};

use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::row::Row;
use lvd_io::table;

table! {
    /// Where an image came from.
    pub struct Origin {
        /// Which image.
        pub id: ImageId,
        /// The name of its source.
        pub source: String,
        /// Its place there.
        pub url: String,
        /// SHA-256 of its file.
        pub sha256: String,
    }
}

/// An image of a pipeline, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Image {
    /// Its id, as tables have it.
    pub id: ImageId,
    /// The same in hexadecimal, as messages have it.
    #[serde(serialize_with = "hexadecimal")]
    pub key: ImageId,
    /// The name of its source.
    pub source: String,
    /// Its place there: a path, a URL.
    pub url: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn hexadecimal<S: Serializer>(id: &ImageId, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{:016x}", id.0))
}

impl From<&Origin> for Image {
    fn from(origin: &Origin) -> Self {
        let Origin { id, source, url, .. } = origin.clone();
        Self { id, key: id, source, url }
    }
}

/// Where images, sorted by id, came from; by id. `facts` is the table of an ingest step.
pub fn origins(facts: &Table, ids: &[ImageId], task: &Task) -> Result<Vec<Origin>> {
    rows_of(facts, ids, |row: &Origin| row.id, task)
}

/// The row of an image among rows by id.
pub fn of<R>(rows: &[R], id: ImageId, id_of: impl Fn(&R) -> ImageId) -> Option<&R> {
    rows.binary_search_by_key(&id, id_of).ok().map(|at| &rows[at])
}

/// The rows of images, sorted by id, in a table that follows the shards; by id. A part is read for
/// each shard that has some of them.
pub fn rows_of<R: Row>(table: &Table, ids: &[ImageId], id_of: impl Fn(&R) -> ImageId, task: &Task) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for ids in ids.chunk_by(|a, b| a.shard() == b.shard()) {
        let Some(part) = table.of_shard(ids[0].shard()) else { continue };
        for batch in task.read::<R>(part)? {
            rows.extend(batch?.into_iter().filter(|row| ids.binary_search(&id_of(row)).is_ok()));
        }
    }
    rows.sort_by_key(id_of);
    Ok(rows)
}
