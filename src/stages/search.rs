//! The k nearest pool images of a block of queries: FAISS proposes, a fixed-order dot product decides.
//!
//! BLAS may give other last bits on another machine or in another block shape; similarities, thresholds and ties must not
//! hang on them. Memory: the queries, one shard of the pool, and k neighbours a query.

use std::path::Path;

use rayon::prelude::*;

use crate::error::Result;
use crate::io::vectors::Vectors;
use crate::native::exact::knn_ip;
use crate::native::faiss::Index;
use crate::ops::dot::dot;
use crate::ops::top_k::TopK;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use crate::types::Neighbour;

/// Candidates asked of FAISS beyond k: room for the query itself and for near-ties that BLAS orders otherwise.
const MARGIN: usize = 8;

/// What to look for.
pub struct Search<'a> {
    /// Neighbours a query.
    pub k: usize,
    /// Neighbours below this cosine are not returned.
    pub floor: f32,
    /// The file of an empty inverted index and the lists to probe; exact search without it.
    pub index: Option<(&'a Path, usize)>,
    /// The queries are part of the pool: leave each out of its own neighbours.
    pub skip_self: bool,
}

/// The neighbours of each query among `shards`, best first.
pub fn nearest(queries: &Vectors, shards: &[VectorShard], search: &Search, task: &Task) -> Result<Vec<Vec<Neighbour>>> {
    let mut tops: Vec<TopK> = queries.ids.iter().map(|_| TopK::new(search.k)).collect();
    for shard in shards {
        let base = shard.load(task)?;
        if base.ids.is_empty() || queries.ids.is_empty() {
            continue;
        }
        let k = (search.k + MARGIN).min(base.ids.len());
        let rows = match search.index {
            None => knn_ip(&queries.values, &base.values, base.dimension, k),
            Some((empty, probes)) => {
                let mut index = Index::read(empty)?;
                index.add(&base.values)?;
                index.search(&queries.values, k, probes)?
            }
        };
        tops.par_iter_mut().enumerate().for_each(|(query, top)| {
            for (row, _) in rows.of(query) {
                let row = row as usize;
                let id = base.ids[row];
                if search.skip_self && id == queries.ids[query] {
                    continue;
                }
                let similarity = dot(queries.row(query), base.row(row));
                if similarity >= search.floor {
                    top.push(Neighbour { similarity, id });
                }
            }
        });
    }
    Ok(tops.into_iter().map(TopK::into_sorted).collect())
}
