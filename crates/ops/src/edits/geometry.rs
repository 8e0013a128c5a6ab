//! Edits that move pixels: crops, other sizes, turns.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use crate::draw::Chance;

/// Sine and cosine of 5 degrees: written down, since libraries differ in last bits.
const FIVE_DEGREES: (f32, f32) = (0.087_155_74, 0.996_194_7);

/// A window of this share of the area, as wide and high as the picture in proportion, at a random
/// place.
#[must_use]
pub fn crop(image: &RgbImage, area: f32, chance: &Chance) -> RgbImage {
    let keep = |side: u32| ((side as f32 * area.sqrt()) as u32).clamp(1, side);
    let (width, height) = (keep(image.width()), keep(image.height()));
    let (left, top) = (chance.count(0, image.width() - width), chance.count(0, image.height() - height));
    imageops::crop_imm(image, left, top, width, height).to_image()
}

/// The picture at other sides, by a cubic kernel; no side gets shorter than a pixel.
#[must_use]
pub fn scale(image: &RgbImage, across: f32, down: f32) -> RgbImage {
    let side = |side: u32, by: f32| ((side as f32 * by) as u32).max(1);
    imageops::resize(image, side(image.width(), across), side(image.height(), down), FilterType::CatmullRom)
}

/// The picture turned about its middle in a frame of its own size, bilinearly; what comes in from
/// outside is black.
pub(super) fn turn_5_degrees(image: &RgbImage, clockwise: bool) -> RgbImage {
    let (sin, cos) = FIVE_DEGREES;
    let sin = if clockwise { sin } else { -sin };
    let (width, height) = image.dimensions();
    let middle = ((width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0);
    let at = |(x, y): (f32, f32)| {
        let inside = x >= 0.0 && y >= 0.0 && x < width as f32 && y < height as f32;
        if inside { image.get_pixel(x as u32, y as u32).0.map(f32::from) } else { [0.0; 3] }
    };
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (x as f32 - middle.0, y as f32 - middle.1);
        let from = (middle.0 + dx * cos + dy * sin, middle.1 + dy * cos - dx * sin);
        let (left, top) = (from.0.floor(), from.1.floor());
        let corners = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)].map(|(u, v)| at((left + u, top + v)));
        Rgb([0, 1, 2].map(|channel| {
            let corner = |number: usize| corners[number][channel];
            let across = |number: usize| corner(number) + (corner(number + 1) - corner(number)) * (from.0 - left);
            (across(0) + (across(2) - across(0)) * (from.1 - top) + 0.5) as u8
        }))
    })
}
