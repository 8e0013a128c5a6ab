//! Families that are embedded already, kept for the next command: one that was stopped goes on
//! where it was. They are thrown away when the tables are written.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::calibrate::copies::Family;
use crate::calibrate::inputs::{Inputs, Pool};
use crate::calibrate::sample::DrawnImages;
use crate::stages::catalog::Embedder;
use crate::stages::embed::spec::spec_of;
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_io::checkpoint;
use lvd_io::digest::sha256_of_bytes;

/// Counts up when an edit, or how a copy is embedded, changes.
const FORMAT: u32 = 1;

/// The kept families of a calibration: a file an image.
pub struct Kept {
    folder: PathBuf,
    /// For each image of the sample, the hash of all that its family comes from.
    keys: Vec<String>,
}

impl Kept {
    /// Those that this embedder made of this sample.
    pub fn of(inputs: &Inputs, pool: &Pool, sample: &DrawnImages, embedder: (&str, &Embedder)) -> Result<Self> {
        let encoder = spec_of(embedder.0, embedder.1)?;
        let part = |id: ImageId| pool.images.of_shard(id.shard()).map(|part| &part.sha256);
        let key = |(&id, &host): (&ImageId, &usize)| {
            let host = sample.ids[host];
            let seed = inputs.catalog.seed;
            let from = json!([FORMAT, seed, [id, host], [part(id), part(host)], encoder, inputs.scaled_side]);
            sha256_of_bytes(from.to_string().as_bytes())
        };
        let keys = sample.ids.iter().zip(&sample.host).map(key).collect();
        Ok(Self { folder: inputs.kept.clone(), keys })
    }

    /// The family of the image at `place` of the sample, where it is kept.
    pub fn load(&self, place: usize) -> Option<Family> {
        let ((key, made), arrays) = checkpoint::load::<(String, Vec<bool>)>(&self.file(place))?;
        let mut arrays = arrays.into_iter();
        let original = arrays.next()?;
        let copies = made.into_iter().map(|made| if made { arrays.next() } else { None }).collect();
        (key == self.keys[place]).then_some(Family { original, copies })
    }

    /// Keeps it.
    pub fn save(&self, place: usize, family: &Family) -> Result<()> {
        let made: Vec<bool> = family.copies.iter().map(Option::is_some).collect();
        let vectors = std::iter::once(&family.original).chain(family.copies.iter().flatten());
        let arrays: Vec<Vec<f32>> = vectors.cloned().collect();
        checkpoint::save(&self.file(place), &(&self.keys[place], made), &arrays)
    }

    fn file(&self, place: usize) -> PathBuf {
        self.folder.join(&self.keys[place][..16])
    }
}

/// Throws away what is kept in `folder`.
pub fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder)(error)),
        _ => Ok(()),
    }
}
