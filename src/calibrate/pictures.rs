//! The files of some images of the pool, wherever they lie.

use image::RgbImage;

use crate::calibrate::inputs::{Inputs, Pool};
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_io::checked::Stored;
use lvd_io::decode::{self, ImageLimits};
use lvd_io::images::{self, ImageFile};

/// Files, one after the other.
pub type Files = Box<dyn Iterator<Item = Result<ImageFile>> + Send>;

/// The files of these images (sorted ids), read as they are asked for: a row group for each that
/// has one of them.
pub fn files(inputs: &Inputs, pool: &Pool, ids: &[ImageId]) -> Files {
    let parts: Vec<(Result<Stored>, Vec<ImageId>)> = ids
        .chunk_by(|a, b| a.shard() == b.shard())
        .filter_map(|ids| {
            let part = pool.images.of_shard(ids[0].shard())?;
            let path = inputs.work.fetch(&part.path, inputs.work.root());
            Some((path.map(|path| part.stored(path)), ids.to_vec()))
        })
        .collect();
    let of_part = |(part, ids): (Result<Stored>, Vec<ImageId>)| -> Files {
        match part.and_then(|part| images::read_some(&part, ids)) {
            Ok(groups) => Box::new(groups.flat_map(|group| match group {
                Ok(files) => files.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    };
    Box::new(parts.into_iter().flat_map(of_part))
}

/// An image that has a vector and no file.
pub fn gone(inputs: &Inputs, id: ImageId) -> Error {
    let message = format!("image {:016x} has a vector, but its file is not in {:?}", id.0, inputs.dedup.images.name());
    Error::usage(message, "lvd plan FILE shows what is out of date")
}

/// The upright picture; with a `side` as embedding with `scaled_decoding` sees it.
pub fn open(file: &ImageFile, side: Option<u32>) -> Result<RgbImage> {
    let fault = |detail: String| {
        let message = format!("image {:016x} can no longer be decoded: {detail}", file.id.0);
        Error::usage(message, "lvd ingest FILE --replace")
    };
    // Ingest has checked these files against its own limits.
    let picture =
        decode::decode_scaled(&file.bytes, &ImageLimits::NONE, side).map_err(|dropped| fault(dropped.detail))?;
    RgbImage::from_raw(picture.width, picture.height, picture.rgb).ok_or_else(|| fault("too few pixels".into()))
}
