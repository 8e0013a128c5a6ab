//! The threads of this process, asked for once: what the system does not give is said before work
//! starts.

use lvd_base::error::Error;
use lvd_kernels::blas;

use crate::cli::stop::Stop;

/// The most threads that can be asked for where there are not as many processors. More would be
/// mistyped, and each takes memory.
pub const MOST_THREADS: usize = 256;

/// Gives rayon its threads.
pub fn use_threads(threads: Option<usize>) -> Result<usize, Stop> {
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.filter(|&n| n > 0).unwrap_or(here);
    let most = MOST_THREADS.max(here);
    if threads > most {
        let fact = format!("--threads {threads}: more than {most}, on {here} processors");
        return Err(Stop::usage(fact, format!("leave it out, or give --threads {here}")));
    }
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        // Without a cause, the pool is there already, which the same call made.
        Err(error) if std::error::Error::source(&error).is_some() => Err(Error::thread(error).into()),
        _ => Ok(threads),
    }
}

/// The same, with the buffers that BLAS will want of each thread.
pub fn compute_on(threads: Option<usize>) -> Result<usize, Stop> {
    let threads = use_threads(threads)?;
    blas::reserve(threads)?;
    Ok(threads)
}
