//! The exported data set as Python's readers see it: datasets, pandas, polars, `DuckDB` and
//! pyarrow, the real packages.
//!
//! They are installed once, into the cache folder; without python3 and pip, or without a network,
//! the test says so and ends.

use std::path::Path;
use std::process::Command;

use crate::common::{on_example, python_packages, run, strs};

const PACKAGES: [&str; 6] = ["datasets", "pandas", "polars", "duckdb", "pyarrow", "pillow"];

#[test]
fn the_data_set_reads_in_every_package() {
    let Some(packages) = python_packages("readers", &PACKAGES) else { return };
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
