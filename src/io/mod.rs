//! Files and the network: Parquet shards, image sources, HTTP, decoding. Nothing here knows what a pipeline is.

pub mod centroids;
pub mod download;
pub mod images;
pub mod part;
pub mod publish;
pub mod row;
pub mod vectors;
