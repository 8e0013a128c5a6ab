//! Files and the network: Parquet shards, image sources, HTTP, decoding. Nothing here knows what a
//! pipeline is.

pub mod centroids;
pub mod checked;
pub mod checkpoint;
pub mod decode;
pub mod digest;
pub mod download;
pub mod fetch;
pub mod images;
pub mod model;
pub mod part;
pub mod plain;
pub mod publish;
pub mod readahead;
pub mod row;
pub mod runs;
pub mod runtime;
pub mod sealed;
pub mod secret;
pub mod sorter;
pub mod sources;
pub mod vectors;
pub mod work_folder;

// What `table!` needs where it is used.
#[doc(hidden)]
pub use {arrow, lvd_base::Result};
