//! The segments of a JPEG: whether its end is there, and its EXIF.
//!
//! Cut downloads are common in a crawl, and Pillow refuses them; the decoder paints what is missing
//! gray and calls it decoded. Only the end marker is looked for, no pixel: a scan that is damaged in
//! its midst passes, as it does with Pillow. Where there is no end marker, [`super::turbo`] says
//! whether the scan is all there.

/// Start of scan: from here on come entropy-coded bytes, in which no end marker can occur by
/// chance.
const SOS: u8 = 0xda;

/// Application segment 1: EXIF or XMP.
const APP1: u8 = 0xe1;

/// End of image.
const EOI: [u8; 2] = [0xff, 0xd9];

/// Bytes of EXIF that are put together, at most: sixteen segments.
const MAX_EXIF: usize = 1 << 20;

/// Calls `each` with the marker and the body of each segment before the first scan, until it has
/// enough; gives where the scan begins. Segments are skipped by their lengths, for a thumbnail in
/// them has markers of its own.
fn segments<'a>(bytes: &'a [u8], each: &mut dyn FnMut(u8, &'a [u8])) -> Option<usize> {
    let mut at = 2;
    loop {
        let &[fill, marker, high, low] = bytes.get(at..)?.first_chunk()?;
        if fill != 0xff || marker == 0xff {
            at += 1; // stuffing, or garbage between segments: decoders look for the next marker
        } else if marker == SOS {
            return Some(at);
        } else if marker == 0 || marker == 1 || (0xd0..=0xd9).contains(&marker) {
            at += 2; // markers without a segment
        } else {
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            each(marker, bytes.get(at + 4..end).unwrap_or_default());
            at = end;
        }
    }
}

/// True when an end marker follows the first scan; bytes behind the end are nobody's business.
pub fn is_whole(bytes: &[u8]) -> bool {
    segments(bytes, &mut |_, _| ()).is_some_and(|scan| bytes[scan..].windows(2).any(|pair| pair == EOI))
}

/// Whether the first scan has the whole picture: it is sequential, and all its colours are there.
pub fn has_one_scan(bytes: &[u8]) -> bool {
    // Of a frame the sixth byte is the number of its colours, of a scan the first.
    let mut frame = None;
    let scan = segments(bytes, &mut |marker, body| {
        if (0xc0..=0xc1).contains(&marker) {
            frame = body.get(5).copied();
        }
    });
    scan.is_some_and(|scan| frame.is_some() && bytes.get(scan + 4).copied() == frame)
}

/// The EXIF chunk. Some cameras split a long one over several segments, which Pillow puts together.
pub fn exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut exif: Option<Vec<u8>> = None;
    segments(bytes, &mut |marker, body| {
        if let Some(piece) = body.strip_prefix(b"Exif\0\0").filter(|_| marker == APP1) {
            let exif = exif.get_or_insert_default();
            exif.extend(&piece[..piece.len().min(MAX_EXIF - exif.len())]);
        }
    });
    exif
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{Dropped, ImageLimits, decode, inspect};
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
    fn a_split_exif_is_put_together() {
        let jpeg = jpeg();
        let segment = |body: &[u8]| [&[0xff, 0xe1, 0, u8::try_from(body.len() + 2).expect("short")], body].concat();
        let pieces = [segment(b"Exif\0\0one"), segment(b"http://ns"), segment(b"Exif\0\0two")].concat();
        assert_eq!(exif(&[&jpeg[..2], &pieces, &jpeg[2..]].concat()).as_deref(), Some(&b"onetwo"[..]));
        assert_eq!(exif(&jpeg), None);
        assert_eq!(exif(b"\xff\xd8\xff\xe1\xff\xffExif\0\0"), None);
    }

    #[test]
    fn a_scan_that_is_all_there_needs_no_end_marker() {
        let mut bytes = Cursor::new(Vec::new());
        let wave = |x: u32, y: u32| image::Luma([u8::try_from((x * x + 3 * y * y + x * y) % 251).unwrap_or(0)]);
        image::GrayImage::from_fn(64, 64, wave).write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a JPEG");
        let jpeg = bytes.into_inner();
        let whole = decode(&jpeg, &ImageLimits::NONE).expect("it is whole");
        let open = &jpeg[..jpeg.len() - 2];
        for behind in [&[0; 4096][..], b"\0\0SEFH and what a phone writes"] {
            let bytes = [open, behind].concat();
            assert!(!is_whole(&bytes));
            let same = decode(&bytes, &ImageLimits::NONE).is_ok_and(|picture| picture == whole);
            assert!(same, "{} bytes behind", behind.len());
        }
        // Half of a scan is not all there, whatever is put behind it.
        let half = &open[..open.len() - 200];
        for behind in [&[][..], &[0; 4096]] {
            let cut = inspect(&[half, behind].concat(), &ImageLimits::NONE);
            assert!(matches!(cut, Err(Dropped { reason: Reason::Broken, .. })), "{cut:?}");
        }
    }

    #[test]
    fn bytes_behind_the_end_are_let_be() {
        assert!(is_whole(&[jpeg().as_slice(), b"\0\0trailer"].concat()));
    }
}
