//! A pair of images that are near each other.

use lvd_base::types::ImageId;

/// A near pair: `id` has `neighbour` among its k nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Whose neighbour it is.
    pub id: ImageId,
    /// The neighbour.
    pub neighbour: ImageId,
    /// Their cosine.
    pub similarity: f32,
    /// Whether `id` is attached to `neighbour`: it is equal to it, or one of many near copies of
    /// it. Such an image was compared with few others.
    pub attached: bool,
}
