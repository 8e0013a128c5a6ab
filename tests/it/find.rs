//! `lvd find`: a picture against the pool, on the built-in example and on photos.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::pictures::{alone, file_of, passed_on, unknown};
use crate::common::rows::{Rows, number};
use crate::common::{CURATED, EXAMPLE, cell, failure, files, on_example, output, run, shared_data, strs, table};

/// What is found near pictures, as JSON.
fn found(work: &Path, pictures: &[&Path], more: &[&str]) -> Value {
    let pictures: Vec<String> = pictures.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let args = [&strs(&pictures)[..], &["--json", "--quiet"], more].concat();
    serde_json::from_str(&run(&strs(&on_example("find", work, &args)))).expect("JSON")
}

/// The neighbours of the only picture.
fn nearest(found: &Value) -> &Vec<Value> {
    assert_eq!(found["pictures"].as_array().expect("pictures").len(), 1, "{found}");
    found["pictures"][0]["nearest"].as_array().expect("neighbours")
}

/// The files of a folder, sorted.
fn images_of(folder: &Path) -> Vec<PathBuf> {
    let mut paths = files(folder);
    paths.sort();
    paths
}

/// As a number that a cosine of the answer is compared with.
fn answer_threshold(answer: &Value) -> Option<f64> {
    answer["threshold"]["cosine"].as_f64()
}

fn cosine(near: &Value) -> f64 {
    near["cosine"].as_f64().expect("a cosine")
}

#[test]
fn a_picture_of_the_pool_finds_itself_and_what_became_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = CURATED.as_path();
    let images = table(&work.join("ingest"));
    let (groups, sampled) = (table(&work.join("dedup")), table(&work.join("sample")));
    let of = |rows: &Rows, id: u64| rows.iter().find(|row| number(row, "id") == id).cloned();
    let kept = table(&work.join("ingest/kept"));

    let mut states = std::collections::BTreeMap::<String, usize>::new();
    let some: Rows = images.iter().step_by(7).cloned().collect();
    let paths: Vec<PathBuf> = some.iter().map(|row| file_of(row)).collect();
    let answer = found(work, &paths.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &["-k", "4"]);
    let pictures = answer["pictures"].as_array().expect("pictures");
    assert_eq!(pictures.len(), some.len());
    for (row, picture) in some.iter().zip(pictures) {
        let (id, near) = (number(row, "id"), picture["nearest"].as_array().expect("neighbours"));
        let first = &near[0];
        assert!(near.len() == 4 && near.is_sorted_by(|a, b| cosine(a) >= cosine(b)), "{picture}");
        assert!(cosine(first) >= 0.999 && picture["is_copy"] == true, "{row:?}: {picture}");
        // Its own id, or that of an image with the same bytes.
        let twin = of(&images, first["id"].as_u64().expect("an id")).expect("an image");
        assert!(first["id"] == id || cell(&twin, "sha256") == cell(row, "sha256"), "{row:?}: {first}");
        assert_eq!((first["same_file"].as_bool(), first["url"].as_str()), (Some(true), Some(cell(&twin, "url"))));
        if first["id"] != id {
            continue;
        }
        assert_eq!(cell(&of(&kept, id).expect("a row"), "kept"), "true");
        let (became, group) = (&first["became"], of(&groups, id));
        let state = became["state"].as_str().expect("a state");
        *states.entry(state.to_owned()).or_default() += 1;
        match (of(&sampled, id), group.filter(|group| cell(group, "kept") == "false")) {
            (Some(row), _) => assert_eq!((state, became["why"].as_str()), ("in_data_set", Some(cell(&row, "why")))),
            (None, Some(group)) => {
                assert_eq!((state, became["step"].as_str()), ("copy_of", Some("dedup")));
                assert_eq!(became["image"]["id"], number(&group, "representative"));
            }
            (None, None) if cell(row, "source") == "holdout" => assert_eq!(state, "held_out"),
            (None, None) if state == "copy_of" => assert_eq!(became["step"], "clean"),
            (None, None) => assert_eq!((state, became["step"].as_str()), ("not_taken", Some("sample"))),
        }
    }
    for state in ["in_data_set", "copy_of", "held_out", "not_taken"] {
        assert!(states.get(state).is_some_and(|&n| n > 0), "{state}: {states:?}");
    }

    // Passed on, it is still the nearest; a picture that nobody has is no copy.
    let originals = alone(work, &images);
    let large = originals.iter().filter(|row| number(row, "width").min(number(row, "height")) >= 64);
    let copy = folder.path().join("copy.jpg");
    for row in large.step_by(40).take(5) {
        passed_on(&file_of(row), &copy);
        let answer = found(work, &[&copy], &[]);
        let first = &nearest(&answer)[0];
        assert!(
            first["id"] == number(row, "id") && first["same_file"] == false && cosine(first) > 0.78,
            "{row:?}: {answer}"
        );
        assert_eq!(nearest(&answer).len(), 10);
    }
    let nobody = folder.path().join("nobody.png");
    unknown(1, &nobody);
    let answer = found(work, &[&nobody], &[]);
    assert!(answer["pictures"][0]["is_copy"] == false && cosine(&nearest(&answer)[0]) < 0.78, "{answer}");

    // Each neighbour over the threshold is said, not the first alone.
    for picture in pictures {
        let threshold = answer_threshold(&answer).expect("a threshold");
        let near = picture["nearest"].as_array().expect("neighbours");
        for near in near {
            assert_eq!(near["is_copy"].as_bool(), Some(cosine(near) >= threshold), "{near}");
        }
    }

    // Another table is another question, and threads are none.
    let both = [copy.as_path(), &nobody];
    let one = found(work, &both, &["--threads", "1"]);
    assert_eq!(one, found(work, &both, &["--threads", "2"]));
    let semantic = found(work, &both, &["--step", "embed/semantic"]);
    assert_eq!((&semantic["vectors"], &semantic["threshold"]), (&Value::from("embed/semantic"), &Value::Null));
    assert_ne!(semantic["pictures"], one["pictures"]);

    // A model that is not that of the vectors is an error.
    let others = ["model=models/semantic.onnx", "resize=96", "squash=false"].map(|set| format!("embedders.copy.{set}"));
    let mut args = vec![nobody.to_string_lossy().into_owned()];
    args.extend(others.into_iter().flat_map(|set| ["--set".to_owned(), set]));
    let (code, said) = failure(&strs(&on_example("find", work, &strs(&args))));
    assert!(code == 2 && said.contains("lvd embed FILE --replace"), "{code} {said}");

    // A file that is no picture is said, and the others are answered.
    let broken = folder.path().join("broken.jpg");
    std::fs::write(&broken, b"\xff\xd8\xff half of it").expect("a file");
    let paths = [broken.to_string_lossy().into_owned(), nobody.to_string_lossy().into_owned()];
    let output = output(&strs(&on_example("find", work, &strs(&paths))));
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("broken.jpg: broken: ") && err.contains("1 of 2 files cannot be compared"), "{err}");
    assert!(out.contains("nobody.png: 96 x 80, compared with") && out.contains("none would be called a copy"), "{out}");
}

#[test]
fn all_copies_among_the_nearest_are_named_and_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    // A folder of its own: the page goes into the work folder.
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--quiet", "--to", "dedup"])));
    let (images, groups) = (table(&work.join("ingest")), table(&work.join("dedup")));
    let largest = groups.iter().max_by_key(|row| number(row, "size")).expect("a group");
    let member = |row: &&Vec<(String, String)>| number(row, "component") == number(largest, "component");
    let id = number(groups.iter().find(member).expect("a member"), "id");
    let image = images.iter().find(|row| number(row, "id") == id).expect("an image");
    let (path, nobody) = (file_of(image), folder.path().join("nobody.png"));
    unknown(1, &nobody);
    let paths = [path.to_string_lossy(), nobody.to_string_lossy()];
    let said = run(&strs(&on_example("find", &work, &[&*paths[0], &*paths[1], "-k", "6", "--look", "--quiet"])));
    let json = found(&work, &[&path], &["-k", "6"]);
    let copies = nearest(&json).iter().filter(|near| near["is_copy"] == true).count();
    assert!((2..6).contains(&copies), "{json}");
    let expected = format!("rank 1 is the same file, byte for byte; ranks 1 to {copies} would be called copies: ");
    assert!(said.contains(&expected) && said.contains("none would be called a copy: "), "{said}");
    let rows = |kin: &str| said.lines().filter(|line| line.starts_with(kin)).count();
    assert_eq!((rows("exact "), rows("near ")), (1, copies - 1), "{said}");

    let page = said.lines().find_map(|line| line.strip_prefix("page: ")).expect("a page");
    assert_eq!(Path::new(page), work.join("look/find.html"));
    let text = std::fs::read_to_string(page).expect("the page");
    assert!(text.contains("nobody.png") && text.contains("96×80"), "its own picture");
    for near in nearest(&json) {
        let id = format!("{:016x}", near["id"].as_u64().expect("an id"));
        let picture = format!(".i{id}{{background-image:url(data:image/jpeg;base64,");
        assert!(text.contains(&picture) && text.contains(&format!(">{id}<")), "{id}");
    }
    // Two pictures of the asker, with pixels and without an id.
    assert_eq!(text.matches(".ifffffffffffffff").count(), 2);
    assert_eq!(text.matches(">ffffffffffffff").count(), 0);
}

#[test]
fn cosines_are_those_that_dedup_compares() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    for whiten in ["false", "true"] {
        let whiten = format!("dedup.whiten={whiten}");
        let settings = ["--set", &whiten, "--set", "dedup.threshold=0.6", "--set", "dedup.edge_floor=0.5"];
        run(&strs(&on_example("run", &work, &[&["--quiet", "--to", "dedup"], &settings[..]].concat())));
        let images = table(&work.join("ingest"));
        let groups = table(&work.join("dedup"));
        let dropped = groups.iter().filter(|row| cell(row, "kept") == "false" && cell(row, "similarity") != "null");
        let mut looked_at = 0;
        for group in dropped.take(8) {
            let row = images.iter().find(|row| number(row, "id") == number(group, "id")).expect("an image");
            let answer = found(&work, &[&file_of(row)], &[&["-k", "50"], &settings[..]].concat());
            assert_eq!(answer["whitened"].as_bool(), Some(whiten.ends_with("true")));
            let other = nearest(&answer).iter().find(|near| near["id"] == number(group, "representative"));
            let expect: f64 = cell(group, "similarity").parse().expect("a cosine");
            let got = cosine(other.expect("its representative"));
            assert!((got - expect).abs() < 1e-6, "{group:?}: {got}");
            assert_eq!(nearest(&answer)[0]["became"]["state"], "copy_of");
            looked_at += 1;
        }
        assert!(looked_at > 3, "{looked_at}");
    }
    // A step that the file describes otherwise is said; one without its whitening is an error.
    let settings = ["--set", "dedup.whiten=true", "--set", "dedup.threshold=0.55", "--set", "dedup.edge_floor=0.5"];
    let holdout = images_of(&EXAMPLE.join("reference/holdout")).remove(0).to_string_lossy().into_owned();
    let args = [&[&*holdout], &settings[..]].concat();
    let said = output(&strs(&on_example("find", &work, &args)));
    let err = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.status.success() && err.contains("step \"dedup\" is older than the file: threshold 0.6 -> 0.55"),
        "{err}"
    );
}

#[test]
fn what_cannot_be_asked_is_said_before_work_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let (picture, empty) = (folder.path().join("a picture.png"), folder.path().join("empty"));
    unknown(1, &picture);
    std::fs::create_dir(&empty).expect("a folder");
    let says = |command: &str, args: &[&str], expect: &[&str]| {
        let (code, said) = failure(&strs(&on_example(command, &work, args)));
        assert!(code == 2 && expect.iter().all(|part| said.contains(part)), "{args:?}: {code} {said}");
    };
    let missing = folder.path().join("a pictur.png");
    let (picture, missing) = (&*picture.to_string_lossy(), &*missing.to_string_lossy());
    says("find", &[picture], &["step \"embed\" is not whole yet", "hint: lvd run ", "--to embed"]);
    says("audit", &[&empty.to_string_lossy()], &["step \"export\" is not whole yet", "hint: lvd run "]);
    assert!(!work.exists(), "nothing is written");
    says("find", &[missing], &["no such folder or file", "did you mean \"a picture.png\"?"]);
    says(
        "find",
        &[picture, "--step", "embde"],
        &["there is no step \"embde\"", "vectors are: embed/copy, embed/semantic"],
    );
    says("find", &[picture, "--step", "dedup"], &["is a step of kind dedup, and has no vectors"]);
    says("find", &[picture, "--step", "embed/cpy"], &["has no embedder \"cpy\"", "did you mean \"embed/copy\"?"]);
    says("find", &[picture, "-k", "0"], &["0 neighbours", "hint: ask for 1 to 1000"]);
    says("find", &[&empty.to_string_lossy()], &["a folder", "hint: name pictures; lvd audit"]);
    says("audit", &[picture, "--threshold", "7"], &["--threshold 7: no cosine"]);
}

#[test]
fn photos_are_found_by_the_encoder_in_the_box() {
    let Some(data) = shared_data() else { return };
    let photos = data.canonicalize().expect("a path").join("photos/caltech101");
    let folder = tempfile::tempdir().expect("a folder");
    let of_class = |class: &str, n: usize| {
        let mut paths = images_of(&photos.join(class));
        paths.truncate(n);
        paths
    };
    for class in ["pizza", "wrench", "Leopards"] {
        let pool = folder.path().join("pool").join(class);
        std::fs::create_dir_all(&pool).expect("a folder");
        for photo in of_class(class, 12) {
            std::os::unix::fs::symlink(&photo, pool.join(photo.file_name().expect("a name"))).expect("a link");
        }
    }
    let file = folder.path().join("p.toml");
    let steps = "[sources.pool]\nfolder = \"pool\"\n[steps.ingest]\n[steps.embed]\n[steps.dedup]\n";
    std::fs::write(&file, steps).expect("a file");
    let file = &*file.to_string_lossy();
    run(&["run", "--quiet", file]);
    let copy = folder.path().join("copy.jpg");
    let pizza = &of_class("pizza", 12)[5];
    passed_on(pizza, &copy);
    let others = of_class("stop_sign", 3);
    let paths: Vec<String> =
        [pizza, &copy].into_iter().chain(&others).map(|path| path.to_string_lossy().into_owned()).collect();
    let args = [&["find", "--json", "--quiet", file], &strs(&paths)[..]].concat();
    let answer: Value = serde_json::from_str(&run(&args)).expect("JSON");
    let pictures = answer["pictures"].as_array().expect("pictures");
    let name = format!("pizza/{}", pizza.file_name().expect("a name").to_string_lossy());
    let first = |at: usize| (&pictures[at]["nearest"][0]["url"], cosine(&pictures[at]["nearest"][0]));
    assert!(first(0) == (&Value::from(name.clone()), 1.0), "{answer}");
    assert!(*first(1).0 == name && first(1).1 > 0.85, "{:?}", first(1));
    assert!((2..5).all(|at| pictures[at]["is_copy"] == false), "{answer}");
    assert_eq!(
        pictures[0]["nearest"][0]["became"],
        serde_json::json!({"state": "in_data_set", "step": "dedup", "why": null})
    );
}
