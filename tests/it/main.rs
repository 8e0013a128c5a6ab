//! The tests of the whole program, in one program of their own: each runs the real `lvd` on real
//! files, servers or clusters.
//!
//! `cargo test --test it kill::` runs a module, `cargo test --test it -- --nocapture` shows what is
//! skipped and why.

mod common;

mod again;
mod archives;
mod audit;
mod broken;
mod bucket;
mod calibrate;
mod dedup;
mod demo;
mod doors;
mod exact;
mod file;
mod find;
mod hostile;
mod in_the_box;
mod init;
mod kill;
mod limits;
mod lists;
mod look;
mod looking;
mod models;
mod numbers;
mod on_slurm;
mod onnx;
mod openvino;
mod pages;
mod photos;
mod pillow;
mod pipelines;
mod quickstart;
mod readers;
mod recipe;
mod recipes;
mod retrieve;
mod schedulers;
mod silent;
mod snapshots;
mod warnings;
