//! Sources as people have them, through the real program: lists with stray quotes, half a surrogate
//! pair or no rows, sets of which nothing is usable, a work folder among the images.

use std::fs;
use std::path::Path;

use lvd_io::sources::{InputRow, Source};

use crate::common::{cell, failure, output, run, shared_data, table};

/// Writes a pipeline file; returns its path.
fn pipeline(folder: &Path, sources: &str, ingest: &str) -> String {
    let path = folder.join("p.toml");
    fs::write(
        &path,
        format!(
            "work = \"work\"\n{sources}\n[steps.ingest]\nhttp.retries = 0\nhttp.private_addresses = true\n{ingest}\n"
        ),
    )
    .expect("a pipeline file");
    path.to_string_lossy().into_owned()
}

/// Writes pictures, no two alike.
fn pictures(folder: &Path, count: u8) {
    fs::create_dir_all(folder).expect("a folder");
    for n in 0..count {
        let picture = image::RgbImage::from_fn(40, 40, |x, y| image::Rgb([n, x.to_le_bytes()[0], y.to_le_bytes()[0]]));
        picture.save(folder.join(format!("{n}.png"))).expect("a picture");
    }
}

/// The failed rows of a work folder: where each should have come from, its caption, why, and what
/// was said.
fn failed(folder: &Path) -> Vec<[String; 4]> {
    let rows = table(&folder.join("work/ingest/failed"));
    rows.iter()
        .map(|row| ["url", "caption", "reason", "error_message"].map(|name| cell(row, name).to_owned()))
        .collect()
}

/// What becomes of a list of URLs at which nobody answers.
fn ingest_list(name: &str, content: &str) -> Vec<[String; 4]> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(name), content).expect("a list");
    let file = pipeline(folder.path(), &format!("[sources.s]\nurls = [{name:?}]"), "max_failed_share = 1.0");
    run(&["check", &file]);
    run(&["ingest", &file, "--quiet"]);
    failed(folder.path())
}

#[test]
fn a_quote_that_is_never_closed_stops_check_and_ingest() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = "http://127.0.0.1:1/2.jpg,fine\n".repeat(999);
    let list = format!("url,caption\nhttp://127.0.0.1:1/1.jpg,\"5 inch screen\n{rows}");
    fs::write(folder.path().join("l.csv"), list).expect("a list");
    let file = pipeline(folder.path(), "[sources.s]\nurls = [\"l.csv\"]", "");
    for command in ["check", "ingest"] {
        let (_, said) = failure(&[command, &file]);
        let fact = "l.csv:2: the quote that opens a field on this line is never closed";
        assert!(said.contains("sources.s") && said.contains(fact) && said.contains("hint: "), "{said}");
    }
}

#[test]
fn patterns_name_lists_and_what_they_miss_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("lists")).expect("a folder");
    for n in 8..11 {
        let list = format!("http://127.0.0.1:1/{n}.jpg\n");
        fs::write(folder.path().join(format!("lists/{n:03}.txt")), list).expect("a list");
    }
    let with = |entry: &str| {
        let source = format!("[sources.s]\nurls = [{entry:?}]");
        pipeline(folder.path(), &source, "max_failed_share = 1.0")
    };
    let (_, said) = failure(&["check", &with("lists/{008..011}.txt")]);
    assert!(said.contains("lists/011.txt: No such file"), "{said}");
    let (_, said) = failure(&["check", &with("lists/*.csv")]);
    assert!(said.contains("lists/*.csv: no file matches this pattern") && said.contains("hint: "), "{said}");
    let file = with("**/0*.txt");
    run(&["ingest", &file, "--quiet"]);
    let urls: Vec<String> = failed(folder.path()).into_iter().map(|[url, ..]| url).collect();
    assert_eq!(urls, ["8", "9", "10"].map(|n| format!("http://127.0.0.1:1/{n}.jpg")));
}

#[test]
fn captions_come_as_pandas_wrote_them() {
    let url = |n: u32| format!("http://127.0.0.1:1/{n}.jpg");
    let list = format!(
        "url\tcaption\n{}\t\"He said \"\"hi\"\"\"\n{}\t\"two\nlines\"\n{}\t\"tab\there\"\n",
        url(0),
        url(1),
        url(2)
    );
    let rows = ingest_list("l.tsv", &list);
    let expect = ["He said \"hi\"", "two\nlines", "tab\there"];
    let got: Vec<(&str, &str)> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let urls: Vec<String> = (0..3).map(url).collect();
    assert_eq!(got, urls.iter().map(String::as_str).zip(expect).collect::<Vec<_>>());
}

#[test]
fn what_python_writes_that_is_no_json_costs_the_value_alone() {
    let list = r#"{"url": "http://127.0.0.1:1/1.jpg", "caption": "fine"}
{"url": "http://127.0.0.1:1/2.jpg", "caption": "x", "similarity": NaN}
{"url": "http://127.0.0.1:1/3.jpg", "caption": "\ud83d cut"}
{"url": "http://127.0.0.1:1/4.jpg", "n": -Infinity}
{"url": "http://127.0.0.1:1/5.jpg",
"#;
    let rows = ingest_list("l.jsonl", list);
    let got: Vec<[&str; 3]> = rows.iter().map(|row| [&*row[0], &*row[1], &*row[2]]).collect();
    let cut = "(unusable) line 5: no JSON object: EOF while parsing a value";
    assert_eq!(
        got,
        [
            ["http://127.0.0.1:1/1.jpg", "fine", "connect"],
            ["http://127.0.0.1:1/2.jpg", "x", "connect"],
            ["http://127.0.0.1:1/3.jpg", "\u{fffd} cut", "connect"],
            ["http://127.0.0.1:1/4.jpg", "null", "connect"],
            [cut, "null", "bad_url"],
        ]
    );
    assert_eq!(rows[4][3], cut.replace("(unusable) ", ""));
}

#[test]
fn long_captions_are_cut_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = "x".repeat(70_000);
    let list = format!("url,caption\nhttp://127.0.0.1:1/1,{long}\nhttp://127.0.0.1:1/{long},c\n");
    fs::write(folder.path().join("l.csv"), list).expect("a list");
    let file = pipeline(folder.path(), "[sources.s]\nurls = [\"l.csv\"]", "max_failed_share = 1.0");
    run(&["ingest", &file, "--quiet"]);
    let rows = failed(folder.path());
    assert_eq!((rows[0][1].len(), &*rows[0][2]), (64 << 10, "connect"));
    assert_eq!((&*rows[1][3], &*rows[1][2]), ("line 3: a URL of 70019 bytes, more than 65536", "bad_url"));
    let report = run(&["report", &file, "ingest"]);
    assert!(report.lines().any(|line| line.split_whitespace().eq(["captions_cut", "1"])), "{report}");
}

#[test]
fn the_work_folder_among_the_images_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(folder.path(), 3);
    let file = pipeline(folder.path(), "[sources.s]\nfolder = \".\"", "");
    run(&["check", &file]);
    run(&["ingest", &file, "--quiet"]);
    let first = crate::common::content(&folder.path().join("work"));
    run(&["ingest", &file, "--quiet"]);
    assert_eq!(crate::common::content(&folder.path().join("work")), first);
    let urls: Vec<String> =
        table(&folder.path().join("work/ingest")).iter().map(|row| cell(row, "url").to_owned()).collect();
    assert_eq!(urls, ["0.png", "1.png", "2.png"]);
    assert_eq!(failed(folder.path()).len(), 0);

    let (_, said) = failure(&["check", &file, "--work", &folder.path().to_string_lossy()]);
    assert!(said.contains("the work folder is this folder"), "{said}");
}

/// A pool `a` of ten pictures, and a source `b` of junk and perhaps a picture.
fn half_bad(folder: &Path, role: &str, good: u8, ingest: &str) -> String {
    pictures(&folder.join("a"), 10);
    pictures(&folder.join("b"), good);
    for n in 0..3 {
        fs::write(folder.join(format!("b/junk{n}.jpg")), "junk").expect("junk");
    }
    let sources = format!("[sources.a]\nfolder = \"a\"\n[sources.b]\nfolder = \"b\"\nrole = {role:?}");
    pipeline(folder, &sources, ingest)
}

#[test]
fn a_set_of_which_nothing_is_usable_is_an_error_whatever_may_fail() {
    for role in ["seed", "reference"] {
        for share in ["", "max_failed_share = 1.0"] {
            let folder = tempfile::tempdir().expect("a folder");
            let file = half_bad(folder.path(), role, 0, share);
            // The step is whole after the first; the fault stays.
            for _ in 0..2 {
                let (code, said) = failure(&["ingest", &file]);
                let fact = format!(
                    "no image of the {role} set \"b\" is usable: all 3 rows failed; most often unsupported_format (3)"
                );
                assert!(code == 3 && said.contains(&fact), "{code}: {said}");
                assert!(said.contains("hint: lvd report") && said.contains("failed/*.parquet"), "{said}");
            }
        }
        let folder = tempfile::tempdir().expect("a folder");
        run(&["ingest", &half_bad(folder.path(), role, 1, "max_failed_share = 0.75"), "--quiet"]);
    }
}

#[test]
fn the_share_that_may_fail_is_that_of_each_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, said) = failure(&["ingest", &half_bad(folder.path(), "pool", 1, "")]);
    let fact = "75.0% of the rows of source \"b\" failed, more than the 50.0% allowed by `max_failed_share`; most often unsupported_format (3)";
    assert!(code == 3 && said.contains(fact), "{code}: {said}");
    for (good, share) in [(1, "max_failed_share = 0.75"), (0, "max_failed_share = 1.0")] {
        let folder = tempfile::tempdir().expect("a folder");
        run(&["ingest", &half_bad(folder.path(), "pool", good, share), "--quiet"]);
    }
}

#[test]
fn a_source_without_rows_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    pictures(&folder.path().join("a"), 3);
    fs::create_dir(folder.path().join("none")).expect("a folder");
    for (name, list) in [("l.txt", "# nothing\n\n"), ("l.csv", "url,caption\n"), ("l.jsonl", "\n"), ("m.txt", "")] {
        fs::write(folder.path().join(name), list).expect("a list");
    }
    for source in ["folder = \"none\"", "urls = [\"l.txt\"]", "urls = [\"l.csv\", \"m.txt\"]", "urls = [\"l.jsonl\"]"] {
        let sources = format!("[sources.a]\nfolder = \"a\"\n[sources.empty]\nrole = \"reference\"\n{source}");
        let file = pipeline(folder.path(), &sources, "");
        for command in ["check", "ingest"] {
            let (_, said) = failure(&[command, &file]);
            assert!(said.contains("sources.empty") && said.contains("hint: put images there"), "{source}: {said}");
        }
    }
}

#[test]
fn a_caption_column_that_gives_nothing_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = "url,caption,alt\nhttp://127.0.0.1:1/1,a,\nhttp://127.0.0.1:1/2,b,\n";
    fs::write(folder.path().join("l.csv"), list).expect("a list");
    let sources = "[sources.s]\nurls = [\"l.csv\"]\ncaption_column = \"alt\"";
    let file = pipeline(folder.path(), sources, "max_failed_share = 1.0");
    let said = output(&["ingest", &file]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("source \"s\": no row has a caption: is \"alt\" where the captions are?"), "{said}");
}

#[test]
fn a_crawl_of_a_thousand_urls() {
    let Some(data) = shared_data() else { return };
    let source = Source::Urls {
        files: vec![data.join("crawl/urls_1000.parquet")],
        format: None,
        url_column: "URL".into(),
        caption_column: Some("TEXT".into()),
        keep: Vec::new(),
        headless: false,
    };
    assert_eq!(source.check().expect("rows"), 1000);
    let mut rows: Vec<InputRow> = Vec::new();
    let keep = |row| {
        rows.push(row);
        Ok(())
    };
    source.list(&mut { keep }).expect("rows");
    assert_eq!(rows.len(), 1000);
    assert!(rows.iter().all(|row| row.location.starts_with("http")));
    assert!(rows.iter().filter(|row| row.caption.is_some()).count() > 900);
}
