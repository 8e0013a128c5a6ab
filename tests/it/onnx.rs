//! ONNX Runtime itself, with a real vision transformer.

use std::path::{Path, PathBuf};

use lvd_base::Error;
use lvd_engines::onnx::{Session, flops, providers, version};

use crate::common::shared_data;

fn vit_tiny() -> Option<PathBuf> {
    Some(shared_data()?.join("models/vit_tiny_patch16_224.onnx"))
}

#[test]
fn a_vision_transformer_answers_each_image_alike_in_any_batch() {
    let Some(path) = vit_tiny() else { return };
    let mut session = Session::open(&path, 1).expect("a session");
    let image = 3 * 224 * 224;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let batch: Vec<f32> = (0..3 * image).map(|i| ((i % 1013) as f32 / 500.0 - 1.0) * (1 + i / image) as f32).collect();
    let all = session.run(&batch, [3, 3, 224, 224], None).expect("vectors");
    assert_eq!(all.values.len(), 3 * all.dimension);
    assert!(all.values.iter().all(|x| x.is_finite()));
    let last = session.run(&batch[2 * image..], [1, 3, 224, 224], None).expect("a vector");
    let cosine = lvd_kernels::dot::cosine(&last.values, &all.values[2 * all.dimension..]);
    assert!(cosine > 0.999_99, "{cosine}");
    let other = lvd_kernels::dot::cosine(&all.values[..all.dimension], &last.values);
    assert!(other < 0.999, "{other}");
}

#[test]
fn patches_come_after_the_class_token() {
    let Some(path) = vit_tiny() else { return };
    let mut session = Session::open(&path, 1).expect("a session");
    let shape = [2, 3, 224, 224];
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let batch: Vec<f32> = (0..2 * 3 * 224 * 224).map(|i| (i % 1013) as f32 / 500.0 - 1.0).collect();
    let patches = session.patches(&batch, shape).expect("it runs").expect("patches");
    // 224 / 16 a side, and no class token among them.
    assert_eq!((patches.grid, patches.dimension), (14, 192));
    assert_eq!(patches.values.len(), 2 * 14 * 14 * 192);
    let class = session.run(&batch, shape, Some("last_hidden_state")).expect("class tokens").values;
    assert_eq!(class.len(), 2 * 192);
    for token in patches.values.chunks(192) {
        assert!(token != &class[..192] && token != &class[192..]);
    }
    // The second image's patches are those that it has alone.
    let alone = session.patches(&batch[3 * 224 * 224..], [1, 3, 224, 224]).expect("it runs").expect("patches");
    let cosine = lvd_kernels::dot::cosine(&alone.values, &patches.values[14 * 14 * 192..]);
    assert!(cosine > 0.999_99, "{cosine}");
}

#[test]
fn sessions_run_side_by_side_and_agree() {
    let Some(path) = vit_tiny() else { return };
    let run = || {
        let mut session = Session::open(&path, 1).expect("a session");
        session.run(&vec![0.25; 2 * 3 * 224 * 224], [2, 3, 224, 224], None).expect("vectors")
    };
    let (here, there) = rayon::join(run, run);
    assert_eq!(here, there);
}

#[test]
fn what_does_not_fit_is_named() {
    let Some(path) = vit_tiny() else { return };
    let mut session = Session::open(&path, 1).expect("a session");
    let output = session.outputs()[0].name.clone();
    let error = session.run(&vec![0.0; 3 * 224 * 224], [1, 3, 224, 224], Some("nowhere")).expect_err("no output");
    assert!(
        error.to_string().contains("nowhere") && error.hint().is_some_and(|hint| hint.contains(&output)),
        "{error}"
    );
    let error = session.run(&vec![0.0; 3 * 100 * 100], [1, 3, 100, 100], None).expect_err("too small");
    assert!(error.to_string().contains("3x100x100"), "{error}");
    assert!(matches!(Session::open(Path::new("nowhere.onnx"), 1), Err(Error::Io { .. })));
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert!(matches!(Session::open(&text, 1), Err(Error::Data { .. })));
}

#[test]
fn the_library_tells_version_and_providers() {
    assert!(version().expect("a version").starts_with("1."));
    assert!(providers().expect("providers").contains(&"CPUExecutionProvider".to_string()));
}

#[test]
fn a_vision_transformer_costs_what_its_sizes_say() {
    let Some(path) = vit_tiny() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let found = flops(&path, [3, 224, 224], &folder.path().join("profile")).expect("a count");
    let (tokens, width, blocks) = (197, 192, 12);
    let block = tokens * 12 * width * width + 2 * tokens * tokens * width;
    let patches = (tokens - 1) * width * 3 * 16 * 16;
    assert_eq!(found, 2 * (blocks * block + patches));
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
