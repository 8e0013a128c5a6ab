//! Models as people have them: other inputs and outputs, weights in a second file, pictures on
//! which they fail. Each is an ONNX file written here and run by the real ONNX Runtime.

mod add;
mod net;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::common::{failure, output, run};
use lvd_io::model::proto::{GraphProto, TypeProto, type_proto};
use net::*;

/// Refused by `check` and by `run`, with all of `words`, before anything is made.
#[track_caller]
fn assert_refused(file: &str, words: &[&str]) {
    for command in ["check", "run"] {
        let (code, said) = failure(&[command, file]);
        assert_eq!(code, 2, "{command}: {said}");
        assert!(said.contains("hint: "), "{said}");
        for word in words {
            assert!(said.contains(word), "{command}: expected {word:?} in:\n{said}");
        }
    }
    assert!(!Path::new(file).with_file_name("work/ingest").exists());
}

const NORM: &str = "mean = [0.5, 0.5, 0.5]\nstd = [1.0, 1.0, 1.0]";

#[test]
fn pixels_reach_a_model_as_it_takes_them() {
    let sides = [0, 3, 8, 8];
    let last = [0, 8, 8, 3];
    let to = |element: i32| [("to", i64::from(element))];
    let flat = [("axis", 1)];
    let centred = |level: u8| f32::from(level) / 255.0 - 0.5;
    let by_plane: Vec<_> = (0..3).map(|i| unit(planes(i).into_iter().map(centred))).collect();
    let by_pixel: Vec<_> = (0..3).map(|i| unit(levels(i).into_iter().map(centred))).collect();
    let raw: Vec<_> = (0..3).map(|i| unit(planes(i).into_iter().map(f32::from))).collect();
    let raw_by_pixel: Vec<_> = (0..3).map(|i| unit(levels(i).into_iter().map(f32::from))).collect();
    let of = |element, sides: &[i64]| Net::taking(element, sides);
    let bytes =
        |sides: &[i64]| of(BYTE, sides).node("Cast", &["x"], "f", &to(FLOAT)).node("Flatten", &["f"], "y", &flat);
    let cases = [
        (Net::flat().gives("y", FLOAT, &[0, VALUES]), NORM, &by_plane),
        (of(FLOAT, &last).node("Flatten", &["x"], "y", &flat).gives("y", FLOAT, &[0, VALUES]), NORM, &by_pixel),
        (of(FLOAT, &[0, 0, 0, 3]).node("Flatten", &["x"], "y", &flat).gives("y", FLOAT, &[0, 0]), NORM, &by_pixel),
        (of(HALF, &sides).node("Flatten", &["x"], "y", &flat).gives("y", HALF, &[0, VALUES]), NORM, &by_plane),
        (of(HALF, &last).node("Flatten", &["x"], "y", &flat).gives("y", HALF, &[0, VALUES]), NORM, &by_pixel),
        (Net::flat().node("Cast", &["y"], "z", &to(HALF)).gives("z", HALF, &[0, VALUES]), NORM, &by_plane),
        (Net::flat().node("Cast", &["y"], "z", &to(DOUBLE)).gives("z", DOUBLE, &[0, VALUES]), NORM, &by_plane),
        (bytes(&sides).gives("y", FLOAT, &[0, VALUES]), "", &raw),
        (bytes(&last).gives("y", FLOAT, &[0, VALUES]), "", &raw_by_pixel),
    ];
    for (net, norm, expected) in cases {
        for step in ["", "batch_images = 2"] {
            let project = Project::new(3, 255);
            let file = project.with(&net, norm, step);
            run(&["check", &file]);
            run(&["run", "-q", &file]);
            assert_vectors(&project.vectors(), expected);
        }
    }
    // A model that takes bytes has no use for a mean.
    let project = Project::new(3, 255);
    let file = project.with(&bytes(&sides).gives("y", FLOAT, &[0, VALUES]), NORM, "");
    assert_refused(&file, &["p.toml:6: embedders.m.mean:", "x (u8 ?x3x8x8)", "remove `mean` and `std`"]);
}

#[test]
fn outputs_without_vectors_are_refused_with_the_cure() {
    let project = Project::new(3, 255);
    let label = || Net::product().node("ArgMax", &["z"], "l", &[("axis", 1), ("keepdims", 0)]).gives("l", INT64, &[0]);
    let file = project.with(&label().gives("z", FLOAT, &[0, 16]), "", "");
    assert_refused(&file, &["p.toml:3: embedders.m.output:", "l (i64 ?)", "set `output = \"z\"`", "z (f32 ?x16)"]);
    let file = project.with(&label(), "", "");
    assert_refused(&file, &["l (i64 ?)", "it has no other", "export the model"]);
    let whole = Net::product().node("Cast", &["z"], "i", &[("to", INT64.into())]).gives("i", INT64, &[0, 16]);
    let file = project.with(&whole.gives("y", FLOAT, &[0, VALUES]), "", "");
    assert_refused(&file, &["i (i64 ?x16)", "set `output = \"y\"`"]);
    let mut sequence = Net::flat().node("SequenceConstruct", &["y"], "q", &[]);
    let of_floats = type_proto::Sequence { elem_type: Some(Box::new(tensor_type(FLOAT, None))) };
    let value = Some(type_proto::Value::SequenceType(Box::new(of_floats)));
    sequence.0.output.push(port("q", TypeProto { value, ..Default::default() }));
    assert_refused(&project.with(&sequence, "", ""), &["q (sequence)"]);
    let one = Net::flat().floats("w", &[VALUES, 1], &weights(1)[..192]).node("MatMul", &["y", "w"], "z", &[]);
    let file = project.with(&one.gives("z", FLOAT, &[0, 1]).gives("y", FLOAT, &[0, VALUES]), "", "");
    assert_refused(&file, &["z (f32 ?x1)", "set `output = \"y\"`"]);
    // What it does not declare is found by running it.
    let taken: Vec<u8> = (0..VALUES).map(|at| u8::from(at == 9)).collect();
    let one = Net::flat().tensor("c", 9, &[VALUES], taken).node("Compress", &["y", "c"], "z", &[("axis", 1)]);
    let one = one.gives("z", FLOAT, &[0, 0]);
    assert_refused(&project.with(&one, "", ""), &["vectors of 1 number", "`output`"]);
}

#[test]
fn check_tries_every_model() {
    let project = Project::new(3, 255);
    let good = Net::product().gives("z", FLOAT, &[0, 16]);
    let file = project.with(&good, "output = \"zz\"", "");
    assert_refused(&file, &["p.toml:6: embedders.m.output:", "no output \"zz\"", "did you mean \"z\"?"]);
    let file = project.with(&good, "dims = 5", "");
    assert_refused(&file, &["p.toml:6: embedders.m.dims:", "vectors of 16 values, not 5", "set `dims = 16`"]);
    let file = project.with(&good, "crop = 6", "");
    assert_refused(&file, &["p.toml:6: embedders.m.crop:", "x (f32 ?x3x8x8)", "set `resize = 8`"]);
    let file = project.with(
        &Net::taking(FLOAT, &[0, 1, 8, 8]).node("Flatten", &["x"], "y", &[]).gives("y", FLOAT, &[0, 64]),
        "",
        "",
    );
    assert_refused(&file, &["x (f32 ?x1x8x8)", "RGB"]);
    let two = Net(GraphProto {
        input: [good.0.input.clone(), vec![port("b", tensor_type(FLOAT, Some(&[16])))]].concat(),
        ..good.0.clone()
    });
    let file = project.with(&two.node("Add", &["z", "b"], "s", &[]).gives("s", FLOAT, &[0, 16]), "", "");
    assert_refused(&file, &["b (f32 16)", "needed is one input"]);
    std::fs::write(project.path("m.onnx"), "<html>404</html>").expect("a page");
    assert_refused(&file, &["p.toml:4: embedders.m.model:", "not a model that can be run"]);
    // The number of images is in the model, though its input says any.
    let baked = || {
        let shape: Vec<u8> = [1, VALUES].iter().flat_map(|side| side.to_le_bytes()).collect();
        Net::taking(FLOAT, &[0, 3, 8, 8]).tensor("s", INT64, &[2], shape).node("Reshape", &["x", "s"], "y", &[])
    };
    let baked = baked().gives("y", FLOAT, &[0, VALUES]);
    run(&["check", &project.with(&baked, "", "")]);
    assert_refused(&project.with(&baked, "", "batch_images = 4"), &["not two at once", "set `batch_images = 1`"]);
    // Dropout that was left in.
    let random = Net::flat()
        .floats("r", &[], &[0.5])
        .tensor("t", 9, &[], vec![1])
        .node("Dropout", &["y", "r", "t"], "d", &[])
        .gives("d", FLOAT, &[0, VALUES]);
    assert_refused(&project.with(&random, "", ""), &["differently each time", "dropout"]);
    let zero = Net::flat().floats("o", &[1], &[0.0]).node("Mul", &["y", "o"], "z", &[]).gives("z", FLOAT, &[0, VALUES]);
    assert_refused(&project.with(&zero, "", ""), &["no usable vector", "zeros"]);
    // Nothing is wrong with it, in the end.
    run(&["check", &project.with(&good, "", "")]);
}

#[test]
fn all_faults_of_a_file_come_with_those_of_its_models() {
    let project = Project::new(3, 255);
    let file = project.with(&Net::product().gives("z", FLOAT, &[0, 16]), "dims = 5", "max_failed_share = 7.0");
    let (_, said) = failure(&["check", &file]);
    assert!(said.contains("max_failed_share") && said.contains("embedders.m.dims"), "{said}");
}

#[test]
fn numbers_and_names_that_cannot_be_meant_are_refused() {
    let project = Project::new(3, 255);
    let good = Net::product().gives("z", FLOAT, &[0, 16]);
    let hash = lvd_io::part::sha256(&good.bytes());
    for (embedder, step, words) in [
        ("mean = [nan, 0.0, 0.0]", "", &["embedders.m: a mean of [NaN", "from 0 to 1"][..]),
        ("mean = [123.675, 116.28, 103.53]", "", &["a mean of [123.675", "divided by 255"]),
        ("mean = [-inf, 0.0, 0.0]", "", &["a mean of [-inf"]),
        ("std = [0.0, 1.0, 1.0]", "", &["a standard deviation of [0.0"]),
        ("std = [1.0, inf, 1.0]", "", &["a standard deviation of"]),
        ("std = [1.0, 1e-44, 1.0]", "", &["a standard deviation of"]),
        ("dims = 1", "", &["vectors of 1 numbers"]),
        ("crop = 0", "", &["crop 0"]),
        ("sha256 = \"abc\"", "", &["is no SHA-256"]),
        ("url = \"http://a/b\"", "", &["both `model` and `url`"]),
        ("preset = \"dinov2s\"", "", &["did you mean `dinov2-s`?"]),
        ("interpolation = \"bicubik\"", "", &["did you mean `bicubic`?"]),
        ("", "embedders = [\"m\", \"m\"]", &["steps.embed.embedders: \"m\" is named twice"]),
        ("", "embedders = [\"mm\"]", &["did you mean \"m\"?"]),
        ("", "images = \"ingst\"", &["did you mean \"ingest\"?"]),
        ("", "batch_image = 1", &["did you mean `batch_images`?"]),
        ("", "providers = [\"gpu\"]", &["holds \"gpu\", which has to be one of"]),
        ("", "max_failed_share = nan", &["a share of NaN"]),
        ("", "scaled_decoding = nan", &["a multiple of NaN"]),
    ] {
        assert_refused(&project.with(&good, embedder, step), words);
    }
    run(&["check", &project.with(&good, &format!("sha256 = \"{}\"", hash.to_uppercase()), "")]);
    let file = project.with(&good, &format!("sha256 = \"{}\"", hash.replace(&hash[..1], "f").replace("ff", "0f")), "");
    assert_refused(&file, &["SHA-256 of"]);
}

#[test]
fn weights_in_a_second_file_are_part_of_the_model() {
    let project = Project::new(3, 255);
    let net = |seed: u32| {
        Net::flat().floats("w", &[VALUES, 16], &weights(seed)).node("MatMul", &["y", "w"], "z", &[]).gives(
            "z",
            FLOAT,
            &[0, 16],
        )
    };
    let save = |seed: u32, weights: &str| net(seed).save_in_two(&project.path("m.onnx"), weights);
    let file = project.file("model = \"m.onnx\"\nresize = 8", "");
    save(1, "m.onnx_data");
    run(&["check", &file]);
    run(&["run", "-q", &file]);
    let first = project.vectors();
    assert!(run(&["plan", &file]).contains("embed   embed   skip: up to date"));
    save(3, "m.onnx_data");
    let planned = run(&["plan", &file]);
    assert!(planned.contains("run 1 of 1 tasks of embed"), "{planned}");
    let (_, said) = failure(&["run", &file]);
    assert!(said.contains("--replace"), "{said}");
    run(&["run", "-q", "--replace", &file]);
    assert_ne!(project.vectors(), first);
    // The first weights again are the first vectors again.
    save(1, "m.onnx_data");
    run(&["run", "-q", "--replace", &file]);
    assert_eq!(project.vectors(), first);
    std::fs::remove_file(project.path("m.onnx_data")).expect("they were there");
    let (_, said) = failure(&["check", &file]);
    assert!(said.contains("embedders.m.model") && said.contains("m.onnx_data, which is not there"), "{said}");
    save(1, "../outside");
    let (_, said) = failure(&["check", &file]);
    assert!(said.contains("outside of the model's folder"), "{said}");
}

#[test]
fn a_file_that_changes_after_planning_is_not_opened() {
    let project = Project::new(3, 255);
    let file = project.file("model = \"m.onnx\"\nresize = 8", "");
    let net = || Net::product().gives("z", FLOAT, &[0, 16]);
    net().save_in_two(&project.path("m.onnx"), "weights.bin");
    run(&["ingest", "-q", &file]);
    assert!(run(&["plan", &file, "--tasks", "sh"]).contains("task"));
    let work = project.path("work").to_string_lossy().into_owned();
    let task = ["task", &work, "embed", "embed", "0"];
    for name in ["m.onnx", "weights.bin"] {
        let path = project.path(name);
        let whole = std::fs::read(&path).expect("it is there");
        let mut flipped = whole.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        std::fs::write(&path, flipped).expect("it can be written");
        let (_, said) = failure(&task);
        assert!(
            said.contains(&format!("{name}: its SHA-256 is")) && said.contains("when the step was planned"),
            "{said}"
        );
        std::fs::write(&path, whole).expect("it can be written");
    }
    run(&task);
    run(&["run", "-q", &file]);
}

/// 16 sums, and a table of four that is asked for row 10 x (the brightest pixel - 0.1): it fails
/// for pictures that are bright.
fn fails_on_bright() -> Net {
    Net::product()
        .node("ReduceMax", &["y"], "most", &[("keepdims", 0)])
        .floats("ten", &[], &[10.0])
        .node("Mul", &["most", "ten"], "at", &[])
        .node("Cast", &["at"], "row", &[("to", INT64.into())])
        .floats("table", &[4], &[0.0; 4])
        .node("Gather", &["table", "row"], "none", &[])
        .node("Add", &["z", "none"], "sum", &[])
        .gives("sum", FLOAT, &[0, 16])
}

#[test]
fn a_picture_on_which_a_model_fails_is_dropped_and_counted() {
    for batch in [1, 4] {
        let project = Project::new(20, 160);
        project.picture(7, 255);
        let file = project.with(&fails_on_bright(), NORM, &format!("batch_images = {batch}\nmax_failed_share = 0.1"));
        let output = output(&["run", &file]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("fails on 1 of 20 images") && said.contains("indices"), "{said}");
        assert_eq!(project.vectors().len(), 19);
        let report = run(&["report", &file, "embed"]);
        assert!(report.contains("model_failed"), "{report}");
        // Its neighbours in the batch are as they are without it.
        let vectors = project.vectors();
        std::fs::remove_file(project.path("pics/007.png")).expect("it was there");
        run(&["run", "-q", "--replace", &file]);
        assert_vectors(&project.vectors(), &vectors);
    }
}

#[test]
fn a_model_that_fails_on_all_is_an_error_that_quotes_it() {
    let project = Project::new(20, 255);
    let file = project.with(&fails_on_bright(), NORM, "max_failed_share = 1.0");
    run(&["check", &file]);
    let (code, said) = failure(&["run", &file]);
    assert_eq!(code, 1);
    assert!(said.contains("fails on every one of the 20 images") && said.contains("indices"), "{said}");
    // One picture alone says nothing about the model.
    let project = Project::new(1, 255);
    let file = project.with(&fails_on_bright(), NORM, "max_failed_share = 1.0");
    assert!(output(&["run", &file]).status.success());
}

#[test]
fn a_vector_of_another_length_is_no_vector() {
    // As many numbers as are brighter than the middle.
    let net = Net::flat()
        .floats("half", &[], &[0.5])
        .node("Greater", &["y", "half"], "bright", &[])
        .node("NonZero", &["bright"], "places", &[])
        .node("Cast", &["places"], "z", &[("to", FLOAT.into())])
        .gives("z", FLOAT, &[0, 0]);
    let project = Project::new(3, 255);
    assert_refused(&project.with(&net, NORM, ""), &["embedders.m"]);
}

#[test]
fn a_work_folder_that_cannot_be_written_is_a_fault() {
    let project = Project::new(3, 255);
    let file = project.with(&Net::product().gives("z", FLOAT, &[0, 16]), "", "");
    for (work, word) in [("p.toml", "p.toml"), ("pics/000.png/work", "pics/000.png"), ("/proc/lvd/work", "/proc")] {
        let work = if work.starts_with('/') { PathBuf::from(work) } else { project.path(work) };
        let (code, said) = failure(&["check", &file, "--work", &work.to_string_lossy()]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(word) && said.contains("--work"), "{said}");
    }
    let before = crate::common::files(project.0.path()).len();
    run(&["check", &file, "--work", &project.path("new/work").to_string_lossy()]);
    std::fs::create_dir(project.path("there")).expect("a folder");
    run(&["check", &file, "--work", &project.path("there").to_string_lossy()]);
    assert_eq!(crate::common::files(project.0.path()).len(), before);
    assert!(!project.path("new").exists());
}

#[test]
fn secrets_of_a_model_url_are_shown_nowhere() {
    let project = Project::new(3, 255);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = format!("http://me:geheim@{closed}/m.onnx?X-Amz-Signature=s3cret&part=1");
    let file = project.file(&format!("url = \"{url}\"\nsha256 = \"{}\"\nresize = 8", "0".repeat(64)), "");
    run(&["check", &file]);
    run(&["plan", &file, "--tasks", "json"]);
    let plans =
        crate::common::files(project.0.path()).into_iter().filter(|path| path.to_string_lossy().contains("_plan"));
    let modes: Vec<u32> = plans.map(|path| std::fs::metadata(path).expect("a plan").permissions().mode()).collect();
    assert!(!modes.is_empty() && modes.iter().all(|mode| mode & 0o777 == 0o600), "{modes:?}");
    for command in ["plan", "status", "report", "check", "run"] {
        let output = output(&[command, &file]);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("geheim") && !said.contains("s3cret"), "{command}: {said}");
        if command == "run" {
            assert!(!output.status.success(), "{said}");
            assert!(
                said.contains("embedders.m.url: http://") && said.contains("m.onnx?X-Amz-Signature=***&part=1"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_model_is_opened_by_check_and_by_work_only() {
    let project = Project::new(3, 255);
    let file = project.with(&Net::product().gives("z", FLOAT, &[0, 16]), "", "");
    run(&["run", "-q", &file]);
    // Whatever opens a model would find no library.
    for command in ["run", "plan", "status", "report"] {
        let output =
            crate::common::lvd().args([command, &file]).env("ORT_DYLIB_PATH", "/nowhere").output().expect("it starts");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output =
        crate::common::lvd().args(["check", &file]).env("ORT_DYLIB_PATH", "/nowhere").output().expect("it starts");
    assert!(!output.status.success());
}
