//! Whatever a decoder gives, as upright 8-bit RGB: the rules of Pillow's `convert("RGB")`.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// An upright picture in 8-bit RGB, `height` rows of `width` pixels of 3 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Row by row; `3 * width * height` bytes.
    pub rgb: Vec<u8>,
}

/// Converts and turns. Alpha is dropped, gray is repeated, 16-bit values keep their high byte. So
/// does Pillow for 16-bit colours; its 16-bit gray it cuts off at 255, which leaves a white page,
/// and there we differ.
pub fn upright(image: DynamicImage, orientation: Orientation) -> Picture {
    let mut image = DynamicImage::ImageRgb8(rgb8(image));
    image.apply_orientation(orientation);
    let (width, height) = (image.width(), image.height());
    Picture { width, height, rgb: image.into_rgb8().into_raw() }
}

fn rgb8(image: DynamicImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let rgb = match image {
        DynamicImage::ImageRgb8(image) => return image,
        DynamicImage::ImageLuma8(image) => image.iter().flat_map(|&v| [v; 3]).collect(),
        DynamicImage::ImageLumaA8(image) => image.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect(),
        DynamicImage::ImageRgba8(image) => image.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
        DynamicImage::ImageLuma16(image) => image.iter().flat_map(|&v| [high(v); 3]).collect(),
        DynamicImage::ImageLumaA16(image) => image.chunks_exact(2).flat_map(|p| [high(p[0]); 3]).collect(),
        DynamicImage::ImageRgb16(image) => image.iter().map(|&v| high(v)).collect(),
        DynamicImage::ImageRgba16(image) => image.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]].map(high)).collect(),
        // Floats in [0, 1], which Pillow would clip to black: here the library's scaling says more.
        other => return other.into_rgb8(),
    };
    RgbImage::from_raw(width, height, rgb).expect("3 bytes were made of every pixel")
}

#[allow(clippy::cast_possible_truncation, reason = "the low byte is gone")]
fn high(value: u16) -> u8 {
    (value >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(image: DynamicImage, orientation: Orientation, expect: (u32, u32, &[u8])) {
        let picture = upright(image, orientation);
        assert_eq!((picture.width, picture.height, picture.rgb.as_slice()), expect);
    }

    #[test]
    fn alpha_is_dropped_not_blended() {
        let image = image::RgbaImage::from_raw(2, 1, vec![1, 2, 3, 0, 4, 5, 6, 128]).expect("8 bytes");
        check(image.into(), Orientation::NoTransforms, (2, 1, &[1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn sixteen_bits_keep_the_high_byte() {
        let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![0x12ff, 0xff00]).expect("2 values");
        check(image.into(), Orientation::NoTransforms, (2, 1, &[0x12, 0x12, 0x12, 255, 255, 255]));
    }

    #[test]
    fn a_quarter_turn_swaps_the_sides() {
        let image = image::GrayImage::from_raw(2, 1, vec![7, 9]).expect("2 bytes");
        check(image.into(), Orientation::Rotate90, (1, 2, &[7, 7, 7, 9, 9, 9]));
    }
}
