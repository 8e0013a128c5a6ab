//! The pictures of a page: read again from the ingested files, made small, bounded in number and
//! bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, RgbImage};
use rayon::prelude::*;

use crate::pipeline::steps::Pipeline;
use crate::stages::StageKind;
use crate::stages::table::Part;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, ShardId};
use lvd_io::decode::{self, ImageLimits};
use lvd_io::images::{self, ImageMeta, Ingested};

/// Pictures of a page, at most.
pub const MOST: usize = 480;
/// Pixels of a picture's longer side.
const SIDE: u32 = 256;
/// Bytes of a picture that is not made worse to be shorter.
const BYTES: usize = 24_000;
/// From good to bad; the last is taken whatever its bytes. A page of noise stays under 20 MB.
const QUALITIES: [u8; 3] = [80, 55, 25];

/// A small picture, and what is known of its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Which image.
    pub id: ImageId,
    /// The source it is of.
    pub source: String,
    /// Where it came from.
    pub place: String,
    /// Pixels of the image.
    pub width: u32,
    /// Pixels of the image.
    pub height: u32,
    /// The small picture; nothing where the image can no longer be decoded.
    pub jpeg: Vec<u8>,
}

/// The pictures of a page.
#[derive(Default)]
pub struct Pictures(BTreeMap<ImageId, Picture>);

/// Where the ingested images lie.
pub struct Album<'a> {
    pipeline: &'a Pipeline,
    parts: HashMap<ShardId, Part>,
}

impl Pictures {
    /// The picture of an image, if there is one.
    #[must_use]
    pub fn of(&self, id: ImageId) -> Option<&Picture> {
        self.0.get(&id)
    }

    /// Adds a picture, of an image that need not be in the pool.
    pub fn add(&mut self, picture: Picture) {
        self.0.insert(picture.id, picture);
    }

    /// Bytes of all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.values().map(|picture| picture.jpeg.len()).sum()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Album<'a> {
    /// The images of all ingest steps that are whole.
    pub fn open(pipeline: &'a Pipeline) -> Result<Self> {
        let mut parts = HashMap::new();
        for step in pipeline.steps.iter().filter(|step| step.stage.kind() == StageKind::Ingest) {
            let tables = pipeline.store.manifest(&step.name)?.map(|manifest| manifest.tables).unwrap_or_default();
            for part in tables.get("").into_iter().flat_map(|table| &table.parts) {
                if let Some(shard) = part.shard {
                    parts.entry(shard).or_insert_with(|| part.clone());
                }
            }
        }
        Ok(Self { pipeline, parts })
    }

    /// The pictures of some images, of the first [`MOST`] of them. Memory: a row group of files a
    /// thread, and the pictures.
    pub fn pictures(&self, ids: &BTreeSet<ImageId>) -> Result<Pictures> {
        let ids: Vec<ImageId> = ids.iter().copied().take(MOST).collect();
        let of_shards: Vec<&[ImageId]> = ids.chunk_by(|a, b| a.shard() == b.shard()).collect();
        let found = of_shards.into_par_iter().map(|ids| self.of_shard(ids)).collect::<Result<Vec<_>>>()?;
        Ok(Pictures(found.into_iter().flatten().map(|picture| (picture.id, picture)).collect()))
    }

    fn of_shard(&self, ids: &[ImageId]) -> Result<Vec<Picture>> {
        let Some(part) = ids.first().and_then(|id| self.parts.get(&id.shard())) else { return Ok(Vec::new()) };
        let groups = images::read_with_facts(&self.pipeline.store.part(part)?, ids.to_vec())?;
        let small = |group: Result<Vec<Ingested>>| Ok(group?.into_par_iter().map(picture).collect::<Vec<_>>());
        Ok(groups.map(small).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }
}

fn picture(Ingested { facts, bytes }: Ingested) -> Picture {
    let ImageMeta { id, source, url: place, width, height, .. } = facts;
    // As small as a JPEG can be decoded with the longer side still long enough.
    let (short, long) = (width.min(height).max(1), width.max(height).max(1));
    let side = u64::from(SIDE) * u64::from(short) / u64::from(long);
    let decoded = decode::decode_scaled(&bytes, &ImageLimits::NONE, Some(u32::try_from(side).unwrap_or(SIDE).max(1)));
    let rgb = decoded.ok().and_then(|picture| RgbImage::from_raw(picture.width, picture.height, picture.rgb));
    let jpeg = rgb.map(|rgb| small(&rgb)).unwrap_or_default();
    Picture { id, source, place, width, height, jpeg }
}

/// A picture as a small JPEG.
#[must_use]
pub fn small(rgb: &RgbImage) -> Vec<u8> {
    let (width, height) = rgb.dimensions();
    let long = width.max(height).max(1);
    let fit = |side: u32| {
        let side = u64::from(side) * u64::from(SIDE.min(long)) / u64::from(long);
        u32::try_from(side).unwrap_or(SIDE).max(1)
    };
    let small = imageops::resize(rgb, fit(width), fit(height), FilterType::Triangle);
    let mut jpeg = Vec::new();
    for quality in QUALITIES {
        jpeg.clear();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
        let written = encoder.encode(small.as_raw(), small.width(), small.height(), ExtendedColorType::Rgb8);
        if written.is_err() {
            return Vec::new();
        }
        if jpeg.len() <= BYTES {
            break;
        }
    }
    jpeg
}

#[cfg(test)]
mod tests {
    use lvd_kernels::hash::Draw;

    use super::*;

    #[test]
    fn a_small_picture_is_small_whatever_it_shows() {
        let draw = Draw::new(1, "noise");
        for (width, height) in [(1, 1), (40, 30), (900, 600), (3, 2000)] {
            let noise = RgbImage::from_fn(width, height, |x, y| {
                image::Rgb(std::array::from_fn(|channel| {
                    draw.within(channel as u64).bits(u64::from(y * width + x)).to_le_bytes()[0]
                }))
            });
            let jpeg = small(&noise);
            let back = image::load_from_memory(&jpeg).expect("a JPEG");
            assert!(back.width().max(back.height()) <= SIDE && back.width() >= 1, "{width} x {height}");
            assert!(jpeg.len() < 31_000, "{width} x {height}: {} bytes", jpeg.len());
        }
    }
}
