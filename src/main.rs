//! The program: a fast BLAS kernel first, then the command line.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use lvd::native::limits;

#[global_allocator]
static ALLOCATOR: limits::Allocator = limits::Allocator;

fn main() -> ExitCode {
    limits::tell_why();
    let slow = lvd::native::blas::ensure_fast_kernel();
    lvd::cli::main(slow)
}
