//! Points as k-means sees them: held in memory, or read anew for every pass.

use lvd_base::error::Result;

/// Points to cluster, in a fixed order. How they are cut into blocks decides no result.
pub trait Points: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// Numbers a point.
    fn dimension(&self) -> usize;
    /// Calls `each` with all points in their order, block after block.
    ///
    /// # Errors
    /// When they cannot be read, or `each` fails.
    fn pass(&self, each: &mut dyn FnMut(PointBlock) -> Result<()>) -> Result<()>;
}

/// Some points in a row.
#[derive(Clone, Copy, Debug)]
pub struct PointBlock<'a> {
    /// The number of the first among all points.
    pub first: usize,
    /// Their values, row-major.
    pub values: &'a [f32],
}

/// Points in memory: one block.
pub struct HeldPoints<'a> {
    values: std::borrow::Cow<'a, [f32]>,
    d: usize,
}

impl<'a> HeldPoints<'a> {
    /// Row-major points of `d` numbers.
    ///
    /// # Panics
    /// When the length is not a multiple of `d`.
    #[must_use]
    pub fn new(values: impl Into<std::borrow::Cow<'a, [f32]>>, d: usize) -> Self {
        let values = values.into();
        assert!(d > 0 && values.len().is_multiple_of(d), "{} numbers are not rows of {d}", values.len());
        Self { values, d }
    }

    /// All values.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl Points for HeldPoints<'_> {
    fn count(&self) -> usize {
        self.values.len() / self.d
    }

    fn dimension(&self) -> usize {
        self.d
    }

    fn pass(&self, each: &mut dyn FnMut(PointBlock) -> Result<()>) -> Result<()> {
        each(PointBlock { first: 0, values: &self.values })
    }
}

/// The points that `wanted` takes by number, in order, as values.
pub fn gather(points: &dyn Points, mut wanted: impl FnMut(usize) -> bool) -> Result<Vec<f32>> {
    let d = points.dimension();
    let mut values = Vec::new();
    points.pass(&mut |block| {
        for (row, point) in (block.first..).zip(block.values.chunks(d)) {
            if wanted(row) {
                values.extend_from_slice(point);
            }
        }
        Ok(())
    })?;
    Ok(values)
}
