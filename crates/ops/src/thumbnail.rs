//! A picture as a small JPEG, to be shown.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageResult, RgbImage};

/// Pixels of the longer side, at most.
pub const SIDE: u32 = 256;
/// Bytes of a picture that is not made worse to be shorter.
const BYTES: usize = 24_000;
/// From good to bad; the last is taken whatever its bytes.
const QUALITIES: [u8; 3] = [80, 55, 25];

/// The picture as a JPEG whose longer side has [`SIDE`] pixels, or fewer where it had fewer. Noise
/// takes the most bytes: 30,000 or so.
///
/// # Errors
/// When the picture has no pixel.
pub fn jpeg(picture: &RgbImage) -> ImageResult<Vec<u8>> {
    let (width, height) = picture.dimensions();
    let long = width.max(height).max(1);
    let fit = |side: u32| {
        let side = u64::from(side) * u64::from(SIDE.min(long)) / u64::from(long);
        u32::try_from(side).unwrap_or(SIDE).max(1)
    };
    let small = imageops::resize(picture, fit(width), fit(height), FilterType::Triangle);
    let mut jpeg = Vec::new();
    for quality in QUALITIES {
        jpeg.clear();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, quality);
        encoder.encode(small.as_raw(), small.width(), small.height(), ExtendedColorType::Rgb8)?;
        if jpeg.len() <= BYTES {
            break;
        }
    }
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use lvd_kernels::hash::Draw;

    use super::*;

    #[test]
    fn a_picture_is_small_whatever_it_shows() -> ImageResult<()> {
        let draw = Draw::new(1, "noise");
        for (width, height) in [(1, 1), (40, 30), (900, 600), (3, 2000)] {
            let noise = RgbImage::from_fn(width, height, |x, y| {
                Rgb([0, 1, 2].map(|channel| draw.within(channel).bits(u64::from(y * width + x)).to_le_bytes()[0]))
            });
            let jpeg = jpeg(&noise)?;
            let back = image::load_from_memory(&jpeg)?;
            let long = back.width().max(back.height());
            assert_eq!(long, SIDE.min(width.max(height)), "{width} x {height}");
            assert!(jpeg.len() < 31_000, "{width} x {height}: {} bytes", jpeg.len());
        }
        Ok(())
    }
}
