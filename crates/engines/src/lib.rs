//! FAISS and ONNX Runtime, called safely: lengths are checked here, and every call computes on the
//! calling thread alone.
//!
//! Parallelism is ours, by rayon, over blocks cut by row number. That is what makes results equal
//! to the bit on any number of threads.
#![allow(unsafe_code, reason = "FAISS and ONNX Runtime")]

pub mod doctor;
pub mod faiss;
pub mod onnx;
