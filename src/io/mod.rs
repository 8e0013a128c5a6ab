//! Files and the network: Parquet shards, image sources, HTTP, decoding. Nothing here knows what a pipeline is.

pub mod decode;
