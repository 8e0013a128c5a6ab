//! What would give another data set than its maker believes: it is refused, or said.

use std::fs;
use std::path::Path;

use crate::common::{failure, files, on_example, output, run, strs};

/// Writes pictures, no two alike; those of two folders with the same numbers are the same.
fn pictures(folder: &Path, numbers: std::ops::Range<u8>) {
    fs::create_dir_all(folder).expect("a folder");
    for n in numbers {
        let picture = image::RgbImage::from_fn(40, 40, |x, y| image::Rgb([n, x.to_le_bytes()[0], y.to_le_bytes()[0]]));
        picture.save(folder.join(format!("{n}.png"))).expect("a picture");
    }
}

/// A project with pictures 0 to 19 in `pool`, 15 to 19 again in `some`, and a pipeline file that
/// draws from them.
fn project(sources: &str, steps: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(&folder.path().join("pool"), 0..20);
    pictures(&folder.path().join("some"), 15..20);
    let file = folder.path().join("p.toml");
    let text = format!("[sources.pool]\nfolder = \"pool\"\n{sources}\n[steps.ingest]\nmin_side = 1\n{steps}\n");
    fs::write(&file, text).expect("a pipeline file");
    (folder, file.to_string_lossy().into_owned())
}

fn said(args: &[&str]) -> String {
    let output = output(args);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {text}");
    text
}

#[test]
fn a_step_is_not_run_on_one_that_is_older_than_the_file() {
    let (_folder, file) = project("", "[steps.sample]\ntarget = 10\n[steps.export]");
    run(&["run", &file]);
    let changed = ["--set", "sample.target=5"];
    for command in [vec!["export", &file], vec!["run", &file, "--from", "export"]] {
        let (code, said) = failure(&[&command[..], &changed].concat());
        assert!(code == 2 && said.contains("step \"sample\" is older than the file: target 10 -> 5"), "{code} {said}");
        run(&[&command[..], &changed, &["--as-is"]].concat());
    }
    let text = said(&[&["report", &file], &changed[..]].concat());
    assert!(text.contains("sample ran before the file was changed: target 10 -> 5"), "{text}");
    // What is above is whole: a step by itself may change.
    run(&[&["sample", &file], &changed[..]].concat());
    run(&[&["export", &file], &changed[..]].concat());
    assert!(!said(&[&["report", &file], &changed[..]].concat()).contains("before the file was changed"));
}

#[test]
fn what_failed_too_often_stays_failed() {
    let (folder, file) = project("", "max_failed_share = 0.2\n[steps.sample]\ntarget = 10\n[steps.export]");
    for n in 0..10 {
        fs::write(folder.path().join(format!("pool/broken-{n}.png")), b"no picture").expect("a file");
    }
    assert_eq!(failure(&["run", &file]).0, 3);
    for command in [vec!["sample", &file], vec!["run", &file, "--from", "sample"]] {
        let (code, said) = failure(&command);
        assert!(code == 3 && said.contains("33.3%") && said.contains("--as-is"), "{code} {said}");
    }
    run(&["sample", &file, "--as-is"]);
}

#[test]
fn a_reference_set_that_keeps_nothing_out_is_a_fault() {
    let (_folder, file) =
        project("[sources.held]\nrole = \"reference\"\nfolder = \"some\"", "[steps.sample]\ntarget = 10");
    let (code, said) = failure(&["check", &file]);
    assert!(code == 2 && said.contains("reference source \"held\" keeps nothing out"), "{code} {said}");
}

#[test]
fn seeds_that_the_pool_holds_are_said() {
    let (_folder, file) = project("[sources.fav]\nrole = \"seed\"\nfolder = \"some\"", "[steps.sample]\ntarget = 20");
    let text = said(&["run", &file]);
    assert!(text.contains("5 images of seed set \"fav\" are in the pool, too, byte for byte"), "{text}");
}

#[test]
fn more_seeds_than_the_target_are_found_before_anything_runs() {
    let (_folder, file) = project("[sources.fav]\nrole = \"seed\"\nfolder = \"some\"", "[steps.sample]\ntarget = 4");
    let (code, said) = failure(&["check", &file]);
    assert!(code == 2 && said.contains("a data set of 4, and the seed sets alone have 5 images"), "{code} {said}");
}

#[test]
fn a_quota_that_is_not_met_is_said() {
    let steps = "[steps.sample]\ntarget = 12\nquotas = { sub = 5 }";
    let (_folder, file) = project("[sources.sub]\nfolder = \"some\"", steps);
    let text = said(&["run", &file]);
    assert!(text.contains("quota of \"sub\": 0 images of 5"), "{text}");
}

#[test]
fn captions_that_are_no_utf8_are_said() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("l.csv"), b"url,caption\nhttp://127.0.0.1:1/1.jpg,caf\xe9\n").expect("a list");
    let file = folder.path().join("p.toml");
    let text = "[sources.s]\nurls = [\"l.csv\"]\n[steps.ingest]\nhttp.retries = 0\nmax_failed_share = 1.0\n";
    fs::write(&file, text).expect("a pipeline file");
    let text = said(&["ingest", &file.to_string_lossy()]);
    assert!(text.contains("1 captions are no UTF-8"), "{text}");
}

#[test]
fn verify_looks_at_reports_and_manifests() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "dedup"])));
    run(&strs(&on_example("verify", &work, &[])));
    let report = work.join("dedup/histogram.parquet");
    let mut bytes = fs::read(&report).expect("a report");
    bytes[10] ^= 1;
    fs::write(&report, bytes).expect("it is written");
    let verified = output(&strs(&on_example("verify", &work, &[])));
    let printed = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(
        !verified.status.success() && printed.contains("dedup/histogram.parquet is not as it was written"),
        "{printed}"
    );
    run(&strs(&on_example("run", &work, &["--to", "dedup"])));
    run(&strs(&on_example("verify", &work, &[])));
    fs::remove_file(work.join("embed/_manifest.json")).expect("a manifest");
    assert!(run(&strs(&on_example("verify", &work, &[]))).contains("embed is not whole"));
    assert!(!files(&work).is_empty());
}
