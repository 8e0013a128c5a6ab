//! What the program says, word for word: on the built-in example, with times, sizes and paths left
//! out.
//!
//! A change that is meant: `INSTA_UPDATE=always cargo test --test it snapshots::`, and look at the
//! diff.

use std::path::Path;
use std::process::Stdio;

use insta::{Settings, assert_snapshot};

use crate::common::{EXAMPLE, lvd, on_example, strs};

/// What a command prints: standard output, and then standard error.
fn said(args: &[&str]) -> String {
    let mut command = lvd();
    command.args(args).env("COLUMNS", "100").stdin(Stdio::null());
    let output = command.output().expect("the program starts");
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    let code = output.status.code().expect("it was not killed");
    format!("{out}--- exit code {code}\n{err}")
}

/// The settings of a snapshot: where it lies, and what differs from run to run.
fn settings(work: &Path) -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let path = |path: &Path| path.to_string_lossy().replace('.', "\\.");
    settings.add_filter(&path(work), "[work]");
    settings.add_filter(&path(&EXAMPLE), "[example]");
    settings.add_filter(env!("CARGO_PKG_VERSION"), "[version]");
    // Widths of columns follow what is in them.
    settings.add_filter("(?m)(\\S) {2,}", "$1  ");
    settings.add_filter("(?m)^(\\w+  [\\d,]+  [\\d,]+  )\\(?[\\d.]+\\)?  \\d+", "$1[seconds]  [speed]");
    settings.add_filter("(?m)^(seconds|peak memory)  .*$", "$1  [measured]");
    settings
}

#[test]
fn help() {
    let nowhere = Path::new("/nowhere");
    settings(nowhere).bind(|| {
        assert_snapshot!("help", said(&["--help"]));
        for command in ["run", "check", "plan", "status", "report", "cancel", "man", "find", "audit"] {
            assert_snapshot!(format!("help-{command}"), said(&[command, "--help"]));
        }
    });
}

#[test]
fn a_pipeline_before_and_after_its_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let on = |command: &str, more: &[&str]| said(&strs(&on_example(command, &work, more)));
    settings(&work).bind(|| {
        assert_snapshot!("check", on("check", &[]));
        let wrong = ["--set", "dedup.threshold=1.6", "--set", "sample.target=1000000", "--set", "dedup.keap=1"];
        assert_snapshot!("check-faults", on("check", &wrong));
        assert_snapshot!("plan-before", on("plan", &[]));
        assert_snapshot!("status-before", on("status", &[]));
        assert_snapshot!("report-before", on("report", &[]));
        assert_snapshot!("run", on("run", &["--quiet"]));
        assert_snapshot!("plan", on("plan", &["--set", "dedup.threshold=0.9"]));
        assert_snapshot!("plan-json", on("plan", &["--json"]));
        assert_snapshot!("status", on("status", &[]));
        assert_snapshot!("status-json", on("status", &["--json"]));
        assert_snapshot!("report", on("report", &[]));
        assert_snapshot!("report-ingest", on("report", &["ingest"]));
        assert_snapshot!("report-no-such-step", on("report", &["dedpu"]));
    });
}
