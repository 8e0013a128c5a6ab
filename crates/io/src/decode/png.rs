//! The chunks of a PNG: EXIF wherever it stands, and the checksums that decoders elsewhere insist on.

use std::io::Read as _;

use fdeflate::Decompressor;
use flate2::read::ZlibDecoder;

/// Bytes before the first chunk.
const SIGNATURE: usize = 8;
/// Bytes of a packed profile, unpacked, at most.
const MAX_PROFILE: u64 = 1 << 20;
/// How far back packed data may refer.
const WINDOW: usize = 32 << 10;

/// A chunk: its type, its body, and whether its checksum is right.
struct Chunk<'a> {
    kind: [u8; 4],
    body: &'a [u8],
    is_right: bool,
}

/// The chunks that are whole, in order.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
        let kind = *rest.get(4..8)?.first_chunk()?;
        let body = rest.get(8..8usize.checked_add(length)?)?;
        let sum = u32::from_be_bytes(*rest.get(8 + length..)?.first_chunk()?);
        let is_right = crc32fast::hash(&rest[4..8 + length]) == sum;
        rest = &rest[12 + length..];
        Some(Chunk { kind, body, is_right })
    })
}

/// The EXIF chunk: `eXIf`, before or behind the pixels, or a text as `ImageMagick` writes it.
pub fn exif(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut profile = None;
    for chunk in chunks(bytes) {
        match &chunk.kind {
            b"eXIf" => return Some(chunk.body.to_vec()),
            b"tEXt" | b"zTXt" => profile = profile.or_else(|| raw_profile(chunk.kind, chunk.body)),
            _ => {}
        }
    }
    profile
}

/// What a text `Raw profile type exif` holds: a line of a name, one of a length, and digits.
fn raw_profile(kind: [u8; 4], body: &[u8]) -> Option<Vec<u8>> {
    let text = body.strip_prefix(b"Raw profile type exif\0")?;
    let text = if kind == *b"zTXt" {
        let mut unpacked = Vec::new();
        ZlibDecoder::new(text.strip_prefix(&[0])?).take(MAX_PROFILE).read_to_end(&mut unpacked).ok()?;
        unpacked
    } else {
        text.to_vec()
    };
    let digits = text.split(|&byte| byte == b'\n').skip(3).flatten().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<u8> = digits.copied().collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// What is wrong with checksums that Pillow looks at: those of the chunks before the pixels, and
/// that of the packed pixels.
pub fn wrong_sum(bytes: &[u8]) -> Option<String> {
    let before = chunks(bytes).take_while(|chunk| chunk.kind != *b"IDAT").find(|chunk| !chunk.is_right);
    if let Some(wrong) = before {
        return Some(format!("the checksum of its chunk {} is wrong", wrong.kind.escape_ascii()));
    }
    let pixels = chunks(bytes).filter(|chunk| chunk.kind == *b"IDAT").map(|chunk| chunk.body);
    unpack(pixels).err().map(|error| format!("its packed pixels: {error}"))
}

/// Unpacks and looks at the sum behind; what comes out is not kept.
fn unpack<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), String> {
    let mut unpacker = Decompressor::new();
    let mut room = vec![0; 8 * WINDOW];
    let mut filled = 0;
    for mut piece in pieces {
        while !piece.is_empty() && !unpacker.is_done() {
            let (read, written) =
                unpacker.read(piece, &mut room, filled, false).map_err(|error| format!("{error:?}"))?;
            piece = &piece[read..];
            filled += written;
            if filled > room.len() - WINDOW {
                room.copy_within(filled - WINDOW..filled, 0);
                filled = WINDOW;
            } else if read == 0 && written == 0 {
                break;
            }
        }
    }
    // Pixels that end too early are the decoder's business.
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{ImageLimits, inspect};
    use super::*;
    use lvd_base::types::Reason;

    fn png() -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let wave = |x: u32, y: u32| image::Luma([u8::try_from((x * x + 3 * y * y) % 251).unwrap_or(0)]);
        image::GrayImage::from_fn(400, 300, wave).write_to(&mut bytes, image::ImageFormat::Png).expect("a PNG");
        bytes.into_inner()
    }

    fn chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        let sum = crc32fast::hash(&[kind, body].concat()).to_be_bytes();
        [&length, kind, body, &sum].concat()
    }

    /// The file with a chunk behind its header, or before its end.
    fn with(chunk: &[u8], before_pixels: bool) -> Vec<u8> {
        let png = png();
        let at = if before_pixels { 33 } else { png.len() - 12 };
        [&png[..at], chunk, &png[at..]].concat()
    }

    #[test]
    fn exif_is_found_wherever_it_stands() {
        // Turned by a quarter.
        let exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let hex = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'));
        let mut digits: String = b"Exif\0\0".iter().chain(exif).flat_map(hex).collect();
        digits.insert(36, '\n');
        let text = format!("\nexif\n      38\n{digits}\n");
        let mut packed = Vec::new();
        let mut zlib = flate2::read::ZlibEncoder::new(text.as_bytes(), flate2::Compression::fast());
        zlib.read_to_end(&mut packed).expect("packed");
        let name = b"Raw profile type exif\0";
        for before in [true, false] {
            for chunk in [
                chunk(b"eXIf", exif),
                chunk(b"tEXt", &[name, text.as_bytes()].concat()),
                chunk(b"zTXt", &[&name[..], &[0], &packed].concat()),
            ] {
                let facts = inspect(&with(&chunk, before), &ImageLimits::NONE).expect("it decodes");
                assert_eq!((facts.width, facts.height, facts.orientation), (300, 400, 6), "{}", chunk.escape_ascii());
            }
        }
        let wrong = chunk(b"tEXt", &[&name[..], b"\nexif\n 4\nxyz"].concat());
        assert_eq!(inspect(&with(&wrong, true), &ImageLimits::NONE).expect("it decodes").orientation, 1);
    }

    #[test]
    fn sums_are_those_that_others_insist_on() {
        let png = png();
        assert_eq!(wrong_sum(&png), None);
        let mut text = chunk(b"tEXt", b"k\0v");
        *text.last_mut().expect("a byte") ^= 1;
        let refused = inspect(&with(&text, true), &ImageLimits::NONE).expect_err("a wrong sum");
        assert!(refused.reason == Reason::Broken && refused.detail.contains("tEXt"), "{refused:?}");
        assert!(inspect(&with(&text, false), &ImageLimits::NONE).is_ok(), "behind the pixels nobody looks");
        // The sum of the packed pixels, the last four bytes of the last chunk of them.
        let pixels: Vec<u8> =
            chunks(&png).filter(|chunk| chunk.kind == *b"IDAT").flat_map(|c| c.body).copied().collect();
        let wrong = [&pixels[..pixels.len() - 4], &[0; 4]].concat();
        let file = [&png[..33], &chunk(b"IDAT", &wrong), &png[png.len() - 12..]].concat();
        let refused = inspect(&file, &ImageLimits::NONE).expect_err("a wrong sum");
        assert!(refused.reason == Reason::Broken && refused.detail.contains("packed pixels"), "{refused:?}");
    }
}
