//! The nearest images of each picture: every vector is compared, a block of a shard at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::pictures::Picture;
use super::view::{blocks, whitened};
use crate::pipeline::event::{Event, Observer};
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Neighbour};
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::{WITH_ITSELF, similarity};
use lvd_kernels::exact::knn_ip;
use lvd_ops::top_k::TopK;
use lvd_ops::whiten::Whitening;

/// What pictures are compared with.
pub struct Haystack<'a> {
    pub shards: Vec<VectorShard>,
    /// The images of these that count, sorted; `None`: all.
    pub ids: Option<&'a [ImageId]>,
    pub whitening: Option<Arc<Whitening>>,
}

/// The nearest images of each query, best first, and how many images each was compared with.
pub struct Nearest {
    pub of: Vec<Vec<Neighbour>>,
    pub compared: u64,
}

/// The nearest so far.
struct Found {
    tops: Vec<TopK>,
    compared: u64,
}

impl Haystack<'_> {
    /// Compares pictures with every image. Equal similarities go by the lower id.
    pub fn nearest(&self, pictures: &[Picture], k: usize, task: &Task, tell: &Observer) -> Result<Nearest> {
        let count = pictures.len();
        let mut queries: Vec<f32> = pictures.iter().flat_map(|picture| picture.vector.iter().copied()).collect();
        if let Some(whitening) = &self.whitening {
            whitened(&mut queries, whitening);
        }
        let none = || Found { tops: vec![TopK::new(k); count], compared: 0 };
        let rows = self.shards.iter().map(VectorShard::rows_at_most).sum();
        let done = AtomicU64::new(0);
        tell(Event::PhaseBegins { step: "search", phase: "compare", tasks: 1, to_run: 1, rows: Some(rows) });
        let mut all = none();
        // As many shards at once as there are threads: memory does not depend on the pool.
        for shards in self.shards.chunks(rayon::current_num_threads()) {
            let found = shards.par_iter().map(|shard| {
                let mut found = none();
                for block in blocks(shard, self.whitening.as_ref(), task)? {
                    found.offer(&queries, &self.counted(block?), k);
                }
                let rows = shard.rows_at_most();
                tell(Event::Rows(done.fetch_add(rows, Ordering::Relaxed) + rows));
                Ok(found)
            });
            found.collect::<Result<Vec<_>>>()?.into_iter().for_each(|found| all.merge(found));
        }
        tell(Event::PhaseEnds);
        Ok(Nearest { of: all.tops.into_iter().map(TopK::into_sorted).collect(), compared: all.compared })
    }

    /// The rows of a block that count.
    fn counted(&self, block: Vectors) -> Vectors {
        let Some(ids) = self.ids else { return block };
        let mut some = Vectors { dimension: block.dimension, ..Vectors::default() };
        for (row, id) in block.ids.iter().enumerate().filter(|(_, id)| ids.binary_search(id).is_ok()) {
            some.ids.push(*id);
            some.values.extend(block.row(row));
        }
        some
    }
}

impl Found {
    /// Compares a block.
    fn offer(&mut self, queries: &[f32], base: &Vectors, k: usize) {
        let n = base.ids.len();
        if n == 0 {
            return;
        }
        self.compared += n as u64;
        let products = knn_ip(queries, &base.values, base.dimension, k.min(n));
        let queries = queries.chunks_exact(base.dimension);
        for (number, (query, top)) in queries.zip(&mut self.tops).enumerate() {
            let mut push = |row: usize| {
                let similarity = similarity(query, base.row(row));
                top.push(Neighbour { similarity, id: base.ids[row] });
            };
            // Of vectors in half precision, products this high do not say which of two is nearer, or
            // equal: where they fill all places, every row is looked at.
            let crowd = products.of(number).nth(k.min(n) - 1).is_some_and(|(_, product)| product >= WITH_ITSELF);
            if crowd {
                (0..n).for_each(&mut push);
            } else {
                products.of(number).for_each(|(row, _)| push(row as usize));
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.compared += other.compared;
        for (top, others) in self.tops.iter_mut().zip(other.tops) {
            for neighbour in others.into_sorted() {
                top.push(neighbour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvd_kernels::dot::{normalise, to_f16, to_f32};
    use lvd_kernels::hash::Draw;

    /// Unit vectors in half precision; every tenth from `near` on is nearly or exactly the first.
    fn vectors(n: usize, d: usize, near: usize) -> Vectors {
        let draw = Draw::new(3, "search");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut values: Vec<f32> = (0..n * d).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
        values.chunks_mut(d).for_each(|vector| assert!(normalise(vector)));
        for row in (near..n).step_by(10) {
            let (first, rest) = values.split_at_mut(d);
            rest[(row - 1) * d..row * d].copy_from_slice(first);
            rest[(row - 1) * d] *= if row % 20 == 0 { 1.0 } else { 1.002 };
        }
        let ids = (0..n as u64).map(ImageId).collect();
        Vectors { ids, values: to_f32(&to_f16(&values)), dimension: d }
    }

    #[test]
    fn what_is_found_is_what_sorting_all_similarities_finds() {
        let all = vectors(500, 24, 10);
        for k in [1, 3, 12, 600] {
            let mut found = Found { tops: vec![TopK::new(k); 500], compared: 0 };
            found.offer(&all.values, &all, k);
            assert_eq!(found.compared, 500);
            for (row, top) in found.tops.into_iter().enumerate() {
                let of = |other: usize| Neighbour {
                    similarity: similarity(all.row(row), all.row(other)),
                    id: all.ids[other],
                };
                let mut expect: Vec<Neighbour> = (0..500).map(of).collect();
                expect.sort();
                expect.truncate(k);
                assert_eq!(top.into_sorted(), expect, "{k} {row}");
            }
        }
    }

    #[test]
    fn only_images_that_count_are_compared() {
        let ids = [ImageId(2), ImageId(7)];
        let haystack = Haystack { shards: Vec::new(), ids: Some(&ids), whitening: None };
        let some = haystack.counted(vectors(10, 4, 10));
        assert_eq!((some.ids.as_slice(), some.values.len()), (&ids[..], 8));
    }
}
