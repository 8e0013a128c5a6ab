//! Memory that the system does not give: an error that names the limit and the cure, never a crash
//! without a word.
//!
//! Rust's answer to an allocation that fails is an abort, that of some crates a panic, that of C++
//! libraries either. [`tell_why`] makes each an exit with a message. What can be asked for in
//! advance is: see [`lvd_kernels::blas::reserve`].

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};

thread_local! {
    /// Bytes of this thread's last allocation that failed. Without a destructor, so that it can be
    /// read at any time.
    static FAILED: Cell<usize> = const { Cell::new(0) };
}

/// What mends a limit of memory.
pub const MEMORY_CURE: &str = "raise the limit (ulimit -v, ulimit -d, the memory of the container or of the job), or give fewer --threads \
     or smaller `memory_mib`, `batch_images` and `concurrency`";

/// The most bytes whose lack ends the program on the spot: whatever goes on from there needs as
/// much. A larger piece may be what a broken file claims, and then whoever asked for it has an
/// answer to its lack.
const SMALL: usize = 64 << 20;

/// The system's allocator, which says what it was refused.
pub struct Allocator;

// SAFETY: every call is the system allocator's own, with the caller's arguments.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        noted(layout.size(), unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        noted(layout.size(), unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        noted(size, unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn noted(size: usize, memory: *mut u8) -> *mut u8 {
    if memory.is_null() {
        FAILED.set(size);
        if size <= SMALL {
            end_for_want_of_memory();
        }
    }
    memory
}

/// Ends the program, if this thread was refused memory.
fn end_for_want_of_memory() {
    static TOLD: AtomicBool = AtomicBool::new(false);
    let failed = FAILED.get();
    if failed == 0 {
        return;
    }
    // Once is enough: the other threads wait for the end.
    while TOLD.swap(true, Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(1));
    }
    let mut digits = [0; 20];
    let bytes = decimal(failed, &mut digits);
    write_out(&["error: ", bytes, " bytes of memory cannot be had\n  hint: ", MEMORY_CURE, "\n"]);
    signal_hook::low_level::exit(1);
}

/// From now on, a panic or an abort for want of memory says so and is exit code 1; any other abort
/// says what it may be.
pub fn tell_why() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        end_for_want_of_memory();
        previous(info);
    }));
    let tell = || {
        end_for_want_of_memory();
        write_out(&[
            "error: a library has ended the program; what it printed stands above\n  hint: look at the limits of memory and \
             processes (ulimit -a); where they are wide, please report this\n",
        ]);
    };
    // SAFETY: the action reads a variable of the thread that needs no destructor, writes and exits:
    // no lock, no allocation.
    let registered = unsafe { signal_hook::low_level::register(signal_hook::consts::SIGABRT, tell) };
    // Without it, an abort is silent, as it was.
    drop(registered);
}

/// Ends the program where no error can be handed on.
pub fn end_with(error: &Error) -> ! {
    write_out(&[&format!("error: {error}\n  hint: {}\n", error.hint().unwrap_or(MEMORY_CURE))]);
    signal_hook::low_level::exit(1)
}

/// Writes to standard error without buffer or lock.
fn write_out(texts: &[&str]) {
    for text in texts {
        // SAFETY: the pointer and the length are those of a text that lives through the call.
        let _ = unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }
}

/// A number as text, in `digits`.
#[expect(clippy::cast_possible_truncation, reason = "a remainder of ten")]
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &str {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&digits[start..]).unwrap_or("?");
        }
    }
}

/// What a process has open beside connections: libraries, parts, its log.
const OTHER_FILES: u64 = 100;

/// Lets this process have so many connections open: the soft limit of open files is raised as far
/// as it may be.
pub fn allow_connections(connections: usize) -> Result<()> {
    let wanted = connections as u64 + OTHER_FILES;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the limit that lives here.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 || limit.rlim_cur >= wanted {
            return Ok(());
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    if limit.rlim_max >= wanted {
        return Ok(());
    }
    Err(Error::usage(
        format!("{connections} connections at a time take {wanted} open files: the limit is {}", limit.rlim_max),
        "set a smaller `http.concurrency`, or raise the limit (ulimit -n)",
    ))
}

/// Whether the system gives so many bytes of memory now; they are not kept.
#[must_use]
pub fn can_have(bytes: usize) -> bool {
    // SAFETY: a mapping of its own that nobody else knows of, undone at once.
    unsafe {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let memory = libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0);
        memory != libc::MAP_FAILED && libc::munmap(memory, bytes) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_memory() {
        for number in [0, 7, 10, 268_435_456, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string());
        }
    }

    #[test]
    fn what_no_machine_has_cannot_be_had() {
        assert!(can_have(1 << 20));
        assert!(!can_have(1 << 55));
    }
}
