//! `lvd calibrate` on the built-in example, by the real binary.

use std::collections::HashSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::common::{cell, content, failure, lvd, on_example, output, rows, run, strs};
use serde_json::Value;

/// Calibrates the example's dedup step; the JSON that is printed.
fn calibrated(work: &Path, images: &str, more: &[&str]) -> Value {
    let args = [&["dedup", "--images", images, "--json", "--quiet"], more].concat();
    serde_json::from_str(&run(&strs(&on_example("calibrate", work, &args)))).expect("JSON")
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} in {value}"))
}

#[test]
fn the_numbers_add_up_and_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "embed"])));
    let before = content(&work);
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let found = calibrated(&work, "24", &["--threads", "1", "--out", &one.to_string_lossy()]);
    let again = calibrated(&work, "24", &["--threads", "2", "--out", &two.to_string_lossy()]);
    assert_eq!(found, again);
    assert_eq!(content(&one), content(&two), "the tables, to the byte");
    assert_eq!(content(&work), before, "nothing of the pipeline is touched");

    // Every copy has a vector; the pool is what the embed step kept of it.
    let summary = std::fs::read(work.join("embed/summary.json")).expect("a summary");
    let embedded = number(&serde_json::from_slice(&summary).expect("JSON"), "rows_out");
    let (copies, references) = (number(&found, "copies"), number(&found, "references"));
    assert!((copies - 24.0 * 30.0).abs() < 0.5, "{copies}");
    assert!(
        references > 300.0 && references < embedded,
        "{references} of {embedded}: seed and reference sets are left out"
    );

    // At a threshold of 0 nothing is lost; the counts fall as it rises; precision is what the
    // counts say.
    let thresholds = list(&found, "thresholds");
    assert_eq!(thresholds.len(), 101, "every hundredth; the step's 0.78 is one of them");
    let mut last = f64::INFINITY;
    for row in thresholds {
        let (right, wrong, undecided) = (number(row, "right"), number(row, "wrong"), number(row, "undecided"));
        let pairs = right + wrong + undecided;
        assert!(pairs <= last && pairs <= copies * references, "{row}");
        last = pairs;
        assert!((number(row, "recall") - right / copies).abs() < 1e-9, "{row}");
        if right + wrong > 0.0 {
            assert!((number(row, "precision") - right / (right + wrong)).abs() < 1e-9, "{row}");
            assert!((number(row, "precision_at_least") - right / pairs).abs() < 1e-9, "{row}");
        }
        assert!(number(row, "precision_at_least") <= number(row, "precision"), "{row}");
    }
    assert!(number(&thresholds[30], "recall") > 0.8 && number(&thresholds[0], "wrong") > 0.0);

    // The encoder sees through compression and not through half a picture.
    let edits = list(&found, "edits");
    assert_eq!(edits.len(), 30);
    let recall = |name: &str| {
        let row = edits.iter().find(|row| row["edit"] == name).unwrap_or_else(|| panic!("no {name}"));
        assert!((number(row, "recall") - number(row, "found") / number(row, "copies")).abs() < 1e-9, "{row}");
        number(row, "recall")
    };
    assert!(recall("jpeg_70") > 0.95 && recall("resize_half") > 0.95);
    assert!(recall("crop_mild") > recall("crop_strong") && recall("blur_mild") >= recall("blur_strong"));
    assert!(recall("flip_horizontal") < 0.5, "{}", recall("flip_horizontal"));
    let found_by_edit: f64 = edits.iter().map(|row| number(row, "found")).sum();
    let at_step = thresholds.iter().find(|row| row["threshold"] == found["threshold"]).expect("the step's threshold");
    assert!((found_by_edit - number(at_step, "right")).abs() < 0.5);

    let (micro_ap, at_least) = (number(&found, "micro_ap"), number(&found, "micro_ap_at_least"));
    assert!((0.3..1.0).contains(&micro_ap) && at_least <= micro_ap && at_least > 0.0, "{at_least} {micro_ap}");
    let suggestions = list(&found, "suggestions");
    assert!(suggestions.len() == 2 && suggestions.iter().any(|known| !known["lowest"].is_null()), "{suggestions:?}");
    for known in suggestions.iter().filter(|known| !known["lowest"].is_null()) {
        let lowest = &known["lowest"];
        let row = thresholds.iter().find(|row| row["threshold"] == lowest["threshold"]).expect("on the grid");
        assert!(number(row, "precision") >= number(known, "precision"), "{known} {row}");
        assert!((number(row, "recall") - number(lowest, "recall")).abs() < 1e-12);
    }

    // Both ways are measured; of pictures that differ, fewer are near to each other as it rises.
    assert_eq!(found["other_way"]["whiten"], !found["whiten"].as_bool().expect("a setting"));
    assert!((0.0..=1.0).contains(&number(&found["other_way"], "micro_ap")), "{}", found["other_way"]);
    let unlike: Vec<f64> = thresholds.iter().map(|row| number(row, "unlike")).collect();
    assert!(unlike.is_sorted_by(|a, b| a >= b) && unlike[0] > 0.0 && unlike[100] < 0.5, "{unlike:?}");
    for known in suggestions.iter().filter(|known| !known["cautious"].is_null()) {
        let row = thresholds.iter().find(|row| row["threshold"] == known["cautious"]["threshold"]).expect("a row");
        assert!(number(row, "unlike") < 1.0, "one of 24 images is more than one in a hundred: {row}");
    }

    // A lower threshold drops more.
    let drops: Vec<f64> = thresholds.iter().map(|row| number(row, "drops")).collect();
    assert!(
        drops.is_sorted_by(|a, b| a >= b) && drops[0] > 0.9 * references && drops[100] < 0.1 * references,
        "{drops:?}"
    );

    // The tables say the same, and name the pairs.
    assert_eq!(rows(&one.join("thresholds.parquet")).len(), 101);
    let table = rows(&one.join("copies.parquet"));
    assert_eq!(table.len(), 720);
    let score = |row: &Vec<(String, String)>| cell(row, "score").parse::<f64>().expect("a score");
    let over = table.iter().filter(|row| score(row) >= 0.78).count();
    assert_eq!(u64::try_from(over).ok(), at_step["right"].as_u64());
    assert!(table.iter().all(|row| cell(row, "nearest_other") != cell(row, "id")));
    let alike = rows(&one.join("alike.parquet"));
    assert_eq!(u64::try_from(alike.len()).ok(), found["alike"].as_u64());
    assert!(!alike.is_empty(), "the example plants copies");
    let pair = |row: &Vec<(String, String)>, other: &str| (cell(row, "id").to_owned(), cell(row, other).to_owned());
    let wrong: HashSet<_> = table.iter().map(|row| pair(row, "nearest_other")).collect();
    assert!(alike.iter().all(|row| !wrong.contains(&pair(row, "other"))), "undecided is not wrong");
}

#[test]
fn a_seed_draws_a_sample_and_a_larger_one_holds_the_smaller() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "embed"])));
    let ids = |images: &str, more: &[&str]| {
        let out = folder.path().join("out");
        calibrated(&work, images, &[more, &["--out", &out.to_string_lossy()]].concat());
        let table = rows(&out.join("copies.parquet"));
        let mut ids: Vec<String> = table.iter().map(|row| cell(row, "id").to_owned()).collect();
        ids.dedup();
        ids
    };
    let (small, large, other) = (ids("4", &[]), ids("9", &[]), ids("9", &["--set", "seed=5"]));
    assert_eq!((small.len(), large.len()), (4, 9));
    assert!(small.iter().all(|id| large.contains(id)));
    assert_ne!(large, other);
}

#[test]
fn normalised_scores_are_compared_with_the_other_half() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "embed"])));
    let plain = calibrated(&work, "24", &[]);
    let found = calibrated(&work, "24", &["--normalise"]);
    assert!(plain["normalised"] == false && found["normalised"] == true && plain["background"].is_null());
    let (references, background) = (number(&found, "references"), number(&found, "background"));
    assert!((references + background - number(&plain, "references")).abs() < 0.5, "{references} {background}");
    assert!(background > 0.3 * references, "{background} {references}");
    assert_eq!(list(&found, "thresholds").len(), 201, "scores may be negative");
    assert!((0.3..=1.0).contains(&number(&found, "micro_ap")));
    // With half of the others left to be confused with, plain cosines do no worse than with all of
    // them.
    assert!(number(&found, "cosine_micro_ap") >= number(&plain, "micro_ap") && plain["cosine_micro_ap"].is_null());
    // Written where nobody said otherwise, and shown as a table that says what the scores are.
    assert!(work.join("_calibrate/dedup/summary.json").exists());
    let said = run(&strs(&on_example("calibrate", &work, &["dedup", "--images", "6", "--normalise"])));
    assert!(said.contains("normalised") && said.contains("micro-AP") && !said.contains("this step"), "{said}");
}

#[test]
fn what_is_missing_is_said_before_any_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let fails = |more: &[&str]| failure(&strs(&on_example("calibrate", &work, more)));
    let (code, said) = fails(&["dedup"]);
    assert!(code == 2 && said.contains("embed/copy") && said.contains("hint: lvd run"), "{said}");
    let (code, said) = fails(&[]);
    assert!(code == 2 && said.contains("step \"dedup\" reads") && said.contains("hint: lvd run"), "{said}");
    let (code, said) = fails(&["cluster"]);
    assert!(code == 2 && said.contains("is a cluster step") && said.contains("hint: calibrate a dedup step"), "{said}");
    let (code, said) = fails(&["nowhere"]);
    assert!(code == 2 && said.contains("nowhere") && said.contains("hint: steps are"), "{said}");
    let (code, said) = fails(&["dedup", "--images", "1"]);
    assert!(code == 2 && said.contains("at least 2"), "{said}");
}

#[test]
fn a_threshold_is_measured_before_there_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (work, file) = (folder.path().join("work"), folder.path().join("quickstart.toml"));
    let text = std::fs::read_to_string(crate::common::EXAMPLE.join("quickstart.toml")).expect("the example's file");
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("threshold = 0.78")).collect();
    assert_eq!(without.len() + 1, text.lines().count(), "{text}");
    let absolute =
        without.join("\n").replace("= \"models/", &format!("= \"{}/models/", crate::common::EXAMPLE.display()));
    std::fs::write(&file, absolute).expect("room");
    for name in std::fs::read_dir(&*crate::common::EXAMPLE).expect("the example").flatten() {
        if name.path().is_dir() && !folder.path().join(name.file_name()).exists() {
            std::os::unix::fs::symlink(name.path(), folder.path().join(name.file_name())).expect("a link");
        }
    }
    let (file, work) = (file.to_string_lossy().into_owned(), work.to_string_lossy().into_owned());
    let with = |command: &[&str]| -> Vec<String> {
        let all = [&command[..1], &[file.as_str(), "--work", &work], &command[1..]].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    // Whatever needs the threshold says so before it starts, and what is above does not need it.
    for command in [&["run"][..], &["dedup"], &["plan"], &["check"]] {
        let (code, said) = failure(&strs(&with(command)));
        assert!(code == 2 && said.contains("steps.dedup") && said.contains("lvd calibrate"), "{command:?}: {said}");
    }
    run(&strs(&with(&["run", "--to", "embed", "--quiet"])));
    let found = run(&strs(&with(&["calibrate", "--images", "8", "--json", "--quiet"])));
    let mut steps = serde_json::Deserializer::from_str(&found).into_iter::<Value>();
    let dedup = steps.next().expect("a step").expect("JSON");
    assert!(dedup["step"] == "dedup" && dedup["threshold"].is_null(), "{dedup}");
    assert_eq!(list(&dedup, "thresholds").len(), 101);
    assert!(steps.next().is_none(), "the second reads what the first has yet to make");
    let table = run(&strs(&with(&["calibrate", "dedup", "--images", "8", "--quiet"])));
    assert!(!table.contains("this step") && table.contains("whitened: micro-AP"), "{table}");
}

#[test]
fn vectors_of_another_model_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "embed"])));
    let other = ["dedup", "--images", "4", "--set", "embedders.copy.squash=false"];
    let (code, said) = failure(&strs(&on_example("calibrate", &work, &other)));
    assert!(code == 1 && said.contains("cosine of") && said.contains("hint: the model"), "{said}");
}

#[test]
fn the_table_marks_the_step_and_names_what_comes_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "clean"])));
    // Against references the pool is what the first step left.
    let output = output(&strs(&on_example("calibrate", &work, &["clean", "--images", "5"])));
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let step = table.lines().find(|line| line.starts_with("this step")).unwrap_or_else(|| panic!("{table}"));
    assert!(step.contains("0.75"), "{step}");
    assert!(
        table.contains("recall") && table.contains("flip_vertical") && table.contains("lowest threshold"),
        "{table}"
    );
    assert!(said.contains("clean: edit and embed images, 5 rows") && said.contains("thresholds.parquet"), "{said}");
    let summary = std::fs::read(work.join("dedup/summary.json")).expect("a summary");
    let survivors = serde_json::from_slice::<Value>(&summary).expect("JSON")["rows_out"].as_u64().expect("a number");
    let first = table.lines().next().expect("a line");
    assert!(first.contains(&format!("with {survivors} images")), "{survivors}: {first}");

    // More than there are cannot be drawn, and are not asked for.
    let output = crate::common::output(&strs(&on_example("calibrate", &work, &["clean", "--images", "400"])));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("clean: 40 images are edited in 30 ways"), "{said}");
    assert!(said.contains("40 images say little") && said.contains("there are no more"), "{said}");
}

#[test]
fn copies_are_compared_with_what_the_step_compares() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let set = ["--set", "dedup.sources=[\"web\"]"];
    run(&strs(&on_example("run", &work, &[&["--to", "dedup"], &set[..]].concat())));
    let count = |step: &str, key: &str| {
        let summary = std::fs::read(work.join(step).join("summary.json")).expect("a summary");
        serde_json::from_slice::<Value>(&summary).expect("JSON")["counters"][key].as_f64().expect("a count")
    };
    let apart = count("dedup", "not_compared");
    let found = calibrated(&work, "4", &set);
    let all = number(&calibrated(&work, "4", &[]), "references");
    assert!(apart > 50.0 && (number(&found, "references") + apart - all).abs() < 0.5, "{apart} of {all}");

    // Copies of reference images are compared with the pool.
    let args = ["clean", "--images", "4", "--json", "--quiet"];
    let clean: Value =
        serde_json::from_str(&run(&strs(&on_example("calibrate", &work, &[&args[..], &set].concat())))).expect("JSON");
    let dropped = count("dedup", "components");
    assert!(number(&clean, "references") < all && dropped > 0.0, "{clean}");
    let ids: HashSet<String> =
        rows(&work.join("_calibrate/clean/copies.parquet")).iter().map(|row| cell(row, "id").to_owned()).collect();
    let held: HashSet<String> = crate::common::table(&work.join("ingest"))
        .iter()
        .filter(|row| cell(row, "source") == "holdout")
        .map(|row| cell(row, "id").to_owned())
        .collect();
    assert!(ids.len() == 4 && ids.is_subset(&held), "{ids:?}");
}

#[test]
fn a_step_that_drops_much_asks_for_a_calibration() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let says = |threshold: &str| {
        let set = format!("dedup.threshold={threshold}");
        let low = ["--to", "dedup", "--set", "dedup.edge_floor=0.3", "--set", &set];
        let output = output(&strs(&on_example("run", &work, &low)));
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let low = says("0.4");
    assert!(
        low.contains("no calibration backs the threshold of 0.4: it may drop what is no copy; lvd calibrate"),
        "{low}"
    );
    assert!(low.contains("more than 20 images"), "{low}");
    assert!(low.contains("linked to the one that stays by a chain alone"), "{low}");
    run(&strs(&on_example("calibrate", &work, &["dedup", "--images", "8"])));
    let lower = says("0.39");
    assert!(lower.contains("the calibration gives the threshold of 0.39 a precision of 0."), "{lower}");
    let summary = std::fs::read(work.join("_calibrate/dedup/summary.json")).expect("a summary");
    let summary: Value = serde_json::from_slice(&summary).expect("json");
    let precise = |row: &&Value| row["precision"].as_f64().is_some_and(|precision| precision >= 0.9);
    let rows = summary["thresholds"].as_array().expect("thresholds");
    let threshold = rows.iter().filter(precise).filter_map(|row| row["threshold"].as_f64()).min_by(f64::total_cmp);
    let backed = says(&threshold.expect("one that is precise").to_string());
    assert!(!backed.contains("precision of"), "{backed}");
}

/// Starts a calibration and interrupts it once it has kept an image; whether it was in time.
fn was_stopped(args: &[String], out: &Path) -> bool {
    let mut start = lvd();
    let mut child = start.args(strs(args)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("lvd");
    // What is being written has a longer name.
    let is_whole = |entry: std::fs::DirEntry| entry.file_name().len() == 16;
    let kept = || std::fs::read_dir(out.join("_kept")).is_ok_and(|entries| entries.flatten().any(is_whole));
    while !kept() && child.try_wait().expect("it can be waited for").is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = child.id().to_string();
    // It may be gone by now.
    let _ = std::process::Command::new("kill").args(["-INT", &pid]).stderr(Stdio::null()).status();
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    match ended.status.code() {
        Some(0) => false,
        Some(130) => {
            assert!(said.contains("stopped: run the same command to go on"), "{said}");
            true
        }
        code => panic!("{code:?}: {said}"),
    }
}

#[test]
fn one_that_was_stopped_goes_on_and_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (work, out) = (folder.path().join("work"), folder.path().join("out"));
    run(&strs(&on_example("run", &work, &["--to", "embed"])));
    let whole = calibrated(&work, "24", &["--out", &folder.path().join("whole").to_string_lossy()]);

    let args = on_example("calibrate", &work, &["dedup", "--images", "24", "--out", &out.to_string_lossy()]);
    // On a busy machine it may have ended before it is told to.
    let stopped = (0..10).any(|_| {
        let _ = std::fs::remove_dir_all(&out);
        was_stopped(&[args.clone(), vec!["--quiet".into()]].concat(), &out)
    });
    assert!(stopped, "it ended ten times before it was told to");
    assert!(!out.join("summary.json").exists());

    let again = output(&strs(&args));
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success() && said.contains("were embedded by a command that was stopped"), "{said}");
    assert!(!out.join("_kept").exists());
    let summary = std::fs::read(out.join("summary.json")).expect("a summary");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!(summary["thresholds"], whole["thresholds"]);
    assert_eq!(content(&out), content(&folder.path().join("whole")), "the tables, to the byte");
}
