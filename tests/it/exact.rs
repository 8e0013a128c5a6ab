//! Exact copies across shards and sources, with as many slices of the hashes as there are hashes, by
//! the real program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::common::rows::{counter, number};
use crate::common::{cell, content, failure, files, let_live, lvd, run, table};
use lvd_kernels::hash::Draw;

/// Contents of pictures, and the pictures of each folder.
const CONTENTS: u64 = 20;
const FOLDERS: [(&str, &str, u64); 4] =
    [("b", "pool", 40), ("a", "pool", 25), ("set", "seed", 9), ("test", "reference", 8)];

/// Folders of pictures many of which have the same bytes, and a pipeline file; its path.
fn project(folder: &Path) -> String {
    let draw = Draw::new(3, "contents");
    let mut text = String::new();
    for (source, (name, role, count)) in (0..).zip(FOLDERS) {
        fs::create_dir(folder.join(name)).expect("a folder");
        for n in 0..count {
            let shade = draw.bits(1000 * source + n) % CONTENTS;
            let pixel = |x: u32, y: u32| image::Rgb([shade.to_le_bytes()[0], x.to_le_bytes()[0], y.to_le_bytes()[0]]);
            let path = folder.join(name).join(format!("{n:02}.png"));
            image::RgbImage::from_fn(40, 40, pixel).save(path).expect("a picture");
        }
        text.extend(["[sources.", name, "]\nfolder = \"", name, "\"\nrole = \"", role, "\"\n"]);
    }
    text += "[steps.ingest]\nshard_rows = 4\n";
    let file = folder.join("p.toml");
    fs::write(&file, text).expect("a pipeline file");
    file.to_string_lossy().into_owned()
}

/// The arguments that ingest with so many hashes held.
fn ingest(file: &str, work: &Path, held: u64, threads: &str) -> Vec<String> {
    let held = format!("ingest.held_hashes={held}");
    let work = work.to_string_lossy();
    ["ingest", file, "--quiet", "--threads", threads, "--work", &work, "--set", &held].map(str::to_owned).to_vec()
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// The parts of `kept`: names and contents.
fn kept(work: &Path) -> BTreeMap<String, String> {
    content(work).into_iter().filter(|(path, _)| path.starts_with("ingest/kept/")).collect()
}

/// Compares the decisions with those of brute force.
fn check(work: &Path) {
    let images = table(&work.join("ingest/facts"));
    let of_pool = |source: &str| FOLDERS.iter().any(|(name, role, _)| *name == source && *role == "pool");
    let mut first: BTreeMap<&str, u64> = BTreeMap::new();
    for image in images.iter().filter(|row| of_pool(cell(row, "source"))) {
        let lowest = first.entry(cell(image, "sha256")).or_insert(u64::MAX);
        *lowest = (*lowest).min(number(image, "id"));
    }
    let expected: BTreeMap<u64, Option<u64>> = images
        .iter()
        .map(|row| {
            let original = first.get(cell(row, "sha256")).copied().filter(|_| of_pool(cell(row, "source")));
            (number(row, "id"), original.filter(|&original| original != number(row, "id")))
        })
        .collect();
    let decided = table(&work.join("ingest/kept"));
    let found: BTreeMap<u64, Option<u64>> =
        decided.iter().map(|row| (number(row, "id"), cell(row, "duplicate_of").parse().ok())).collect();
    assert_eq!(found, expected);
    assert!(found.values().flatten().collect::<BTreeSet<_>>().len() > 10, "many have copies");
    assert!(decided.iter().all(|row| (cell(row, "kept") == "true") == (cell(row, "duplicate_of") == "null")));
    for (name, ..) in FOLDERS {
        let also = images.iter().filter(|row| cell(row, "source") == name && first.contains_key(cell(row, "sha256")));
        let also = Some(also.count() as u64).filter(|_| !of_pool(name));
        assert_eq!(counter(work, "ingest", &format!("also_in_pool/{name}")), also);
    }
    let left: Vec<_> = ["hashes", "copies"].iter().flat_map(|name| files(&work.join("ingest").join(name))).collect();
    assert!(left.is_empty(), "scratch is gone: {left:?}");
}

#[test]
fn exact_copies_are_found_in_any_number_of_slices_on_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = project(folder.path());
    let mut all = Vec::new();
    for (held, threads) in [(1, "1"), (1, "2"), (5, "2"), (1 << 22, "2")] {
        let work = folder.path().join(format!("work-{held}-{threads}"));
        run(&strs(&ingest(&file, &work, held, threads)));
        check(&work);
        all.push(content(&work));
    }
    assert!(all.iter().all(|content| *content == all[0]), "all bytes are the same");
}

#[test]
fn another_number_of_hashes_changes_no_decision_and_no_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = project(folder.path());
    let work = folder.path().join("work");
    run(&strs(&ingest(&file, &work, 3, "2")));
    let before = kept(&work);
    run(&strs(&ingest(&file, &work, 7, "2")));
    assert!(before.len() > 10 && kept(&work) == before);
    check(&work);
    let (code, said) = failure(&strs(&ingest(&file, &work, 0, "2")));
    assert!(code == 2 && said.contains("no hash at a time"), "{code}: {said}");
}

#[test]
fn killed_in_the_midst_of_copies_it_ends_as_if_undisturbed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = project(folder.path());
    let undisturbed = folder.path().join("undisturbed");
    run(&strs(&ingest(&file, &undisturbed, 1, "2")));
    let work = folder.path().join("work");
    let args = ingest(&file, &work, 1, "2");
    let draw = Draw::new(std::process::id().into(), "exact");
    let mut kills = 0;
    for attempt in 0.. {
        let mut child = lvd().args(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let life = Duration::from_secs_f64(0.05 + 0.2 * draw.unit(attempt) + 0.02 * f64::from(kills));
        match let_live(&mut child, life) {
            Some(status) => {
                assert!(status.success(), "it failed by itself after {kills} kills: {status}");
                if kills >= 10 {
                    break;
                }
                // Done too early: what lies between the phases is made again, and so are decisions.
                for phase in ["scatter", "match", "mark"] {
                    fs::remove_dir_all(work.join("ingest/_done").join(phase)).expect("markers");
                }
            }
            None => kills += 1,
        }
    }
    println!("{kills} kills");
    check(&work);
    assert_eq!(content(&work), content(&undisturbed));
}
