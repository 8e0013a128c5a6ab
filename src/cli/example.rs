//! `lvd example`.
use crate::cli::Stop;
use std::path::Path;
pub fn example(_folder: &Path, _seed: Option<u64>, _images: Option<usize>, _score: bool) -> Result<(), Stop> {
    todo!()
}
