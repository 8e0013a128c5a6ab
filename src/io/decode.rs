//! Decoding images that nobody vouches for: by content, within limits, never by a crash.
//!
//! Dimensions are checked in the header, before a pixel is allocated. Alpha is dropped and deeper channels are cut to 8 bits,
//! as Pillow's `convert("RGB")` does, since that is what encoders were trained on; of an animation, the first frame counts.

use std::cell::Cell;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use crate::io::exif;
use crate::types::{Dropped, Reason};

/// Memory a decoder may take beyond the pixels: tables, one more frame.
const SPARE_BYTES: u64 = 64 << 20;
/// Bytes a pixel in the widest format: four channels of 32 bits.
const WIDEST_PIXEL: u64 = 16;

/// Which images are dropped unseen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageLimits {
    /// Longest file.
    pub max_bytes: u64,
    /// Most pixels.
    pub max_pixels: u64,
    /// Shortest side.
    pub min_side: u32,
}

impl ImageLimits {
    /// Everything that can be decoded.
    pub const NONE: Self = Self { max_bytes: u64::MAX, max_pixels: u64::MAX / WIDEST_PIXEL - SPARE_BYTES, min_side: 0 };
}

/// The formats that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// WebP.
    Webp,
    /// GIF.
    Gif,
    /// BMP.
    Bmp,
    /// TIFF.
    Tiff,
}

impl Format {
    /// Its name in tables, and its file ending.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
        }
    }
}

/// What is known of an image that decodes.
#[derive(Clone, Debug)]
pub struct Facts {
    /// By content.
    pub format: Format,
    /// Pixels, upright.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
    /// Pixels as stored.
    pub original_width: u32,
    /// Pixels as stored.
    pub original_height: u32,
    /// EXIF orientation, 1 to 8.
    pub orientation: u8,
    /// Common EXIF tags as a JSON object.
    pub exif: Option<String>,
}

/// Upright 8-bit RGB pixels, row by row.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Three bytes a pixel.
    pub rgb: Vec<u8>,
}

/// Decodes an image to the end and says what it is.
pub fn inspect(bytes: &[u8], limits: &ImageLimits) -> Result<Facts, Dropped> {
    guarded(|| {
        let opened = open(bytes, limits)?;
        let mut facts = opened.facts;
        facts.exif = opened.exif.as_deref().and_then(exif::as_json);
        DynamicImage::from_decoder(opened.decoder).map_err(|e| broken(&e))?;
        Ok(facts)
    })
}

/// Decodes an image to upright RGB.
pub fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Picture, Dropped> {
    guarded(|| {
        let opened = open(bytes, limits)?;
        let mut image = DynamicImage::from_decoder(opened.decoder).map_err(|e| broken(&e))?;
        if let Some(orientation) = Orientation::from_exif(opened.facts.orientation) {
            image.apply_orientation(orientation);
        }
        let rgb = eight_bits(image);
        Ok(Picture { width: rgb.width(), height: rgb.height(), rgb: rgb.into_raw() })
    })
}

/// RGB of 8 bits: deeper channels lose their low bits, as in Pillow.
fn eight_bits(image: DynamicImage) -> image::RgbImage {
    let cut = |value: &u16| u8::try_from(value >> 8).unwrap_or(u8::MAX);
    match image {
        DynamicImage::ImageRgb16(deep) => {
            let (width, height) = deep.dimensions();
            let bytes = deep.as_raw().iter().map(cut).collect();
            image::RgbImage::from_raw(width, height, bytes).unwrap_or_default()
        }
        DynamicImage::ImageRgba16(deep) => {
            let (width, height) = deep.dimensions();
            let bytes = deep.pixels().flat_map(|pixel| pixel.0[..3].iter().map(cut).collect::<Vec<_>>()).collect();
            image::RgbImage::from_raw(width, height, bytes).unwrap_or_default()
        }
        other => other.into_rgb8(),
    }
}

/// A decoder that has read its header.
struct Opened<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    facts: Facts,
    exif: Option<Vec<u8>>,
}

fn open<'a>(bytes: &'a [u8], limits: &ImageLimits) -> Result<Opened<'a>, Dropped> {
    if bytes.is_empty() {
        return Err(Dropped::new(Reason::Empty, "no bytes"));
    }
    if bytes.len() as u64 > limits.max_bytes {
        return Err(Dropped::new(Reason::TooManyBytes, format!("{} bytes, at most {}", bytes.len(), limits.max_bytes)));
    }
    let format = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => Format::Jpeg,
        Ok(ImageFormat::Png) => Format::Png,
        Ok(ImageFormat::WebP) => Format::Webp,
        Ok(ImageFormat::Gif) => Format::Gif,
        Ok(ImageFormat::Bmp) => Format::Bmp,
        Ok(ImageFormat::Tiff) => Format::Tiff,
        Ok(other) => return Err(Dropped::new(Reason::UnsupportedFormat, format!("{other:?}"))),
        Err(error) => return Err(Dropped::new(Reason::UnsupportedFormat, error.to_string())),
    };
    let mut allowed = Limits::no_limits();
    allowed.max_alloc = Some(limits.max_pixels.saturating_mul(WIDEST_PIXEL).saturating_add(SPARE_BYTES));
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| Dropped::new(Reason::Broken, e.to_string()))?;
    reader.limits(allowed);
    let mut decoder = reader.into_decoder().map_err(|e| broken(&e))?;
    let (original_width, original_height) = decoder.dimensions();
    if u64::from(original_width) * u64::from(original_height) > limits.max_pixels {
        let detail = format!("{original_width} x {original_height}, at most {} pixels", limits.max_pixels);
        return Err(Dropped::new(Reason::TooManyPixels, detail));
    }
    if original_width.min(original_height) < limits.min_side.max(1) {
        let detail = format!("{original_width} x {original_height}, sides of at least {}", limits.min_side.max(1));
        return Err(Dropped::new(Reason::TooSmall, detail));
    }
    // Metadata that cannot be read is no reason to lose a picture.
    let exif = decoder.exif_metadata().unwrap_or_default();
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms).to_exif();
    let (width, height) =
        if orientation >= 5 { (original_height, original_width) } else { (original_width, original_height) };
    let facts = Facts { format, width, height, original_width, original_height, orientation, exif: None };
    Ok(Opened { decoder: Box::new(decoder), facts, exif })
}

fn broken(error: &ImageError) -> Dropped {
    let reason = match error {
        ImageError::Limits(_) => Reason::TooManyPixels,
        ImageError::Unsupported(_) => Reason::UnsupportedFormat,
        _ => Reason::Broken,
    };
    Dropped::new(reason, error.to_string())
}

thread_local! {
    /// Whether this thread is inside a decoder, whose panics are answers and not news.
    static DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Turns a decoder's panic into a drop.
fn guarded<T>(decode: impl FnOnce() -> Result<T, Dropped>) -> Result<T, Dropped> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !DECODING.get() {
                before(info);
            }
        }));
    });
    DECODING.set(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(false);
    result.unwrap_or_else(|_| Err(Dropped::new(Reason::Broken, "the decoder panicked")))
}
