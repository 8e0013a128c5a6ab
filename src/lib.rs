//! `lvd` curates image datasets for self-supervised training: the whole LVD-142M pipeline (`DINOv2`, arXiv 2304.07193),
//! from raw images to balanced Parquet shards, as staged batch jobs that resume.
//!
//! Modules in reading order; arrows run `cli -> pipeline -> stages` and on to the crates under `crates/`, and never back.
//! docs/architecture.md is the map.
// `println!` and `eprintln!` panic when nobody reads: `cli::table::print` and `cli::say` do not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod stages;

pub mod pipeline;

pub mod calibrate;

pub mod init;

pub mod look;

pub mod search;

pub mod cli;

pub use lvd_base::{Error, Result};
