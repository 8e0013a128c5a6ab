//! What the libraries that are loaded have, by name.

use std::ffi::{CStr, c_void};

/// The address of a symbol of the libraries that are loaded.
pub fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: `name` ends in a zero byte; dlsym only looks it up.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}
