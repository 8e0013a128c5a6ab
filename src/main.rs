//! The program: a fast BLAS kernel first, then the command line.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let slow = lvd::native::blas::ensure_fast_kernel();
    lvd::cli::main(slow)
}
