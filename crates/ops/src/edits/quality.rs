//! Edits that lose or invent detail: JPEG, blur, noise, sharpening.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage, imageops};

use crate::draw::Chance;
use lvd_kernels::hash::Draw;

/// Least sigma of a Gaussian, in pixels: a smaller one does nothing.
const LEAST_SIGMA: f32 = 0.5;

/// What is left of the picture after JPEG of a quality from 1 to 100.
pub(super) fn jpeg(image: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image).expect("sides are below 65,536");
    let decoded = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).expect("it was encoded just above");
    decoded.into_rgb8()
}

/// Gaussian blur; sigma in pixels.
pub(super) fn blur(image: &RgbImage, sigma: f32) -> RgbImage {
    imageops::blur(image, sigma.max(LEAST_SIGMA))
}

/// The picture plus what a Gaussian blur would take from it.
pub(super) fn sharpen(image: &RgbImage, sigma: f32) -> RgbImage {
    imageops::unsharpen(image, sigma.max(LEAST_SIGMA), 0)
}

/// Adds noise to every channel: the sum of four uniform numbers, which is nearly normal.
pub(super) fn noise(image: &RgbImage, deviation: f32, chance: &Chance) -> RgbImage {
    let draw = Draw::new(chance.bits(), "noise");
    let mut edited = image.clone();
    for (channel, counter) in edited.iter_mut().zip(0u64..) {
        let bits = draw.bits(counter);
        let sum: f32 = [0, 16, 32, 48].iter().map(|shift| (bits >> shift & 0xffff) as f32 / 65_535.0 - 0.5).sum();
        // Four uniform numbers of width 1 have a variance of a third together.
        *channel = (f32::from(*channel) + deviation * sum * 3.0f32.sqrt() + 0.5).clamp(0.0, 255.0) as u8;
    }
    edited
}
