//! The buffers of `OpenBLAS`: one a call that runs, kept for the next one, 128 MiB each of which
//! little is ever touched.
//!
//! Where the system gives no memory for one, `OpenBLAS` asks again for ever. So it never has to ask
//! in a call: as many are there as threads that call it, made when it is known that they can be.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

use super::loaded::symbol;
use lvd_base::error::{Error, Result};
use lvd_base::limits::{MEMORY_CURE, can_have, end_with};

/// Bytes of a buffer, and some that the library puts around it.
const BUFFER: usize = (128 << 20) + (1 << 20);

/// The buffers that are there, and the threads that may use one.
struct Buffers {
    there: usize,
    threads: usize,
}

static BUFFERS: Mutex<Buffers> = Mutex::new(Buffers { there: 0, threads: 0 });

/// A thread that calls BLAS, for as long as it lives.
struct Ticket;

thread_local! {
    static TICKET: Ticket = Ticket::new();
}

impl Ticket {
    fn new() -> Self {
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.threads += 1;
        let wanted = buffers.threads;
        if let Err(error) = buffers.make(wanted) {
            end_with(&error);
        }
        Self
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        BUFFERS.lock().unwrap_or_else(PoisonError::into_inner).threads -= 1;
    }
}

impl Buffers {
    /// Makes buffers until `wanted` are there.
    fn make(&mut self, wanted: usize) -> Result<()> {
        let (Some(alloc), Some(free)) = (symbol(c"blas_memory_alloc"), symbol(c"blas_memory_free")) else {
            return Ok(());
        };
        // SAFETY: OpenBLAS declares them as void *blas_memory_alloc(int) and void
        // blas_memory_free(void *).
        let (alloc, free) = unsafe {
            (
                std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> *mut c_void>(alloc),
                std::mem::transmute::<*mut c_void, extern "C" fn(*mut c_void)>(free),
            )
        };
        let mut held = Vec::new();
        let mut made = Ok(());
        // One that is free is taken before one is made, so all are held until there are enough.
        while self.there < wanted && held.len() < wanted && made.is_ok() {
            let buffer = if can_have(BUFFER) { alloc(0) } else { std::ptr::null_mut() };
            if buffer.is_null() {
                made = Err(Error::usage(
                    format!(
                        "memory for matrix products cannot be had: {wanted} threads take {} MiB each",
                        BUFFER >> 20
                    ),
                    MEMORY_CURE,
                ));
            } else {
                held.push(buffer);
            }
        }
        self.there = self.there.max(held.len());
        for buffer in held {
            free(buffer);
        }
        made
    }
}

/// Has a buffer ready for each of `threads` threads.
pub fn reserve(threads: usize) -> Result<()> {
    BUFFERS.lock().unwrap_or_else(PoisonError::into_inner).make(threads)
}

/// Has a buffer ready for this thread, whatever others do.
pub(super) fn of_this_thread() {
    TICKET.with(|_| ());
}
