//! What a Vision Transformer says of the patches of photos, as colours: the three principal
//! components of their tokens as red, green and blue (Oquab et al. 2024, figure 1).

use image::RgbImage;
use image::imageops::{self, FilterType};

use crate::look::page::{Card, Page};
use crate::look::step::Whole;
use crate::look::words::hex;
use crate::stages::embed::Embed;
use crate::stages::embed::encode::{Encoder, Seen, at_hand, same_model};
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::images::{self, Ingested};
use lvd_io::vectors::Vectors;
use lvd_ops::principal::principal;
use lvd_ops::thumbnail::{self, SIDE};

/// Photos that are shown.
const PHOTOS: usize = 8;
/// Bytes of a model that is opened for a page, at most.
const MODEL_BYTES: u64 = 2 << 30;
/// Share of the patches that may be darker than black, and brighter than white.
const CUT: f64 = 0.02;

/// Adds the section, where the embedder is at hand, not too large, and gives patches; `vectors` are
/// some that it gave.
pub fn section(step: &Whole, embedder: &str, vectors: &Vectors, page: &mut Page) -> Result<()> {
    let embed = step.settings::<Embed>()?;
    if at_hand(embedder, &step.task)?.is_none_or(|bytes| bytes > MODEL_BYTES) {
        return Ok(());
    }
    let encoder = Encoder::open(embed, embedder, &step.task)?;
    let photos = photos(step, &vectors.ids[..PHOTOS.min(vectors.ids.len())])?;
    let files: Vec<Vec<u8>> = photos.iter().map(|photo| photo.bytes.clone()).collect();
    let seen = encoder.patches(&files)?;
    if seen.is_empty() || !is_of(&encoder, vectors, &photos)? {
        return Ok(());
    }
    let mut cards = Vec::new();
    for ((photo, seen), coloured) in photos.iter().zip(&seen).zip(coloured(&seen)) {
        let (side, grid) = (seen.side, grid(seen));
        let shown =
            [(photo.facts.url.clone(), side, small(side, seen.rgb.clone())), ("its patches".into(), grid, coloured)];
        let shown = shown.map(|(place, side, jpeg)| page.bring(place, (side, side), jpeg)).into();
        cards.push(Card { head: hex(photo.facts.id), shown });
    }
    let title = format!("{embedder}: what it tells apart");
    let about = "Random photos as the model sees them, each beside its patches. Their three principal components over \
                 all of these photos are shown as red, green and blue: what has one colour is one thing to the \
                 model. Good encoders colour the parts of things alike in all photos, and the background otherwise.";
    page.section(title, about).figure("", cards);
    Ok(())
}

/// The files of images, in the order of their ids.
fn photos(step: &Whole, ids: &[ImageId]) -> Result<Vec<Ingested>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let images = step.ingested()?;
    let mut photos = Vec::new();
    for ids in ids.chunk_by(|a, b| a.shard() == b.shard()) {
        let Some(part) = ids.first().and_then(|id| images.of_shard(id.shard())) else { continue };
        for group in images::read_with_facts(&step.task.open(part)?, ids.to_vec())? {
            photos.extend(group?);
        }
    }
    Ok(photos)
}

/// Whether the model is the one that gave the vectors.
fn is_of(encoder: &Encoder, vectors: &Vectors, photos: &[Ingested]) -> Result<bool> {
    let Some(photo) = photos.first() else { return Ok(false) };
    let row = vectors.ids.iter().position(|&id| id == photo.facts.id);
    let Some(row) = row.filter(|_| encoder.dimension() == vectors.dimension) else { return Ok(false) };
    let stored = Vectors { ids: vec![photo.facts.id], values: vectors.row(row).to_vec(), dimension: vectors.dimension };
    let again = encoder.vectors(vec![photo.bytes.clone()])?.pop().and_then(std::result::Result::ok);
    Ok(again.is_some_and(|again| same_model(&stored, &again).is_ok()))
}

/// The patches of each picture as a small picture: components over all of them, from the least to
/// the most.
fn coloured(seen: &[Seen]) -> Vec<Vec<u8>> {
    let Some(dimension) = seen.first().map(|seen| seen.patches.dimension) else { return Vec::new() };
    let tokens: Vec<f32> = seen.iter().flat_map(|seen| &seen.patches.values).copied().collect();
    let places = principal::<3>(&tokens, dimension);
    let ranges = [0, 1, 2].map(|axis| range(places.iter().map(|place| place[axis]).collect()));
    let mut rest = places.as_slice();
    let mut pictures = Vec::new();
    for seen in seen {
        let grid = grid(seen);
        let (own, others) = rest.split_at((grid * grid) as usize);
        rest = others;
        pictures.push(small(grid, own.iter().flat_map(|place| colour(place, ranges)).collect()));
    }
    pictures
}

fn colour(place: &[f64; 3], ranges: [(f64, f64); 3]) -> [u8; 3] {
    [0, 1, 2].map(|axis| {
        let (low, high) = ranges[axis];
        let level = 255.0 * (place[axis] - low) / (high - low).max(1e-9);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 255")]
        let level = level.clamp(0.0, 255.0).round() as u8;
        level
    })
}

/// The range in which all values are but for a few.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a few thousand"
)]
fn range(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let cut = (values.len() as f64 * CUT) as usize;
    let at = |at: usize| values.get(at).copied().unwrap_or(0.0);
    (at(cut), at(values.len().saturating_sub(cut + 1)))
}

fn grid(seen: &Seen) -> u32 {
    u32::try_from(seen.patches.grid).unwrap_or(u32::MAX)
}

/// A square picture as a small JPEG; what has few pixels is made larger, in squares.
fn small(side: u32, rgb: Vec<u8>) -> Vec<u8> {
    let times = (SIDE / side.max(1)).max(1);
    let picture = RgbImage::from_raw(side, side, rgb);
    let large = picture.map(|picture| imageops::resize(&picture, side * times, side * times, FilterType::Nearest));
    large.and_then(|picture| thumbnail::jpeg(&picture).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lvd_engines::onnx::Patches;

    use super::*;

    #[test]
    fn patches_that_are_alike_have_one_colour() {
        // Two things, in the left and the right half of both pictures.
        let token = |at: usize| if at % 4 < 2 { [1.0, 0.0, 0.5] } else { [0.0, 1.0, 0.5] };
        let values: Vec<f32> = (0..16).flat_map(token).collect();
        let patches = Patches { grid: 4, dimension: 3, values };
        let seen = [0, 1].map(|_| Seen { side: 4, rgb: vec![0; 48], patches: patches.clone() });
        let pictures = coloured(&seen);
        assert_eq!(pictures[0], pictures[1]);
        let picture = image::load_from_memory(&pictures[0]).expect("a picture").to_rgb8();
        assert_eq!(picture.dimensions(), (256, 256));
        let red = |x: u32, y: u32| picture.get_pixel(x, y)[0];
        for (y, (left, right)) in [16, 240].into_iter().map(|y| (y, (red(40, y), red(220, y)))) {
            assert!(left > 245 && right < 10, "row {y}: {left} {right}");
        }
    }
}
