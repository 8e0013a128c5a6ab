//! What every call of FAISS needs: error codes as errors, checked lengths and pointers.

use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use faiss_sys as ffi;

use lvd_base::error::{Error, Result};

/// How many lists a search looks at.
pub(super) struct Probes(NonNull<ffi::FaissSearchParameters>);

// SAFETY: a plain record that no one writes after its making.
unsafe impl Sync for Probes {}

impl Probes {
    pub(super) fn new(nprobe: usize) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: FAISS writes a new object's address to `raw`; no selector, no limit on codes.
        check(unsafe { ffi::faiss_SearchParametersIVF_new_with(&raw mut raw, ptr::null_mut(), nprobe, 0) })?;
        NonNull::new(raw).map(Self).ok_or_else(no_object)
    }

    pub(super) fn as_ptr(&self) -> *const ffi::FaissSearchParameters {
        self.0.as_ptr()
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        // SAFETY: the record came from FAISS and is freed nowhere else.
        unsafe { ffi::faiss_SearchParametersIVF_free(self.0.as_ptr()) }
    }
}

/// An error code of FAISS as a `Result`, with the message of the exception behind it.
pub(super) fn check(code: c_int) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: FAISS keeps the last exception of this thread, and its text, until the next one.
    let message = unsafe {
        let text = ffi::faiss_get_last_error();
        if text.is_null() { format!("error {code}") } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
    };
    Err(Error::native("FAISS", message))
}

/// An index of FAISS's, freed when dropped.
pub(super) struct Object(NonNull<ffi::FaissIndex>);

// SAFETY: the FAISS object is owned by this value alone and has no ties to a thread.
unsafe impl Send for Object {}
// SAFETY: shared references reach FAISS only by functions of const objects, which FAISS documents
// as safe to call from several threads on CPU indexes (its global counters of statistics may lose
// counts; nothing here reads them).
unsafe impl Sync for Object {}

impl Object {
    /// Takes over an object that FAISS has just made.
    pub(super) fn new(raw: *mut ffi::FaissIndex) -> Result<Self> {
        NonNull::new(raw).map(Self).ok_or_else(no_object)
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::FaissIndex {
        self.0.as_ptr()
    }

    pub(super) fn copy(&self) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: the index is live and only read; FAISS writes a new object's address to `raw`.
        check(unsafe { ffi::faiss_clone_index(self.as_ptr(), &raw mut raw) })?;
        Self::new(raw)
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the object came from FAISS, is freed nowhere else, and is not used after this.
        unsafe { ffi::faiss_Index_free(self.as_ptr()) }
    }
}

fn no_object() -> Error {
    Error::native("FAISS", "returned no object and no error")
}

pub(super) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::data(path, "the path holds a zero byte"))
}

pub(super) fn rows(vectors: &[f32], d: usize) -> usize {
    assert!(d > 0 && vectors.len().is_multiple_of(d), "{} numbers are not rows of {d}", vectors.len());
    vectors.len() / d
}

pub(super) fn as_i64(count: usize) -> i64 {
    i64::try_from(count).expect("no slice has 2^63 elements")
}
