//! The exported data set as Python's readers see it: datasets, pandas, polars, `DuckDB` and pyarrow, the real packages.
//!
//! They are installed once, into the cache folder; without python3 and pip, or without a network, the test says so and ends.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{on_example, run, strs};

const PACKAGES: [&str; 6] = ["datasets", "pandas", "polars", "duckdb", "pyarrow", "pillow"];

/// A folder with the packages, or `None`.
fn packages() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let folder = cache.join("lvd/readers");
    if folder.join("complete").exists() {
        return Some(folder);
    }
    let _ = std::fs::remove_dir_all(&folder);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&folder)
        .args(PACKAGES);
    match pip.output() {
        Ok(output) if output.status.success() => {
            std::fs::write(folder.join("complete"), b"").expect("a mark");
            Some(folder)
        }
        _ => {
            println!("skipped: python3 -m pip cannot install {PACKAGES:?}");
            None
        }
    }
}

#[test]
fn the_data_set_reads_in_every_package() {
    let Some(packages) = packages() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &[])));
    for out in ["copy.npy", "copy.parquet"] {
        run(&strs(&on_example("vectors", &work, &["embed/copy", &work.join(out).to_string_lossy()])));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/read.py");
    let output = Command::new("python3")
        .arg(script)
        .arg(&work)
        .env("PYTHONPATH", &packages)
        .env("HF_HOME", folder.path().join("hf"))
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
    assert!(said.contains("all readers agree on 200 images"), "{said}");
}
