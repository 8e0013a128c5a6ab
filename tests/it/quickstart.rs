//! The whole pipeline on the built-in example, by the real binary.

use std::collections::{BTreeMap, HashSet};

use crate::common::{cell, content, failure, on_example, output, parquet_files, rows, run, strs};

#[test]
fn a_run_gives_what_it_says_and_a_second_skips_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let args = on_example("run", &work, &[]);
    let table = run(&strs(&args));
    for step in ["ingest", "embed", "dedup", "clean", "cluster", "retrieve", "sample", "export"] {
        assert!(table.contains(&format!("\n{step} ")), "{step} is missing:\n{table}");
    }

    // Every step's report adds up, and so does every task's.
    for step in ["ingest", "embed", "dedup", "clean", "cluster", "retrieve", "sample", "export"] {
        let summary: serde_json::Value =
            serde_json::from_slice(&std::fs::read(work.join(step).join("summary.json")).expect("a summary"))
                .expect("JSON");
        let drops: u64 =
            summary["drops"].as_object().expect("drops").values().filter_map(serde_json::Value::as_u64).sum();
        assert_eq!(summary["rows_in"].as_u64(), summary["rows_out"].as_u64().map(|out| out + drops), "{step}");
        let mut balance: BTreeMap<(String, String), i64> = BTreeMap::new();
        for row in rows(&work.join(step).join("report.parquet")) {
            let number = |column: &str| cell(&row, column).parse::<i64>().unwrap_or(0);
            let task = (cell(&row, "phase").to_owned(), cell(&row, "task").to_owned());
            *balance.entry(task).or_default() += number("rows_in") - number("rows_out") - number("count");
        }
        assert!(balance.values().all(|&left| left == 0), "{step}: {balance:?}");
    }

    // Of a pair, the one that goes is over the threshold from the one that stays.
    let groups: Vec<_> = parquet_files(&work.join("dedup"))
        .into_iter()
        .filter(|path| path.parent() == Some(&work.join("dedup")))
        .collect();
    let groups = groups.iter().filter(|path| path.to_string_lossy().contains("/part-")).flat_map(|path| rows(path));
    let gone: Vec<_> = groups.filter(|row| cell(row, "size") == "2" && cell(row, "kept") == "false").collect();
    assert!(gone.len() > 5);
    assert!(gone.iter().all(|row| cell(row, "similarity").parse::<f32>().expect("a cosine") >= 0.78), "{gone:?}");

    // The data set: ids once, as many as the sample says, every image with its reason.
    let exported: Vec<_> = parquet_files(&work.join("export/data")).iter().flat_map(|path| rows(path)).collect();
    let ids: HashSet<String> = exported.iter().map(|row| cell(row, "id").to_owned()).collect();
    assert_eq!((exported.len(), ids.len()), (200, 200));
    assert!(exported.iter().all(|row| ["seed", "retrieved", "balanced"].contains(&cell(row, "why"))));
    let images: u64 = rows(&work.join("export/composition.parquet"))
        .iter()
        .map(|row| cell(row, "images").parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(images, 200);
    // The shuffle mixes sources within shards.
    let first: HashSet<String> =
        rows(&parquet_files(&work.join("export/data"))[0]).iter().map(|row| cell(row, "source").to_owned()).collect();
    assert!(first.len() >= 3, "{first:?}");

    let before = content(&work);
    let again = output(&strs(&args));
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success());
    assert_eq!(said.matches(": up to date").count(), 8, "{said}");
    assert_eq!(content(&work), before);
}

#[test]
fn threads_tasks_and_stages_one_by_one_give_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two, staged) = (folder.path().join("1"), folder.path().join("2"), folder.path().join("staged"));
    run(&strs(&on_example("run", &one, &["--threads", "1"])));
    run(&strs(&on_example("run", &two, &["--threads", "2", "--tasks-at-once", "3"])));
    for stage in ["ingest", "embed", "dedup", "cluster", "retrieve", "sample", "export"] {
        run(&strs(&on_example(stage, &staged, &[])));
    }
    assert_eq!(content(&one), content(&two));
    assert_eq!(content(&one), content(&staged));
}

#[test]
fn a_changed_threshold_runs_what_hangs_on_it_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &[])));
    let before = content(&work);
    let change = ["--set", "dedup.threshold=0.95"];
    let plan = run(&strs(&on_example("plan", &work, &change)));
    let line = |step: &str| plan.lines().find(|line| line.starts_with(step)).unwrap_or_default().to_owned();
    assert!(line("ingest").contains("up to date") && line("embed").contains("up to date"), "{plan}");
    assert!(line("dedup").contains("1 of 1 tasks of components") && line("dedup").contains("threshold 0.78"), "{plan}");
    assert!(line("export").contains("once its inputs are new"), "{plan}");
    assert_eq!(content(&work), before, "plan touches nothing");
    run(&strs(&on_example("run", &work, &change)));
    assert_ne!(content(&work), before);
    run(&strs(&on_example("run", &work, &[])));
    assert_eq!(content(&work), before, "back to the old threshold, back to the old bytes");
}

#[test]
fn cells_find_what_comparing_every_pair_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let decided = |more: &[&str]| {
        run(&strs(&on_example("run", &work, &[&["--to", "dedup"], more].concat())));
        let summary = std::fs::read(work.join("dedup/summary.json")).expect("a summary");
        let summary: serde_json::Value = serde_json::from_slice(&summary).expect("JSON");
        let decisions = content(&work).into_iter().filter(|(path, _)| path.starts_with("dedup/part-"));
        (decisions.collect::<Vec<_>>(), summary["facts"]["cells"].as_u64())
    };
    let (exact, none) = decided(&[]);
    let cells = ["--set", "dedup.exact_up_to=0", "--set", "dedup.cell_images=16", "--set", "dedup.recall=1"];
    let (found, cells) = decided(&cells);
    assert!(none.is_none() && cells.is_some_and(|cells| cells > 20), "{cells:?} cells");
    assert!(!exact.is_empty() && found == exact, "all near pairs are found, so the decisions are the same bytes");
}

#[test]
fn ingested_images_are_not_replaced_by_surprise() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("ingest", &work, &[])));
    let (code, said) = failure(&strs(&on_example("ingest", &work, &["--set", "ingest.min_side=64"])));
    assert_eq!(code, 1);
    assert!(said.contains("--replace"), "{said}");
    run(&strs(&on_example("ingest", &work, &["--set", "ingest.min_side=64", "--replace"])));
}

#[test]
fn one_task_can_be_run_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "ingest"])));
    let marker = std::fs::read_dir(work.join("ingest/_done/fetch"))
        .expect("markers")
        .next()
        .expect("one")
        .expect("an entry")
        .path();
    std::fs::remove_file(&marker).expect("a marker goes");
    let status = run(&strs(&on_example("status", &work, &[])));
    assert!(status.lines().any(|line| line.starts_with("ingest") && line.contains("open")), "{status}");
    let tasks = |work: &std::path::Path| -> serde_json::Value {
        serde_json::from_str(&run(&strs(&on_example("plan", work, &["--tasks", "json"])))).expect("JSON")
    };
    let plan = tasks(&work);
    let open = plan["tasks"].as_array().expect("tasks");
    assert_eq!((open.len(), &open[0]["step"], &open[0]["phase"]), (1, &"ingest".into(), &"fetch".into()), "{plan}");
    let place = work.to_string_lossy().into_owned();
    // A task that is done is done, and one that is not needs the work folder only.
    for number in ["0", "1", &open[0]["number"].to_string()] {
        run(&["task", &place, "ingest", "fetch", number]);
    }
    let (code, said) = failure(&["task", &place, "ingest", "fetch", "999"]);
    assert!(code == 1 && said.contains("and no task"), "{said}");
    let (code, said) = failure(&["task", &place, "embed", "embed", "0"]);
    assert!(code == 2 && said.contains("not open"), "{said}");
    let next = tasks(&work);
    assert_eq!(next["tasks"][0]["step"], "embed", "{next}");
    // Whoever comes too late finds the step whole, and nothing to do.
    run(&["task", &place, "ingest", "fetch", "0"]);
    failure(&["task", &place, "ingest", "fetch", "999"]);
    let status = run(&strs(&on_example("status", &work, &[])));
    assert!(status.lines().any(|line| line.starts_with("ingest") && line.contains("done")), "{status}");
}

#[test]
fn many_failed_rows_are_a_loud_failure_after_the_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let (code, said) = failure(&strs(&on_example("ingest", &work, &["--set", "ingest.max_failed_share=0.001"])));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("max_failed_share") && said.contains("hint: lvd report"), "{said}");
    assert!(work.join("ingest/summary.json").exists());
}

#[test]
fn a_second_driver_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    std::fs::create_dir_all(&work).expect("a folder");
    let lock = std::fs::File::create(work.join(".lock")).expect("a lock");
    lock.lock().expect("locked");
    let (code, said) = failure(&strs(&on_example("run", &work, &[])));
    assert_eq!(code, 1);
    assert!(said.contains("another lvd is running"), "{said}");
}
