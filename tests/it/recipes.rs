//! What the options of cluster and sample promise, on the built-in example.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::rows::*;
use crate::common::{cell, content, failure, on_example, parquet_files, run, strs, table};

#[test]
fn training_images_are_exactly_as_many_as_asked_for_of_those_that_are_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let clustered = |settings: &[&str]| {
        // A low threshold leaves few of the pool.
        let all = [&["--to", "cluster", "--set", "dedup.threshold=0.5", "--set", "dedup.edge_floor=0.4"][..], settings]
            .concat();
        on_example("run", &work, &all)
    };
    let trained = |each: u32, clusters: &str, seed: u32| {
        let settings = [format!("cluster.points_per_centroid={each}"), format!("cluster.clusters={clusters}")];
        let seed = format!("seed={seed}");
        run(&strs(&clustered(&["--set", &settings[0], "--set", &settings[1], "--set", &seed])));
        counter(&work, "cluster", "training_images").expect("a count")
    };
    for seed in 0..4 {
        assert_eq!(trained(1, "[20]", seed), 20, "never fewer than clusters");
    }
    assert_eq!(trained(3, "[20]", 1), 60);
    let sources: BTreeMap<u64, String> =
        table(&work.join("ingest")).iter().map(|row| (number(row, "id"), cell(row, "source").to_owned())).collect();
    let left = table(&work.join("clean"))
        .iter()
        .filter(|row| cell(row, "kept") == "true")
        .filter(|row| ["web", "news", "archive"].contains(&sources[&number(row, "id")].as_str()))
        .count() as u64;
    assert!(left < 300, "{left} of 400");
    assert_eq!(trained(256, "[20]", 1), left, "all that are left");
    assert_eq!(trained(1, &format!("[{left}]"), 1), left, "as many clusters as images");
    let too_many = format!("cluster.clusters=[{}]", left + 1);
    for spread in ["cluster.spread=0", "cluster.spread=2"] {
        let (_, said) = failure(&strs(&clustered(&["--set", &too_many, "--set", spread])));
        let expected = format!("{left} images are too few for {} clusters", left + 1);
        assert!(said.contains(&expected) && said.contains("hint:"), "expected {expected:?} in {said}");
    }
    // Each split draws its own share.
    let splits = ["--set", "cluster.splits=2", "--set", "cluster.points_per_centroid=2", "--set", "seed=1"];
    run(&strs(&clustered(&[&splits[..], &["--set", "cluster.clusters=[20]"]].concat())));
    assert_eq!(counter(&work, "cluster", "training_images"), Some(40));
}

#[test]
fn a_target_below_the_seeds_is_kept_where_nothing_is_filled_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    curated(&work, &["sample.fill=false"]);
    let whole = table(&work.join("sample"));
    let seeds = whole.iter().filter(|row| cell(row, "why") == "seed").count() as u64;
    let all = whole.len() as u64;
    let of = |target: u64| {
        curated(&work, &["sample.fill=false", &format!("sample.target={target}")]);
        let rows = table(&work.join("sample"));
        let of_why = |why: &str| rows.iter().filter(|row| cell(row, "why") == why).count() as u64;
        (of_why("seed"), of_why("retrieved"), of_why("balanced"))
    };
    assert!(seeds > 10 && all > seeds + 5 && all < 200, "{seeds} of {all}");
    assert_eq!(of(seeds + 5), (seeds, 5, 0), "seeds first");
    assert_eq!(of(seeds - 10), (seeds - 10, 0, 0), "no more than the target");
    assert_eq!(of(1), (1, 0, 0));
    let report =
        run(&strs(&on_example("report", &work, &["sample", "--set", "sample.fill=false", "--set", "sample.target=1"])));
    assert!(report.contains(&format!("the seed sets hold {seeds} images, more than the target of 1")), "{report}");
    let (_, said) = failure(&strs(&on_example("run", &work, &["--set", "sample.target=1"])));
    assert!(said.contains("a data set of 1, and the seed sets alone") && said.contains("raise `target`"), "{said}");
}

#[test]
fn clusters_of_a_higher_level_hold_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let night = |level: &str| {
        let level = format!("retrieve.sets.night.level={level}");
        curated(&work, &[&level, "retrieve.sets.night.more_than=0", "retrieve.sets.night.per_cluster=1000"]);
        of_set(&table(&work.join("retrieve")), "night")
    };
    let (fine, coarse) = (night("1"), night("2"));
    assert!(ids(&coarse).len() > ids(&fine).len(), "{} and {}", coarse.len(), fine.len());
    let parents: BTreeMap<String, String> = table(&work.join("cluster/tree"))
        .iter()
        .filter(|node| cell(node, "level") == "1")
        .map(|node| (cell(node, "cluster").to_owned(), cell(node, "parent").to_owned()))
        .collect();
    let assigned: BTreeMap<u64, String> = table(&work.join("cluster"))
        .iter()
        .map(|row| (number(row, "id"), parents[cell(row, "cluster")].clone()))
        .collect();
    assert!(coarse.iter().all(|row| assigned[&number(row, "id")] == cell(row, "cluster")));
}

#[test]
fn quotas_caps_and_rules_of_the_draw_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let drawn = |settings: &[&str]| -> Rows {
        curated(&work, settings);
        table(&work.join("sample")).into_iter().filter(|row| cell(row, "why") == "balanced").collect()
    };
    let of_clusters = |rows: &Rows| {
        rows.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<String, u64>, row| {
            *counts.entry(cell(row, "cluster").to_owned()).or_default() += number(row, "copies");
            counts
        })
    };
    let plain = drawn(&[]);
    let sources: BTreeMap<u64, String> =
        table(&work.join("ingest")).iter().map(|row| (number(row, "id"), cell(row, "source").to_owned())).collect();
    let of = |rows: &Rows, source: &str| rows.iter().filter(|row| sources[&number(row, "id")] == source).count();

    let quota = drawn(&["sample.quotas={ web = 11 }"]);
    assert_eq!((quota.len(), of(&quota, "web")), (plain.len(), 11));
    assert!(of(&plain, "web") > 11);

    let capped = drawn(&["sample.per_cluster=3"]);
    assert!(of_clusters(&capped).values().all(|&count| count <= 3));
    assert!(capped.len() < plain.len());
    let report = run(&strs(&on_example("report", &work, &["sample", "--set", "sample.per_cluster=3"])));
    assert!(report.contains("fewer than the target") && report.contains("no cluster may give more than 3"), "{report}");

    let copies = drawn(&["sample.target=600", "sample.max_copies=3"]);
    assert_eq!(
        copies.iter().map(|row| number(row, "copies")).sum::<u64>(),
        600 - table(&work.join("sample")).iter().filter(|row| cell(row, "why") != "balanced").count() as u64
    );
    assert!(copies.iter().all(|row| number(row, "copies") <= 3));

    let flat = drawn(&["sample.balance=flat"]);
    let sizes = of_clusters(&flat);
    let most = sizes.values().max().copied().unwrap_or(0);
    assert!(sizes.values().filter(|&&count| count + 1 >= most).count() * 2 > sizes.len(), "{sizes:?}");

    let closest = drawn(&["sample.draw=closest", "sample.retrieve=none"]);
    let distances: BTreeMap<u64, (String, f32)> = table(&work.join("cluster"))
        .iter()
        .map(|row| (number(row, "id"), (cell(row, "cluster").to_owned(), cell(row, "distance").parse().expect("f32"))))
        .collect();
    let chosen = ids(&closest);
    let pool: Vec<u64> = table(&work.join("clean"))
        .iter()
        .filter(|row| cell(row, "kept") == "true")
        .map(|row| number(row, "id"))
        .filter(|id| ["web", "news", "archive"].contains(&sources[id].as_str()))
        .collect();
    for (cluster, count) in of_clusters(&closest) {
        let mut members: Vec<(f32, u64)> =
            pool.iter().filter(|id| distances[id].0 == cluster).map(|id| (distances[id].1, *id)).collect();
        members.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        let nearest: BTreeSet<u64> = members.iter().take(usize::try_from(count).expect("few")).map(|m| m.1).collect();
        assert!(nearest.is_subset(&chosen), "cluster {cluster}");
    }
}

#[test]
fn splits_cluster_their_own_shards_and_level_2_joins_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    curated(&work, &["cluster.splits=2", "cluster.starts=2", "cluster.tolerance=0.001"]);
    let mut shards: BTreeMap<u64, BTreeSet<bool>> = BTreeMap::new();
    let pool = table(&work.join("ingest"));
    let pool: BTreeSet<u64> = pool
        .iter()
        .filter(|row| ["web", "news", "archive"].contains(&cell(row, "source")))
        .map(|row| number(row, "id"))
        .collect();
    for row in table(&work.join("cluster")).iter().filter(|row| pool.contains(&number(row, "id"))) {
        // Of 20 clusters, the first ten are of the first split.
        shards.entry(number(row, "id") >> 24).or_default().insert(number(row, "cluster") < 10);
    }
    assert!(shards.values().all(|halves| halves.len() == 1), "{shards:?}");
    assert_eq!(shards.values().flatten().collect::<BTreeSet<_>>().len(), 2);
    let tree = table(&work.join("cluster/tree"));
    let parents = |first: bool| -> BTreeSet<String> {
        let level_1 = tree.iter().filter(|node| cell(node, "level") == "1");
        level_1
            .filter(|node| (number(node, "cluster") < 10) == first)
            .map(|node| cell(node, "parent").to_owned())
            .collect()
    };
    assert!(parents(true).intersection(&parents(false)).next().is_some(), "level 2 joins what was split");
    assert!(!parquet_files(&work.join("cluster")).is_empty() && !work.join("cluster/_checkpoint").join("x").exists());
}

#[test]
fn rounds_as_tasks_are_the_same_clustering() {
    let folder = tempfile::tempdir().expect("a folder");
    let clustered = |name: &str, settings: &[&str]| {
        let work = folder.path().join(name);
        let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
        run(&strs(&on_example("run", &work, &[&["--to", "cluster"], &set[..]].concat())));
        let summary = std::fs::read(work.join("cluster/summary.json")).expect("a summary");
        let summary: serde_json::Value = serde_json::from_slice(&summary).expect("JSON");
        let potential = summary["facts"]["potential_level_1"].as_f64().expect("a potential");
        let rows: BTreeMap<String, String> = table(&work.join("cluster"))
            .iter()
            .map(|row| (cell(row, "id").into(), cell(row, "cluster").into()))
            .collect();
        let scratch = std::fs::read_dir(work.join("cluster/sums"));
        assert!(scratch.map_or(true, |mut left| left.next().is_none()), "scratch is gone");
        let content: Vec<_> = content(&work).into_iter().filter(|(path, _)| path.starts_with("cluster/")).collect();
        (potential, rows, content)
    };
    // One part adds up in the order of one task, to the same bytes; empty clusters and norms
    // included.
    for more in [
        &[][..],
        &["cluster.spherical=true", "cluster.clusters=[90, 5]", "cluster.iterations=4"],
        &["cluster.points_per_centroid=4"],
    ] {
        let one = clustered("one", more);
        let part = clustered("part", &[&["cluster.spread=1"], more].concat());
        assert_eq!((one.0, &one.1), (part.0, &part.1), "{more:?}");
        let same = |content: &[(String, String)]| {
            content.iter().filter(|(path, _)| !path.contains("splits")).cloned().collect::<Vec<_>>()
        };
        assert_eq!(same(&one.2), same(&part.2));
        // More parts round otherwise, and nothing else.
        let parts = clustered("parts", &[&["cluster.spread=3"], more].concat());
        let moved = one.1.iter().filter(|(id, cluster)| parts.1.get(*id) != Some(*cluster)).count();
        assert!(
            (one.0 - parts.0).abs() <= 1e-3 * one.0 && moved * 50 <= one.1.len(),
            "{moved} moved, {} {}",
            one.0,
            parts.0
        );
    }
}
