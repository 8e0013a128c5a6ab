//! What stands for the index in a program that was built without FAISS: nothing makes one, so
//! nothing is done with one.

use std::path::Path;

use super::Storage;
use lvd_base::error::{Error, Result};
use lvd_kernels::exact::Knn;

/// An index that nobody has.
pub enum Index {}

fn absent() -> Error {
    Error::usage("this lvd was built without FAISS", "set `search = \"exact\"`, or build it with --features faiss")
}

impl Index {
    /// # Errors
    /// Always.
    pub fn train(_: &[f32], _: usize, _: Storage, _: &[f32]) -> Result<Self> {
        Err(absent())
    }

    /// # Errors
    /// Always.
    pub fn read(_: &Path) -> Result<Self> {
        Err(absent())
    }

    /// Never called.
    pub fn write(&self, _: &Path) -> Result<()> {
        match *self {}
    }

    /// Never called.
    pub fn add(&mut self, _: &[f32]) -> Result<()> {
        match *self {}
    }

    /// Never called.
    pub fn search(&self, _: &[f32], _: usize, _: usize) -> Result<Knn> {
        match *self {}
    }
}
