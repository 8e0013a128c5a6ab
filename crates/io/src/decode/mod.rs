//! From the bytes of an image file to upright 8-bit RGB, or to the reason why not.
//!
//! Formats are told by their first bytes, never by a name. Sizes are checked from the header,
//! before any pixel is allocated; a decoder that panics costs its image and nothing else. A bad
//! image is a [`Dropped`], never an `Error`.

mod elsewhere;
mod exif;
mod jpeg;
pub(crate) mod panic_guard;
mod png;
mod rgb;
mod turbo;

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use lvd_base::types::{Dropped, Reason};

pub use rgb::Picture;

/// Whose pixels JPEGs have: another decoder's differ by a few levels, and so do vectors.
pub const JPEG_PIXELS: &str = "libjpeg-turbo";

/// What a decoder may allocate beside the pixels: tables, metadata, profiles, one row of tiles.
const WORKING_BYTES: u64 = 64 << 20;

/// What a decoder may allocate for each pixel: 8 bytes (16-bit RGBA) in, as many again while it
/// rearranges them.
const BYTES_PER_PIXEL: u64 = 16;

/// The sizes that are let in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImageLimits {
    /// The largest file, in bytes.
    pub max_bytes: u64,
    /// The largest picture, in pixels by its header.
    pub max_pixels: u64,
    /// The least length of the shorter side, in pixels.
    pub min_side: u32,
}

impl ImageLimits {
    /// No limits: for trusted files only.
    pub const NONE: Self = Self { max_bytes: u64::MAX, max_pixels: u64::MAX, min_side: 0 };
}

/// The formats that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG, baseline and progressive.
    Jpeg,
    /// PNG; of an animated one the default image.
    Png,
    /// WebP, lossy and lossless; of an animated one the first frame.
    Webp,
    /// GIF, the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF, the first page.
    Tiff,
}

impl Format {
    /// The name in tables.
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

    /// The format that the first bytes of a file tell.
    fn of(bytes: &[u8]) -> Option<(Self, ImageFormat)> {
        let big_tiff = bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+");
        let format = if big_tiff { ImageFormat::Tiff } else { image::guess_format(bytes).ok()? };
        let ours = match format {
            ImageFormat::Jpeg => Self::Jpeg,
            ImageFormat::Png => Self::Png,
            ImageFormat::WebP => Self::Webp,
            ImageFormat::Gif => Self::Gif,
            ImageFormat::Bmp => Self::Bmp,
            ImageFormat::Tiff => Self::Tiff,
            _ => return None,
        };
        Some((ours, format))
    }
}

/// Whether a file that begins so claims to be an image of a format that is decoded.
#[must_use]
pub fn looks_like_image(first: &[u8]) -> bool {
    Format::of(first).is_some()
}

/// What is known of an image that decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its format.
    pub format: Format,
    /// Width once upright.
    pub width: u32,
    /// Height once upright.
    pub height: u32,
    /// Width as stored.
    pub original_width: u32,
    /// Height as stored.
    pub original_height: u32,
    /// The EXIF orientation, 1 (upright) to 8.
    pub orientation: u8,
    /// The common EXIF tags as a JSON object, where there are any.
    pub exif: Option<String>,
}

/// Decodes all of `bytes` and tells what they hold: an image that passes decodes for [`decode`]
/// too, and opens in Pillow.
///
/// # Errors
/// The reason why this is no image for the pipeline.
pub fn inspect(bytes: &[u8], limits: &ImageLimits) -> Result<Facts, Dropped> {
    panic_guard::catch(|| {
        let (facts, image, _) = read(bytes, limits, None)?;
        elsewhere::refused(facts.format, bytes, &image).map_or(Ok(facts), Err)
    })
}

/// Decodes `bytes` to upright RGB as Pillow's `convert("RGB")` gives it: alpha is dropped, not
/// blended. Unlike there, 16-bit gray is scaled to 8 bits, not cut off.
///
/// # Errors
/// The reason why this is no image for the pipeline.
pub fn decode(bytes: &[u8], limits: &ImageLimits) -> Result<Picture, Dropped> {
    panic_guard::catch(|| read(bytes, limits, None).map(|(_, image, orientation)| rgb::upright(image, orientation)))
}

/// As [`decode`], but with a `side` a JPEG comes at a half, a quarter or an eighth of its size: the
/// smallest whose sides are at least that many pixels long.
///
/// # Errors
/// The reason why this is no image for the pipeline.
pub fn decode_scaled(bytes: &[u8], limits: &ImageLimits, side: Option<u32>) -> Result<Picture, Dropped> {
    panic_guard::catch(|| read(bytes, limits, side).map(|(_, image, orientation)| rgb::upright(image, orientation)))
}

/// Checks and decodes; the image is as stored, or smaller with sides of `at_least`. The orientation
/// is yet to be applied.
fn read(
    bytes: &[u8],
    limits: &ImageLimits,
    at_least: Option<u32>,
) -> Result<(Facts, DynamicImage, Orientation), Dropped> {
    if bytes.is_empty() {
        return Err(Dropped::new(Reason::Empty, "0 bytes"));
    }
    let size = bytes.len() as u64;
    if size > limits.max_bytes {
        return Err(Dropped::new(Reason::TooManyBytes, format!("{size} bytes, {} allowed", limits.max_bytes)));
    }
    let (format, theirs) =
        Format::of(bytes).ok_or_else(|| Dropped::new(Reason::UnsupportedFormat, first_bytes(bytes)))?;

    let turbo = if format == Format::Jpeg { turbo::header(bytes) } else { None };
    let opened = decoder(bytes, theirs);
    // The size is checked that is decoded: damaged headers can be read in two ways.
    let (width, height) = match (&turbo, &opened) {
        (Some(header), _) => header.size,
        (None, Ok(decoder)) => decoder.dimensions(),
        (None, Err(error)) => return Err(dropped(error)),
    };
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        let detail = format!("{width} x {height} = {pixels} pixels, {} allowed", limits.max_pixels);
        return Err(Dropped::new(Reason::TooManyPixels, detail));
    }
    if pixels == 0 {
        return Err(Dropped::new(Reason::Broken, format!("{width} x {height} pixels")));
    }
    if width.min(height) < limits.min_side {
        let detail = format!("{width} x {height} pixels, {} at least", limits.min_side);
        return Err(Dropped::new(Reason::TooSmall, detail));
    }
    // Of several scans, only the end marker says which one is the last.
    let is_whole = || jpeg::is_whole(bytes) || jpeg::has_one_scan(bytes) && turbo::is_complete(bytes);
    if format == Format::Jpeg && !is_whole() {
        return Err(Dropped::new(Reason::Broken, "cut off: no end of image after its first scan"));
    }
    let mut opened = opened;
    let (exif, orientation) = metadata(format, bytes, opened.as_mut().ok());
    let image = match turbo {
        Some(header) if !header.is_print => {
            turbo::decode(bytes, at_least).map_err(|detail| Dropped::new(Reason::Broken, detail))?
        }
        _ => {
            let mut decoder = opened.map_err(|error| dropped(&error))?;
            let budget = WORKING_BYTES.saturating_add(pixels.saturating_mul(BYTES_PER_PIXEL));
            decoder.set_limits(allow(budget)).map_err(|error| dropped(&error))?;
            DynamicImage::from_decoder(decoder).map_err(|error| dropped(&error))?
        }
    };

    let turned = orientation.to_exif() >= 5;
    let (upright_width, upright_height) = if turned { (height, width) } else { (width, height) };
    let facts = Facts {
        format,
        width: upright_width,
        height: upright_height,
        original_width: width,
        original_height: height,
        orientation: orientation.to_exif(),
        exif: exif.and_then(|raw| exif::json(&raw)),
    };
    Ok((facts, image, orientation))
}

/// What decodes all but JPEGs, and those of print.
fn decoder(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(allow(WORKING_BYTES));
    reader.into_decoder()
}

/// The raw EXIF chunk, and the orientation by EXIF or else, as in Pillow, by XMP. Metadata that
/// cannot be read is no reason to lose a picture.
fn metadata(
    format: Format,
    bytes: &[u8],
    mut decoder: Option<&mut impl ImageDecoder>,
) -> (Option<Vec<u8>>, Orientation) {
    let exif = match format {
        Format::Jpeg => jpeg::exif(bytes),
        Format::Png => png::exif(bytes),
        _ => decoder.as_mut().and_then(|decoder| decoder.exif_metadata().ok().flatten()),
    };
    let by_exif = exif.as_deref().and_then(exif::orientation);
    let by_xmp = || {
        let xmp = decoder.as_mut().and_then(|decoder| decoder.xmp_metadata().ok().flatten());
        exif::xmp_orientation(&xmp?)
    };
    let orientation = by_exif.or_else(by_xmp).and_then(Orientation::from_exif);
    // TIFF keeps its orientation in neither.
    let of_tiff = || decoder.filter(|_| format == Format::Tiff).and_then(|decoder| decoder.orientation().ok());
    let orientation = orientation.or_else(of_tiff);
    (exif, orientation.unwrap_or(Orientation::NoTransforms))
}

fn allow(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

fn dropped(error: &ImageError) -> Dropped {
    let reason = match error {
        ImageError::Unsupported(_) => Reason::UnsupportedFormat,
        _ => Reason::Broken,
    };
    Dropped::new(reason, error.to_string())
}

fn first_bytes(bytes: &[u8]) -> String {
    format!("begins with \"{}\"", bytes[..bytes.len().min(8)].escape_ascii())
}
