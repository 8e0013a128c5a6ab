//! Edits of colours, pixel by pixel.

use image::{Rgb, RgbImage};

/// A change of all colours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colours {
    /// Added to every channel, of 255.
    pub brightness: f32,
    /// How far channels are from the middle, 1 for as before.
    pub contrast: f32,
    /// How far channels are from the grey of their pixel, 1 for as before.
    pub saturation: f32,
    /// Added to red, green and blue, of 255.
    pub cast: [f32; 3],
}

impl Colours {
    /// No change.
    pub const SAME: Self = Self { brightness: 0.0, contrast: 1.0, saturation: 1.0, cast: [0.0; 3] };

    /// The picture in these colours; fractions are cut off.
    #[must_use]
    pub fn apply(&self, image: &RgbImage) -> RgbImage {
        let mut edited = image.clone();
        for pixel in edited.pixels_mut() {
            let grey = luminance(*pixel);
            for (channel, cast) in pixel.0.iter_mut().zip(self.cast) {
                let value = grey + (f32::from(*channel) - grey) * self.saturation;
                let value = (value - 128.0) * self.contrast + 128.0 + self.brightness + cast;
                *channel = value.clamp(0.0, 255.0) as u8;
            }
        }
        edited
    }
}

/// The picture without colours.
#[must_use]
pub fn grayscale(image: &RgbImage) -> RgbImage {
    let mut edited = image.clone();
    edited.pixels_mut().for_each(|pixel| *pixel = Rgb([luminance(*pixel) as u8; 3]));
    edited
}

/// The weights of ITU-R BT.601.
fn luminance(pixel: Rgb<u8>) -> f32 {
    let [r, g, b] = pixel.0.map(f32::from);
    0.299 * r + 0.587 * g + 0.114 * b
}
