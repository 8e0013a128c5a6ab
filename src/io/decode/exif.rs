//! The common EXIF tags as JSON.

/// None yet.
pub fn json(_raw: &[u8]) -> Option<String> {
    None
}
