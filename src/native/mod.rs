//! Safe wrappers of FAISS, BLAS, ONNX Runtime and system calls: the only room with `unsafe`.
//!
//! Every native call here computes on the calling thread alone; parallelism is ours, by rayon, over blocks cut by row
//! number. That is what makes results equal to the bit on any number of threads.
#![allow(unsafe_code)]

pub mod blas;

pub mod codes;

pub mod disk;

pub mod doctor;

pub mod exact;

pub mod faiss;

pub mod limits;

pub mod onnx;

pub mod wide;
