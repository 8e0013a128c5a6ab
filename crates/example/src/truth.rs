//! The ground truth of the example: a row a file, in `truth.parquet`.

use std::path::Path;

use lvd_base::error::Result;
use lvd_io::row;
use lvd_io::table;

table! {
    /// What a file of the example is.
    pub struct TruthRow {
        /// Relative to the example's folder, with `/`.
        pub path: String,
        /// `pool`, `seed` or `reference`.
        pub role: String,
        /// The source it belongs to.
        pub source: String,
        /// What it shows.
        pub concept: String,
        /// `original`, `exact_copy`, `edited_copy`, `broken`, `tiny` or `huge`.
        pub kind: String,
        /// How an edited copy was edited.
        pub edit: Option<String>,
        /// Path of the picture it is a copy of.
        pub copy_of: Option<String>,
    }
}

/// The name of the file.
pub const FILE: &str = "truth.parquet";

/// The ground truth of the example in `folder`.
pub fn read(folder: &Path) -> Result<Vec<TruthRow>> {
    let mut rows = Vec::new();
    for batch in row::read(&(&folder.join(FILE)).into())? {
        rows.extend(batch?);
    }
    Ok(rows)
}
