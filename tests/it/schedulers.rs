//! Other schedulers: the loops of docs/schedulers.md, run for real.

use std::path::Path;
use std::process::Command;

use crate::common::{content, on_example, python_packages, quickstart, run, strs};

#[test]
fn xargs_drives_a_pipeline_to_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    run(&strs(&on_example("run", &here, &[])));
    let mut rounds = 0;
    loop {
        let tasks = run(&strs(&on_example("plan", &there, &["--tasks", "sh"])));
        if tasks.is_empty() {
            break;
        }
        rounds += 1;
        assert!(rounds < 100, "it does not come to an end");
        let list = folder.path().join("tasks.sh");
        std::fs::write(&list, tasks).expect("a list");
        let file = std::fs::File::open(&list).expect("it opens");
        let status = Command::new("xargs").args(["-P", "3", "-I{}", "sh", "-c", "{} --threads 1"]).stdin(file).status();
        assert!(status.expect("xargs starts").success());
    }
    assert!(rounds > 10, "a phase a round: {rounds}");
    assert_eq!(content(&there), content(&here));
}

#[test]
fn ray_drives_a_pipeline_to_the_same_bytes() {
    let Some(packages) = python_packages("ray", &["ray"]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    run(&strs(&on_example("run", &here, &[])));
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ray_driver.py");
    let output = Command::new("python3")
        .arg(driver)
        .args(quickstart())
        .args(["--lvd", env!("CARGO_BIN_EXE_lvd"), "--at-once", "5", "--work"])
        .arg(&there)
        .env("PYTHONPATH", packages)
        .env("RAY_USAGE_STATS_ENABLED", "0")
        .output()
        .expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("8 tasks of embed/embed"), "{said}");
    assert_eq!(content(&there), content(&here));
}
