//! Files of a work folder cut, flipped, emptied and removed: the result is the undisturbed one, or
//! the error names the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use crate::common::{EXAMPLE, UNDISTURBED, content, failure, files, let_live, lvd, on_example, output, run, strs};
use lvd_io::publish::host;
use lvd_io::sealed;
use serde_json::Value;

/// Far more than any run here takes.
const LIMIT: Duration = Duration::from_mins(5);

/// The example, run once for all tests. Never removed: a static is not dropped, so it lies in the
/// example's own folder, which goes with the process.
static WHOLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let work = EXAMPLE.join("whole/work");
    fs::create_dir_all(EXAMPLE.join("whole")).expect("a folder");
    run_again(&work, &[]);
    work
});

/// A copy of it in a folder of its own. Links will not do: tests write into files.
fn work() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    for path in files(&WHOLE) {
        let copy = work.join(path.strip_prefix(&*WHOLE).expect("below it"));
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        fs::copy(&path, copy).expect("room");
    }
    (folder, work)
}

/// Runs the example; what it says.
fn run_again(work: &Path, more: &[&str]) -> String {
    let log = work.with_extension("log");
    let stderr = fs::File::create(&log).expect("a log");
    let args = on_example("run", work, more);
    let mut child = lvd().args(&args).stdout(Stdio::null()).stderr(stderr).spawn().expect("it starts");
    let status = let_live(&mut child, LIMIT).expect("it ends by itself");
    let said = fs::read_to_string(&log).expect("a log");
    assert!(status.success(), "{status}\n{said}");
    said
}

/// A part of each table of a step, the largest.
fn parts(work: &Path, step: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in files(&work.join(step)) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !name.starts_with("part-") || path.extension().is_none_or(|ending| ending != "parquet") {
            continue;
        }
        let size = |path: &Path| fs::metadata(path).expect("a file").len();
        match found.iter_mut().find(|known| known.parent() == path.parent()) {
            Some(known) if size(known) < size(&path) => *known = path,
            Some(_) => {}
            None => found.push(path),
        }
    }
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    let at = at % bytes.len();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).expect("room");
}

#[test]
fn a_part_that_is_shorter_or_gone_is_made_again() {
    let (_folder, work) = work();
    for step in ["ingest", "embed", "dedup", "cluster", "retrieve", "sample", "export"] {
        for (number, part) in parts(&work, step).iter().enumerate() {
            match number % 3 {
                0 => fs::File::options().write(true).open(part).and_then(|file| file.set_len(50)).expect("a file"),
                1 => fs::write(part, "").expect("room"),
                _ => fs::remove_file(part).expect("a file"),
            }
        }
    }
    let said = run_again(&work, &[]);
    assert!(said.contains("has 50 bytes, and ") && said.contains("its task is done again"), "{said}");
    assert!(content(&work) == *UNDISTURBED);
}

#[test]
fn a_flipped_bit_never_reaches_the_result() {
    let (_folder, work) = work();
    let steps = ["ingest", "embed", "dedup", "clean", "cluster", "retrieve", "sample", "export"];
    for step in ["ingest", "embed", "dedup", "cluster"] {
        for (place, part) in [(1, 3), (1, 2), (9, 10)].into_iter().zip(parts(&work, step).iter().cycle()) {
            flip(part, usize::try_from(fs::metadata(part).expect("a file").len()).expect("small") * place.0 / place.1);
        }
        // Whatever reads the parts has to run again.
        for gone in steps.iter().skip_while(|&&known| known != step).skip(1) {
            fs::remove_dir_all(work.join(gone)).expect("a step");
        }
        let said = run_again(&work, &["--replace"]);
        // What nothing reads is found by `lvd verify`.
        let others = |content: &[(String, String)]| -> Vec<(String, String)> {
            content.iter().filter(|(path, _)| !path.starts_with(step)).cloned().collect()
        };
        assert!(others(&content(&work)) == others(&UNDISTURBED), "after flips in {step}\n{said}");
        assert!(said.contains("was damaged: it is made again"), "{step}: {said}");
        output(&strs(&on_example("verify", &work, &["--set-aside"])));
        run_again(&work, &[]);
        assert!(content(&work) == *UNDISTURBED, "after flips in {step}");
    }
}

#[test]
fn verify_finds_every_flip_and_has_it_made_again() {
    let (_folder, work) = work();
    assert!(output(&strs(&on_example("verify", &work, &[]))).status.success());
    let damaged: Vec<PathBuf> =
        ["ingest", "embed", "sample", "export"].iter().flat_map(|step| parts(&work, step)).collect();
    for (number, part) in damaged.iter().enumerate() {
        flip(part, 7919 * (number + 1));
    }
    let (code, said) = failure(&strs(&on_example("verify", &work, &[])));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("{} parts are damaged or gone", damaged.len())), "{said}");
    let found = output(&strs(&on_example("verify", &work, &["--json"])));
    let found: Vec<Value> = serde_json::from_slice(&found.stdout).expect("json");
    let named = found.iter().flat_map(|step| step["damaged"].as_array().expect("a list").clone());
    let mut named: Vec<PathBuf> = named.map(|part| work.join(part["part"].as_str().expect("a path"))).collect();
    named.sort();
    let mut expected = damaged.clone();
    expected.sort();
    assert_eq!(named, expected);
    failure(&strs(&on_example("verify", &work, &["--set-aside"])));
    assert!(damaged.iter().all(|part| !part.exists()));
    run_again(&work, &[]);
    assert!(content(&work) == *UNDISTURBED);
    assert!(output(&strs(&on_example("verify", &work, &[]))).status.success());
}

#[test]
fn broken_bookkeeping_is_made_again_or_named_with_its_cure() {
    let (_folder, work) = work();
    let mut one_a_folder: Vec<PathBuf> = Vec::new();
    for path in files(&work) {
        let is_json = path.extension().is_some_and(|ending| ending == "json");
        let is_new = !one_a_folder.iter().any(|known| known.parent() == path.parent());
        if is_json && (is_new || path.ends_with("_manifest.json") || path.ends_with("summary.json")) {
            one_a_folder.push(path);
        }
    }
    assert!(one_a_folder.len() > 15, "{one_a_folder:?}");
    let datasets = work.join("datasets.json");
    let before = fs::read(&datasets).expect("a file");
    flip(&datasets, before.len() / 2);
    let (code, said) = failure(&strs(&on_example("run", &work, &[])));
    assert!(code == 2 && said.contains("datasets.json") && said.contains("hint: "), "{code} {said}");
    fs::write(&datasets, before).expect("room");
    one_a_folder.retain(|path| *path != datasets);
    // Three at a time, far from each other, and each broken in another way.
    let apart = one_a_folder.len().div_ceil(3);
    for first in 0..apart {
        let broken: Vec<&PathBuf> = one_a_folder.iter().skip(first).step_by(apart).collect();
        for (number, path) in broken.iter().enumerate() {
            let before = fs::read(path).expect("a file");
            match (first + number) % 3 {
                0 => fs::write(path, "").expect("room"),
                1 => flip(path, before.len() / 2),
                _ => fs::write(path, &before[..before.len() / 2]).expect("room"),
            }
        }
        let said = run_again(&work, &[]);
        assert!(content(&work) == *UNDISTURBED, "after {broken:?} were broken\n{said}");
        for path in broken {
            // By its step, too: others of that name are whole.
            let name = path.strip_prefix(&work).expect("below it").to_string_lossy().into_owned();
            // What was last seen of the sources is looked at again by every run, and decides nothing.
            assert!(said.contains(&name) || name == "sources.json", "{name} is not named: {said}");
            sealed::open::<Value>(&fs::read(path).expect("a file")).expect("it is whole again");
        }
    }
}

#[test]
fn reports_that_are_gone_or_damaged_are_written_again() {
    let (_folder, work) = work();
    let names = ["summary.json", "report.parquet", "histogram.parquet", "composition.parquet"];
    let reports: Vec<PathBuf> =
        files(&work).into_iter().filter(|path| names.iter().any(|name| path.ends_with(name))).collect();
    assert!(reports.len() > 20, "{reports:?}");
    let before: Vec<Vec<u8>> = reports.iter().map(|path| fs::read(path).expect("a file")).collect();
    for (number, path) in reports.iter().enumerate() {
        if number % 2 == 0 { flip(path, 100) } else { fs::remove_file(path).expect("a file") }
    }
    run_again(&work, &[]);
    for (path, before) in reports.iter().zip(before) {
        assert!(fs::read(path).expect("a file") == before, "{}", path.display());
    }
}

#[test]
fn a_prepared_work_folder_reaches_nothing_outside() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("outer/work");
    run(&strs(&on_example("plan", &work, &["--tasks", "json"])));
    let path = work.join("ingest/_plan/list.json");
    let mut plan: Value = sealed::open(&fs::read(&path).expect("a plan")).expect("a whole plan");
    let honest = plan.clone();
    let place = work.to_string_lossy().into_owned();
    let task = ["task", &place, "ingest", "list", "0"];
    let refused = |plan: &Value, why: &str| {
        fs::write(&path, sealed::seal(plan).expect("json")).expect("room");
        let (_, said) = failure(&task);
        assert!(said.contains(why), "{said}");
        assert!(!folder.path().join("outside").exists() && !folder.path().join("outer/outside").exists());
    };
    plan["keys"][0] = "../../../../outside/key".into();
    refused(&plan, "is not the one that was planned");
    plan = honest.clone();
    plan["plan"]["tasks"][0] = serde_json::json!({"rows": 1u64 << 42});
    refused(&plan, "is not the one that was planned");
    // A marker whose part lies elsewhere.
    fs::write(&path, sealed::seal(&honest).expect("json")).expect("room");
    run(&task);
    let marker = files(&work.join("ingest/_done/list")).pop().expect("a marker");
    let mut edited: Value = serde_json::from_slice(&fs::read(&marker).expect("a marker")).expect("json");
    let mut value: Value = sealed::open(&fs::read(&marker).expect("a marker")).expect("a whole marker");
    value["outcome"]["parts"] = serde_json::json!([{"table": "", "path": "../outside/part", "rows": 0, "bytes": 0,
        "sha256": "", "shard": null}]);
    fs::write(&marker, sealed::seal(&value).expect("json")).expect("room");
    let (code, said) = failure(&strs(&on_example("run", &work, &[])));
    assert!(code != 0 && said.contains("is no name of a file in it"), "{said}");
    // An edited file tells by itself.
    edited["outcome"]["rows_in"] = 7.into();
    fs::write(&marker, serde_json::to_vec(&edited).expect("json")).expect("room");
    run(&strs(&on_example("run", &work, &[])));
    assert!(content(&work) == *UNDISTURBED);
}

#[test]
fn temporaries_of_processes_that_are_gone_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("ingest/_tmp")).expect("a folder");
    let host = host();
    let left = [format!("datasets.json.tmp-{host}-4194301"), format!("ingest/_tmp/fetch-0.tmp-{host}-4194301_-images")];
    let others = "datasets.json.tmp-elsewhere-4194301";
    for name in left.iter().map(String::as_str).chain([others]) {
        fs::write(work.join(name), "half").expect("room");
    }
    run(&strs(&on_example("run", &work, &["--to", "ingest"])));
    assert!(left.iter().all(|name| !work.join(name).exists()) && work.join(others).exists());
}
