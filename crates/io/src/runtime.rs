//! The threads that wait for networks: tokio's, all of them started at once and checked, because
//! tokio panics where one cannot be.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::thread::Builder;
use std::time::Duration;

use tokio::runtime::{self, Runtime};

use lvd_base::error::{Error, Result};

/// How long a thread for what blocks (names of hosts, files) is kept for the next: for as long as
/// the runtime is there. Where no other can be started, it does all.
const KEEP: Duration = Duration::from_hours(8760);

/// A runtime of `threads` threads, and one more for what blocks.
pub fn start(name: &str, threads: usize) -> Result<Runtime> {
    rehearse(threads + 1)?;
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads).thread_name(name).thread_keep_alive(KEEP).enable_all();
    // Somebody else may have taken a thread since.
    panic::catch_unwind(AssertUnwindSafe(|| {
        let runtime = runtime.build().map_err(Error::thread)?;
        runtime.block_on(runtime.spawn_blocking(|| ())).map_err(Error::thread)?;
        Ok(runtime)
    }))
    .unwrap_or_else(|_| Err(Error::thread("its runtime has given up")))
}

/// Starts as many threads, and ends them.
fn rehearse(threads: usize) -> Result<()> {
    let before = running();
    let gate = Mutex::new(());
    let shut = gate.lock();
    std::thread::scope(|scope| {
        // Each waits until the last is started, or one could not be.
        let _shut = shut;
        (0..threads)
            .try_for_each(|_| Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop).map_err(Error::thread))
    })?;
    // A thread that was waited for counts for a moment more.
    for _ in 0..100 {
        if running() <= before {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Threads of this process; none where the system does not say.
fn running() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
