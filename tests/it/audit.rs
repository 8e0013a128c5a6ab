//! `lvd audit`: what of a set is in the finished data set, on the built-in example.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::common::pictures::{alone, file_of, passed_on, unknown};
use crate::common::rows::{Rows, ids, number};
use crate::common::{CURATED, EXAMPLE, cell, on_example, output, run, strs, table};

/// The exit code of an audit, what it prints and what it says.
fn audited(args: &[String]) -> (i32, String, String) {
    let output = output(&strs(args));
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code().expect("it was not killed"), out, err)
}

/// The same as JSON.
fn as_json(args: &[String]) -> (i32, Value) {
    let (code, out, err) = audited(&[args, &["--json".to_owned(), "--quiet".to_owned()]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{code}: {out}{err}")))
}

fn counts(answer: &Value) -> [u64; 4] {
    ["read", "exact", "near", "none"].map(|key| answer[key].as_u64().unwrap_or_else(|| panic!("{key} in {answer}")))
}

/// Images of the finished data set that are large, and of which the pool has no copy.
fn exported(work: &Path) -> Rows {
    let data = ids(&table(&work.join("export/data")));
    let images = alone(work, &table(&work.join("ingest")));
    let large = |row: &Vec<(String, String)>| number(row, "width").min(number(row, "height")) >= 64;
    images.into_iter().filter(|row| data.contains(&number(row, "id")) && large(row)).collect()
}

/// Three files of the data set, two that were passed on, five that nobody has, and two that are no
/// pictures, in a folder.
fn heap(folder: &Path, images: &Rows) {
    fs::create_dir_all(folder.join("below")).expect("a folder");
    for (place, row) in images[..3].iter().enumerate() {
        let file = file_of(row);
        let ending = file.extension().expect("an ending").to_string_lossy().into_owned();
        fs::copy(&file, folder.join(format!("exact-{place}.{ending}"))).expect("a file");
    }
    for (place, row) in images[3..5].iter().enumerate() {
        passed_on(&file_of(row), &folder.join(format!("below/edited-{place}.jpg")));
    }
    for seed in 0..5 {
        unknown(seed, &folder.join(format!("other-{seed}.png")));
    }
    fs::write(folder.join("empty.jpg"), "").expect("a file");
    fs::write(folder.join("half.jpg"), b"\xff\xd8\xff half of it").expect("a file");
    fs::write(folder.join("notes.pdf"), "no image").expect("a file");
}

#[test]
fn every_image_of_a_set_is_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (work, set) = (CURATED.as_path(), folder.path().join("set"));
    let images = exported(work);
    heap(&set, &images);
    let on = |set: &Path, more: &[&str]| on_example("audit", work, &[&[&*set.to_string_lossy()], more].concat());
    let (code, answer) = as_json(&on(&set, &[]));
    assert_eq!((code, counts(&answer)), (4, [10, 3, 2, 5]), "{answer}");
    let unusable: Vec<String> = answer["unusable"]
        .as_array()
        .expect("reasons")
        .iter()
        .map(|unread| {
            format!("{} {} {}", unread["reason"].as_str().expect("a reason"), unread["images"], unread["first"]["path"])
        })
        .collect();
    assert!(
        unusable.len() == 2 && unusable[0].starts_with("empty 1 ") && unusable[1].starts_with("broken 1 "),
        "{unusable:?}"
    );
    assert_eq!(answer["left_out"][0]["why"], "no image by its name: .pdf");
    let found = answer["found"].as_array().expect("rows");
    let pairs: Vec<(String, u64)> = found
        .iter()
        .map(|row| {
            let path = Path::new(row["path"].as_str().expect("a path")).file_stem().expect("a name");
            (path.to_string_lossy().into_owned(), row["id"].as_u64().expect("an id"))
        })
        .collect();
    let names = ["exact-0", "exact-1", "exact-2", "edited-0", "edited-1"];
    for (name, row) in names.into_iter().zip(&images) {
        assert!(pairs.contains(&(name.to_owned(), number(row, "id"))), "{name}: {pairs:?}");
    }
    assert!(found[..3].iter().all(|row| row["exact"] == true && row["cosine"] == 1.0), "{found:?}");
    assert_eq!((&answer["step"], answer["compared"].as_u64()), (&Value::from("export"), Some(200)));
    assert!((answer["threshold"]["cosine"].as_f64().expect("a cosine") - 0.75).abs() < 1e-6, "that of clean: {answer}");
    assert!(answer["next"]["cosine"].as_f64().is_some_and(|cosine| cosine < 0.75), "{answer}");
    assert_eq!((answer["recall_of_search"].as_f64(), &answer["recall_of_threshold"]), (Some(1.0), &Value::Null));

    // What a person reads.
    let (code, out, err) = audited(&on(&set, &[]));
    assert_eq!(code, 4, "{err}");
    assert_eq!(out.lines().filter(|line| line.starts_with("exact ") && line.contains("/exact-")).count(), 3, "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with("near ") && line.contains("/edited-")).count(), 2, "{out}");
    assert!(out.contains("unreadable: broken") && out.contains("recall of the search: 1.0"), "{out}");
    assert!(err.contains("not looked at: no image by its name: .pdf (1)"), "{err}");

    // A threshold that is given counts; files are equal whatever it is. Threads change nothing.
    let (_, strict) = as_json(&on(&set, &["--threshold", "1"]));
    assert_eq!(counts(&strict), [10, 3, 0, 7]);
    let (_, loose) = as_json(&on(&set, &["--threshold", "0"]));
    assert_eq!(counts(&loose), [10, 3, 7, 0]);
    assert_eq!(as_json(&on(&set, &["--threads", "1"])).1, as_json(&on(&set, &["--threads", "2"])).1);

    // The same images as tars and tables.
    let (packed, below) = (folder.path().join("packed"), set.join("below"));
    fs::create_dir_all(&packed).expect("a folder");
    table_of(&below, &packed.join("edited.parquet"));
    fs::remove_dir_all(&below).expect("it goes");
    let tar = Command::new("tar").arg("-cf").arg(packed.join("others.tar")).arg("-C").arg(&set).arg(".").status();
    assert!(tar.expect("tar starts").success());
    let (code, again) = as_json(&on(&packed, &[]));
    assert_eq!((code, counts(&again)), (4, [10, 3, 2, 5]), "{again}");

    // A set of nothing is none.
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    let (code, _, err) = audited(&on(&empty, &[]));
    assert!(code == 2 && err.contains("nothing in this folder") && err.contains("hint: "), "{code} {err}");

    // What calibrate measured of the threshold is said.
    run(&strs(&on_example("calibrate", work, &["clean", "--images", "8", "--json", "--quiet"])));
    let summary = fs::read(work.join("_calibrate/clean/summary.json")).expect("a summary");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    let at = summary["thresholds"].as_array().expect("rows").iter().find(|row| row["threshold"] == 0.75);
    let (_, calibrated) = as_json(&on(&set, &[]));
    assert_eq!(calibrated["recall_of_threshold"], at.expect("the step's threshold")["recall"]);
}

/// A Parquet file of the images in a folder.
fn table_of(folder: &Path, to: &Path) {
    let files =
        fs::read_dir(folder).expect("a folder").map(|entry| fs::read(entry.expect("an entry").path()).expect("a file"));
    let files: Vec<Vec<u8>> = files.collect();
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(&files));
    let batch = RecordBatch::try_from_iter([("image", column)]).expect("a batch");
    let mut writer =
        ArrowWriter::try_new(fs::File::create(to).expect("a file"), batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a batch");
    writer.close().expect("a footer");
}

#[test]
fn what_a_reference_step_took_out_is_not_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = CURATED.as_path();
    let holdout = EXAMPLE.join("reference/holdout").to_string_lossy().into_owned();
    let (code, answer) = as_json(&on_example("audit", work, &[&holdout]));
    assert_eq!((code, counts(&answer)), (0, [40, 0, 0, 40]), "{answer}");

    // The same work folder as a pipeline sees it that ends before: there they are.
    let text = fs::read_to_string(EXAMPLE.join("quickstart.toml")).expect("a file");
    let (before, _) = text.split_once("# Whatever is a copy of a held-out image goes.").expect("the step");
    let absolute = |line: &str| match line.split_once(" = \"") {
        Some((key @ ("folder" | "model"), path)) => format!("{key} = \"{}/{path}\n", EXAMPLE.display()),
        _ => format!("{line}\n"),
    };
    let file: PathBuf = folder.path().join("short.toml");
    let short: String = before.lines().map(absolute).collect();
    fs::write(&file, short.replace("shard_rows = 500", "shard_rows = 100")).expect("a file");
    let [file, work_] = [file.as_path(), work].map(|path| path.to_string_lossy().into_owned());
    let args = ["audit", &file, &holdout, "--work", &work_, "--threshold", "0.75"].map(str::to_owned);
    let (code, answer) = as_json(&args);
    let found = answer["found"].as_array().expect("rows");
    assert!(code == 4 && answer["step"] == "dedup" && !found.is_empty(), "{answer}");
    let cleaned = table(&work.join("clean"));
    let gone = ids(&cleaned.into_iter().filter(|row| cell(row, "kept") == "false").collect());
    assert!(found.iter().all(|row| gone.contains(&row["id"].as_u64().expect("an id"))), "{answer}");
}
