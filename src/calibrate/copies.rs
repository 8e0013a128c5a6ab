//! Edited copies as vectors: each sampled image is decoded once, edited in every way, and embedded
//! as the embed stage does it.
//!
//! Copies are not encoded again but for the JPEG edits, and are made of a picture of at most
//! [`LONGEST`] pixels a side, which is what platforms leave of larger ones. Vectors are rounded to
//! half precision, as those of the pool are. What is embedded is kept at once, for a command that
//! is stopped.

use std::sync::{Mutex, PoisonError};

use image::RgbImage;
use image::imageops::{self, FilterType};

use crate::calibrate::inputs::{Event, Inputs, Pool};
use crate::calibrate::kept::Kept;
use crate::calibrate::pictures::{files, gone, open};
use crate::calibrate::sample::DrawnImages;
use crate::stages::catalog::Embedder;
use crate::stages::embed::model_file::{MODELS, file_of};
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_engines::onnx::Session;
use lvd_io::images::ImageFile;
use lvd_kernels::dot;
use lvd_kernels::hash::Draw;
use lvd_ops::draw::Chance;
use lvd_ops::edits::Edit;
use lvd_ops::preprocess::preprocess;

/// Longest side of a picture that is edited.
const LONGEST: u32 = 1024;
/// Pictures a batch of the model. Batches are cut within the copies of one image, so they do not
/// depend on threads.
const BATCH: usize = 16;

/// A copy that has a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditedCopy {
    /// Place of its original in the sample.
    pub original: usize,
    /// How it was edited.
    pub edit: Edit,
}

/// All copies, those of an image together, in the order of the sample and of [`Edit::ALL`].
#[derive(Clone, Default)]
pub struct Copies {
    /// What they are.
    pub made: Vec<EditedCopy>,
    /// Their vectors, row-major.
    pub values: Vec<f32>,
    /// The originals' vectors as the model gives them now, in the order of the sample.
    pub again: Vec<f32>,
    /// Edits that gave no usable vector, once for each time.
    pub lost: Vec<Edit>,
}

/// The vectors of one image and its copies.
pub struct Family {
    /// The image's own.
    pub original: Vec<f32>,
    /// Those of its copies, in the order of [`Edit::ALL`]; none where the model gave no usable one.
    pub copies: Vec<Option<Vec<f32>>>,
}

/// Edits and embeds every image of the sample; `dimension` is that of the stored vectors.
pub fn embed(
    inputs: &Inputs,
    pool: &Pool,
    sample: &DrawnImages,
    dimension: usize,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Copies> {
    let (name, embedder) = embedder(inputs)?;
    let model = file_of(&embedder.model, &inputs.work.root().join(MODELS))?;
    // What cannot be opened is said before the first picture is read.
    drop(Session::open(&model, 1)?);
    let kept = Kept::of(inputs, pool, sample, (name, embedder))?;
    let families: Vec<Option<Family>> = (0..sample.ids.len()).map(|place| kept.load(place)).collect();
    let wanted: Vec<ImageId> = missing(sample, &families);
    let hosts = hosts(inputs, pool, sample)?;
    let files = Mutex::new(files(inputs, pool, &wanted));
    let families = Mutex::new(families);
    let seed = Draw::new(inputs.catalog.seed, "calibrate/edits");
    if wanted.len() < sample.ids.len() {
        tell(Event::GoesOn(sample.ids.len() - wanted.len()));
    }
    tell(Event::Begins("edit and embed images", wanted.len()));
    let work = || -> Result<()> {
        let mut session = Session::open(&model, 1)?;
        loop {
            let file = files.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(file) = file.transpose()? else { return Ok(()) };
            let Ok(place) = sample.ids.binary_search(&file.id) else { continue };
            let host = hosts.iter().find(|(host, _)| *host == sample.host[place]).map(|(_, picture)| picture);
            let host = host.expect("every host was read");
            let family = family(&file, host, seed.within(file.id.0), &mut session, (embedder, inputs.scaled_side))?;
            kept.save(place, &family)?;
            families.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(family);
            tell(Event::Done);
        }
    };
    let outcome: Result<Vec<()>> = std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, work).map_err(Error::thread);
        let workers = (0..inputs.threads.max(1)).map(start).collect::<Result<Vec<_>>>()?;
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    tell(Event::Ends);
    outcome?;
    let families = families.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut copies = Copies::default();
    for (original, family) in families.into_iter().enumerate() {
        let family = family.ok_or_else(|| gone(inputs, sample.ids[original]))?;
        if family.original.len() != dimension {
            let message = format!(
                "embedder {name:?} gives {} numbers, the stored vectors have {dimension}",
                family.original.len()
            );
            return Err(Error::usage(message, "the model was changed: lvd embed FILE --replace"));
        }
        copies.again.extend(family.original);
        for (edit, vector) in Edit::ALL.into_iter().zip(family.copies) {
            match vector {
                Some(vector) => {
                    copies.made.push(EditedCopy { original, edit });
                    copies.values.extend(vector);
                }
                None => copies.lost.push(edit),
            }
        }
    }
    Ok(copies)
}

/// The images that have no family yet.
fn missing(sample: &DrawnImages, families: &[Option<Family>]) -> Vec<ImageId> {
    sample.ids.iter().zip(families).filter(|(_, family)| family.is_none()).map(|(&id, _)| id).collect()
}

/// The step's embedder.
fn embedder<'a>(inputs: &Inputs<'a>) -> Result<(&'a str, &'a Embedder)> {
    let table = inputs.dedup.vectors.name();
    let name = table.split_once('/').map_or(table, |(_, name)| name);
    let known = inputs.catalog.embedders.get_key_value(name);
    let known = known.ok_or_else(|| Error::usage(format!("there is no embedder {name:?}"), "lvd check FILE"))?;
    Ok((known.0, known.1))
}

/// The decoded pictures that collages are pasted on, by their places in the sample.
fn hosts(inputs: &Inputs, pool: &Pool, sample: &DrawnImages) -> Result<Vec<(usize, RgbImage)>> {
    let mut places = sample.hosts();
    let ids: Vec<ImageId> = places.iter().map(|&place| sample.ids[place]).collect();
    let mut hosts = Vec::new();
    for file in files(inputs, pool, &ids) {
        let file = file?;
        if let Ok(place) = sample.ids.binary_search(&file.id) {
            hosts.push((place, shrink(open(&file, None)?)));
            places.retain(|&known| known != place);
        }
    }
    match places.first() {
        Some(&place) => Err(gone(inputs, sample.ids[place])),
        None => Ok(hosts),
    }
}

/// The picture, scaled down to [`LONGEST`].
#[expect(clippy::cast_possible_truncation, reason = "a side gets shorter")]
fn shrink(image: RgbImage) -> RgbImage {
    let longest = image.width().max(image.height());
    if longest <= LONGEST {
        return image;
    }
    let side = |side: u32| (u64::from(side) * u64::from(LONGEST) / u64::from(longest)).max(1) as u32;
    imageops::resize(&image, side(image.width()), side(image.height()), FilterType::CatmullRom)
}

/// Embeds an image and all its copies.
fn family(
    file: &ImageFile,
    host: &RgbImage,
    draw: Draw,
    session: &mut Session,
    (embedder, side): (&Embedder, Option<u32>),
) -> Result<Family> {
    let original = open(file, side)?;
    let small = shrink(if side.is_some() { open(file, None)? } else { original.clone() });
    let edits = Edit::ALL.into_iter().zip(0u64..);
    let copies = edits.map(|(edit, number)| edit.apply(&small, host, &Chance::new(draw.within(number))));
    let mut pictures = std::iter::once(original).chain(copies).peekable();
    let mut vectors = Vec::with_capacity(1 + Edit::ALL.len());
    let side = embedder.preprocess.crop as usize;
    while pictures.peek().is_some() {
        let mut pixels = Vec::new();
        let mut n = 0;
        for picture in pictures.by_ref().take(BATCH) {
            let start = pixels.len();
            pixels.resize(start + embedder.preprocess.values(), 0.0);
            let (width, height) = picture.dimensions();
            preprocess(width, height, picture.as_raw(), &embedder.preprocess, &mut pixels[start..]);
            n += 1;
        }
        let found = session.run(&pixels, [n, 3, side, side], embedder.output.as_deref())?;
        vectors.extend(found.values.chunks_exact(found.dimension).map(as_stored));
    }
    let copies = vectors.split_off(1);
    let original = vectors.pop().flatten().ok_or_else(|| {
        let message = format!("the model gives no usable vector for image {:016x}, which has one", file.id.0);
        Error::usage(message, "the model was changed: lvd embed FILE --replace")
    })?;
    Ok(Family { original, copies })
}

/// A vector as the embed stage would store it, unit norm and half precision, if it would.
fn as_stored(vector: &[f32]) -> Option<Vec<f32>> {
    let mut vector = vector.to_vec();
    dot::normalise(&mut vector).then(|| dot::to_f32(&dot::to_f16(&vector)))
}
