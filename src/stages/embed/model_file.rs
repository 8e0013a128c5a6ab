//! Where a model's file is: the user's own, or one in the work folder, where models lie that are
//! downloaded or come with the program.

use std::path::{Path, PathBuf};

use crate::stages::catalog::Model;
use lvd_base::error::{Error, Result};
use lvd_io::digest::sha256_of_bytes;
use lvd_io::{download, model, secret};

/// The folder below the work folder for models that are not the user's own files.
pub const MODELS: &str = "_models";

/// The file of a model; what is not the user's own is put into `folder` first.
pub fn file_of(model: &Model, folder: &Path) -> Result<PathBuf> {
    match model {
        Model::File(path) => Ok(path.clone()),
        Model::Url { url, sha256 } => downloaded(url, sha256, folder),
        Model::Builtin(builtin) => download::unpacked(builtin.onnx(), folder),
    }
}

/// The same where it is there already.
#[must_use]
pub fn present(model: &Model, folder: &Path) -> Option<PathBuf> {
    let path = match model {
        Model::File(path) => path.clone(),
        Model::Url { sha256, .. } => download::path_of(sha256, folder),
        Model::Builtin(builtin) => download::path_of(&sha256_of_bytes(builtin.onnx()), folder),
    };
    path.is_file().then_some(path)
}

/// The model at a URL, in `folder`.
fn downloaded(url: &str, sha256: &str, folder: &Path) -> Result<PathBuf> {
    let path = download::by_hash(url, sha256, folder)?;
    match model::external(&path)?.first() {
        Some(weights) => Err(Error::usage(
            format!("{}: its weights are in a second file, {weights:?}, and a `url` brings one", secret::shown(url)),
            "download both files into one folder, and name the ONNX file by `model`",
        )),
        None => Ok(path),
    }
}
