//! The shared library of ONNX Runtime: where it is looked for, loading it, and what it says of
//! itself.

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use lvd_base::error::{Error, Result};
use lvd_base::limits::MEMORY_CURE;

/// The name under which the library lies in its folder.
pub const LIBRARY_NAME: &str = "libonnxruntime.so";

/// Where the library is looked for, best first: the file `ORT_DYLIB_PATH`; `libonnxruntime.so` in
/// the folder `LVD_LIB_DIR`; Python's package `onnxruntime`, where pip has installed the program;
/// `lvd/lib` under `XDG_DATA_HOME` (`~/.local/share`), which `setup.sh` fills.
#[must_use]
pub fn library_path() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let by_pip = || std::env::current_exe().ok().and_then(|program| installed_beside(&program));
    let data = || set("XDG_DATA_HOME").unwrap_or_else(|| set("HOME").unwrap_or_default().join(".local/share"));
    set("ORT_DYLIB_PATH")
        .or_else(|| set("LVD_LIB_DIR").map(|folder| folder.join(LIBRARY_NAME)))
        .or_else(by_pip)
        .unwrap_or_else(|| data().join("lvd/lib").join(LIBRARY_NAME))
}

/// The library in Python's package `onnxruntime`, where the program was installed by pip: into a
/// folder of `site-packages`, or into `bin` beside `lib/python3.N/site-packages`.
fn installed_beside(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?;
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let named = |path: &PathBuf, start: &str| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start))
    };
    let prefix = folder.parent()?;
    let packages: Vec<PathBuf> = if folder.ends_with("bin") {
        let pythons = entries(prefix.join("lib")).filter(|path| named(path, "python3."));
        pythons.map(|python| python.join("site-packages")).collect()
    } else if prefix.ends_with("site-packages") {
        vec![prefix.to_owned()]
    } else {
        Vec::new()
    };
    let libraries = packages.into_iter().flat_map(|packages| entries(packages.join("onnxruntime/capi")));
    libraries.filter(|path| named(path, "libonnxruntime.so")).max()
}

/// The library once loaded: its environment lives as long as the process.
pub(super) struct Loaded {
    pub(super) environment: Environment,
    version: String,
    path: PathBuf,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Calls `with` on the library, which is loaded by the first call that finds it.
pub(super) fn loaded<T>(with: impl FnOnce(&Loaded) -> Result<T>) -> Result<T> {
    let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if slot.is_none() {
        *slot = Some(load()?);
    }
    with(slot.as_ref().expect("filled just above"))
}

fn load() -> Result<Loaded> {
    let path = library_path();
    let missing = |why: String| {
        Error::usage(
            format!("ONNX Runtime cannot be loaded from {}: {why}", path.display()),
            "run ./setup.sh, or set ORT_DYLIB_PATH to the libonnxruntime.so of version 1.24 or later",
        )
    };
    if !path.is_file() {
        return Err(missing("there is no such file".into()));
    }
    // An absolute path, since a relative one would be taken as relative to the program.
    let path = std::path::absolute(&path).map_err(Error::io(&path))?;
    preload(&path).map_err(|why| {
        let for_memory = ["failed to map", "allocate memory"].iter().any(|text| why.contains(text));
        if for_memory { Error::usage(why, MEMORY_CURE) } else { missing(why) }
    })?;
    let builder = ort::init_from(&path).map_err(|error| missing(error.to_string()))?;
    let environment = builder.with_name("lvd").with_telemetry(false).build().map_err(|error| native(&error))?;
    let version = version_of(&path).unwrap_or_else(|| "unknown".into());
    Ok(Loaded { environment, version, path })
}

/// Loads the library, or says why it cannot be: `ort` panics where the system has no memory for it.
fn preload(path: &Path) -> std::result::Result<(), String> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: a library that `ort` would load next in the same way; it stays for as long as the
    // process. The text that dlerror returns is copied before anything else is loaded.
    unsafe {
        if !libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL).is_null() {
            return Ok(());
        }
        let error = libc::dlerror();
        Err(if error.is_null() {
            "no reason given".into()
        } else {
            CStr::from_ptr(error).to_string_lossy().into_owned()
        })
    }
}

/// The version that a loaded library tells.
fn version_of(path: &Path) -> Option<String> {
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: the library is loaded already and stays so; `OrtGetApiBase` is its documented entry
    // point, whose table and version text are static.
    unsafe {
        let library = libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        let entry = if library.is_null() { return None } else { libc::dlsym(library, c"OrtGetApiBase".as_ptr()) };
        if entry.is_null() {
            return None;
        }
        let base = std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> *const ort::sys::OrtApiBase>(entry)();
        let version = ((*base).GetVersionString)();
        Some(CStr::from_ptr(version).to_string_lossy().into_owned())
    }
}

/// The version of the library, for instance "1.32.0".
///
/// # Errors
/// When the library cannot be loaded.
pub fn version() -> Result<String> {
    loaded(|library| Ok(library.version.clone()))
}

/// Where the library was loaded from.
///
/// # Errors
/// When the library cannot be loaded.
pub fn loaded_path() -> Result<PathBuf> {
    loaded(|library| Ok(library.path.clone()))
}

/// The execution providers that the library was built with, for instance `CPUExecutionProvider`.
///
/// # Errors
/// When the library cannot be loaded.
pub fn providers() -> Result<Vec<String>> {
    loaded(|_| {
        let (mut names, mut count): (*mut *mut c_char, c_int) = (std::ptr::null_mut(), 0);
        // SAFETY: the library is loaded, so `api` has its table; it fills a list of `count` texts,
        // which are copied before the list goes back to it.
        unsafe {
            let status = (ort::api().GetAvailableProviders)(&raw mut names, &raw mut count);
            let length = usize::try_from(count).ok().filter(|_| status.0.is_null() && !names.is_null());
            let Some(length) = length else {
                return Err(Error::native("ONNX Runtime", "does not list its providers"));
            };
            let texts = std::slice::from_raw_parts(names, length);
            let texts = texts.iter().map(|&name| CStr::from_ptr(name).to_string_lossy().into_owned()).collect();
            _ = (ort::api().ReleaseAvailableProviders)(names, count);
            Ok(texts)
        }
    })
}

/// An error of the library.
pub(super) fn native(error: &ort::Error) -> Error {
    Error::native("ONNX Runtime", error.to_string().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_pip_installed_finds_the_library_of_its_python() -> Result<()> {
        let prefix = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let program = prefix.path().join("bin/lvd");
        assert_eq!(installed_beside(&program), None);
        let folder = prefix.path().join("lib/python3.12/site-packages/onnxruntime/capi");
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        assert_eq!(installed_beside(&program), None);
        for name in ["libonnxruntime_providers_shared.so", "libonnxruntime.so.1.30.0", "onnxruntime_pybind11_state.so"]
        {
            std::fs::write(folder.join(name), "").map_err(Error::io(&folder))?;
        }
        assert_eq!(installed_beside(&program), Some(folder.join("libonnxruntime.so.1.30.0")));
        // A wheel with libraries has the program among the packages, and a script in `bin`.
        let among = prefix.path().join("lib/python3.12/site-packages/lvd.scripts/lvd");
        assert_eq!(installed_beside(&among), Some(folder.join("libonnxruntime.so.1.30.0")));
        assert_eq!(installed_beside(&prefix.path().join("release/lvd")), None);
        Ok(())
    }
}
