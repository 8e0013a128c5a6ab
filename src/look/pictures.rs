//! The pictures of a page: read again from the ingested files, made small, bounded in number and
//! bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use image::RgbImage;
use rayon::prelude::*;

use crate::pipeline::steps::Pipeline;
use crate::stages::StageKind;
use crate::stages::table::Part;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, ShardId};
use lvd_io::decode::{self, ImageLimits};
use lvd_io::images::{self, ImageMeta, Ingested};
use lvd_ops::thumbnail::{self, SIDE};

/// Pictures of a page, at most: were all noise, it would have less than 20 MB.
pub const MOST: usize = 480;
/// Parts that are copied from a bucket for a page, at most: each may have a gigabyte.
const COPIES: usize = 32;

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

    /// Adds other pictures.
    pub fn add_all(&mut self, others: &Self) {
        self.0.extend(others.0.iter().map(|(&id, picture)| (id, picture.clone())));
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

    /// The pictures of some images, of the first [`MOST`] of them; from a bucket, of those in the
    /// [`COPIES`] parts that hold most of them. Memory: a row group of files a
    /// thread, and the pictures.
    pub fn pictures(&self, ids: &BTreeSet<ImageId>) -> Result<Pictures> {
        let known = ids.iter().filter(|id| self.parts.contains_key(&id.shard()));
        let ids: Vec<ImageId> = known.copied().take(MOST).collect();
        let mut of_shards: Vec<&[ImageId]> = ids.chunk_by(|a, b| a.shard() == b.shard()).collect();
        if self.pipeline.store.work.is_bucket() {
            of_shards.sort_by_key(|ids| std::cmp::Reverse(ids.len()));
            of_shards.truncate(COPIES);
        }
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
    let jpeg = small(&bytes, width, height);
    Picture { id, source, place, width, height, jpeg }
}

/// The small picture of a file whose image has so many pixels; nothing where it cannot be decoded.
#[must_use]
pub fn small(bytes: &[u8], width: u32, height: u32) -> Vec<u8> {
    // As small as a JPEG can be decoded with the longer side still long enough.
    let (short, long) = (width.min(height).max(1), width.max(height).max(1));
    let side = u64::from(SIDE) * u64::from(short) / u64::from(long);
    let decoded = decode::decode_scaled(bytes, &ImageLimits::NONE, Some(u32::try_from(side).unwrap_or(SIDE).max(1)));
    let rgb = decoded.ok().and_then(|picture| RgbImage::from_raw(picture.width, picture.height, picture.rgb));
    rgb.and_then(|rgb| thumbnail::jpeg(&rgb).ok()).unwrap_or_default()
}
