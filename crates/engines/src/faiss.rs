//! Approximate search by inverted lists, by FAISS: an index is built from trained centroids, filled
//! block by block, written, read, and searched from any number of threads. Searches by brute force
//! are `lvd_kernels::exact`'s.
//!
//! Without the feature `faiss` there is an index of the same shape that cannot be made: see
//! [`PRESENT`].

#[cfg(feature = "faiss")]
mod index;
#[cfg(feature = "faiss")]
mod raw;

#[cfg(not(feature = "faiss"))]
#[path = "faiss/absent.rs"]
mod index;

pub use index::Index;

/// Whether this program was built with FAISS.
pub const PRESENT: bool = cfg!(feature = "faiss");

/// How vectors lie in the lists: always as what they differ by from their list's centroid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In half precision: 2 bytes a number.
    Half,
    /// In 256 steps between the least and the most of each number: a byte a number.
    Byte,
    /// As the nearest of 256 for each eight numbers, about: a byte for these (product quantisation,
    /// Jégou et al. 2011).
    Product,
}

impl Storage {
    /// Vectors it takes to train on.
    #[must_use]
    pub fn trained_on(self) -> usize {
        if self == Self::Product { 256 } else { 1 }
    }
}
