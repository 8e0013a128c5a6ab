//! Products of vectors, and what they stand on: randomness by counters, rotations, eight-bit codes,
//! BLAS, exact search.
//!
//! The `unsafe` of vector instructions and of BLAS lives here alone. Everything computes on the
//! calling thread, or by rayon over blocks cut by row number: results are equal to the bit on any
//! number of threads.
#![allow(unsafe_code, reason = "vector instructions and BLAS")]

pub mod blas;
pub mod codes;
pub mod dot;
pub mod exact;
pub mod hash;
mod multiversion;
pub mod rotate;
