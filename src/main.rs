//! The program: a fast BLAS kernel first, then the command line.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use lvd_base::limits;

#[global_allocator]
static ALLOCATOR: limits::Allocator = limits::Allocator;

fn main() -> ExitCode {
    limits::tell_why();
    let slow = lvd_kernels::blas::ensure_fast_kernel();
    lvd::cli::main(slow)
}
