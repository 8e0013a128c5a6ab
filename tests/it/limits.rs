//! The program at its limits: nobody reads what it says, a signal stops it, the system gives no
//! memory and no threads.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{
    EXAMPLE, Lack, UNDISTURBED, content, failure, files, let_live, lvd, on_example, output, run, skip, strs,
};
use lvd_kernels::hash::Draw;

/// More than anything here takes.
const LONG: Duration = Duration::from_mins(5);

/// A pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// A disk that is full.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("a full device").into()
}

/// Runs the example in a new work folder.
fn in_a_new_folder(command: impl Fn(&mut Command, &Path)) -> (tempfile::TempDir, Child) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut program = lvd();
    command(&mut program, folder.path());
    let child = program.spawn().expect("it starts");
    (folder, child)
}

#[test]
fn a_run_whose_stderr_is_gone_ends_as_any_other() {
    for stderr in [unread, full] {
        let (folder, mut child) = in_a_new_folder(|program, work| {
            program.args(on_example("run", work, &[])).stdout(Stdio::null()).stderr(stderr());
        });
        let status = let_live(&mut child, LONG).expect("it ends");
        assert_eq!(status.code(), Some(0));
        assert_eq!(content(folder.path()), *UNDISTURBED);
    }
}

#[test]
fn a_task_whose_stderr_is_gone_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().to_string_lossy().into_owned();
    run(&strs(&on_example("plan", folder.path(), &["--tasks", "sh"])));
    let status = lvd().args(["task", &work, "ingest", "list", "0"]).stderr(unread()).status().expect("it starts");
    assert_eq!(status.code(), Some(0));
    assert_eq!(files(&folder.path().join("ingest/_done/list")).len(), 1);
    // A command that is wrong is wrong without words, too.
    let status = lvd().args(["task", &work, "ingest", "list", "77"]).stderr(unread()).status().expect("it starts");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_table_that_nobody_reads_is_no_failure_and_hides_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let status = |stdout: Stdio, more: &[&str]| {
        let mut program = lvd();
        program.args(on_example("run", folder.path(), more)).stdout(stdout).stderr(Stdio::piped());
        let output = program.output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let failing = ["--set", "ingest.max_failed_share=0.0001", "--set", "ingest.min_side=60"];
    let (code, said) = status(unread(), &failing);
    assert_eq!(code, Some(3), "{said}");
    assert_eq!(status(unread(), &["--replace"]).0, Some(0));
    assert_eq!(content(folder.path()), *UNDISTURBED);
    let (code, said) = status(full(), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("error: standard output: No space left"), "{said}");
}

/// The program, which heeds all signals: whoever runs the tests may ignore some, as `nohup` and
/// shells do in the background.
fn heeding() -> Command {
    let mut program = Command::new("env");
    program.args(["INT", "TERM", "HUP"].map(|signal| format!("--default-signal={signal}")));
    program.arg(env!("CARGO_BIN_EXE_lvd"));
    program
}

/// Whether a task is in hand in a work folder.
fn is_at_work(work: &Path) -> bool {
    files(work).iter().any(|path| path.components().any(|part| part.as_os_str() == "_tries"))
}

#[test]
fn told_to_stop_a_run_leaves_in_order_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let draw = Draw::new(std::process::id().into(), "stop");
    let signals = [("INT", 130), ("TERM", 143), ("HUP", 129)];
    let mut stopped = 0;
    for attempt in 0.. {
        let mut program = heeding();
        program.args(on_example("run", &work, &["--tasks-at-once", "2"])).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = program.spawn().expect("it starts");
        let begin = Instant::now();
        let (name, code) = signals[attempt % signals.len()];
        while !is_at_work(&work) && child.try_wait().expect("it lives or not").is_none() {
            assert!(begin.elapsed() < LONG, "no task is begun");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(5).mul_f64(40.0 * draw.unit(attempt as u64)));
        let sent =
            Command::new("kill").args([format!("-{name}"), child.id().to_string()]).stderr(Stdio::null()).status();
        sent.expect("kill is there");
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.ends_with("stopped: run the same command to go on\n"), "{said}");
        assert!(!said.contains("error:"), "{said}");
        let left = files(&work).into_iter().filter(|path| path.to_string_lossy().contains("_tries"));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "tries are taken back");
        stopped += 1;
        if stopped == 8 {
            run(&strs(&on_example("run", &work, &[])));
            break;
        }
    }
    assert!(stopped >= 3, "it was stopped {stopped} times only");
    assert_eq!(content(&work), *UNDISTURBED);
}

#[test]
fn what_was_to_be_ignored_is_ignored() {
    let (folder, mut child) = in_a_new_folder(|program, work| {
        *program = Command::new("sh");
        let script = "trap '' HUP INT; exec \"$@\"";
        program.args(["-c", script, "sh", env!("CARGO_BIN_EXE_lvd")]).args(on_example("run", work, &[]));
        program.stdout(Stdio::null()).stderr(Stdio::null());
    });
    let begin = Instant::now();
    while !is_at_work(folder.path()) && begin.elapsed() < LONG {
        std::thread::sleep(Duration::from_millis(2));
    }
    for name in ["-HUP", "-INT"] {
        Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill is there");
    }
    let status = let_live(&mut child, LONG).expect("it ends");
    assert_eq!(status.code(), Some(0));
    assert_eq!(content(folder.path()), *UNDISTURBED);
}

#[test]
fn more_threads_than_any_machine_has_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for more in [["--threads", "5000"], ["--tasks-at-once", "100000"]] {
        let (code, said) = failure(&strs(&on_example("run", folder.path(), &more)));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(&format!("error: {} {}", more[0], more[1])) && said.contains("hint:"), "{said}");
        assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_lock_that_leads_elsewhere_is_not_written_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let (victim, work) = (folder.path().join("victim"), folder.path().join("work"));
    fs::write(&victim, "precious").expect("written");
    fs::create_dir(&work).expect("a folder");
    let lock = work.join(".lock");
    let refused = |what: &str| {
        for command in [&["--tasks", "json"][..], &[]] {
            let command = on_example(if command.is_empty() { "run" } else { "plan" }, &work, command);
            let (code, said) = failure(&strs(&command));
            assert_eq!(code, 1, "{said}");
            assert!(said.contains(what) && said.contains("hint: remove it"), "{said}");
        }
        fs::remove_file(&lock).expect("removed");
    };
    symlink("../victim", &lock).expect("a link");
    refused(".lock is a symbolic link");
    symlink("../nothing", &lock).expect("a link");
    refused(".lock is a symbolic link");
    assert!(!folder.path().join("nothing").exists());
    assert!(Command::new("mkfifo").arg(&lock).status().expect("mkfifo is there").success());
    refused(".lock is a pipe");
    assert_eq!(fs::read_to_string(&victim).expect("read"), "precious");
}

/// What must come of a run under a limit: the right rows, or an error with its cure. Never a wait,
/// nor a kill.
fn comes_to_an_end(limit: &str, mut child: Child, work: &Path, said: &Path, rows: &[(String, String)]) -> bool {
    let status = let_live(&mut child, LONG);
    let said = fs::read_to_string(said).expect("a log");
    let status = status.unwrap_or_else(|| panic!("{limit}: it does not end:\n{said}"));
    if status.success() {
        assert!(content(work) == rows, "{limit}: other rows than without");
        return true;
    }
    assert!(said.contains("error: ") && said.contains("hint: "), "{limit}: {status}: {said}");
    // The C library ends by SIGABRT where it has no memory for itself.
    assert!(matches!(status.code(), Some(1 | 2)) || status.signal() == Some(6), "{limit}: {status}: {said}");
    false
}

#[test]
fn without_memory_a_run_says_so() {
    let mut outcomes = Vec::new();
    for (kind, most) in [("-d", 1600), ("-v", 2400)] {
        // Too little for BLAS; for threads and images; for models; enough.
        for mebibytes in [240, most / 5, 560, most] {
            let folder = tempfile::tempdir().expect("a folder");
            let (work, log) = (folder.path().join("work"), folder.path().join("log"));
            let limit = format!("ulimit {kind} {}", mebibytes * 1024);
            let mut program = Command::new("sh");
            program.args(["-c", &format!("{limit} && exec \"$@\""), "sh", env!("CARGO_BIN_EXE_lvd")]);
            program.args(on_example("run", &work, &["--threads", "2"])).stdout(Stdio::null());
            let child = program.stderr(File::create(&log).expect("a log")).spawn().expect("it starts");
            outcomes.push(comes_to_an_end(&limit, child, &work, &log, &UNDISTURBED));
        }
        assert_eq!(outcomes.last(), Some(&true), "{most} MiB are enough");
    }
    assert_eq!(outcomes.first(), Some(&false), "240 MiB are not");
}

/// A folder that everyone may read, with the program, the example and ONNX Runtime in it.
fn for_everyone(folder: &Path) -> (PathBuf, PathBuf) {
    let (program, library) = (folder.join("lvd"), folder.join("libonnxruntime.so"));
    fs::copy(env!("CARGO_BIN_EXE_lvd"), &program).expect("a copy");
    fs::copy(lvd_engines::onnx::library_path(), &library).expect("./setup.sh has put ONNX Runtime in place");
    let copied =
        Command::new("cp").args(["-r".as_ref(), EXAMPLE.as_os_str(), folder.join("example").as_os_str()]).status();
    assert!(copied.expect("cp is there").success());
    let open = Command::new("chmod").args(["-R", "a+rwX"]).arg(folder).status();
    assert!(open.expect("chmod is there").success());
    (program, library)
}

#[test]
fn without_threads_a_run_says_so() {
    if !fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
        skip(Lack::Root, "it has to become a user with no other process");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (program, library) = for_everyone(folder.path());
    let (mut outcomes, mut rows) = (Vec::new(), Vec::new());
    // OpenBLAS itself wants one more than the program when it is loaded. What is enough comes
    // first.
    for processes in [40, 2, 3, 5, 6, 7] {
        let (work, log) = (folder.path().join(format!("work-{processes}")), folder.path().join("log"));
        let limit = format!("ulimit -u {processes}");
        let mut arguments = on_example("run", &work, &["--threads", "2"]);
        arguments[1] = folder.path().join("example/quickstart.toml").to_string_lossy().into_owned();
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{limit} && exec \"$@\""), "bash"]).arg(&program).args(arguments);
        command.env("ORT_DYLIB_PATH", &library).uid(64_999).gid(64_999).current_dir(folder.path());
        command.stdout(Stdio::null()).stderr(File::create(&log).expect("a log"));
        let mut child = command.spawn().expect("it starts");
        if processes == 40 {
            let status = let_live(&mut child, LONG).expect("it ends");
            assert!(status.success(), "{}", fs::read_to_string(&log).expect("a log"));
            rows = content(&work);
        } else {
            outcomes.push(comes_to_an_end(&limit, child, &work, &log, &rows));
        }
    }
    assert_eq!(outcomes.first(), Some(&false), "two are not enough");
}

#[test]
fn more_connections_than_may_be_open_are_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("urls.txt", "http://127.0.0.1:9/a.jpg\n");
    write("p.toml", "work = \"w\"\n[sources.a]\nurls = [\"urls.txt\"]\n[steps.ingest]\n");
    let script = format!("ulimit -n 150; exec {} run p.toml", env!("CARGO_BIN_EXE_lvd"));
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("take 164 open files: the limit is 150") && said.contains("hint: set a smaller"), "{said}");
}

#[test]
fn an_error_is_one_with_little_memory_too() {
    let program = env!("CARGO_BIN_EXE_lvd");
    for mebibytes in [30, 60, 100] {
        let limited = format!("ulimit -d {}; exec {program} check nothing.toml", mebibytes * 1024);
        let output = Command::new("sh").args(["-c", &limited]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(output(&["check", "nothing.toml"]).status.code(), Some(2));
}
