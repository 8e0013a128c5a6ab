//! Pure algorithms: slices in, values out. No files, no progress bars, no configuration.

pub mod allocate;
pub mod balance;
pub mod cells;
pub mod draw;
pub mod edits;
pub mod forest;
pub mod histogram;
pub mod kmeans;
pub mod likeness;
pub mod near_pairs;
pub mod pair;
pub mod preprocess;
pub mod principal;
pub mod ranking;
pub mod thumbnail;
pub mod top_k;
pub mod union_find;
pub mod whiten;
