//! What pairs are looked for.

/// What pairs are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// Neighbours a row keeps.
    pub k: usize,
    /// Pairs below this cosine are not kept.
    pub floor: f32,
    /// From this cosine on, many rows that are near one of them may be attached to it alone.
    /// Thresholds up to it give the components that all pairs would give. Above 1: no row is
    /// attached.
    pub crowd: f32,
}
