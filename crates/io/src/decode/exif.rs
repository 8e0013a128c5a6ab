//! The common EXIF tags of a raw chunk as a JSON object.
//!
//! A small reader of TIFF directories for bytes that nobody vouches for: every offset is checked,
//! one directory and its `Exif` child are read and nothing is followed further, and what does not
//! fit is left out.
//!
//! Our own, and not `kamadak-exif` (0.6.2): that reads each child that a directory points to, and
//! they may overlap. 64 KiB of such pointers made it keep 3.6 million entries in 200 MiB, and a
//! chunk may be a thousand times as long. Here one child is read, the last.

use serde_json::{Map, Value};

/// Entries read of a directory; real ones hold a few dozen.
const MAX_ENTRIES: u16 = 512;

/// Bytes kept of a text.
const MAX_TEXT: usize = 1024;

/// The pointer from the main directory to the `Exif` one.
const EXIF_IFD: u16 = 0x8769;

/// The tags that are kept, by their names in the standard (CIPA DC-008).
const TAGS: [(u16, &str); 15] = [
    (0x010e, "ImageDescription"),
    (0x010f, "Make"),
    (0x0110, "Model"),
    (0x0112, "Orientation"),
    (0x0131, "Software"),
    (0x0132, "DateTime"),
    (0x013b, "Artist"),
    (0x8298, "Copyright"),
    (0x829a, "ExposureTime"),
    (0x829d, "FNumber"),
    (0x8827, "PhotographicSensitivity"),
    (0x9003, "DateTimeOriginal"),
    (0x920a, "FocalLength"),
    (0xa002, "PixelXDimension"),
    (0xa003, "PixelYDimension"),
];

/// The tags found in `raw` (a TIFF header and what follows), where there are any.
pub fn json(raw: &[u8]) -> Option<String> {
    let tiff = Tiff::open(bare(raw))?;
    let mut tags = Map::new();
    let child = tiff.directory(tiff.u32(4)?, &mut tags);
    if let Some(child) = child {
        tiff.directory(child, &mut tags);
    }
    (!tags.is_empty()).then(|| Value::Object(tags).to_string())
}

/// The orientation found in `raw`, 1 to 8: of a short or a long number, the last that is there.
pub fn orientation(raw: &[u8]) -> Option<u8> {
    let tiff = Tiff::open(bare(raw))?;
    let mut tags = Map::new();
    tiff.directory(tiff.u32(4)?, &mut tags);
    tags.get("Orientation")?.as_u64().and_then(|turn| u8::try_from(turn).ok()).filter(|turn| (1..=8).contains(turn))
}

/// The chunk without the prefix that belongs to JPEG and that some writers leave on in WebP and
/// PNG.
pub fn bare(raw: &[u8]) -> &[u8] {
    raw.strip_prefix(b"Exif\0\0").unwrap_or(raw)
}

/// The orientation in an XMP packet, as an attribute (`tiff:Orientation="6"`) or an element
/// (`<tiff:Orientation>6<`).
pub fn xmp_orientation(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let at = packet.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let value = packet[at..].strip_prefix(b"=\"").or_else(|| packet[at..].strip_prefix(b">"))?;
    value.first().filter(|digit| digit.is_ascii_digit()).map(|digit| digit - b'0')
}

struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl<'a> Tiff<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let little = match bytes.get(..4)? {
            b"II*\0" => true,
            b"MM\0*" => false,
            _ => return None,
        };
        Some(Self { bytes, little })
    }

    /// Adds the known tags of the directory at `offset`; answers where its `Exif` child is.
    fn directory(&self, offset: u32, tags: &mut Map<String, Value>) -> Option<u32> {
        let start = usize::try_from(offset).ok()?;
        let count = self.u16(start)?.min(MAX_ENTRIES);
        let mut child = None;
        for index in 0..usize::from(count) {
            let entry = start.checked_add(2 + 12 * index)?;
            let tag = self.u16(entry)?;
            if tag == EXIF_IFD {
                child = self.u32(entry + 8);
            } else if let Some((_, name)) = TAGS.iter().find(|(known, _)| *known == tag)
                && let Some(value) = self.value(entry)
            {
                tags.insert((*name).to_owned(), value);
            }
        }
        child
    }

    /// The first value of an entry, or its text.
    fn value(&self, entry: usize) -> Option<Value> {
        let count = usize::try_from(self.u32(entry + 4)?).ok()?;
        match self.u16(entry + 2)? {
            2 => {
                let start = if count <= 4 { entry + 8 } else { self.far(entry)? };
                let text = self.bytes.get(start..start.checked_add(count)?)?;
                let text = text.split(|&byte| byte == 0).next()?;
                let text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]);
                (!text.trim().is_empty()).then(|| text.trim().into())
            }
            3 if count > 0 => self.u16(entry + 8).map(Value::from),
            4 if count > 0 => self.u32(entry + 8).map(Value::from),
            5 if count > 0 => {
                let at = self.far(entry)?;
                let (over, under) = (self.u32(at)?, self.u32(at.checked_add(4)?)?);
                (under != 0).then(|| (f64::from(over) / f64::from(under)).into())
            }
            _ => None,
        }
    }

    fn far(&self, entry: usize) -> Option<usize> {
        usize::try_from(self.u32(entry + 8)?).ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Big-endian: Make "Ab" (inline), Orientation 6, an exposure of 1/4 s in the `Exif` child.
    fn sample() -> Vec<u8> {
        let mut raw = b"MM\0*\0\0\0\x08\0\x03".to_vec();
        raw.extend(b"\x01\x0f\0\x02\0\0\0\x03Ab\0\0");
        raw.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0");
        raw.extend(b"\x87\x69\0\x04\0\0\0\x01\0\0\0\x32");
        raw.extend([0; 4]);
        raw.extend(b"\0\x01\x82\x9a\0\x05\0\0\0\x01\0\0\0\x44");
        raw.extend([0; 4]);
        raw.extend(b"\0\0\0\x01\0\0\0\x04");
        raw
    }

    #[test]
    fn reads_the_common_tags() {
        let expect = r#"{"Make":"Ab","Orientation":6,"ExposureTime":0.25}"#;
        assert_eq!(json(&sample()).as_deref(), Some(expect));
        assert_eq!(json(&[b"Exif\0\0", sample().as_slice()].concat()).as_deref(), Some(expect));
    }

    #[test]
    fn an_orientation_is_a_short_or_a_long_number() {
        assert_eq!(orientation(&sample()), Some(6));
        let with = |tag: &[u8]| [b"II*\0\x08\0\0\0\x01\0\x12\x01", tag, &[0; 4]].concat();
        assert_eq!(orientation(&with(b"\x04\0\x01\0\0\0\x08\0\0\0")), Some(8));
        assert_eq!(orientation(&with(b"\x03\0\x01\0\0\0\x09\0\0\0")), None);
        assert_eq!(orientation(&with(b"\x02\0\x02\0\0\x006\0\0\0")), None);
        assert_eq!(orientation(b"II*\0"), None);
    }

    #[test]
    fn xmp_has_two_spellings() {
        assert_eq!(xmp_orientation(br#"<x tiff:Orientation="6"/>"#), Some(6));
        assert_eq!(xmp_orientation(b"<tiff:Orientation>3</tiff:Orientation>"), Some(3));
        assert_eq!(xmp_orientation(b"tiff:Orientation"), None);
    }

    #[test]
    fn a_directory_that_names_itself_as_its_child_a_thousand_times_is_read_twice() {
        let mut raw = b"MM\0*\0\0\0\x08".to_vec();
        raw.extend(5000_u16.to_be_bytes());
        raw.extend(b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0");
        (1..5000).for_each(|_| raw.extend(b"\x87\x69\0\x04\0\0\0\x01\0\0\0\x08"));
        assert_eq!(json(&raw).as_deref(), Some(r#"{"Orientation":6}"#));
    }

    #[test]
    fn no_claimed_length_is_believed() {
        for (kind, count) in [(2_u16, u32::MAX), (2, 1 << 30), (5, u32::MAX), (3, u32::MAX), (4, 0)] {
            let mut raw = b"MM\0*\0\0\0\x08\0\x01\x01\x0f".to_vec();
            raw.extend(kind.to_be_bytes());
            raw.extend(count.to_be_bytes());
            raw.extend([0xff; 8]);
            let found = json(&raw);
            assert_eq!(found.as_deref(), (kind == 3).then_some(r#"{"Make":65535}"#), "{kind} {count}");
        }
    }

    #[test]
    fn no_cut_and_no_flipped_byte_breaks_it() {
        let sample = sample();
        for at in 0..sample.len() {
            json(&sample[..at]);
            for value in [0, 1, 5, 0x7f, 0xff] {
                let mut hostile = sample.clone();
                hostile[at] = value;
                json(&hostile);
            }
        }
        assert_eq!(json(b"no TIFF"), None);
    }
}
