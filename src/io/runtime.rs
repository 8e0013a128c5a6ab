//! The threads that wait for networks: tokio's, all of them started at once and checked, because tokio panics where one cannot be.

use std::sync::Mutex;
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime::{self, Runtime};

use crate::error::{Error, Result};

/// How long a thread for what blocks (names of hosts, files) is kept for the next: for as long as the runtime is there. Where no
/// other can be started, it does all.
const KEEP: Duration = Duration::from_secs(365 * 24 * 3600);

/// A runtime of `threads` threads, and one more for what blocks.
pub fn start(name: &str, threads: usize) -> Result<Runtime> {
    rehearse(threads + 1)?;
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads).thread_name(name).thread_keep_alive(KEEP).enable_all();
    let runtime = runtime.build().map_err(Error::thread)?;
    runtime.block_on(runtime.spawn_blocking(|| ())).map_err(Error::thread)?;
    Ok(runtime)
}

/// Starts as many threads, and ends them.
fn rehearse(threads: usize) -> Result<()> {
    let gate = Mutex::new(());
    let shut = gate.lock();
    std::thread::scope(|scope| {
        // Each waits until the last is started, or one could not be.
        let _shut = shut;
        (0..threads)
            .try_for_each(|_| Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop).map_err(Error::thread))
    })
}
