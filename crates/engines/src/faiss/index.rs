//! The index, by FAISS. Lengths are checked here, since FAISS does not check them.

use std::ffi::{CString, c_int};
use std::path::Path;
use std::ptr;

use faiss_sys as ffi;
use rayon::prelude::*;

use super::Storage;
use super::raw::{Object, Probes, as_i64, c_path, check, rows};
use lvd_base::error::{Error, Result};
use lvd_kernels::blas::one_thread;
use lvd_kernels::exact::Knn;

/// Rows that are assigned and encoded by one task.
const ADD_ROWS: usize = 8192;
/// Queries that are searched by one task.
const SEARCH_ROWS: usize = 64;

/// The words of FAISS's factory for vectors of `d` numbers.
fn words(storage: Storage, d: usize) -> String {
    match storage {
        Storage::Half => "SQfp16".into(),
        Storage::Byte => "SQ8".into(),
        Storage::Product => {
            let together = (8..d).find(|together| d.is_multiple_of(*together)).unwrap_or(d);
            // Not polysemous: ordering codes by Hamming distance, which no search here makes use
            // of, would take a minute and more.
            format!("PQ{}np", d / together)
        }
    }
}

/// An inverted-file index by inner product: each vector lies in the list of its nearest centroid,
/// and a search looks at the `nprobe` lists nearest to the query. Rows are numbered in the order in
/// which they are added.
pub struct Index {
    raw: Object,
    /// The same without vectors: what is added is first added to copies of it, side by side.
    empty: Object,
    d: usize,
    lists: usize,
}

impl Index {
    /// An empty index with a list for each of `centroids` (row-major, `d` wide, of unit norm), and
    /// codes trained on `sample`.
    ///
    /// # Errors
    /// When FAISS refuses, for instance for want of memory.
    ///
    /// # Panics
    /// When there are no centroids, a length is not a multiple of `d`, or the sample is smaller
    /// than [`Storage::trained_on`].
    pub fn train(centroids: &[f32], d: usize, storage: Storage, sample: &[f32]) -> Result<Self> {
        let (lists, n) = (rows(centroids, d), rows(sample, d));
        assert!(lists > 0, "an index needs a centroid");
        assert!(n >= storage.trained_on(), "{n} vectors to train {storage:?} on");
        one_thread();
        let words = CString::new(format!("IVF{lists},{}", words(storage, d))).expect("no zero byte");
        let metric = ffi::FaissMetricType_METRIC_INNER_PRODUCT;
        let mut raw = ptr::null_mut();
        let width = c_int::try_from(d).expect("a dimension");
        // SAFETY: `words` ends in a zero byte; FAISS writes a new object's address to `raw`.
        check(unsafe { ffi::faiss_index_factory(&raw mut raw, width, words.as_ptr(), metric) })?;
        let raw = Object::new(raw)?;
        // SAFETY: the index is an inverted file that owns its quantizer, which is flat and empty:
        // it takes the centroids' rows of `d` numbers, and as it then holds a row for each list, it
        // is not trained again.
        check(unsafe {
            let quantizer = ffi::faiss_IndexIVF_quantizer(raw.as_ptr());
            ffi::faiss_Index_add(quantizer, as_i64(lists), centroids.as_ptr())
        })?;
        // SAFETY: `sample` holds `n` rows of `d` numbers.
        check(unsafe { ffi::faiss_Index_train(raw.as_ptr(), as_i64(n), sample.as_ptr()) })?;
        Ok(Self { empty: raw.copy()?, raw, d, lists })
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
        let raw = Object::new(raw)?;
        // SAFETY: `raw` is a live index; the cast returns null for other kinds, and then nothing
        // more is asked of it.
        let (d, lists) = unsafe {
            let by_product = ffi::faiss_Index_metric_type(raw.as_ptr()) == ffi::FaissMetricType_METRIC_INNER_PRODUCT;
            if ffi::faiss_IndexIVF_cast(raw.as_ptr()).is_null() || !by_product {
                return Err(Error::data(path, "not an inverted-file index by inner product"));
            }
            (usize::try_from(ffi::faiss_Index_d(raw.as_ptr())).unwrap_or(0), ffi::faiss_IndexIVF_nlist(raw.as_ptr()))
        };
        if d == 0 || lists == 0 {
            return Err(Error::data(path, "the index has no dimension or no lists"));
        }
        let empty = raw.copy()?;
        // SAFETY: a live index that no one else knows of.
        check(unsafe { ffi::faiss_Index_reset(empty.as_ptr()) })?;
        Ok(Self { raw, empty, d, lists })
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
            .map_err(|error| Error::data(path, error))?;
        std::fs::File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
    }

    /// Adds vectors (row-major, of unit norm); the first gets the number [`Index::len`]. Result and
    /// order in the lists do not depend on the number of threads, nor on how the vectors are spread
    /// over calls.
    ///
    /// # Errors
    /// When FAISS refuses, for instance for want of memory; some of the vectors may then be in the
    /// index.
    ///
    /// # Panics
    /// When the length is not a multiple of the dimension, or the index would hold 2^32 - 1 vectors
    /// or more.
    pub fn add(&mut self, vectors: &[f32]) -> Result<()> {
        let count = rows(vectors, self.d);
        assert!(self.len() + count < Knn::NONE as usize, "an index holds fewer than 2^32 - 1 vectors");
        let filled = |vectors: &[f32]| {
            one_thread();
            let part = self.empty.copy()?;
            let count = as_i64(rows(vectors, self.d));
            // SAFETY: `vectors` holds `count` rows of the index's dimension, and only this thread
            // knows of `part`.
            check(unsafe { ffi::faiss_Index_add(part.as_ptr(), count, vectors.as_ptr()) })?;
            Ok(part)
        };
        let parts: Vec<Result<Object>> = vectors.par_chunks(ADD_ROWS * self.d).map(filled).collect();
        for part in parts {
            let (raw, first) = (self.raw.as_ptr(), as_i64(self.len()));
            // SAFETY: both are inverted files that were copied from one; the part is only freed
            // afterwards.
            check(unsafe { ffi::faiss_IndexIVF_merge_from(raw, part?.as_ptr(), first) })?;
        }
        Ok(())
    }

    /// The `k` most similar vectors of each query among the `nprobe` lists nearest to it, best
    /// first. Similarities are those of the stored vectors, in FAISS's order of operations: decide
    /// thresholds by [`lvd_kernels::dot`].
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
        // SAFETY: `queries` holds n rows of the index's dimension; both outputs have n * k places,
        // as asserted; the parameters live as long as `probes`, and are only read.
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
    use lvd_kernels::dot::{normalise, to_f16, to_f32};
    use lvd_kernels::exact::knn_ip;
    use lvd_kernels::hash::Draw;

    const D: usize = 32;

    /// Unit vectors that half precision holds without loss.
    fn vectors(n: usize, seed: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "faiss");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut vectors: Vec<f32> = (0..n * D).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
        vectors.chunks_mut(D).for_each(|vector| assert!(normalise(vector)));
        to_f32(&to_f16(&vectors))
    }

    const ALL: [Storage; 3] = [Storage::Half, Storage::Byte, Storage::Product];

    fn empty(storage: Storage) -> Index {
        Index::train(&vectors(40, 2), D, storage, &vectors(11_000, 7)).expect("an index")
    }

    fn filled(storage: Storage) -> (Index, Vec<f32>) {
        let base = vectors(20_000, 1);
        let mut index = empty(storage);
        let (head, tail) = base.split_at(9_001 * D);
        index.add(head).expect("room");
        index.add(tail).expect("room");
        (index, base)
    }

    #[test]
    fn all_lists_searched_is_brute_force() {
        for (storage, least, error) in
            [(Storage::Half, 498, 1e-3), (Storage::Byte, 400, 0.01), (Storage::Product, 10, 0.6)]
        {
            let (index, base) = filled(storage);
            assert_eq!((index.len(), index.list_sizes().iter().sum()), (20_000, 20_000));
            let queries = vectors(100, 3);
            let (found, exact) = (index.search(&queries, 5, 40).expect("an answer"), knn_ip(&queries, &base, D, 5));
            let same = found.rows.iter().zip(&exact.rows).filter(|(a, b)| a == b).count();
            assert!(same >= least, "{storage:?}: {same} of 500");
            let far = found.similarities.iter().zip(&exact.similarities).filter(|(a, b)| (**a - **b).abs() > error);
            assert_eq!(far.count(), 0, "{storage:?}");
            // What codes confuse is still among the candidates.
            let found = index.search(&base[..100 * D], 40, 40).expect("an answer");
            let itself = |&query: &usize| found.of(query).any(|(row, _)| row as usize == query);
            assert!((0..100).filter(itself).count() >= 99, "{storage:?}");
        }
    }

    #[test]
    fn an_index_is_the_same_however_it_is_filled_and_once_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let queries = vectors(70, 4);
        for storage in ALL {
            let (index, base) = filled(storage);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
            let mut other = empty(storage);
            pool.install(|| other.add(&base)).expect("room");
            let paths = [folder.path().join("one"), folder.path().join("other")];
            index.write(&paths[0]).expect("written");
            other.write(&paths[1]).expect("written");
            assert!(std::fs::read(&paths[0]).expect("read") == std::fs::read(&paths[1]).expect("read"), "{storage:?}");
            let mut back = Index::read(&paths[0]).expect("an index");
            assert_eq!((back.dimension(), back.len()), (D, 20_000));
            let answer = index.search(&queries, 3, 4).expect("an answer");
            assert_eq!(back.search(&queries, 3, 4).expect("an answer"), answer);
            back.add(&queries).expect("room");
            assert_eq!(back.search(&queries[..D], 1, 1).expect("an answer").rows, [20_000]);
        }
    }

    #[test]
    fn too_few_neighbours_leave_places_empty() {
        let mut index = empty(Storage::Half);
        let queries = vectors(2, 6);
        assert_eq!(index.search(&queries, 3, 40).expect("an answer").of(1).count(), 0);
        index.add(&queries).expect("room");
        let found = index.search(&queries, 3, 40).expect("an answer");
        assert_eq!(found.of(0).map(|(row, _)| row).collect::<Vec<_>>(), [0, 1]);
        assert!(found.similarities[2].is_nan());
    }

    #[test]
    fn what_is_no_index_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("index");
        assert!(matches!(Index::read(&path), Err(Error::Io { .. })));
        std::fs::write(&path, b"not an index at all").expect("written");
        assert!(matches!(Index::read(&path), Err(Error::Data(_))));
        let (index, _) = filled(Storage::Half);
        index.write(&path).expect("written");
        let whole = std::fs::read(&path).expect("read");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
        assert!(matches!(Index::read(&path), Err(Error::Data(_))));
    }

    #[test]
    #[should_panic(expected = "33 numbers are not rows of 32")]
    fn a_part_of_a_row_is_not_searched_for() {
        let index = empty(Storage::Half);
        _ = index.search(&[0.0; D + 1], 1, 1);
    }
}
