//! Pure algorithms: slices in, values out. No files, no progress bars, no configuration.

pub mod hash;
pub mod preprocess;
