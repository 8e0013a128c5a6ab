//! What the tests share: the real binary, the built-in example, and the rows of tables as text.

pub mod gate;
pub mod pictures;
pub mod rows;
pub mod slurm;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The real data that some tests use; the answer to its absence is a line and an early return.
pub fn shared_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    skip(Lack::Data, "no shared data");
    None
}

/// What a machine lacks for a test.
#[derive(Clone, Copy, Debug)]
pub enum Lack {
    /// The folder of real images and models.
    Data,
    /// To be root.
    Root,
    /// A program that `setup.sh --tests` installs.
    Program,
    /// Chromium, which `setup.sh --tests` installs on Debian.
    Browser,
    /// Packages of `PyPI`.
    Packages,
    /// Instructions of the processor.
    Processor,
    /// Leave to mount a file system.
    Mount,
}

/// Says that a test is skipped, and adds a line to `skipped` in the tests' own folder: `make test`
/// counts them.
pub fn skip(lack: Lack, why: &str) {
    println!("skipped: {why}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a list of what is skipped");
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    file.write_all(format!("{} {test}: {why}\n", format!("{lack:?}").to_lowercase()).as_bytes()).expect("a line");
}

/// A folder with packages of `PyPI`, installed once into the cache folder; or `None`, and a line
/// that says so.
pub fn python_packages(name: &str, packages: &[&str]) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let folder = cache.join("lvd").join(name);
    if folder.join("complete").exists() {
        return Some(folder);
    }
    let _ = std::fs::remove_dir_all(&folder);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(&folder)
        .args(packages);
    match pip.output() {
        Ok(output) if output.status.success() => {
            std::fs::write(folder.join("complete"), b"").expect("a mark");
            Some(folder)
        }
        _ => {
            skip(Lack::Packages, &format!("python3 -m pip cannot install {packages:?}"));
            None
        }
    }
}

/// The program, ready for arguments.
pub fn lvd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lvd"))
}

/// Runs the program; panics with its messages when it fails.
pub fn run(args: &[&str]) -> String {
    let output = output(args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "lvd {args:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Runs the program, whatever comes of it.
pub fn output(args: &[&str]) -> Output {
    lvd().args(args).output().expect("the program starts")
}

/// The exit code and the messages of a command that should fail.
pub fn failure(args: &[&str]) -> (i32, String) {
    let output = output(args);
    assert!(!output.status.success(), "lvd {args:?} succeeded");
    (output.status.code().expect("it was not killed"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The built-in example, small, made once a test process; its own work folder is never used. Those
/// of processes that are no more go.
pub static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let all = std::env::temp_dir().join(format!("lvd-example-{}", env!("CARGO_PKG_VERSION")));
    let folder = all.join(std::process::id().to_string());
    std::fs::create_dir_all(&all).expect("a folder for the examples");
    let lives = |process: &std::ffi::OsStr| Path::new("/proc").join(process).exists();
    for old in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        if old.path() == folder || lives("self".as_ref()) && !lives(&old.file_name()) {
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    run(&["example", &folder.to_string_lossy(), "--images", "400"]);
    folder
});

/// The example's pipeline file, and settings that fit the small example.
pub fn quickstart() -> Vec<String> {
    let file = EXAMPLE.join("quickstart.toml").to_string_lossy().into_owned();
    let set = |text: &str| ["--set".to_owned(), text.to_owned()];
    [
        vec![file],
        set("ingest.shard_rows=100").into(),
        set("cluster.clusters=[20, 5]").into(),
        set("sample.target=200").into(),
        set("export.shard_rows=60").into(),
    ]
    .concat()
}

/// The rows of an undisturbed run of the example.
pub static UNDISTURBED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    run(&strs(&on_example("run", folder.path(), &[])));
    content(folder.path())
});

/// A work folder with an undisturbed run of the example, for tests that change nothing in it.
pub static CURATED: LazyLock<PathBuf> = LazyLock::new(|| {
    let work = EXAMPLE.join("curated");
    run(&strs(&on_example("run", &work, &["--quiet"])));
    work
});

/// Lets a process live for a while at most; the status of one that ended by itself, and `None` for
/// one that was killed.
pub fn let_live(child: &mut Child, life: Duration) -> Option<ExitStatus> {
    let begin = Instant::now();
    while begin.elapsed() < life {
        if let Some(status) = child.try_wait().expect("it can be waited for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("it is dead");
    None
}

/// `command`, the example's pipeline with a work folder, and more arguments.
pub fn on_example(command: &str, work: &Path, more: &[&str]) -> Vec<String> {
    let mut args = vec![command.to_owned()];
    args.extend(quickstart());
    args.extend(["--work".to_owned(), work.to_string_lossy().into_owned()]);
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    args
}

/// The same as `&str`s.
pub fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// Every file below `folder`, in no order; none where it is not.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

/// Every Parquet file below `folder`, sorted.
pub fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = files(folder);
    files.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    files.sort();
    files
}

/// The rows of the table in a folder.
pub fn table(folder: &Path) -> Vec<Vec<(String, String)>> {
    let parts = parquet_files(folder).into_iter().filter(|path| path.parent() == Some(folder));
    let is_part = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
    parts.filter(is_part).flat_map(|path| rows(&path)).collect()
}

/// The rows of a Parquet file, each as `column=value` texts.
pub fn rows(path: &Path) -> Vec<Vec<(String, String)>> {
    let file = std::fs::File::open(path).expect("the file opens");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("it is Parquet").build().expect("it reads");
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.expect("a batch");
        let options = FormatOptions::default().with_null("null");
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).expect("a printable column"))
            .collect();
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let cell = |(field, column): (&std::sync::Arc<arrow::datatypes::Field>, &ArrayFormatter)| {
                (field.name().clone(), column.value(row).to_string())
            };
            rows.push(schema.fields().iter().zip(&columns).map(cell).collect());
        }
    }
    rows
}

/// The cell of a row.
pub fn cell<'a>(row: &'a [(String, String)], column: &str) -> &'a str {
    &row.iter().find(|(name, _)| name == column).unwrap_or_else(|| panic!("no column {column}")).1
}

/// Names and contents of everything in a work folder that is not about time: what must be equal
/// between runs.
pub fn content(work: &Path) -> Vec<(String, String)> {
    let of_time = ["report.parquet"];
    let files = parquet_files(work).into_iter().filter(|path| !of_time.iter().any(|name| path.ends_with(name)));
    files
        .map(|path| {
            let bytes = std::fs::read(&path).expect("the file reads");
            (path.strip_prefix(work).expect("below").to_string_lossy().into_owned(), lvd_io::part::sha256(&bytes))
        })
        .collect()
}
