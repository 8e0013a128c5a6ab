//! What the options of retrieve promise, on the built-in example.

use std::collections::BTreeMap;

use crate::common::rows::*;
use crate::common::{cell, failure, on_example, run, strs, table};

#[test]
fn what_several_seeds_find_counts_as_it_is_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let retrieved = |settings: &[&str]| {
        curated(&work, settings);
        table(&work.join("retrieve"))
    };
    let once = retrieved(&[]);
    let seeds = table(&work.join("ingest")).iter().filter(|row| cell(row, "source") == "sailing").count() as u64;
    let sailing = of_set(&once, "sailing");
    assert_eq!(ids(&once).len(), once.len(), "an image once");
    assert!((sailing.len() as u64) < 4 * seeds, "some likes are shared by several seeds");

    let next = retrieved(&["retrieve.collisions=next"]);
    assert_eq!(ids(&next).len(), next.len(), "an image once");
    let of_each = of_set(&next, "sailing").iter().fold(BTreeMap::new(), |mut counts: BTreeMap<String, u64>, row| {
        *counts.entry(cell(row, "seed_id").to_owned()).or_default() += 1;
        counts
    });
    assert!(of_each.values().all(|&count| count <= 4), "{of_each:?}");
    assert!(of_each.values().sum::<u64>() > sailing.len() as u64, "the next neighbours step in");

    let twice = retrieved(&["retrieve.collisions=twice"]);
    let counted: u64 = of_set(&twice, "sailing").iter().map(|row| number(row, "times")).sum();
    assert_eq!(counted, 4 * seeds, "as many as k times the seeds, as in Table 15");
    let copies: u64 = table(&work.join("sample"))
        .iter()
        .filter(|row| cell(row, "why") == "retrieved")
        .map(|row| number(row, "copies"))
        .sum();
    assert_eq!(copies, twice.iter().map(|row| number(row, "times")).sum::<u64>(), "and so in the data set");
}

#[test]
fn a_seed_that_loses_its_neighbours_looks_as_far_as_it_has_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    // Every seed wants the same few: a list of four times k ends long before all have k.
    let next = |k: u64| {
        curated(&work, &["retrieve.collisions=next", &format!("retrieve.sets.sailing.k={k}")]);
        let seeds = table(&work.join("ingest")).iter().filter(|row| cell(row, "source") == "sailing").count() as u64;
        let sailing = of_set(&table(&work.join("retrieve")), "sailing");
        assert_eq!(ids(&sailing).len(), sailing.len(), "an image once");
        (seeds, sailing.len() as u64, counter(&work, "retrieve", "missing_for_sailing").expect("a count"))
    };
    let (seeds, found, missing) = next(8);
    assert_eq!((found, missing), (8 * seeds, 0));
    let pool = table(&work.join("clean")).iter().filter(|row| cell(row, "kept") == "true").count() as u64;
    let k = pool / seeds + 1;
    let (seeds, found, missing) = next(k);
    assert_eq!(found + missing, k * seeds);
    let copies = counter(&work, "retrieve", "copies_of_seeds").unwrap_or(0);
    assert!(found <= pool && found + copies >= pool, "{found} of {pool}: the pool is exhausted");
    let settings = ["retrieve", "--set", "retrieve.collisions=next", "--set", &format!("retrieve.sets.sailing.k={k}")];
    let report = run(&strs(&on_example("report", &work, &settings)));
    assert!(report.contains(&format!("{missing} fewer than {k} for each of its {seeds}")), "{report}");
}

#[test]
fn a_seed_set_of_which_nothing_is_usable_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let (work, junk) = (folder.path().join("work"), folder.path().join("junk"));
    std::fs::create_dir(&junk).expect("a folder");
    std::fs::write(junk.join("a.jpg"), "no picture").expect("a file");
    let source = format!("sources.junk={{ role = \"seed\", folder = {junk:?} }}");
    let all = ["--set", &source, "--set", "ingest.max_failed_share=1.0"];
    for rule in ["method = \"sample\"", "method = \"cluster\""] {
        let set = format!("retrieve.sets.junk={{ {rule} }}");
        let (_, said) = failure(&strs(&on_example("run", &work, &[&all[..], &["--set", &set]].concat())));
        assert!(said.contains("junk"), "{rule}: {said}");
    }
    let (_, said) = failure(&strs(&on_example("run", &work, &all)));
    assert!(said.contains("junk"), "the sample would be without it: {said}");
}

#[test]
fn inverted_lists_find_what_comparing_everything_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let retrieved = |search: &str, recall: &str| {
        curated(&work, &[&format!("retrieve.search={search}"), &format!("retrieve.recall={recall}")]);
        table(&work.join("retrieve"))
    };
    let exact = retrieved("exact", "0.99");
    assert_eq!(retrieved("ivf", "1.0"), exact, "all that is needed is looked at");
    for codes in ["sq8", "pq"] {
        curated(&work, &["retrieve.search=ivf", "retrieve.recall=1.0", &format!("retrieve.codes={codes}")]);
        assert_eq!(
            table(&work.join("retrieve")),
            exact,
            "{codes}: what is proposed is decided by the vectors themselves"
        );
    }
    let few = ids(&of_set(&retrieved("ivf", "0.5"), "sailing"));
    let exact = ids(&of_set(&exact, "sailing"));
    assert!(few.intersection(&exact).count() * 2 > exact.len(), "{} of {}", few.len(), exact.len());
}

#[test]
fn copies_of_seeds_give_way_to_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let sailing = |ceiling: &str| {
        curated(&work, &["retrieve.sets.sailing.k=2", &format!("retrieve.copy_similarity={ceiling}")]);
        of_set(&table(&work.join("retrieve")), "sailing")
    };
    let similarity = |row: &Vec<(String, String)>| cell(row, "similarity").parse::<f32>().expect("a cosine");
    let all = sailing("2.0");
    let ceiling = all.iter().map(similarity).fold(0.0, f32::max) - 0.001;
    let fewer = sailing(&ceiling.to_string());
    assert!(fewer.iter().all(|row| similarity(row) < ceiling));
    assert!(fewer.len() + 3 >= all.len(), "{} instead of {}: the next ones step in", fewer.len(), all.len());
}

#[test]
fn caps_keep_what_their_rule_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let night = |rule: &str, cap: &str| {
        let settings = [
            "retrieve.sets.night.per_cluster=30".to_owned(),
            "retrieve.sets.night.more_than=0".to_owned(),
            format!("retrieve.sets.night.cap={cap}"),
            format!("retrieve.sets.night.cap_draw={rule}"),
        ];
        curated(&work, &settings.iter().map(String::as_str).collect::<Vec<_>>());
        of_set(&table(&work.join("retrieve")), "night")
    };
    let by_cluster = |rows: &Rows| {
        rows.iter().fold(BTreeMap::new(), |mut counts: BTreeMap<String, usize>, row| {
            *counts.entry(cell(row, "cluster").to_owned()).or_default() += 1;
            counts
        })
    };
    let all = night("random", "1000");
    let whole = by_cluster(&all);
    let cap = all.len() / 2;
    for rule in ["random", "even", "nearest"] {
        let some = night(rule, &cap.to_string());
        assert_eq!(some.len(), cap, "{rule}");
        assert!(ids(&some).is_subset(&ids(&all)), "{rule}");
        if rule == "even" {
            // Water filling: a cluster that gives less than the most gives all it has, or one less
            // than the most.
            let counts = by_cluster(&some);
            let most = counts.values().max().copied().unwrap_or(0);
            let fine = whole.iter().all(|(cluster, &size)| {
                let count = counts.get(cluster).copied().unwrap_or(0);
                count == size || count + 1 >= most
            });
            assert!(fine, "{counts:?} of {whole:?}");
        }
    }
}
