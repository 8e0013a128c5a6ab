//! The files in `pipelines/`. The published recipes are planned without data, and run scaled down
//! on real photos. Those for one use each are run on the built-in example.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::common::{EXAMPLE, cell, content, parquet_files, rows, run, shared_data, table};
use serde_json::Value;
use tempfile::TempDir;

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(name)
}

fn planned(name: &str) -> Value {
    serde_json::from_str(&run(&["plan", &recipe(name).to_string_lossy(), "--json"])).expect("a plan in JSON")
}

#[test]
fn lvd_142m_adds_up_to_the_paper() {
    let plan = planned("lvd-142m.toml");
    let composition = plan["composition"].as_array().expect("a composition");
    let images = |how: &str| -> u64 {
        let rows = composition.iter().filter(|row| row["how"] == how);
        rows.map(|row| row["images"].as_u64().expect("a number")).sum()
    };
    assert_eq!(composition.len(), 27, "the rows of Table 15");
    assert_eq!(images("as is"), 14_197_086 + 1_434_262 + 1_580_470);
    assert_eq!(images("sample"), 56_788_344 + 40_997_344 + 6_321_880);
    assert_eq!(images("cluster"), 19 * 1_000_000 + 960_000 + 830_000);
    assert_eq!(images("as is") + images("sample") + images("cluster"), 142_109_386);
    let shown = run(&["plan", &recipe("lvd-142m.toml").to_string_lossy()]);
    assert!(shown.contains("142,109,386"), "{shown}");
}

#[test]
fn lvd_1689m_is_planned_without_data() {
    let plan = planned("lvd-1689m.toml");
    let balanced = plan["composition"].as_array().and_then(|rows| rows.iter().find(|row| row["how"] == "balanced"));
    assert_eq!(balanced.expect("a balanced draw")["images"], 1_689_000_000u64);
}

#[test]
fn what_is_not_there_can_be_planned_but_not_run() {
    let (code, message) = crate::common::failure(&["run", &recipe("lvd-142m.toml").to_string_lossy()]);
    assert_eq!(code, 2);
    assert!(message.contains("sources.crawl") && message.contains("sscd_disc_mixup.onnx is not there"), "{message}");
}

#[test]
fn an_estimate_counts_whitening() {
    let recipe = recipe("lvd-142m.toml");
    let base = ["plan", &recipe.to_string_lossy(), "--estimate", "--images", "1e8", "--gflops", "100", "--json"];
    let hours = |more: &[&str]| -> Vec<(String, f64)> {
        let value: Value = serde_json::from_str(&run(&[&base[..], more].concat())).expect("an estimate in JSON");
        let lines = value["lines"].as_array().expect("lines").iter().filter(|line| line["step"] == "dedup");
        let of = |line: &Value| {
            let hours = line["core_hours"].as_f64().expect("a number");
            (line["phase"].as_str().expect("a phase").to_owned(), hours)
        };
        lines.map(of).collect()
    };
    let (plain, white) = (hours(&[]), hours(&["--set", "dedup.whiten=true"]));
    let more: Vec<&str> = white.iter().filter(|line| !plain.contains(line)).map(|(phase, _)| &phase[..]).collect();
    assert_eq!(more, ["whiten", "tune", "move"], "{plain:?} {white:?}");
    // 1e8 vectors of 512 numbers, a triangle of 512 x 512 products and sums each, at 60 GFLOP/s.
    let sum = |lines: &[(String, f64)], phase: &str| lines.iter().find(|line| line.0 == phase).expect("a phase").1;
    let added = sum(&white, "tune") - sum(&plain, "tune");
    assert!((added - 1e8 * 512.0 * 512.0 / 60e9 / 3600.0).abs() < 1.0, "{added}");
}

/// Puts the photos of some classes where a recipe looks for a set: every `step`-th from `first` on.
fn place(data: &Path, to: &Path, classes: &[&str], (first, step): (usize, usize)) {
    for class in classes {
        let folder = to.join(class);
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut photos: Vec<_> = std::fs::read_dir(data.join("photos/caltech101").join(class))
            .expect("a class")
            .map(|photo| photo.expect("a photo").path())
            .collect();
        photos.sort();
        for photo in photos.iter().take(24).skip(first).step_by(step) {
            symlink(photo, folder.join(photo.file_name().expect("a name"))).expect("a link");
        }
    }
}

#[test]
fn the_recipes_run_scaled_down_on_real_photos() {
    let Some(data) = shared_data() else { return };
    let data = data.canonicalize().expect("a path");
    let folder = tempfile::tempdir().expect("a folder");
    let model = data.join("models/vit_tiny_patch16_224.onnx");
    let classes = ["Leopards", "pizza", "stop_sign", "wrench", "ketch", "lotus"];
    let at = |name: &str| folder.path().join("data").join(name);
    place(&data, &at("crawl"), &classes, (0, 1));
    place(&data, &at("benchmarks"), &["pizza"], (3, 8));
    for set in ["imagenet22k", "imagenet1k", "landmarks", "mapillary"] {
        place(&data, &at(set), &["ketch"], (1, 8));
    }
    for recipe_name in ["lvd-142m.toml", "lvd-1689m.toml"] {
        let text = std::fs::read_to_string(recipe(recipe_name)).expect("the recipe");
        let sets: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("[sources.")?.split(']').next())
            .filter(|set| !["crawl", "benchmarks"].contains(set))
            .collect();
        for (number, set) in sets.iter().enumerate().filter(|(_, set)| !at(set).exists()) {
            place(&data, &at(set), &[classes[number % classes.len()]], (number % 4, 4));
        }
        let file = folder.path().join(recipe_name);
        std::fs::write(&file, &text).expect("the file is written");
        let work = folder.path().join("work").join(recipe_name);
        let (file, work) = (file.to_string_lossy().into_owned(), work.to_string_lossy().into_owned());
        let mut settings = vec![
            "sources.crawl={ folder = \"data/crawl\" }".to_owned(),
            format!("embedders.semantic={{ model = {model:?}, resize = 224, output = \"pooler_output\" }}"),
        ];
        let scale = if recipe_name == "lvd-142m.toml" {
            settings.push(format!("embedders.copy={{ model = {model:?}, resize = 224, output = \"pooler_output\" }}"));
            settings.extend(["dedup.threshold=0.98".to_owned(), "clean.threshold=0.97".to_owned()]);
            "0.0001"
        } else {
            "0.00000006"
        };
        settings.push(format!("scale={scale}"));
        let mut args = vec!["run", &file, "--work", &work];
        for setting in &settings {
            args.extend(["--set", setting]);
        }
        run(&args);
        let sampled = table(&Path::new(&work).join("sample"));
        let why = |wanted: &str| sampled.iter().filter(|row| cell(row, "why") == wanted).count();
        assert!(why("seed") > 0, "{recipe_name}");
        if scale == "0.0001" {
            assert!(why("retrieved") > 20, "{} retrieved", why("retrieved"));
            assert_eq!(why("balanced"), 0, "LVD-142M has no balanced draw");
            // 32 neighbours of one seed, and the likes of others: something counts twice.
            assert!(sampled.iter().any(|row| cell(row, "copies") != "1"));
        } else {
            assert!(why("balanced") > 20, "{} balanced", why("balanced"));
            let tree = table(&Path::new(&work).join("cluster/tree"));
            let levels: std::collections::BTreeSet<_> = tree.iter().map(|node| cell(node, "level")).collect();
            assert!(levels.len() >= 2, "{levels:?}");
        }
    }
}

/// A file of the example by what the ground truth says.
struct Planted {
    kind: String,
    concept: String,
    /// Path of the picture that it shows: its own, or that of the picture it is a copy of.
    picture: String,
}

/// The ground truth of the example, by the names of its files.
fn truth() -> HashMap<String, Planted> {
    let planted = |row: Vec<(String, String)>| {
        let text = |column: &str| cell(&row, column).to_owned();
        let (path, of) = (text("path"), text("copy_of"));
        let picture = if of == "null" { path.clone() } else { of };
        let name = path.rsplit('/').next().expect("a name").to_owned();
        (name, Planted { kind: text("kind"), concept: text("concept"), picture })
    };
    rows(&EXAMPLE.join("truth.parquet")).into_iter().map(planted).collect()
}

/// Runs `text`, the pipeline of a use, on the example, as the first lines of the file say. Only the
/// work folder is another.
fn run_use(name: &str, text: &str, work: &Path) {
    let file = EXAMPLE.join(name);
    std::fs::write(&file, text).expect("the file is written");
    let file = file.to_string_lossy();
    run(&["check", &file]);
    run(&["run", "--quiet", &file, "--work", &work.to_string_lossy()]);
}

/// A use that has been run, and its work folder.
fn used(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run_use(name, &std::fs::read_to_string(recipe(name)).expect("the file"), &work);
    (folder, work)
}

/// What the images of a work folder show, by id, with their sources.
fn ingested(work: &Path) -> BTreeMap<String, (String, Planted)> {
    let mut truth = truth();
    let image = |row: Vec<(String, String)>| {
        let planted = truth.remove(cell(&row, "url")).expect("a file of the example");
        (cell(&row, "id").to_owned(), (cell(&row, "source").to_owned(), planted))
    };
    table(&work.join("ingest")).into_iter().map(image).collect()
}

/// The rows of a dedup step that go.
fn gone(step: &Path) -> Vec<Vec<(String, String)>> {
    table(step).into_iter().filter(|row| cell(row, "kept") == "false").collect()
}

/// The ids that a dedup step lets stay.
fn stay(step: &Path) -> BTreeSet<String> {
    let kept = table(step).into_iter().filter(|row| cell(row, "kept") == "true");
    kept.map(|row| cell(&row, "id").to_owned()).collect()
}

#[test]
fn dedup_alone_leaves_one_picture_of_each_group() {
    let (_folder, work) = used("dedup.toml");
    let images = ingested(&work);
    let all = table(&work.join("dedup"));
    let mut staying: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &all {
        *staying.entry(cell(row, "component")).or_default() += usize::from(cell(row, "kept") == "true");
    }
    assert!(all.len() > 100 && staying.values().all(|&images| images == 1), "{staying:?}");
    let gone = gone(&work.join("dedup"));
    let same = |row: &&Vec<(String, String)>| {
        images[cell(row, "id")].1.picture == images[cell(row, "representative")].1.picture
    };
    let right = gone.iter().filter(same).count();
    assert!(gone.len() >= 4 && right * 10 >= gone.len() * 9, "{right} of {} are copies indeed", gone.len());
    let steps = ["embed", "ingest", "dedup"].map(|step| work.join(step).join("summary.json").exists());
    assert_eq!(steps, [true; 3]);
    assert!(!work.join("sample").exists() && !work.join("export").exists(), "it does nothing else");
}

#[test]
fn decontamination_takes_copies_of_test_images_and_nothing_else() {
    let (_folder, work) = used("decontaminate.toml");
    let images = ingested(&work);
    let held_out = |planted: &Planted| planted.picture.starts_with("reference/");
    let in_training = images.iter().filter(|(_, (source, image))| source != "test" && held_out(image));
    let expected: BTreeSet<&str> = in_training.map(|(id, _)| id.as_str()).collect();
    let gone = gone(&work.join("clean"));
    let found: BTreeSet<&str> = gone.iter().map(|row| cell(row, "id")).collect();
    assert!(expected.len() > 5 && found == expected, "{found:?} are not {expected:?}");
    for row in &gone {
        assert_eq!(images[cell(row, "id")].1.picture, images[cell(row, "representative")].1.picture);
    }
    // Copies within the training set are none of its business.
    let stay = stay(&work.join("clean"));
    for kind in ["exact_copy", "edited_copy"] {
        assert!(stay.iter().any(|id| images[id].1.kind == kind), "no {kind} is left");
    }
}

#[test]
fn a_second_crawl_joins_a_pool_whose_images_stay() {
    let text = std::fs::read_to_string(recipe("grow.toml")).expect("the file");
    let second = text.find("\n[sources.second]").expect("a second crawl");
    let models = text.find("\n[embedders.copy]").expect("an encoder");
    let grown = text.find("# Compares the second crawl").expect("a second step");
    let day_one = format!("{}{}", &text[..second], &text[models..grown]);
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run_use("grow-day-one.toml", &day_one, &work);
    let first = stay(&work.join("dedup"));
    let lost: BTreeSet<String> = gone(&work.join("dedup")).iter().map(|row| cell(row, "id").to_owned()).collect();
    let costly = |work: &Path| -> BTreeSet<(String, String)> {
        let is_costly = |path: &str| path.starts_with("ingest/part-") || path.starts_with("embed/copy/part-");
        content(work).into_iter().filter(|(path, _)| is_costly(path)).collect()
    };
    let before = costly(&work);

    run_use("grow.toml", &text, &work);
    assert!(before.len() == 2 && before.is_subset(&costly(&work)), "images and vectors of the first crawl are kept");
    let pool = stay(&work.join("dedup_2"));
    assert!(first.len() > 50 && first.is_subset(&pool), "what stayed stays");
    assert!(!lost.is_empty() && lost.is_disjoint(&pool), "what went stays out");
    let images = ingested(&work);
    let of_second = |id: &str| images[id].0 == "second";
    assert!(pool.iter().any(|id| of_second(id)), "new images came in");
    let gone = gone(&work.join("dedup_2"));
    assert!(gone.iter().all(|row| of_second(cell(row, "id"))), "only new images go");
    let across = gone.iter().filter(|row| first.contains(cell(row, "representative"))).count();
    assert!(across > 3, "{across} new images are copies of old ones");
}

#[test]
fn retrieval_alone_gives_what_is_like_the_seeds() {
    let (_folder, work) = used("retrieve.toml");
    let images = ingested(&work);
    let seeds = images.values().filter(|(source, _)| source == "sailing");
    let concepts: BTreeSet<&str> = seeds.map(|(_, seed)| seed.concept.as_str()).collect();
    let exported: Vec<_> = parquet_files(&work.join("export/data")).iter().flat_map(|path| rows(path)).collect();
    for row in &exported {
        assert_eq!((cell(row, "why"), cell(row, "seed_set")), ("retrieved", "sailing"));
        assert!(cell(row, "similarity").parse::<f64>().expect("a cosine") >= 0.75, "{row:?}");
        assert!(images[cell(row, "id")].0 != "sailing" && images[cell(row, "seed_id")].0 == "sailing");
    }
    let of_a_seed = |row: &&Vec<(String, String)>| concepts.contains(images[cell(row, "id")].1.concept.as_str());
    let alike = exported.iter().filter(of_a_seed).count();
    assert!(exported.len() >= 5 && alike * 10 >= exported.len() * 9, "{alike} of {}", exported.len());
}
