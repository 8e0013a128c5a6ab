//! The encoders that come with the program, in a file that names none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::{EXAMPLE, cell, failure, files, output, run, table};
use lvd_kernels::hash::Draw;

/// Pictures of the example, 24 of them, and each again encoded by JPEG.
fn project(steps: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (pool, seeds) = (folder.path().join("pool"), folder.path().join("seeds"));
    fs::create_dir_all(&pool).expect("a folder");
    fs::create_dir_all(&seeds).expect("a folder");
    let mut found = files(&EXAMPLE.join("pool"));
    found.sort();
    let open = |path: &Path| image::open(path).ok().filter(|picture| picture.width() >= 64 && picture.height() >= 64);
    let pictures = found.iter().filter_map(|path| open(path)).step_by(3).take(24);
    for (number, picture) in pictures.enumerate() {
        picture.to_rgb8().save(pool.join(format!("{number:02}.png"))).expect("room");
        picture.to_rgb8().save(pool.join(format!("{number:02}-copy.jpg"))).expect("room");
    }
    // White noise is like nothing.
    let draw = Draw::new(1, "noise");
    let noise = |x: u32, y: u32| {
        let level = |i: u64| draw.bits(u64::from(x) << 32 | u64::from(y) << 8 | i).to_be_bytes()[0];
        image::Rgb([level(1), level(2), level(3)])
    };
    image::RgbImage::from_fn(96, 96, noise).save(seeds.join("noise.png")).expect("room");
    let file = folder.path().join("p.toml");
    fs::write(&file, format!("[sources.pool]\nfolder = \"pool\"\n{steps}")).expect("room");
    (folder, file.to_string_lossy().into_owned())
}

#[test]
fn copies_go_with_nothing_but_a_folder() {
    let (folder, file) =
        project("[steps.ingest]\nmin_side = 16\n[steps.embed]\n[steps.dedup]\n[steps.cluster]\nclusters = [4]\n");
    run(&["check", &file]);
    assert!(!folder.path().join("work").exists(), "check writes nothing");
    run(&["run", "--quiet", &file]);
    let work = folder.path().join("work");
    let urls: BTreeMap<String, String> = table(&work.join("ingest"))
        .iter()
        .map(|row| (cell(row, "id").to_owned(), cell(row, "url").to_owned()))
        .collect();
    assert_eq!(urls.len(), 48);
    let rows = table(&work.join("dedup"));
    // The example holds pictures twice, byte for byte: ingest has dropped one of each.
    let component = |number: usize, ending: &str| {
        let name = format!("{number:02}{ending}");
        let row = rows.iter().find(|row| urls[cell(row, "id")].ends_with(&name))?;
        Some(cell(row, "component").to_owned())
    };
    let pairs: Vec<bool> = (0..24).filter_map(|n| Some(component(n, ".png")? == component(n, "-copy.jpg")?)).collect();
    let together = pairs.iter().filter(|&&together| together).count();
    // It was made for photographs, and these are drawn.
    assert!(pairs.len() > 15 && 4 * together >= 3 * pairs.len(), "{together} of {} copies are found", pairs.len());
    // Dedup has read the encoder for copies, cluster the other.
    let plan = run(&["plan", &file, "--json"]);
    assert!(plan.contains("dedup"), "{plan}");
    // A whitening that is fitted on so few finds less, and that is said.
    let white = output(&["run", "--quiet", &file, "--set", "dedup.whiten=true"]);
    let said = String::from_utf8_lossy(&white.stderr);
    assert!(white.status.success() && said.contains("vectors of 256 numbers: so few that copies"), "{said}");
    let models = files(&work.join("_models"));
    assert_eq!(models.len(), 2, "{models:?}");
    // Damaged models are unpacked anew.
    for model in &models {
        fs::write(model, "half").expect("room");
    }
    run(&["run", "--quiet", "--replace", &file, "--set", "embed.batch_images=2"]);
    for model in models {
        assert!(fs::metadata(&model).expect("a model").len() > 1_000_000, "{}", model.display());
    }
}

#[test]
fn what_is_asked_of_a_built_in_encoder_and_not_there_is_named() {
    let (_folder, file) = project("[steps.ingest]\n[steps.embed]\n[steps.dedup]\n");
    let refused = |set: &[&str], words: &[&str]| {
        let sets: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
        let (code, said) = failure(&[&["check", file.as_str()][..], &sets].concat());
        assert_eq!(code, 2, "{said}");
        for word in words {
            assert!(said.contains(word), "expected {word:?} in:\n{said}");
        }
    };
    refused(&["embedders.a.model=builtin:semantik"], &["no built-in encoder \"semantik\"", "did you mean"]);
    refused(&["embedders.a.model=builtin:copy", "embedders.a.preset=sscd"], &["has its own `preset`"]);
    refused(
        &["embedders.a.model=builtin:copy", &format!("embedders.a.sha256={}", "0".repeat(64))],
        &["is built in", "remove `url` and `sha256`"],
    );
    refused(&["embedders.a.model=builtin:semantic"], &["\"a\" has no known threshold", "lvd calibrate"]);
}

/// Held-out images are kept out by a lower threshold than copies in the pool; seeds are not.
#[test]
fn the_known_threshold_is_that_of_what_is_compared_with() {
    let (_folder, file) = project(
        "[sources.good]\nfolder = \"seeds\"\nrole = \"seed\"\n[sources.test]\nfolder = \"seeds\"\nrole = \"reference\"\n\
         [steps.ingest]\n[steps.embed]\n[steps.clean]\nstage = \"dedup\"\n",
    );
    for (references, whiten, expected) in [
        ("[]", "false", "0.92"),
        ("[]", "true", "0.8"),
        ("[\"good\"]", "false", "0.92"),
        ("[\"good\"]", "true", "0.8"),
        ("[\"test\"]", "false", "0.8"),
        ("[\"test\"]", "true", "0.6"),
        ("[\"good\", \"test\"]", "true", "0.6"),
    ] {
        let sets = [format!("clean.references={references}"), format!("clean.whiten={whiten}")];
        // A floor above all of them makes the check say which it is.
        let set = ["--set", &sets[0], "--set", &sets[1], "--set", "clean.edge_floor=0.999"];
        let (code, said) = failure(&[&["check", file.as_str()][..], &set].concat());
        let words = format!("edges below 0.999 are not kept, so {expected} cannot be applied");
        assert!(code == 2 && said.contains(&words), "{sets:?}: expected {words:?} in:\n{said}");
    }
}

#[test]
fn few_images_a_cluster_and_seeds_that_are_like_nothing_are_said() {
    let (_folder, file) = project(
        "[sources.seeds]\nfolder = \"seeds\"\nrole = \"seed\"\n[steps.ingest]\nmin_side = 16\n[steps.embed]\n[steps.cluster]\n\
         clusters = [12]\n[steps.retrieve.sets.seeds]\nmethod = \"sample\"\nk = 2\n",
    );
    let output = output(&["run", "--quiet", &file]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("images in 12 level-1 clusters, 3."), "{said}");
    assert!(said.contains("no image found for seed set \"seeds\" has a cosine over"), "{said}");
}
