//! The two small Vision Transformers of the built-in example, written as ONNX files by the project itself.
//!
//! Their architecture is a ViT's; their weights are designed, not trained: a random ViT's cosines crowd near 1.

use std::path::Path;

use crate::error::{Error, Result};

mod block;
pub mod copy;
mod graph;
mod proto;
pub mod semantic;

/// Writes `copy.onnx` and `semantic.onnx` into `folder`: the same bytes every time.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path) -> Result<()> {
    let save = |name: &str, bytes: Vec<u8>| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(Error::io(&path))
    };
    save("copy.onnx", copy::build())?;
    save("semantic.onnx", semantic::build())
}
