//! The points nearest to each centroid: what a resampled run is trained on (Vo et al. 2024, section
//! 3.2).

use std::collections::BinaryHeap;

use super::points::{HeldPoints, Points, gather};
use lvd_base::error::Result;
use lvd_kernels::exact::Centroids;

/// The `each` members of every cluster that are nearest to its centroid, ties going to the earlier
/// point; in the order of the points.
///
/// # Errors
/// When the points cannot be read.
pub fn nearest_members(points: &dyn Points, centroids: &[f32], each: usize) -> Result<HeldPoints<'static>> {
    let d = points.dimension();
    let mut heaps: Vec<BinaryHeap<(u32, usize)>> = vec![BinaryHeap::new(); centroids.len() / d];
    let ready = Centroids::new(centroids, d);
    points.pass(&mut |block| {
        let assigned = ready.nearest(block.values);
        for (row, (cluster, distance)) in (block.first..).zip(assigned) {
            // Distances are not negative: their bits are in their order.
            let heap = &mut heaps[cluster as usize];
            heap.push((distance.to_bits(), row));
            if heap.len() > each {
                heap.pop();
            }
        }
        Ok(())
    })?;
    let mut rows: Vec<usize> = heaps.into_iter().flatten().map(|(_, row)| row).collect();
    rows.sort_unstable();
    let mut next = rows.iter().copied().peekable();
    let values = gather(points, |row| next.next_if_eq(&row).is_some())?;
    Ok(HeldPoints::new(values, d))
}
