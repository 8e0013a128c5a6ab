//! The program: a fast BLAS kernel first, then the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let slow = lvd::native::blas::ensure_fast_kernel();
    lvd::cli::main(slow)
}
