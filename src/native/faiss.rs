//! Approximate search by inverted lists, by FAISS: an index is built from trained centroids, filled block by block,
//! written, read, and searched from any number of threads.
//!
//! Lengths are checked here, since FAISS does not check them. Searches by brute force are [`super::exact`]'s.

mod raw;

use std::path::Path;
use std::ptr::{self, NonNull};

use faiss_sys as ffi;
use rayon::prelude::*;

use self::raw::{Probes, as_i64, c_path, check, non_null, rows};
use super::blas::one_thread;
pub use super::exact::{Knn, knn_ip, nearest};
use crate::error::{Error, Result};

/// Rows that are assigned and encoded by one task.
const ADD_ROWS: usize = 8192;
/// Queries that are searched by one task.
const SEARCH_ROWS: usize = 64;

/// How vectors lie in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// As f32: 4 bytes a number.
    Full,
    /// In half precision: 2 bytes a number, and nothing lost when the vectors were stored so before.
    Half,
}

/// An inverted-file index by inner product: each vector lies in the list of its nearest centroid, and a search looks at
/// the `nprobe` lists nearest to the query. Rows are numbered in the order in which they are added.
pub struct Index {
    raw: NonNull<ffi::FaissIndex>,
    d: usize,
    lists: usize,
    storage: Storage,
}

// SAFETY: the FAISS object is owned by this value alone and has no ties to a thread.
unsafe impl Send for Index {}
// SAFETY: methods of `&self` call FAISS only by functions of const objects, which FAISS documents as safe to call from
// several threads on CPU indexes (its global counters of statistics may lose counts; nothing here reads them).
unsafe impl Sync for Index {}

impl Drop for Index {
    fn drop(&mut self) {
        // SAFETY: `raw` came from FAISS, is freed nowhere else, and is not used after this.
        unsafe { ffi::faiss_Index_free(self.raw.as_ptr()) }
    }
}

impl Index {
    /// An empty index with a list for each of `centroids` (row-major, `d` wide, of unit norm).
    ///
    /// # Errors
    /// When FAISS refuses, for instance for want of memory.
    ///
    /// # Panics
    /// When there are no centroids, or their length is not a multiple of `d`.
    pub fn new(centroids: &[f32], d: usize, storage: Storage) -> Result<Self> {
        let lists = rows(centroids, d);
        assert!(lists > 0, "an index needs a centroid");
        one_thread();
        let mut flat = ptr::null_mut();
        // SAFETY: FAISS writes a new object's address to `flat`.
        check(unsafe { ffi::faiss_IndexFlatIP_new_with(&raw mut flat, as_i64(d)) })?;
        let quantizer = Self { raw: non_null(flat)?, d, lists: 0, storage };
        // SAFETY: `centroids` holds `lists` rows of `d` numbers, the dimension the quantizer was made with.
        check(unsafe { ffi::faiss_Index_add(quantizer.raw.as_ptr(), as_i64(lists), centroids.as_ptr()) })?;
        let index = Self::with_quantizer(quantizer.raw, d, lists, storage)?;
        // SAFETY: an inverted file, which from here on frees the quantizer; `quantizer` is forgotten at once.
        unsafe { ffi::faiss_IndexIVF_set_own_fields(index.raw.as_ptr(), 1) };
        std::mem::forget(quantizer);
        Ok(index)
    }

    /// An empty inverted file over a quantizer that it does not own.
    fn with_quantizer(quantizer: NonNull<ffi::FaissIndex>, d: usize, lists: usize, storage: Storage) -> Result<Self> {
        let metric = ffi::FaissMetricType_METRIC_INNER_PRODUCT;
        let mut raw = ptr::null_mut();
        // SAFETY: the quantizer holds `lists` vectors of `d` numbers; FAISS writes a new object's address to `raw`.
        check(unsafe {
            match storage {
                Storage::Full => {
                    ffi::faiss_IndexIVFFlat_new_with_metric(&raw mut raw, quantizer.as_ptr(), d, lists, metric)
                }
                Storage::Half => {
                    let half = ffi::FaissQuantizerType_QT_fp16;
                    let quantizer = quantizer.as_ptr();
                    ffi::faiss_IndexIVFScalarQuantizer_new_with_metric(
                        &raw mut raw,
                        quantizer,
                        d,
                        lists,
                        half,
                        metric,
                        0,
                    )
                }
            }
        })?;
        let index = Self { raw: non_null(raw)?, d, lists, storage };
        // SAFETY: as above; the constructors leave the quantizer to the caller only when told so.
        unsafe { ffi::faiss_IndexIVF_set_own_fields(index.raw.as_ptr(), 0) };
        // Neither storage learns anything from vectors: training only marks the index as ready.
        let nothing = vec![0.0; d];
        // SAFETY: one row of `d` numbers.
        check(unsafe { ffi::faiss_Index_train(index.raw.as_ptr(), 1, nothing.as_ptr()) })?;
        Ok(index)
    }

    /// Reads an index written by [`Index::write`].
    ///
    /// # Errors
    /// When the file cannot be read or holds another kind of index.
    pub fn read(path: &Path) -> Result<Self> {
        // FAISS's own message for a missing file names its C++ source.
        std::fs::File::open(path).map_err(Error::io(path))?;
        let name = c_path(path)?;
        let mut raw = ptr::null_mut();
        // SAFETY: `name` ends in a zero byte; FAISS writes a new object's address to `raw`.
        check(unsafe { ffi::faiss_read_index_fname(name.as_ptr(), 0, &raw mut raw) })
            .map_err(|error| Error::data(path, error))?;
        let mut index = Self { raw: non_null(raw)?, d: 0, lists: 0, storage: Storage::Full };
        // SAFETY: `raw` is a live index; the casts return null for other kinds, and then nothing more is asked of it.
        unsafe {
            let raw = index.raw.as_ptr();
            let half = !ffi::faiss_IndexIVFScalarQuantizer_cast(raw).is_null();
            let full = !ffi::faiss_IndexIVFFlat_cast(raw).is_null();
            let by_product = ffi::faiss_Index_metric_type(raw) == ffi::FaissMetricType_METRIC_INNER_PRODUCT;
            if !(half || full) || !by_product {
                return Err(Error::data(path, "not an inverted-file index by inner product"));
            }
            index.d = usize::try_from(ffi::faiss_Index_d(raw)).unwrap_or(0);
            index.lists = ffi::faiss_IndexIVF_nlist(raw);
            index.storage = if half { Storage::Half } else { Storage::Full };
        }
        if index.d == 0 || index.lists == 0 {
            return Err(Error::data(path, "the index has no dimension or no lists"));
        }
        Ok(index)
    }

    /// Writes the index with its vectors.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        // Opened here first: FAISS's own message does not say why a file cannot be made.
        std::fs::File::create(path).map_err(Error::io(path))?;
        let name = c_path(path)?;
        // SAFETY: `raw` is a live index that is only read, and `name` ends in a zero byte.
        check(unsafe { ffi::faiss_write_index_fname(self.raw.as_ptr(), name.as_ptr()) })
            .map_err(|error| Error::data(path, error))
    }

    /// Adds vectors (row-major, of unit norm); the first gets the number [`Index::len`]. Result and order in the lists do
    /// not depend on the number of threads, nor on how the vectors are spread over calls.
    ///
    /// # Errors
    /// When FAISS refuses, for instance for want of memory; some of the vectors may then be in the index.
    ///
    /// # Panics
    /// When the length is not a multiple of the dimension, or the index would hold 2^32 - 1 vectors or more.
    pub fn add(&mut self, vectors: &[f32]) -> Result<()> {
        let count = rows(vectors, self.d);
        assert!(self.len() + count < Knn::NONE as usize, "an index holds fewer than 2^32 - 1 vectors");
        let parts: Vec<Result<Self>> =
            vectors.par_chunks(ADD_ROWS * self.d).map(|vectors| self.sibling(vectors)).collect();
        for part in parts {
            let part = part?;
            let (raw, first) = (self.raw.as_ptr(), as_i64(self.len()));
            // SAFETY: both are inverted files of one kind, dimension and quantizer; `part` is only freed afterwards.
            check(unsafe { ffi::faiss_IndexIVF_merge_from(raw, part.raw.as_ptr(), first) })?;
        }
        Ok(())
    }

    /// An index like this one with these vectors alone. It borrows the quantizer, so it must go before `self` does:
    /// nothing outside [`Index::add`] gets hold of one.
    fn sibling(&self, vectors: &[f32]) -> Result<Self> {
        one_thread();
        // SAFETY: `raw` is a live inverted file.
        let quantizer = non_null(unsafe { ffi::faiss_IndexIVF_quantizer(self.raw.as_ptr()) })?;
        let sibling = Self::with_quantizer(quantizer, self.d, self.lists, self.storage)?;
        let count = as_i64(rows(vectors, self.d));
        // SAFETY: `vectors` holds `count` rows of the index's dimension.
        check(unsafe { ffi::faiss_Index_add(sibling.raw.as_ptr(), count, vectors.as_ptr()) })?;
        Ok(sibling)
    }

    /// The `k` most similar vectors of each query among the `nprobe` lists nearest to it, best first. Similarities are
    /// those of the stored vectors, in FAISS's order of operations: decide thresholds by [`crate::ops::dot`].
    ///
    /// # Errors
    /// When FAISS refuses, for instance for want of memory.
    ///
    /// # Panics
    /// When the length is not a multiple of the dimension, or `k` or `nprobe` is 0.
    pub fn search(&self, queries: &[f32], k: usize, nprobe: usize) -> Result<Knn> {
        let n = rows(queries, self.d);
        assert!(k > 0 && nprobe > 0, "k and nprobe must be 1 or more");
        let probes = Probes::new(nprobe.min(self.lists))?;
        let mut found = Knn::empty(n, k);
        queries
            .par_chunks(SEARCH_ROWS * self.d)
            .zip(found.rows.par_chunks_mut(SEARCH_ROWS * k))
            .zip(found.similarities.par_chunks_mut(SEARCH_ROWS * k))
            .try_for_each(|((queries, rows), similarities)| {
                self.search_block(queries, k, &probes, rows, similarities)
            })?;
        Ok(found)
    }

    fn search_block(
        &self,
        queries: &[f32],
        k: usize,
        probes: &Probes,
        found: &mut [u32],
        similarities: &mut [f32],
    ) -> Result<()> {
        one_thread();
        let n = rows(queries, self.d);
        assert_eq!((found.len(), similarities.len()), (n * k, n * k), "one place a neighbour");
        let mut labels = vec![-1; n * k];
        // SAFETY: `queries` holds n rows of the index's dimension; both outputs have n * k places, as asserted; the
        // parameters live as long as `probes`, and are only read.
        check(unsafe {
            ffi::faiss_Index_search_with_params(
                self.raw.as_ptr(),
                as_i64(n),
                queries.as_ptr(),
                as_i64(k),
                probes.as_ptr(),
                similarities.as_mut_ptr(),
                labels.as_mut_ptr(),
            )
        })?;
        for ((label, found), similarity) in labels.into_iter().zip(found).zip(similarities) {
            // FAISS fills places without a vector with row -1.
            *found = u32::try_from(label).unwrap_or(Knn::NONE);
            if *found == Knn::NONE {
                *similarity = f32::NAN;
            }
        }
        Ok(())
    }

    /// How many vectors the index holds.
    #[must_use]
    pub fn len(&self) -> usize {
        // SAFETY: `raw` is a live index.
        usize::try_from(unsafe { ffi::faiss_Index_ntotal(self.raw.as_ptr()) }).unwrap_or(0)
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dimension of its vectors.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.d
    }

    /// How many vectors each list holds.
    #[must_use]
    pub fn list_sizes(&self) -> Vec<usize> {
        // SAFETY: `raw` is a live inverted file with `lists` lists.
        (0..self.lists).map(|list| unsafe { ffi::faiss_IndexIVF_get_list_size(self.raw.as_ptr(), list) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::dot::{normalise, to_f16, to_f32};
    use crate::ops::hash::Draw;

    const D: usize = 32;

    /// Unit vectors that half precision holds without loss.
    fn vectors(n: usize, seed: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "faiss");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut vectors: Vec<f32> = (0..n * D).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
        vectors.chunks_mut(D).for_each(|vector| assert!(normalise(vector)));
        to_f32(&to_f16(&vectors))
    }

    fn filled(storage: Storage) -> (Index, Vec<f32>) {
        let base = vectors(20_000, 1);
        let mut index = Index::new(&vectors(40, 2), D, storage).expect("an index");
        let (head, tail) = base.split_at(9_001 * D);
        index.add(head).expect("room");
        index.add(tail).expect("room");
        (index, base)
    }

    #[test]
    fn all_lists_searched_is_brute_force() {
        for storage in [Storage::Full, Storage::Half] {
            let (index, base) = filled(storage);
            assert_eq!((index.len(), index.list_sizes().iter().sum()), (20_000, 20_000));
            let queries = vectors(100, 3);
            let (found, exact) = (index.search(&queries, 5, 40).expect("an answer"), knn_ip(&queries, &base, D, 5));
            let same = found.rows.iter().zip(&exact.rows).filter(|(a, b)| a == b).count();
            assert!(same >= 498, "{storage:?}: {same} of 500");
            let far = found.similarities.iter().zip(&exact.similarities).filter(|(a, b)| (**a - **b).abs() > 1e-5);
            assert_eq!(far.count(), 0, "{storage:?}");
        }
    }

    #[test]
    fn an_index_is_the_same_however_it_is_filled_and_once_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let queries = vectors(70, 4);
        for storage in [Storage::Full, Storage::Half] {
            let (index, base) = filled(storage);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
            let mut other = Index::new(&vectors(40, 2), D, storage).expect("an index");
            pool.install(|| other.add(&base)).expect("room");
            let paths = [folder.path().join("one"), folder.path().join("other")];
            index.write(&paths[0]).expect("written");
            other.write(&paths[1]).expect("written");
            assert!(std::fs::read(&paths[0]).expect("read") == std::fs::read(&paths[1]).expect("read"), "{storage:?}");
            let mut back = Index::read(&paths[0]).expect("an index");
            assert_eq!((back.dimension(), back.len(), back.storage), (D, 20_000, storage));
            let answer = index.search(&queries, 3, 4).expect("an answer");
            assert_eq!(back.search(&queries, 3, 4).expect("an answer"), answer);
            back.add(&queries).expect("room");
            assert_eq!(back.search(&queries[..D], 1, 1).expect("an answer").rows, [20_000]);
        }
    }

    #[test]
    fn too_few_neighbours_leave_places_empty() {
        let mut index = Index::new(&vectors(4, 5), D, Storage::Half).expect("an index");
        let queries = vectors(2, 6);
        assert_eq!(index.search(&queries, 3, 9).expect("an answer").of(1).count(), 0);
        index.add(&queries).expect("room");
        let found = index.search(&queries, 3, 9).expect("an answer");
        assert_eq!(found.of(0).map(|(row, _)| row).collect::<Vec<_>>(), [0, 1]);
        assert!(found.similarities[2].is_nan());
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("index");
        assert!(matches!(Index::read(&path), Err(Error::Io { .. })));
        std::fs::write(&path, b"not an index at all").expect("written");
        assert!(matches!(Index::read(&path), Err(Error::Data { .. })));
        let (index, _) = filled(Storage::Half);
        index.write(&path).expect("written");
        let whole = std::fs::read(&path).expect("read");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
        assert!(matches!(Index::read(&path), Err(Error::Data { .. })));
    }

    #[test]
    #[should_panic(expected = "33 numbers are not rows of 32")]
    fn a_part_of_a_row_is_not_searched_for() {
        let index = Index::new(&vectors(4, 5), D, Storage::Full).expect("an index");
        _ = index.search(&[0.0; D + 1], 1, 1);
    }
}
