//! What decodes here and is refused by Pillow, which reads what is exported: it is dropped at once,
//! with the reason, rather than when somebody trains.

use image::DynamicImage;

use super::{Format, png};
use lvd_base::types::{Dropped, Reason};

/// Bit fields of a BMP that Pillow knows: bits a pixel, then red, green, blue and alpha.
const FIELDS: [(u16, [u32; 4]); 11] = [
    (32, [0x00ff_0000, 0xff00, 0xff, 0]),
    (32, [0xff00_0000, 0x00ff_0000, 0xff00, 0]),
    (32, [0xff00_0000, 0xff00, 0xff, 0]),
    (32, [0xff00_0000, 0x00ff_0000, 0xff00, 0xff]),
    (32, [0xff, 0xff00, 0x00ff_0000, 0xff00_0000]),
    (32, [0x00ff_0000, 0xff00, 0xff, 0xff00_0000]),
    (32, [0xff00_0000, 0xff00, 0xff, 0x00ff_0000]),
    (32, [0, 0, 0, 0]),
    (24, [0x00ff_0000, 0xff00, 0xff, 0]),
    (16, [0xf800, 0x07e0, 0x1f, 0]),
    (16, [0x7c00, 0x03e0, 0x1f, 0]),
];

/// Why a picture that decodes here is of no use.
pub fn refused(format: Format, bytes: &[u8], image: &DynamicImage) -> Option<Dropped> {
    match format {
        Format::Png => png::wrong_sum(bytes).map(|detail| Dropped::new(Reason::Broken, detail)),
        Format::Bmp => odd_fields(bytes).map(|detail| Dropped::new(Reason::UnsupportedFormat, detail)),
        Format::Tiff if matches!(image, DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_)) => {
            Some(Dropped::new(Reason::UnsupportedFormat, "colours in floats"))
        }
        _ => None,
    }
}

/// The bit fields of a BMP that nobody else reads.
fn odd_fields(bytes: &[u8]) -> Option<String> {
    let u32 = |at: usize| bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four));
    let (length, bits, packing) = (u32(14)?, u16::from_le_bytes(*bytes.get(28..)?.first_chunk()?), u32(30)?);
    if length < 40 || packing != 3 {
        return None;
    }
    // A header of 40 or 52 bytes has no alpha.
    let alpha = if length >= 56 { u32(66)? } else { 0 };
    let fields = [u32(54)?, u32(58)?, u32(62)?, alpha];
    let known = |&(of, known): &(u16, [u32; 4])| {
        of == bits && known[..3] == fields[..3] && (bits != 32 || known[3] == fields[3])
    };
    let text = || format!("bit fields {:x} {:x} {:x} {:x}", fields[0], fields[1], fields[2], fields[3]);
    (!FIELDS.iter().any(known)).then(text)
}

#[cfg(test)]
mod tests {
    use super::super::{ImageLimits, inspect};
    use super::*;

    /// A BMP of 64 x 64 with these bit fields.
    fn bmp(bits: u16, fields: [u32; 4]) -> Vec<u8> {
        let pixels = vec![0x5a; 64 * 64 * usize::from(bits / 8)];
        let mut bytes = b"BM".to_vec();
        bytes.extend(u32::try_from(70 + pixels.len()).expect("short").to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend([70_u32, 56, 64, 64].iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend([1, bits].iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend([3_u32, 0, 0, 0, 0, 0].iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(fields.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(pixels);
        bytes
    }

    #[test]
    fn bit_fields_that_nobody_else_reads_are_no_picture() {
        let of = |bits, fields| inspect(&bmp(bits, fields), &ImageLimits::NONE);
        for (bits, fields) in [(16, [0xf800, 0x07e0, 0x1f, 0]), (32, [0x00ff_0000, 0xff00, 0xff, 0xff00_0000])] {
            assert!(of(bits, fields).is_ok(), "{bits} {fields:x?}");
        }
        let refused = of(16, [0xf00, 0xf0, 0xf, 0xf000]).expect_err("odd fields");
        assert_eq!((refused.reason, &*refused.detail), (Reason::UnsupportedFormat, "bit fields f00 f0 f f000"));
    }

    #[test]
    fn floats_are_no_picture() {
        let floats = image::Rgb32FImage::new(40, 40);
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::from(floats).write_to(&mut bytes, image::ImageFormat::Tiff).expect("a TIFF");
        let refused = inspect(bytes.get_ref(), &ImageLimits::NONE).expect_err("floats");
        assert_eq!(refused.reason, Reason::UnsupportedFormat);
    }
}
