//! Whether a JPEG is all there: the decoder paints the missing part of a cut file gray and calls it
//! decoded.
//!
//! Cut downloads are common in a crawl, and Pillow refuses them. Only the end marker is looked for,
//! no pixel: a scan that is damaged in its midst passes, as mostly with Pillow, though the decoder
//! may leave more of it gray.

/// Start of scan: from here on come entropy-coded bytes, in which no end marker can occur by
/// chance.
const SOS: u8 = 0xda;

/// End of image.
const EOI: [u8; 2] = [0xff, 0xd9];

/// True when an end marker follows the first scan. Segments before it are skipped by their lengths,
/// for a thumbnail in them has an end of its own; bytes behind the end are nobody's business.
pub fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        let Some(&[fill, marker, high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
            return false;
        };
        if fill != 0xff || marker == 0xff {
            at += 1; // stuffing, or garbage between segments: decoders look for the next marker
        } else if marker == SOS {
            return bytes[at..].windows(2).any(|pair| pair == EOI);
        } else if marker == 0 || marker == 1 || (0xd0..=0xd9).contains(&marker) {
            at += 2; // markers without a segment
        } else {
            at += 2 + usize::from(u16::from_be_bytes([high, low]));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{Dropped, ImageLimits, inspect};
    use super::*;
    use lvd_base::types::Reason;

    fn jpeg() -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image::GrayImage::new(40, 30).write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a JPEG in memory");
        bytes.into_inner()
    }

    #[test]
    fn a_cut_file_is_broken() {
        let jpeg = jpeg();
        assert!(is_whole(&jpeg) && inspect(&jpeg, &ImageLimits::NONE).is_ok());
        for length in 3..jpeg.len() {
            assert!(!is_whole(&jpeg[..length]), "{length} of {} bytes", jpeg.len());
        }
        let cut = inspect(&jpeg[..jpeg.len() - 2], &ImageLimits::NONE);
        assert!(matches!(cut, Err(Dropped { reason: Reason::Broken, .. })), "{cut:?}");
    }

    #[test]
    fn the_end_of_a_thumbnail_does_not_count() {
        let jpeg = jpeg();
        let thumbnail = [&[0xff, 0xe1, 0, 6][..], &[0xff, 0xda, 0xff, 0xd9], &jpeg[2..]].concat();
        let nested = [&jpeg[..2], &thumbnail].concat();
        assert!(is_whole(&nested));
        assert!(!is_whole(&nested[..nested.len() - 2]));
    }

    #[test]
    fn bytes_behind_the_end_are_let_be() {
        assert!(is_whole(&[jpeg().as_slice(), b"\0\0trailer"].concat()));
    }
}
