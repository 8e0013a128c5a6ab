//! Commands that only look at the work folder: what the pipeline file names may be gone, and
//! Slurm's commands may be missing or refuse.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{EXAMPLE, lvd};

/// The example by links, so that parts of it can go, and a folder for commands.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for entry in std::fs::read_dir(&*EXAMPLE).expect("the example").flatten() {
            if !entry.file_name().to_string_lossy().ends_with(".toml") {
                symlink(entry.path(), folder.path().join(entry.file_name())).expect("a link");
            }
        }
        std::fs::copy(EXAMPLE.join("quickstart.toml"), folder.path().join("quickstart.toml")).expect("a copy");
        std::fs::create_dir(folder.path().join("bin")).expect("a folder");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a command that does this and nothing else.
    fn command(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it may run");
    }

    /// Runs the program where there are no commands but those that were made.
    fn lvd(&self, command: &str, more: &[&str]) -> Output {
        let mut program = lvd();
        program.arg(command).arg(self.path("quickstart.toml")).arg("--work").arg(self.path("out"));
        program.args(["--set", "ingest.shard_rows=100", "--set", "engine.slurm.poll_s=0.1"]).args(more);
        program.env("PATH", self.path("bin")).output().expect("the program starts")
    }

    /// What comments of jobs of the work folder start with.
    fn mark(&self) -> String {
        format!("lvd:{}:", &lvd_io::part::sha256(self.path("out").to_string_lossy().as_bytes())[..12])
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_was_done_is_shown_when_the_sources_are_gone() {
    let site = Site::new();
    let ran = site.lvd("run", &["--to", "ingest", "--quiet"]);
    assert!(ran.status.success(), "{}", said(&ran));
    let before = site.lvd("status", &[]);
    std::fs::remove_file(site.path("pool")).expect("the pool goes");
    for (command, expected) in
        [("status", "embed"), ("report", "ingest"), ("verify", "ingest"), ("cancel", "0 elements")]
    {
        site.command("squeue", "exit 0");
        let output = site.lvd(command, &[]);
        assert!(output.status.success() && said(&output).contains(expected), "{command}: {}", said(&output));
    }
    assert_eq!(said(&site.lvd("status", &[])), said(&before));
    for command in ["plan", "check", "run"] {
        let output = site.lvd(command, &[]);
        assert!(output.status.code() == Some(2) && said(&output).contains("pool"), "{command}: {}", said(&output));
    }
}

#[test]
fn who_never_ran_is_shown_without_a_look_at_the_sources() {
    let site = Site::new();
    let before = site.lvd("status", &[]);
    std::fs::remove_file(site.path("pool")).expect("the pool goes");
    let after = site.lvd("status", &[]);
    assert!(after.status.success() && said(&after).contains("never run"), "{}", said(&after));
    assert_eq!(said(&after), said(&before));
}

#[test]
fn a_command_of_slurms_that_is_missing_or_refuses_is_an_error_with_its_cure() {
    let site = Site::new();
    let fails = |command: &str, expected: &[&str]| {
        let output = site.lvd(command, &[]);
        let said = said(&output);
        assert!(output.status.code() == Some(1), "{command}: {said}");
        assert!(said.contains("hint: ") && expected.iter().all(|text| said.contains(text)), "{command}: {said}");
    };
    fails("cancel", &["squeue: ", "PATH"]);
    site.command("squeue", "exit 0");
    fails("submit", &["sbatch: ", "PATH"]);
    site.command("squeue", &format!("echo '7_0|RUNNING|0:10|None|{}embed.embed.1'", site.mark()));
    fails("cancel", &["scancel: ", "PATH"]);
    site.command("scancel", "echo 'scancel: error: Kill job error on job id 7: Access/permission denied' >&2; exit 1");
    fails("cancel", &["scancel --quiet 7", "permission denied"]);
    // A job that has ended meanwhile is what was wanted.
    site.command("scancel", "echo 'scancel: error: Kill job error on job id 7: Invalid job id specified' >&2; exit 1");
    let output = site.lvd("cancel", &[]);
    assert!(output.status.success() && said(&output).contains("1 elements"), "{}", said(&output));
}

#[test]
fn every_command_has_a_manual_page() {
    let site = Site::new();
    let folder = site.path("man");
    let output = lvd().arg("man").arg(&folder).output().expect("the program starts");
    assert!(output.status.success(), "{}", said(&output));
    for (page, expected) in [("lvd.1", "Exit codes"), ("lvd-run.1", "tasks\\-at\\-once"), ("lvd-man.1", "manual page")]
    {
        let text = std::fs::read_to_string(Path::new(&folder).join(page)).expect("a page");
        assert!(text.contains(expected), "{page}: {text}");
    }
    let page = lvd().arg("man").output().expect("the program starts");
    assert!(said(&page).contains(".TH lvd 1"), "{}", said(&page));
}
