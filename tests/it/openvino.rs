//! Embedding by `OpenVINO`: an ONNX Runtime that has it, of `PyPI`, on the example's images and
//! models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{Lack, lvd, on_example, parquet_files, python_packages, skip};
use arrow::array::{Array, FixedSizeBinaryArray, UInt64Array};
use half::f16;

/// The library in the package, for this processor.
fn library() -> Option<PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        skip(Lack::Processor, "onnxruntime-openvino has no wheel for it");
        return None;
    }
    let folder = python_packages("openvino", &["onnxruntime-openvino"])?.join("onnxruntime/capi");
    let found = std::fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path());
    found
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so")))
}

/// Ingests and embeds the example in `work` where `providers` compute.
fn embed(library: Option<&Path>, work: &Path, providers: &str, threads: &str) -> Output {
    let run = |command: &str, more: &[&str]| {
        let mut lvd = lvd();
        if let Some(path) = library {
            lvd.env("ORT_DYLIB_PATH", path);
        }
        lvd.args(on_example(command, work, more)).output().expect("the program starts")
    };
    let ingested = run("ingest", &[]);
    assert!(ingested.status.success(), "{}", said(&ingested));
    run("embed", &["--set", &format!("embed.providers={providers}"), "--threads", threads])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// All vectors by embedder and image.
fn vectors(work: &Path) -> BTreeMap<(String, u64), Vec<f32>> {
    let mut all = BTreeMap::new();
    for path in parquet_files(&work.join("embed")) {
        let embedder = path.parent().and_then(Path::file_name).expect("a folder").to_string_lossy().into_owned();
        if embedder == "embed" {
            continue;
        }
        let file = std::fs::File::open(&path).expect("a part");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1024).expect("Parquet");
        for batch in reader {
            let batch = batch.expect("rows");
            let column = |name| batch.column_by_name(name).expect("a column").as_any();
            let ids: &UInt64Array = column("id").downcast_ref().expect("ids");
            let rows: &FixedSizeBinaryArray = column("embedding").downcast_ref().expect("vectors");
            for row in 0..rows.len() {
                let numbers = rows.value(row).chunks_exact(2).map(|two| f16::from_le_bytes([two[0], two[1]]).to_f32());
                all.insert((embedder.clone(), ids.value(row)), numbers.collect());
            }
        }
    }
    all
}

fn least_cosine(a: &BTreeMap<(String, u64), Vec<f32>>, b: &BTreeMap<(String, u64), Vec<f32>>) -> f32 {
    assert!(!a.is_empty() && a.keys().eq(b.keys()));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = |a: &[f32], b: &[f32]| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    a.values().zip(b.values()).map(|(a, b)| cosine(a, b)).fold(1.0, f32::min)
}

#[test]
fn it_agrees_with_the_processor_on_any_number_of_threads() {
    let Some(library) = library() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let made = |name: &str, library: Option<&Path>, providers: &str, threads: &str| {
        let work = folder.path().join(name);
        let output = embed(library, &work, providers, threads);
        (output.status.success()).then(|| vectors(&work)).ok_or_else(|| said(&output))
    };
    let plain = made("cpu", None, r#"["cpu"]"#, "2").expect("vectors");
    let one = made("one", Some(&library), r#"["openvino"]"#, "1").expect("vectors");
    let two = made("two", Some(&library), r#"["openvino"]"#, "2").expect("vectors");
    assert!(one == two, "threads change vectors");
    let least = least_cosine(&plain, &one);
    assert!(least > 0.9999, "{least}");
    match made("bf16", Some(&library), r#"["openvino_bf16"]"#, "2") {
        Ok(vectors) => {
            let least = least_cosine(&plain, &vectors);
            assert!(least > 0.98 && vectors != one, "{least}");
        }
        Err(said) => {
            assert!(said.contains("no instructions for bf16"), "{said}");
            skip(Lack::Processor, "it has no instructions for bf16");
        }
    }
}

#[test]
fn without_it_the_next_of_the_list_is_used_or_the_step_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = embed(None, &folder.path().join("alone"), r#"["openvino"]"#, "2");
    let text = said(&alone);
    assert!(!alone.status.success() && text.contains("none of the providers can be used: openvino: "), "{text}");
    assert!(text.contains("hint: point ORT_DYLIB_PATH to an ONNX Runtime that has one of them"), "{text}");
    let other = embed(None, &folder.path().join("other"), r#"["openvino", "cpu"]"#, "2");
    let text = said(&other);
    assert!(other.status.success() && text.contains("not used: openvino: "), "{text}");
}
