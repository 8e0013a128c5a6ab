//! The pipeline file: what is wrong with it is said before anything runs, with its line and a cure.

use std::path::Path;

use crate::common::{failure, on_example, output, run, strs};

/// The message for `text` as a pipeline file in the example's folder.
fn complaint(text: &str) -> String {
    let file = crate::common::EXAMPLE.join(format!("test-{}.toml", lvd_io::part::sha256(text.as_bytes())));
    std::fs::write(&file, text).expect("the file is written");
    let (code, said) = failure(&["check", &file.to_string_lossy()]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("hint:"), "{said}");
    std::fs::remove_file(&file).expect("the file goes");
    said
}

const SOURCE: &str = "[sources.web]\nfolder = \"pool/web\"\n";
const EMBEDDER: &str = "[embedders.copy]\nmodel = \"models/copy.onnx\"\nresize = 96\n";

#[test]
fn everything_wrong_is_found_with_its_place() {
    let steps = |text: &str| format!("{SOURCE}{EMBEDDER}[steps.ingest]\n[steps.embed]\n{text}");
    for (text, expected) in [
        ("[sources.web]\nfolder = \"pool/weeb\"\n".to_owned(), ".toml:1: sources.web: "),
        (
            format!("{SOURCE}[embedders.x]\nmodel = \"nothing.onnx\"\nresize = 9\n"),
            ".toml:4: embedders.x.model: model ",
        ),
        (steps("[steps.dedup]\nthreshhold = 0.6\n"), ".toml:9: steps.dedup.threshhold: unknown field `threshhold`"),
        (steps("[steps.dedup]\nthreshold = \"high\"\n"), ".toml:9: steps.dedup.threshold: invalid type"),
        (steps("[steps.dedup]\nthreshold = 1.6\n"), ".toml:9: steps.dedup.threshold: a cosine of 1.6"),
        (steps("[steps.dedup]\nthreshold = 0.3\nedge_floor = 0.4\n"), "edges below 0.4 are not kept"),
        (steps("[steps.dedup]\nthreshold = 0.3\nkeep = \"farthest\"\n"), "needs a cluster step above it"),
        (steps("[steps.dedup]\nthreshold = 0.3\nsettled = \"dedup\"\n"), "there is no dedup step \"dedup\" above"),
        (steps("[steps.dedup]\n"), "no known threshold for copies"),
        (steps("[steps.dedup]\nthreshold = 0.7\nreferences = [\"web\"]\n"), "is a pool source, expected reference"),
        (steps("[steps.cluster]\nclusters = [100000]\n"), "too few for 100000 clusters"),
        (steps("[steps.cluster]\nclusters = [10, 10]\n"), "ever fewer clusters"),
        (steps("[steps.cluster]\nclusters = [10]\nsplits = 3\n"), "cannot be split evenly"),
        (steps("[steps.cluster]\nclusters = [10, 5]\nresamplings = [1]\n"), "1 numbers for 2 levels"),
        (steps("[steps.retrieve]\nrecall = 0.2\nsets = {}\n"), "steps.retrieve.recall"),
        (steps("[steps.sample]\ntarget = 10\nquotas = { wobb = 3 }\n"), "there is no source \"wobb\""),
        (format!("scale = 0.0\n{SOURCE}"), ".toml:1: scale: a scale of 0"),
        (steps("[steps.sample]\ntarget = 1000000\n"), "1000000 images of"),
        (steps("[steps.export]\n"), "needs a sample step above it"),
        (steps("[steps.frob]\n"), "stage \"frob\" does not exist"),
        (steps("[steps.retrieve]\nsets.web = { method = \"sample\" }\n"), "is a pool source, expected seed"),
        (format!("{SOURCE}[steps.embed]\n"), "needs a ingest step above it"),
        ("work = 3\n".to_owned() + SOURCE, ".toml:1: work: invalid type"),
    ] {
        let said = complaint(&text);
        assert!(said.contains(expected), "expected {expected:?} in:\n{said}\nfor\n{text}");
    }
}

#[test]
fn all_faults_come_at_once() {
    let said = complaint(&format!("{SOURCE}[steps.ingest]\nshard_rows = 0\n[steps.sample]\ntarget = 0\n"));
    assert!(said.contains("steps.ingest.shard_rows") && said.contains("steps.sample.target"), "{said}");
}

#[test]
fn checking_and_planning_write_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("check", &work, &[])));
    run(&strs(&on_example("plan", &work, &[])));
    run(&strs(&on_example("status", &work, &[])));
    assert!(!work.exists());
    assert!(!output(&strs(&on_example("report", &work, &[]))).status.success());
}

#[test]
fn the_reference_pages_are_fresh() {
    for (command, page) in [("config", "docs/config.md"), ("tables", "docs/tables.md")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(run(&[command]) == known, "{page} is stale: lvd {command} > {page}");
    }
}
