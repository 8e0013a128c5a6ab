//! A bucket as the work folder, on a real S3-compatible server (s3s-fs) on loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::gate::{self, Reads};
use crate::common::{Lack, UNDISTURBED, content, files, let_live, on_example, skip};
use lvd_kernels::hash::Draw;

/// A server that keeps objects as files, so that a test can look at them.
struct Server {
    child: Child,
    port: u16,
    reads: Reads,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Option<Self> {
        let Some(program) = program() else {
            skip(Lack::Program, "no S3 server: s3s-fs is not installed (./setup.sh --tests)");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("bucket")).expect("a bucket");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let keys = ["--access-key", "someone", "--secret-key", "a-secret"];
        let child = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(keys)
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(30), "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (port, reads) = gate::open(port);
        Some(Self { child, port, reads, folder })
    }

    /// A command of lvd's on the example, with its work in the bucket.
    fn lvd(&self, command: &str, place: &str, more: &[&str]) -> Command {
        let mut program = self.plain();
        program.args(on_example(command, Path::new(&format!("s3://bucket/{place}")), more));
        program
    }

    fn plain(&self) -> Command {
        let mut program = crate::common::lvd();
        program
            .env("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port))
            .env("AWS_ACCESS_KEY_ID", "someone")
            .env("AWS_SECRET_ACCESS_KEY", "a-secret")
            .env("AWS_REGION", "us-east-1")
            .env("LVD_CACHE", self.copies());
        program
    }

    fn copies(&self) -> PathBuf {
        self.folder.path().join("copies")
    }

    fn objects(&self, place: &str) -> PathBuf {
        self.folder.path().join("bucket").join(place)
    }

    /// Bytes that were read since the last call: of parts of images, and of facts.
    fn read_of_images(&self) -> (usize, usize) {
        let reads = std::mem::take(&mut *self.reads.lock().expect("no reader panics"));
        let of = |folder: &str| reads.iter().filter(|(path, _)| path.contains(folder)).map(|(_, bytes)| bytes).sum();
        (of("/ingest/part-"), of("/ingest/facts/part-"))
    }

    /// The rows of an undisturbed run, and nothing left over, neither there nor here.
    fn check(&self, place: &str) {
        let objects = self.objects(place);
        assert_eq!(content(&objects), *UNDISTURBED);
        for name in ["_tries", "_plan", "_tmp", "_checkpoint"] {
            let left: Vec<PathBuf> = files(&objects)
                .into_iter()
                .filter(|path| path.to_string_lossy().contains(&format!("/{name}/")))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
        assert!(!objects.join(".lock").exists());
        assert_eq!(files(&self.copies()), Vec::<PathBuf>::new(), "copies are gone");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where set-up puts the server, or wherever it is.
fn program() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from)?;
    let data = std::env::var_os("XDG_DATA_HOME").map_or_else(|| home.join(".local/share"), PathBuf::from);
    let mut places: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    places.insert(0, data.join("lvd/tests/bin"));
    places.into_iter().map(|place| place.join("s3s-fs")).find(|path| path.exists())
}

fn succeeds(mut command: Command) -> Output {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn the_quickstart_in_a_bucket_is_the_quickstart_in_a_folder() {
    let Some(server) = Server::start() else { return };
    succeeds(server.lvd("run", "a/b", &[]));
    server.check("a/b");
    let again = succeeds(server.lvd("run", "a/b", &[]));
    assert_eq!(String::from_utf8_lossy(&again.stderr).matches(": up to date").count(), 8);
    let report = succeeds(server.lvd("report", "a/b", &["sample"]));
    assert!(String::from_utf8_lossy(&report.stdout).contains("entropy"), "{report:?}");
    let csv = succeeds(server.lvd("report", "a/b", &["--csv"]));
    assert!(String::from_utf8_lossy(&csv.stdout).lines().count() > 20);
    let out = server.folder.path().join("vectors.npy");
    succeeds(server.lvd("vectors", "a/b", &["embed/copy", &out.to_string_lossy()]));
    assert!(out.exists());
    let looked = succeeds(server.lvd("look", "a/b", &["dedup"]));
    assert_eq!(String::from_utf8_lossy(&looked.stdout), "s3://bucket/a/b/look/index.html\n");
    let page = std::fs::read_to_string(server.objects("a/b").join("look/dedup.html")).expect("a page");
    assert!(page.contains("data:image/jpeg"));
    // A changed threshold runs what hangs on it, and only that.
    succeeds(server.lvd("run", "a/b", &["--set", "dedup.threshold=0.95"]));
    assert_ne!(content(&server.objects("a/b")), *UNDISTURBED);
    succeeds(server.lvd("run", "a/b", &[]));
    server.check("a/b");
}

#[test]
fn who_needs_no_pixels_reads_none() {
    let Some(server) = Server::start() else { return };
    succeeds(server.lvd("run", "w", &["--to", "ingest"]));
    let (images, facts) = server.read_of_images();
    assert!(images == 0 && facts > 10_000, "ingest read {images} bytes of images and {facts} of facts");
    succeeds(server.lvd("run", "w", &["--to", "embed"]));
    let (images, _) = server.read_of_images();
    assert!(images > 1 << 20, "embed read {images} bytes of images");
    succeeds(server.lvd("run", "w", &["--to", "sample", "--set", "sample.labels=folder"]));
    let (images, labels) = server.read_of_images();
    // Dedup reads what the sizes are of, and the sample's balance what labels are taken from.
    assert!(images == 0 && labels > facts / 2, "the steps up to sample read {images} and {labels} bytes");
}

#[test]
fn killed_over_and_over_it_ends_as_if_undisturbed() {
    let Some(server) = Server::start() else { return };
    let draw = Draw::new(std::process::id().into(), "bucket");
    let mut kills = 0;
    for attempt in 0.. {
        let mut child =
            server.lvd("run", "w", &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let life = Duration::from_secs_f64(0.3 + 1.5 * draw.unit(attempt) + 0.15 * f64::from(kills));
        if let Some(status) = let_live(&mut child, life) {
            assert!(status.success(), "it failed by itself after {kills} kills: {status}");
            break;
        }
        kills += 1;
    }
    println!("{kills} kills");
    assert!(kills > 2);
    server.check("w");
}

#[test]
fn two_at_once_do_no_harm() {
    let Some(server) = Server::start() else { return };
    succeeds(server.lvd("run", "w", &["--to", "ingest"]));
    let open = succeeds(server.lvd("plan", "w", &["--tasks", "json"]));
    let open: serde_json::Value = serde_json::from_slice(&open.stdout).expect("JSON");
    let tasks: Vec<String> =
        open["tasks"].as_array().expect("tasks").iter().map(|task| task["number"].to_string()).collect();
    assert!(tasks.len() > 3 && open["tasks"][0]["step"] == "embed", "{open}");
    // Each task is attempted by two processes at the same time.
    let attempt = || {
        let mut command = server.plain();
        command.args(["task", "s3://bucket/w", "embed", "embed", "--threads", "1"]).args(&tasks);
        command.stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let said: Vec<String> = [attempt(), attempt()]
        .map(|child| {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stderr).into_owned()
        })
        .into();
    let said = said.concat();
    assert_eq!(said.matches(": done;").count(), tasks.len(), "one attempt at each task counts: {said}");
    // A driver is refused while another one lives.
    let mut first = server.lvd("run", "w", &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let begin = Instant::now();
    while !server.objects("w").join(".lock").exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "no lock");
        std::thread::sleep(Duration::from_millis(2));
    }
    let second = server.lvd("run", "w", &[]).output().expect("it starts");
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(
        second.status.code() == Some(1) && text.contains("another lvd is running in s3://bucket/w: process "),
        "{text}"
    );
    assert!(first.wait().expect("it ends").success());
    server.check("w");
}

#[test]
fn what_is_wrong_with_a_bucket_is_said() {
    let Some(server) = Server::start() else { return };
    let mut nobody = server.lvd("run", "w", &[]);
    nobody.env("AWS_SECRET_ACCESS_KEY", "wrong");
    let output = nobody.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("s3://bucket/w"), "{said}");
    let mut elsewhere = server.plain();
    elsewhere.args(on_example("run", Path::new("gs://bucket/w"), &[]));
    let output = elsewhere.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("s3://BUCKET/PREFIX"), "{said}");
}
