//! The common EXIF tags of an image as JSON, for the `exif` column: camera, time, orientation, exposure.
//!
//! The block is a small TIFF file (Exif 2.32, section 4.5) from anywhere: every offset is checked, and only the first 64 tags of
//! its main and Exif directories are looked at.

use serde_json::{Map, Value};

/// Most tags of a directory that are looked at.
const MOST_TAGS: u16 = 64;
/// Longest text that is kept.
const MOST_TEXT: usize = 256;

const NAMES: [(u16, &str); 14] = [
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
    (0x8827, "ISOSpeedRatings"),
    (0x9003, "DateTimeOriginal"),
    (0x920a, "FocalLength"),
    (0xa405, "FocalLengthIn35mmFilm"),
];
const EXIF_DIRECTORY: u16 = 0x8769;

/// The tags that are known by name; `None` when there are none.
#[must_use]
pub fn as_json(block: &[u8]) -> Option<String> {
    let block = Block { bytes: block, little: block.starts_with(b"II") };
    let mut tags = Map::new();
    let exif = block.directory(block.u32(4)?, &mut tags)?;
    if let Some(offset) = exif {
        let _ = block.directory(offset, &mut tags);
    }
    (!tags.is_empty()).then(|| Value::Object(tags).to_string())
}

struct Block<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Block<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        let pair: [u8; 2] = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let four: [u8; 4] = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    }

    /// Adds the known tags of the directory at `offset`; gives the offset of the Exif directory it points at.
    fn directory(&self, offset: u32, tags: &mut Map<String, Value>) -> Option<Option<u32>> {
        let start = offset as usize;
        let mut below = None;
        for entry in 0..self.u16(start)?.min(MOST_TAGS) {
            let at = start.checked_add(2 + 12 * usize::from(entry))?;
            let Some(tag) = self.u16(at) else { break };
            if tag == EXIF_DIRECTORY {
                below = self.u32(at + 8);
            } else if let Some((_, name)) = NAMES.iter().find(|(known, _)| *known == tag)
                && let Some(value) = self.value(at)
            {
                tags.insert((*name).to_owned(), value);
            }
        }
        Some(below)
    }

    fn value(&self, entry: usize) -> Option<Value> {
        let count = self.u32(entry + 4)? as usize;
        match self.u16(entry + 2)? {
            2 => {
                let at = if count <= 4 { entry + 8 } else { self.u32(entry + 8)? as usize };
                let text = self.bytes.get(at..at.checked_add(count.min(MOST_TEXT))?)?;
                let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
                let text = String::from_utf8_lossy(text).trim().to_owned();
                (!text.is_empty()).then_some(Value::String(text))
            }
            3 => Some(self.u16(entry + 8)?.into()),
            4 => Some(self.u32(entry + 8)?.into()),
            5 => {
                let at = self.u32(entry + 8)? as usize;
                let (above, below) = (self.u32(at)?, self.u32(at.checked_add(4)?)?);
                (below != 0).then(|| (f64::from(above) / f64::from(below)).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block with one entry for each (tag, type, count, value) and `tail` after the directory.
    fn block(entries: &[(u16, u16, u32, u32)], tail: &[u8]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        bytes.extend(u16::try_from(entries.len()).expect("few").to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes().into_iter().chain(kind.to_le_bytes()));
            bytes.extend(count.to_le_bytes().into_iter().chain(value.to_le_bytes()));
        }
        bytes.extend([0; 4]);
        bytes.extend(tail);
        bytes
    }

    #[test]
    fn known_tags_are_read_and_lies_are_survived() {
        let after = 8 + 2 + 2 * 12 + 4;
        let good = block(&[(0x0112, 3, 1, 6), (0x010f, 2, 6, after)], b"Canon\0");
        assert_eq!(as_json(&good).as_deref(), Some(r#"{"Orientation":6,"Make":"Canon"}"#));
        for end in 0..good.len() {
            let _ = as_json(&good[..end]);
        }
        let lies =
            block(&[(0x010f, 2, u32::MAX, u32::MAX), (0x829a, 5, 1, u32::MAX - 2), (EXIF_DIRECTORY, 4, 1, 8)], b"");
        assert_eq!(as_json(&lies), None);
    }
}
