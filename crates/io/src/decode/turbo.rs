//! JPEGs by libjpeg-turbo: Pillow's pixels, bit for bit, and at a half, a quarter or an eighth of
//! their size by a smaller inverse DCT.
//!
//! The smaller ones are libjpeg's scaled decoding, known from Pillow's `draft`: only the
//! entropy-coded bytes are read in full.

use image::{DynamicImage, RgbImage};
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

use lvd_base::error::Error;
use lvd_base::limits;

/// The scales below 1, the smallest first.
const SCALES: [ScalingFactor; 3] = [ScalingFactor::ONE_EIGHTH, ScalingFactor::ONE_QUARTER, ScalingFactor::ONE_HALF];

/// The smallest scale that leaves both sides at least `side` pixels long, or 1.
fn scale(width: u32, height: u32, side: u32) -> ScalingFactor {
    let short = width.min(height) as usize;
    SCALES.into_iter().find(|scale| scale.scale(short) >= side as usize).unwrap_or(ScalingFactor::ONE)
}

/// The picture of that `size` as stored, or smaller with sides of `at_least` so many pixels. `None`
/// for what libjpeg-turbo does not turn into RGB (CMYK), complains about, or takes for a picture of
/// another size (damaged headers can be read in two ways, and that size was not checked): the
/// decoder of `image` then has the word, so that nothing is dropped here that passes there.
pub fn decode(bytes: &[u8], size: (u32, u32), at_least: Option<u32>) -> Option<DynamicImage> {
    let mut decoder = Decompressor::new().ok()?;
    let header = decoder.read_header(bytes).ok()?;
    let other = (header.width, header.height) != (size.0 as usize, size.1 as usize);
    if other || matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK) {
        return None;
    }
    let scale = at_least.map_or(ScalingFactor::ONE, |side| scale(size.0, size.1, side));
    decoder.set_scaling_factor(scale).ok()?;
    let (width, height) = (scale.scale(header.width), scale.scale(header.height));
    let mut pixels = vec![0; 3 * width * height];
    let image = Image { pixels: pixels.as_mut_slice(), width, pitch: 3 * width, height, format: PixelFormat::RGB };
    if let Err(error) = decoder.decompress(bytes, image) {
        end_without_memory(&error.to_string());
        return None;
    }
    RgbImage::from_raw(u32::try_from(width).ok()?, u32::try_from(height).ok()?, pixels).map(DynamicImage::from)
}

/// What libjpeg could not do for want of memory says nothing of the picture, and another decoder's
/// pixels would differ. (Its other cases of "insufficient memory" are sizes that only a broken file
/// claims.)
fn end_without_memory(message: &str) {
    if message.contains("nsufficient memory (case 2)") || message.contains("nsufficient memory (case 4)") {
        limits::end_with(&Error::usage(format!("libjpeg-turbo: {message}"), limits::MEMORY_CURE));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{ImageLimits, decode, decode_scaled};
    use super::*;

    /// Waves that are gone at no scale, and EXIF that turns them.
    fn jpeg(width: u32, height: u32, orientation: u8) -> Vec<u8> {
        let wave = |v: u32| (127.5 + 100.0 * (f64::from(v) / 40.0).sin()).round();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0..=255")]
        let image =
            RgbImage::from_fn(width, height, |x, y| image::Rgb([wave(x) as u8, wave(y) as u8, wave(x + y) as u8]));
        let mut bytes = Cursor::new(Vec::new());
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        image.write_with_encoder(encoder).expect("a JPEG in memory");
        let exif =
            [&b"\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"[..], &[orientation], &[0; 6]]
                .concat();
        let bytes = bytes.into_inner();
        [&bytes[..2], &exif, &bytes[2..]].concat()
    }

    #[test]
    fn the_smallest_scale_that_leaves_enough() {
        let of = |width, height, side| scale(width, height, side).denom();
        assert_eq!([of(1600, 3000, 200), of(3000, 1600, 201), of(1600, 1600, 401), of(1600, 1600, 801)], [8, 4, 2, 1]);
        assert_eq!([of(1601, 1601, 201), of(1, 1, 1), of(100, 100, 448)], [8, 8, 1], "scaled sides are rounded up");
    }

    #[test]
    fn it_is_the_full_picture_but_smaller_and_upright() {
        let jpeg = jpeg(403, 300, 6);
        let full = decode(&jpeg, &ImageLimits::NONE).expect("it decodes");
        assert_eq!((full.width, full.height), (300, 403));
        for (side, times) in [(150, 2), (75, 4), (30, 8)] {
            let small = decode_scaled(&jpeg, &ImageLimits::NONE, Some(side)).expect("it decodes");
            assert_eq!((small.width, small.height), (300_u32.div_ceil(times), 403_u32.div_ceil(times)));
            for (x, y) in (1..small.height - 2).flat_map(|y| (1..small.width - 2).map(move |x| (x, y))) {
                // The mean of the pixels that this one stands for; chroma is coarser by half.
                for channel in 0..3 {
                    let at = |x: u32, y: u32| f64::from(full.rgb[3 * (y * full.width + x) as usize + channel]);
                    let area = (0..times).flat_map(|v| (0..times).map(move |u| (u, v)));
                    let mean =
                        area.map(|(u, v)| at(times * x + u, times * y + v)).sum::<f64>() / f64::from(times * times);
                    let got = f64::from(small.rgb[3 * (y * small.width + x) as usize + channel]);
                    assert!((got - mean).abs() < 12.0, "1/{times} at {x}, {y}, {channel}: {got} for {mean}");
                }
            }
        }
        assert_eq!(decode_scaled(&jpeg, &ImageLimits::NONE, Some(151)).expect("it decodes"), full);
    }

    #[test]
    fn what_it_refuses_is_decoded_by_image() {
        assert!(super::decode(b"\xff\xd8\xff no JPEG", (2, 2), None).is_none());
        let jpeg = jpeg(64, 48, 1);
        assert!(super::decode(&jpeg, (64, 48), Some(24)).is_some());
        assert!(super::decode(&jpeg, (64, 40), Some(20)).is_none(), "another size than was checked");
        let mut png = Cursor::new(Vec::new());
        image::GrayImage::new(40, 30).write_to(&mut png, image::ImageFormat::Png).expect("a PNG in memory");
        let picture = decode_scaled(png.get_ref(), &ImageLimits::NONE, Some(1)).expect("it decodes");
        assert_eq!((picture.width, picture.height), (40, 30));
    }
}
