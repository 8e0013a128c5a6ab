//! The pages of `lvd look`: whole in themselves, bounded, the same twice, and true to the tables.

mod browser;
mod page;
mod patches;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use self::page::{Page, thousands};
use crate::common::{cell, failure, on_example, output, run, strs, table};

const STEPS: [&str; 8] = ["ingest", "embed", "dedup", "clean", "cluster", "retrieve", "sample", "export"];

/// A run of the example with its pages, made once.
static LOOKED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    run(&strs(&on_example("run", &folder.path().join("work"), &["--look", "--quiet"])));
    folder
});

fn work() -> PathBuf {
    LOOKED.path().join("work")
}

fn page(name: &str) -> Page {
    Page::read(&work().join("look").join(format!("{name}.html")))
}

#[test]
fn every_step_has_a_page_that_needs_nothing_else() {
    let folder = work().join("look");
    let files: BTreeSet<String> = fs::read_dir(&folder)
        .expect("the pages")
        .map(|entry| entry.expect("a page").file_name().to_string_lossy().into_owned())
        .collect();
    let expected: BTreeSet<String> = STEPS.iter().chain(&["index"]).map(|step| format!("{step}.html")).collect();
    assert_eq!(files, expected);
    for step in STEPS.iter().chain(&["index"]) {
        let page = page(step);
        assert!(page.text.len() < 20_000_000, "{step}: {} bytes", page.text.len());
        for address in ["http://", "https://", "//cdn", "@import", "<link", "<iframe", "src="] {
            assert!(!page.text.contains(address), "{step} has {address}");
        }
        assert!(page.after("url(").all(|rest| rest.starts_with("data:image/jpeg;base64,")), "{step}");
        for target in page.after("href=\"").filter_map(|rest| rest.split('"').next()) {
            let leads = target == "#line" && page.text.contains("id=\"line\"") || files.contains(target);
            assert!(leads, "{step}: {target} leads nowhere");
        }
        // Each picture that is shown is there, once.
        let (shown, embedded) = (page.shown(), page.embedded());
        assert_eq!(shown, embedded.keys().cloned().collect(), "{step}");
        assert!(embedded.values().all(|&times| times == 1), "{step}: {embedded:?}");
        assert!(shown.len() <= 480 && (*step == "index" || shown.len() > 10), "{step}: {} pictures", shown.len());
    }
}

#[test]
fn the_same_tables_give_the_same_pages() {
    let read = || -> BTreeMap<&str, String> { STEPS.iter().map(|step| (*step, page(step).text)).collect() };
    let before = read();
    let index = run(&strs(&on_example("look", &work(), &["--threads", "1"])));
    assert_eq!(Path::new(index.trim()), work().join("look/index.html"));
    for (step, text) in read() {
        assert!(text == before[step], "{step} differs");
    }
}

#[test]
fn a_step_alone_has_its_page_and_the_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let (code, said) = failure(&strs(&on_example("look", &work, &[])));
    assert!(code == 2 && said.contains("no step is whole yet") && said.contains("hint: lvd run"), "{said}");
    run(&strs(&on_example("run", &work, &["--to", "ingest", "--quiet"])));
    let output = output(&strs(&on_example("look", &work, &["ingest"])));
    assert!(output.status.success(), "{output:?}");
    let names = || -> BTreeSet<_> {
        fs::read_dir(work.join("look")).expect("pages").flatten().map(|entry| entry.file_name()).collect()
    };
    assert_eq!(names(), ["index.html", "ingest.html"].map(Into::into).into());
    let index = Page::read(&work.join("look/index.html"));
    assert_eq!(index.rows().iter().filter(|row| row.contains(&"not run yet".to_owned())).count(), STEPS.len() - 1);
    for (step, expected) in [("embed", "\"embed\" is not whole yet"), ("imgest", "did you mean \"ingest\"")] {
        let (code, said) = failure(&strs(&on_example("look", &work, &[step])));
        assert!(code == 2 && said.contains(expected), "{step}: {said}");
    }
}

#[test]
fn the_index_has_the_rows_of_the_summaries() {
    let rows = page("index").rows();
    for step in STEPS {
        let text = fs::read(work().join(step).join("summary.json")).expect("a summary");
        let summary: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let row = rows.iter().find(|row| row[0] == step).expect("a row of the step");
        let [rows_in, rows_out] = ["rows_in", "rows_out"].map(|key| summary[key].as_u64().expect("a number"));
        assert_eq!(row[2..4], [thousands(rows_in), thousands(rows_out)], "{step}");
        for (reason, rows) in summary["drops"].as_object().expect("drops") {
            let drop = format!("{reason} {}", thousands(rows.as_u64().expect("a number")));
            assert!(row[4].contains(&drop), "{step}: {drop} in {row:?}");
        }
    }
}

#[test]
fn the_ladder_counts_the_pairs_of_the_table() {
    let mut pairs: BTreeMap<[u64; 2], f32> = BTreeMap::new();
    for row in table(&work().join("dedup/edges")) {
        let mut ends = ["id", "neighbour"].map(|column| cell(&row, column).parse().expect("an id"));
        ends.sort_unstable();
        pairs.insert(ends, cell(&row, "similarity").parse().expect("a cosine"));
    }
    let page = page("dedup");
    let rungs: Vec<[f32; 3]> = page.captions().iter().filter_map(|caption| rung(caption)).collect();
    assert!(rungs.len() > 4, "{:?}", page.captions());
    let mut counted = 0.0;
    for [low, high, n] in rungs {
        let inside = |x: f32| x >= low && (x < high || high > 0.9999);
        let expected = pairs.values().filter(|&&x| inside(x)).count();
        assert!(
            (n - f32::from(u16::try_from(expected).expect("few"))).abs() < 0.5,
            "{low} to {high}: {n}, not {expected}"
        );
        counted += n;
    }
    assert!(counted > 20.0, "{counted} pairs");
    // Above the line pairs are linked, and below it not.
    let (above, below) = page.text.split_once("id=\"line\"").expect("the line");
    assert!(above.contains(">dropped<") && !below.split("<details").next().expect("the ladder").contains("NaN"));
}

#[test]
fn a_page_is_of_what_ran_and_not_of_what_the_file_says_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("run", &work, &["--to", "dedup", "--quiet"])));
    let line = || {
        let page = Page::read(&work.join("look/dedup.html"));
        let line = page.after("id=\"line\">").next().and_then(|rest| rest.split('<').next()).map(str::to_owned);
        (line.expect("a line"), page.text.contains("It ran before the file was changed: threshold 0.78 -&gt; 0.9"))
    };
    run(&strs(&on_example("look", &work, &["dedup"])));
    assert_eq!(line(), ("threshold 0.78: copies above, others below".to_owned(), false));
    run(&strs(&on_example("look", &work, &["dedup", "--set", "dedup.threshold=0.9"])));
    assert_eq!(line(), ("threshold 0.78: copies above, others below".to_owned(), true));
}

/// The range and the count of `0.78 to 0.8: 12 pairs`.
fn rung(caption: &str) -> Option<[f32; 3]> {
    let (low, rest) = caption.split_once(" to ")?;
    let (high, count) = rest.split_once(": ")?;
    let count = count.split(' ').next()?.replace(',', "");
    Some([low.parse().ok()?, high.parse().ok()?, if count == "no" { 0.0 } else { count.parse().ok()? }])
}

#[test]
fn groups_are_those_of_the_table_the_largest_first() {
    let rows = table(&work().join("dedup"));
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for row in &rows {
        *sizes.entry(cell(row, "component").to_owned()).or_default() += 1;
    }
    let page = page("dedup");
    let groups: Vec<(u64, u64)> = page.captions().iter().filter_map(|caption| group(caption)).collect();
    assert!(groups.len() >= 8, "{groups:?}");
    let largest = sizes.values().max().expect("a group");
    assert_eq!(groups[0].1, *largest);
    assert!(groups[..4].is_sorted_by(|a, b| a.1 >= b.1), "{groups:?}");
    for (component, size) in groups {
        assert_eq!(sizes[&component.to_string()], size, "{component:016x}");
    }
    // What is called dropped is, and what is called kept is.
    let kept: BTreeMap<String, bool> = rows
        .iter()
        .map(|row| {
            let id: u64 = cell(row, "id").parse().expect("an id");
            (format!("{id:016x}"), cell(row, "kept") == "true")
        })
        .collect();
    let fates = page.fates();
    assert!(fates.len() > 50, "{} images", fates.len());
    for (id, fate) in fates {
        assert_eq!(fate, if kept[&id] { "kept" } else { "dropped" }, "{id}");
    }
}

/// The id and the size of `Group 0001: 3 images`.
fn group(caption: &str) -> Option<(u64, u64)> {
    let (id, size) = caption.strip_prefix("Group ")?.split_once(" of ")?;
    Some((u64::from_str_radix(id, 16).ok()?, size.split(' ').next()?.replace(',', "").parse().ok()?))
}

#[test]
fn pages_of_clusters_and_draws_have_the_numbers_of_the_tables() {
    let nodes = table(&work().join("cluster/tree"));
    let sizes: BTreeMap<&str, u64> = nodes
        .iter()
        .filter(|row| cell(row, "level") == "1")
        .map(|row| (cell(row, "cluster"), cell(row, "images").parse().expect("a number")))
        .collect();
    let shown: Vec<(String, u64)> = page("cluster").captions().iter().filter_map(|caption| cluster(caption)).collect();
    assert!(shown.len() >= 12, "{shown:?}");
    assert_eq!(shown[0].1, *sizes.values().max().expect("a cluster"));
    for (cluster, size) in shown {
        assert_eq!(sizes[cluster.as_str()], size, "cluster {cluster}");
    }

    let rows = page("sample").rows();
    let balance = table(&work().join("sample/balance"));
    assert!(balance.len() >= 8, "{balance:?}");
    for row in &balance {
        let entropy: f64 = cell(row, "entropy").parse().expect("a number");
        let found = rows.iter().find(|cells| cells[0] == cell(row, "over") && cells[1] == cell(row, "draw"));
        assert_eq!(found.expect("a row")[4], format!("{entropy:.3}"));
    }

    let found = table(&work().join("retrieve"));
    for set in ["night", "sailing"] {
        let images = found.iter().filter(|row| cell(row, "seed_set") == set).count() as u64;
        let rows = page("retrieve").rows();
        let row = rows.iter().find(|row| row[0] == set).expect("a row of the set");
        assert_eq!(row.last(), Some(&thousands(images)), "{set}");
    }

    let failed = table(&work().join("ingest/failed"));
    let rows = page("ingest").rows();
    let reasons: BTreeSet<&str> = failed.iter().map(|row| cell(row, "reason")).collect();
    assert!(reasons.len() > 3, "{reasons:?}");
    for reason in reasons {
        let n = failed.iter().filter(|row| cell(row, "reason") == reason).count() as u64;
        assert!(rows.iter().any(|row| row[0] == reason && row[1] == thousands(n)), "{reason}: {n} in {rows:?}");
        // An example with what was said.
        assert!(rows.iter().any(|row| row[0] == reason && failed.iter().any(|one| cell(one, "url") == row[1])));
    }
}

/// The number and the size of `Cluster 7: 12 images`.
fn cluster(caption: &str) -> Option<(String, u64)> {
    let (cluster, size) = caption.strip_prefix("Cluster ")?.split_once(": ")?;
    Some((cluster.to_owned(), size.split(' ').next()?.replace(',', "").parse().ok()?))
}

#[test]
fn what_a_stranger_wrote_is_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let photos = folder.path().join("photos");
    fs::create_dir(&photos).expect("a folder");
    let evil = "x<script>alert(1)<script>\" onload=\"y.png";
    let example = crate::common::EXAMPLE.join("pool/web");
    let mut any = fs::read_dir(example).expect("the example").flatten().map(|entry| entry.path());
    let picture = any.find(|path| path.extension().is_some_and(|ending| ending == "jpg")).expect("a picture");
    fs::copy(picture, photos.join(evil)).expect("a copy");
    fs::write(photos.join("<b>broken.jpg"), b"<b>no picture</b>").expect("a file");
    let file = folder.path().join("p.toml");
    let text = "work = \"work\"\n[sources.a]\nfolder = \"photos\"\n[steps.ingest]\nmax_failed_share = 1.0\n";
    let file_name = file.to_string_lossy();
    for taken in ["look", "index", "find"] {
        fs::write(&file, format!("{text}[steps.{taken}]\nstage = \"embed\"\n")).expect("a file");
        let (code, said) = failure(&["check", &file_name]);
        let expected = format!("p.toml:6: steps.{taken}: no step can be called {taken:?}: pages have that name");
        assert!(code == 2 && said.contains(&expected), "{said}");
    }
    fs::write(&file, text).expect("a file");
    let file = file_name;
    run(&["ingest", &file, "--quiet"]);
    run(&["look", &file]);
    let page = Page::read(&folder.path().join("work/look/ingest.html"));
    assert!(page.text.contains("&lt;script&gt;alert(1)") && page.text.contains("&lt;b&gt;broken.jpg"));
    assert!(!page.text.contains("<script>alert") && !page.text.contains("<b>broken"));
}
