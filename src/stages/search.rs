//! The k nearest pool images of a block of queries: matrix products propose, a fixed-order dot product decides.
//!
//! BLAS may give other last bits on another machine or in another block shape; similarities, thresholds and ties must not
//! hang on them. Memory: the queries, one shard of the pool, and k neighbours a query.

use rayon::prelude::*;

use crate::error::Result;
use crate::io::vectors::Vectors;
use crate::native::exact::knn_ip;
use crate::ops::top_k::TopK;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use crate::types::Neighbour;

/// What to look for.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Neighbours a query.
    pub k: usize,
    /// Neighbours below this cosine are not returned.
    pub floor: f32,
}

/// The neighbours of each query among `shards`, best first.
pub fn nearest(queries: &Vectors, shards: &[VectorShard], search: Search, task: &Task) -> Result<Vec<Vec<Neighbour>>> {
    let mut tops: Vec<TopK> = queries.ids.iter().map(|_| TopK::new(search.k)).collect();
    for shard in shards {
        let base = shard.load(task)?;
        if base.ids.is_empty() || queries.ids.is_empty() {
            continue;
        }
        let found = knn_ip(&queries.values, &base.values, base.dimension, search.k.min(base.ids.len()));
        tops.par_iter_mut().enumerate().for_each(|(query, top)| {
            for (row, similarity) in found.of(query).filter(|&(_, similarity)| similarity >= search.floor) {
                top.push(Neighbour { similarity, id: base.ids[row as usize] });
            }
        });
    }
    Ok(tops.into_iter().map(TopK::into_sorted).collect())
}
