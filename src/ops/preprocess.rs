//! Pixels as an encoder wants them, to the letter of torchvision on Pillow images: `Resize`, `CenterCrop`, `ToTensor`, `Normalize`.
//!
//! Pillow resizes bytes, not floats: its bicubic kernel (a = -0.5), widened by the scale when it shrinks a picture, with a
//! rounding to 8 bits after each of the two passes. The same is done here.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a picture before it is an encoder's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// First, the size.
    pub resize: Resize,
    /// Then the square in the middle, its side in pixels; a smaller picture is padded with black.
    pub crop: u32,
    /// Then, of values from 0 to 1, the mean of R, G and B is subtracted,
    pub mean: [f32; 3],
    /// and what is left divided by this.
    pub std: [f32; 3],
    /// How pixels are interpolated.
    pub interpolation: Interpolation,
}

/// To which size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resize {
    /// The short edge to this many pixels, the long edge in proportion.
    ShortEdge(u32),
    /// Both edges to this many pixels, whatever the shape.
    Squash(u32),
}

/// How pixels are interpolated, with antialiasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Cubic convolution with a = -0.5.
    Bicubic,
    /// Linear.
    Bilinear,
}

impl Preprocess {
    /// Numbers an image: 3 x crop x crop.
    #[must_use]
    pub fn values(&self) -> usize {
        3 * self.crop as usize * self.crop as usize
    }

    /// Width and height after resizing: torchvision cuts the long edge down to a whole number.
    #[must_use]
    pub fn resized(&self, width: u32, height: u32) -> (u32, u32) {
        let long = |short: u32, edge: u32, side: u32| {
            let edge = u64::from(side) * u64::from(edge) / u64::from(short.max(1));
            u32::try_from(edge).unwrap_or(u32::MAX).max(1)
        };
        match self.resize {
            Resize::Squash(side) => (side, side),
            Resize::ShortEdge(side) if width <= height => (side, long(width, height, side)),
            Resize::ShortEdge(side) => (long(height, width, side), side),
        }
    }
}

thread_local! {
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Turns `width` x `height` RGB pixels into `out`: three planes of crop x crop numbers.
///
/// # Panics
/// When a length does not fit its dimensions.
pub fn preprocess(width: u32, height: u32, rgb: &[u8], spec: &Preprocess, out: &mut [f32]) {
    assert_eq!(rgb.len() as u64, 3 * u64::from(width) * u64::from(height), "three bytes a pixel");
    assert_eq!(out.len(), spec.values(), "three planes of crop x crop numbers");
    let (resized_width, resized_height) = spec.resized(width, height);
    if (resized_width, resized_height) == (width, height) {
        crop(width, height, rgb, spec, out);
        return;
    }
    let kernel = match spec.interpolation {
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Bilinear => FilterType::Bilinear,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel)).use_alpha(false);
    let source = ImageRef::new(width, height, rgb, PixelType::U8x3).expect("the length was checked");
    let mut resized = Image::new(resized_width, resized_height, PixelType::U8x3);
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize(&source, &mut resized, &options))
        .expect("both images have the same pixel type");
    crop(resized_width, resized_height, resized.buffer(), spec, out);
}

/// Cuts the middle, scales to 0..1 and normalises.
fn crop(width: u32, height: u32, rgb: &[u8], spec: &Preprocess, out: &mut [f32]) {
    let (left, top) = (margin(width, spec.crop), margin(height, spec.crop));
    let side = spec.crop as usize;
    let tables: Vec<[f32; 256]> = (0..3)
        .map(|channel| {
            let mut table = [0.0; 256];
            for (value, entry) in (0u8..=255).zip(&mut table) {
                *entry = (f32::from(value) / 255.0 - spec.mean[channel]) / spec.std[channel];
            }
            table
        })
        .collect();
    for y in 0..side {
        let row = (y as i64 + top).try_into().ok().filter(|&row: &u32| row < height);
        for x in 0..side {
            let column = (x as i64 + left).try_into().ok().filter(|&column: &u32| column < width);
            let pixel = row.zip(column).map(|(row, column)| 3 * (row as usize * width as usize + column as usize));
            for (channel, table) in tables.iter().enumerate() {
                let value = pixel.map_or(0, |pixel| rgb[pixel + channel]);
                out[channel * side * side + y * side + x] = table[usize::from(value)];
            }
        }
    }
}

/// Pixels before the crop; negative where the picture is smaller and is padded.
fn margin(edge: u32, crop: u32) -> i64 {
    let (edge, crop) = (i64::from(edge), i64::from(crop));
    if edge < crop {
        // torchvision pads the smaller half first.
        return -((crop - edge) / 2);
    }
    // Half to even, as Python rounds.
    let extra = edge - crop;
    extra / 2 + i64::from(extra % 2 == 1 && (extra / 2) % 2 == 1)
}
