//! The pipeline on a real Slurm cluster of three nodes.

mod common;
#[path = "common/slurm.rs"]
mod slurm;

use std::path::Path;
use std::process::Output;

use common::{content, on_example, run, strs};
use slurm::Cluster;

/// A quick driver: it looks often and waits little.
const QUICK: [&str; 6] = ["--engine", "slurm", "--set", "engine.slurm.poll_s=0.3", "--set", "engine.slurm.retry_s=1"];

fn drive(cluster: &Cluster, work: &Path, more: &[&str]) -> Output {
    let args = on_example("run", work, &[&QUICK[..], more].concat());
    cluster.command(Path::new(env!("CARGO_BIN_EXE_lvd"))).args(args).output().expect("the driver starts")
}

#[test]
fn the_quickstart_on_slurm_is_the_quickstart_here() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(cluster) = Cluster::start(&folder.path().join("cluster")) else { return };
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    run(&strs(&on_example("run", &here, &[])));
    let output = drive(&cluster, &there, &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    println!("{said}");
    assert!(said.contains("job ") && said.contains("tail -F"), "{said}");
    assert_eq!(content(&there), content(&here));
    let again = drive(&cluster, &there, &[]);
    assert_eq!(String::from_utf8_lossy(&again.stderr).matches(": up to date").count(), 8);
}
