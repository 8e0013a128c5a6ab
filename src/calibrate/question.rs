//! What a calibration asks: which copies are compared, and what is known of them.

use crate::calibrate::copies::Copies;
use crate::calibrate::lookalikes::Lookalikes;
use crate::calibrate::sample::DrawnImages;
use lvd_io::vectors::Vectors;

/// What is compared.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The images that were drawn.
    pub sample: &'a DrawnImages,
    /// Their stored vectors.
    pub originals: &'a Vectors,
    /// Their copies.
    pub copies: &'a Copies,
    /// What may be copies of them already.
    pub lookalikes: &'a Lookalikes,
}

impl Question<'_> {
    /// The vector of a copy.
    pub fn vector(&self, copy: usize) -> &[f32] {
        let d = self.originals.dimension;
        &self.copies.values[copy * d..(copy + 1) * d]
    }
}
