//! Hints for the disk.

use std::fs::File;

/// Lets the disk begin with what is written to `file` so far, and does not wait for it. What goes
/// wrong, `sync_all` says later.
#[cfg(target_os = "linux")]
pub fn start_write_back(file: &File) {
    use std::os::fd::AsRawFd;
    // SAFETY: the file is open, and no memory is handed over.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Nothing, on this system.
#[cfg(not(target_os = "linux"))]
pub fn start_write_back(_: &File) {}
