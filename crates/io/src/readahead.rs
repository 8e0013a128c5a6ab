//! Reading ahead, on threads of its own: on one that computes, waiting for the disk would be time
//! lost.

use rayon::{ThreadPool, ThreadPoolBuilder};

use lvd_base::error::{Error, Result};

/// Threads that read at a time, at most: enough requests to keep a disk busy.
const THREADS: usize = 8;

/// Threads that read while others compute.
pub struct Readers(ThreadPool);

impl Readers {
    /// Starts them.
    pub fn new() -> Result<Self> {
        let threads = rayon::current_num_threads().min(THREADS);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.map(Self).map_err(Error::thread)
    }

    /// Computes on this thread and those it shares work with, and reads on the readers meanwhile.
    pub fn meanwhile<A, B: Send>(&self, compute: impl FnOnce() -> A, read: impl FnOnce() -> B + Send) -> (A, B) {
        let mut found = None;
        let computed = self.0.in_place_scope(|scope| {
            scope.spawn(|_| found = Some(read()));
            compute()
        });
        (computed, found.expect("the scope waits for what it has spawned"))
    }
}
