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

/// The smallest scale that leaves the shorter side at least `side` pixels long, or 1.
fn scale(short: u32, side: u32) -> ScalingFactor {
    SCALES.into_iter().find(|scale| scale.scale(short as usize) >= side as usize).unwrap_or(ScalingFactor::ONE)
}

/// What libjpeg says of a scan after which other bytes came than an end marker.
const EXTRANEOUS: &str = "extraneous bytes before marker";

/// What it says of damage that it mends. Pillow takes such a picture as it is.
const WARNINGS: [&str; 5] = [
    "Corrupt JPEG data",
    "Premature end of JPEG file",
    "Inconsistent progression sequence",
    "Invalid SOS parameters",
    "Unknown Adobe color transform",
];

/// What the header of a JPEG says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Width and height as stored.
    pub size: (u32, u32),
    /// Whether its colours are those of print, which are not turned into RGB here.
    pub is_print: bool,
}

/// The header, where libjpeg-turbo can read it.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let header = Decompressor::new().ok()?.read_header(bytes).ok()?;
    let size = (u32::try_from(header.width).ok()?, u32::try_from(header.height).ok()?);
    Some(Header { size, is_print: matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK) })
}

/// The picture as stored, or smaller with sides of `at_least` so many pixels; or what is wrong with
/// it. Its header has been read, and is not of print.
pub fn decode(bytes: &[u8], at_least: Option<u32>) -> Result<DynamicImage, String> {
    let (image, warning) = decompress(bytes, at_least)?;
    match warning {
        Some(warning) if !WARNINGS.iter().any(|known| warning.contains(known)) => Err(warning),
        _ => Ok(image),
    }
}

/// Whether the scans of a file without an end marker are all there. Zeros at its end are what a
/// download leaves that asked for the room first.
pub fn is_complete(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    // In a scan, a zero follows 0xff.
    let end = bytes.len() - zeros;
    let end = if bytes[..end].ends_with(&[0xff]) { (end + 1).min(bytes.len()) } else { end };
    match decompress(&[&bytes[..end], &[0xff, 0xd9]].concat(), None) {
        Ok((_, Some(warning))) => warning.contains(EXTRANEOUS),
        // Where nothing stands behind it, nothing says that it ends here: Pillow calls it cut off.
        Ok((_, None)) => end < bytes.len(),
        Err(_) => false,
    }
}

/// The pixels, and the first thing that libjpeg-turbo complained about: it fills what is missing.
fn decompress(bytes: &[u8], at_least: Option<u32>) -> Result<(DynamicImage, Option<String>), String> {
    let said = |error: turbojpeg::Error| error.to_string();
    let mut decoder = Decompressor::new().map_err(said)?;
    let header = decoder.read_header(bytes).map_err(said)?;
    let short = u32::try_from(header.width.min(header.height)).unwrap_or(u32::MAX);
    let scale = at_least.map_or(ScalingFactor::ONE, |side| scale(short, side));
    decoder.set_scaling_factor(scale).map_err(said)?;
    let (width, height) = (scale.scale(header.width), scale.scale(header.height));
    let mut pixels = vec![0; 3 * width * height];
    let image = Image { pixels: pixels.as_mut_slice(), width, pitch: 3 * width, height, format: PixelFormat::RGB };
    let warning = decoder.decompress(bytes, image).err().map(said);
    if let Some(warning) = &warning {
        end_without_memory(warning);
    }
    let [width, height] = [width, height].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let image = RgbImage::from_raw(width, height, pixels).ok_or("more pixels than there can be")?;
    Ok((image.into(), warning))
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
        let of = |width: u32, height: u32, side| scale(width.min(height), side).denom();
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
    fn what_it_cannot_read_it_says() {
        assert!(header(b"\xff\xd8\xff no JPEG").is_none() && super::decode(b"\xff\xd8\xff no JPEG", None).is_err());
        let jpeg = jpeg(64, 48, 1);
        assert_eq!(header(&jpeg), Some(Header { size: (64, 48), is_print: false }));
        // Damage in the midst of a scan is mended, as Pillow has it.
        let mut damaged = jpeg.clone();
        let scan = damaged.windows(2).position(|pair| pair == [0xff, 0xda]).expect("a scan");
        damaged.splice(scan + 100..scan + 102, [0xff, 0xd9]);
        let picture = super::decode(&damaged, None).expect("it is mended");
        assert_eq!((picture.width(), picture.height()), (64, 48));
        let mut png = Cursor::new(Vec::new());
        image::GrayImage::new(40, 30).write_to(&mut png, image::ImageFormat::Png).expect("a PNG in memory");
        let picture = decode_scaled(png.get_ref(), &ImageLimits::NONE, Some(1)).expect("it decodes");
        assert_eq!((picture.width, picture.height), (40, 30));
    }
}
