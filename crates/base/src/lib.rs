//! What every crate of `lvd` shares: ids, drop reasons, the error, and what is said where the
//! system refuses something.
//!
//! It depends on none of the others.

#[allow(unsafe_code, reason = "a system call")]
pub mod disk;
pub mod error;
#[allow(unsafe_code, reason = "the allocator, and system calls")]
pub mod limits;
pub mod types;

pub use error::{Error, Result};
