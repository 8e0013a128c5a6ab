//! The second day: rows are added to a source, taken out of it, touched and moved, and only what is
//! new is fetched and embedded. Each by the real program, with a server that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::common::{cell, failure, run, table};
use crate::doors::{Asked, asked, serve};

/// A pipeline that ingests and embeds, in shards of five rows.
struct Project {
    folder: tempfile::TempDir,
    file: String,
}

/// What a work folder holds of each row that goes on: its place, its id and its vector.
type Rows = BTreeMap<String, (u64, String)>;

impl Project {
    fn new(sources: &str, ingest: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let steps = format!(
            "[embedders.copy]\nmodel = \"builtin:copy\"\n[steps.ingest]\nshard_rows = 5\n{ingest}\n[steps.ingest.http]\n\
             private_addresses = true\nretries = 0\n[steps.embed]\n"
        );
        let file = folder.path().join("p.toml");
        fs::write(&file, format!("work = \"work\"\n{sources}\n{steps}")).expect("a pipeline");
        Self { file: file.to_string_lossy().into_owned(), folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn work(&self, name: &str) -> PathBuf {
        self.path("work").join(name)
    }

    fn write(&self, name: &str, rows: &[String]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, rows.join("\n") + "\n").expect("a list");
    }

    /// Brings all up to date; nothing stands in the way.
    fn run(&self) -> Rows {
        run(&["run", &self.file, "--quiet"]);
        self.rows()
    }

    /// The rows that go on, after a look at whether all is accounted for and has a vector.
    fn rows(&self) -> Rows {
        for step in ["ingest", "embed"] {
            let summary = self.summary(step);
            let drops: u64 = summary["drops"].as_object().expect("drops").values().filter_map(Value::as_u64).sum();
            assert_eq!(summary["rows_in"].as_u64(), summary["rows_out"].as_u64().map(|out| out + drops), "{summary}");
        }
        let number = |text: &str| text.parse::<u64>().expect("an id");
        let by_id = |step: &Path, column: &str| -> BTreeMap<u64, String> {
            table(step).iter().map(|row| (number(cell(row, "id")), cell(row, column).to_owned())).collect()
        };
        let kept = by_id(&self.work("ingest/kept"), "kept");
        let vectors = by_id(&self.work("embed/copy"), "embedding");
        let images = by_id(&self.work("ingest"), "url");
        let kept: BTreeSet<u64> = kept.into_iter().filter(|(_, kept)| kept == "true").map(|(id, _)| id).collect();
        assert!(kept.iter().eq(vectors.keys()), "{kept:?} go on, {:?} have vectors", vectors.keys());
        assert_eq!(self.summary("ingest")["rows_out"].as_u64(), Some(kept.len() as u64));
        kept.into_iter().map(|id| (images[&id].clone(), (id, vectors[&id].clone()))).collect()
    }

    fn summary(&self, step: &str) -> Value {
        let text = fs::read(self.work(&format!("{step}/summary.json"))).expect("a summary");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// How many rows were dropped for a reason.
    fn dropped(&self, reason: &str) -> u64 {
        self.summary("ingest")["drops"][reason].as_u64().unwrap_or(0)
    }

    /// The vectors that were taken over, of shards that were embedded again.
    fn taken_over(&self) -> u64 {
        self.summary("embed")["counters"]["vectors_as_before"].as_u64().unwrap_or(0)
    }

    /// The tasks of a phase that are done, by their keys, with the rows that each was given.
    fn tasks(&self, step: &str, phase: &str) -> BTreeMap<String, u64> {
        let markers = fs::read_dir(self.work(&format!("{step}/_done/{phase}"))).expect("markers");
        let rows = |path: PathBuf| {
            let marker: Value = serde_json::from_slice(&fs::read(&path).expect("a marker")).expect("JSON");
            let key = marker["key"].as_str().expect("a key").to_owned();
            (key, marker["outcome"]["rows_in"].as_u64().expect("rows"))
        };
        markers.map(|entry| rows(entry.expect("a marker").path())).collect()
    }

    /// What a change has run: rows that were fetched, and tasks that embedded.
    fn changed(&self, change: impl FnOnce(&Self)) -> (Rows, u64, usize) {
        let before = (self.tasks("ingest", "fetch"), self.tasks("embed", "embed"));
        change(self);
        let rows = self.run();
        let (fetch, embed) = (self.tasks("ingest", "fetch"), self.tasks("embed", "embed"));
        assert!(before.0.keys().all(|key| fetch.contains_key(key)), "what was fetched is still there");
        let fetched = fetch.iter().filter(|(key, _)| !before.0.contains_key(*key)).map(|(_, rows)| rows).sum();
        (rows, fetched, embed.keys().filter(|key| !before.1.contains_key(*key)).count())
    }
}

/// The rows of `after` that were not there before; all others are as they were.
fn added<'a>(before: &Rows, after: &'a Rows) -> Vec<&'a str> {
    for (place, row) in after {
        assert!(before.get(place).is_none_or(|known| known == row), "{place} has another id or vector");
    }
    after.keys().filter(|place| !before.contains_key(*place)).map(String::as_str).collect()
}

fn urls(port: u16, numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("http://127.0.0.1:{port}/{n}.png")).collect()
}

/// What was asked since this was last called.
fn news(seen: &Asked, known: &mut usize) -> Vec<String> {
    let all = asked(seen);
    let news = all[*known..].to_vec();
    *known = all.len();
    news
}

/// A picture that is like no other number's.
fn picture(path: &Path, number: u8) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let shade = |x: u32, y: u32| image::Rgb([number.wrapping_mul(37), x.to_le_bytes()[0], y.to_le_bytes()[0]]);
    image::RgbImage::from_fn(40, 40, shade).save_with_format(path, image::ImageFormat::Png).expect("a picture");
}

#[test]
fn a_url_that_is_added_is_the_only_one_that_is_fetched() {
    let (port, seen) = serve();
    let project = Project::new("[sources.s]\nurls = [\"l.txt\"]", "");
    project.write("l.txt", &urls(port, 0..12));
    let first = project.run();
    let mut known = 0;
    assert_eq!((first.len(), news(&seen, &mut known).len()), (12, 12));

    project.write("l.txt", &urls(port, 0..13));
    let plan = run(&["plan", &project.file]);
    assert!(plan.contains("\"s\": 12 rows as before, 1 new"), "{plan}");
    let (second, fetched, embedded) = project.changed(|_| ());
    assert_eq!((news(&seen, &mut known), fetched, embedded), (vec!["/12.png".to_owned()], 1, 1));
    let new = &urls(port, 12..13)[0];
    assert_eq!(added(&first, &second), [new]);
    assert_eq!((second.len(), second[new].0), (13, 3 << 24), "a shard of its own");

    // All of it in another order, and one row twice.
    let mut rows = urls(port, (0..13).rev());
    let (third, fetched, embedded) = project.changed(|project| project.write("l.txt", &rows));
    assert_eq!((news(&seen, &mut known).len(), fetched, embedded), (0, 0, 0));
    assert_eq!(third, second);
    rows.insert(4, rows[6].clone());
    let (fourth, fetched, _) = project.changed(|project| project.write("l.txt", &rows));
    assert_eq!((news(&seen, &mut known), fetched), (vec!["/6.png".to_owned()], 1));
    assert_eq!((fourth == second, project.dropped("exact_duplicate")), (true, 1));
}

#[test]
fn a_row_that_is_taken_out_is_dropped_and_comes_back() {
    let (port, seen) = serve();
    let project = Project::new("[sources.s]\nurls = [\"l.txt\"]", "");
    project.write("l.txt", &urls(port, 0..12));
    let first = project.run();
    let all = asked(&seen).len();

    let rows = urls(port, (0..12).filter(|&n| n != 6 && n != 11));
    let (second, fetched, embedded) = project.changed(|project| project.write("l.txt", &rows));
    assert_eq!((asked(&seen).len(), fetched, embedded), (all, 0, 2));
    assert_eq!((second.len(), project.dropped("no_longer_listed")), (10, 2));
    assert!(added(&first, &second).is_empty());
    assert_eq!(project.taken_over(), 4 + 1, "no vector was computed again");
    let report = run(&["report", &project.file, "ingest"]);
    assert!(report.lines().any(|line| line.split_whitespace().eq(["no_longer_listed", "2"])), "{report}");

    let (third, fetched, _) = project.changed(|project| project.write("l.txt", &urls(port, 0..12)));
    assert_eq!((asked(&seen).len(), fetched, project.dropped("no_longer_listed")), (all, 0, 0));
    assert_eq!(third, first);
}

#[test]
fn a_list_that_comes_first_leaves_the_others_as_they_are() {
    let (port, seen) = serve();
    let project = Project::new("[sources.s]\nurls = [\"lists\"]", "");
    project.write("lists/b.txt", &urls(port, 10..17));
    let first = project.run();
    let mut known = 0;
    assert_eq!(news(&seen, &mut known).len(), 7);
    let (second, fetched, embedded) = project.changed(|project| project.write("lists/a.txt", &urls(port, 0..3)));
    let mut asked = news(&seen, &mut known);
    asked.sort();
    assert_eq!((asked, fetched, embedded), (["/0.png", "/1.png", "/2.png"].map(str::to_owned).into(), 3, 1));
    assert_eq!(added(&first, &second), urls(port, 0..3));
}

#[test]
fn photos_are_added_touched_and_removed() {
    let project = Project::new("[sources.s]\nfolder = \"photos\"", "");
    let photo = |name: &str| project.path("photos").join(name);
    for n in 0..12 {
        picture(&photo(&format!("{n:02}.png")), n);
    }
    let first = project.run();
    assert_eq!(first.len(), 12);
    let (second, fetched, embedded) = project.changed(|_| {
        picture(&photo("03a.png"), 20);
        picture(&photo("07.png"), 21);
        fs::remove_file(photo("11.png")).expect("it is there");
    });
    // The shards of the two that went are written again, from the vectors that they have.
    assert_eq!((second.len(), fetched, embedded), (12, 2, 3));
    assert_eq!((project.dropped("no_longer_listed"), project.taken_over()), (2, 4 + 1));
    assert_eq!((second["03a.png"].0 >> 24, second["07.png"].0 >> 24), (3, 3));
    let others = |rows: &Rows| {
        rows.iter().filter(|(name, _)| *name != "07.png").map(|(a, b)| (a.clone(), b.clone())).collect::<Rows>()
    };
    assert_eq!(added(&others(&first), &others(&second)), ["03a.png"]);

    // Touched, and the same bytes.
    let (third, fetched, _) = project.changed(|_| {
        let file = fs::File::options().write(true).open(photo("00.png")).expect("it is there");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).expect("a time");
    });
    assert_eq!(
        (fetched, third.len(), project.dropped("no_longer_listed"), project.dropped("exact_duplicate")),
        (1, 12, 3, 0)
    );
    assert_eq!(third["00.png"].1, second["00.png"].1);
    let text = run(&["plan", &project.file]);
    assert_eq!(text.matches("skip: up to date").count(), 2, "{text}");
}

#[test]
fn a_tar_that_comes_first_leaves_the_others_as_they_are() {
    let project = Project::new("[sources.s]\ntars = [\"tars\"]", "");
    fs::create_dir(project.path("tars")).expect("a folder");
    let tar = |name: &str, numbers: std::ops::Range<u8>| {
        let members: Vec<String> = numbers
            .map(|n| {
                picture(&project.path(&format!("{n}.png")), n);
                format!("{n}.png")
            })
            .collect();
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(project.path("tars").join(name)).arg("-C").arg(project.folder.path()).args(members);
        assert!(tar.status().expect("tar starts").success());
    };
    tar("b.tar", 0..7);
    let first = project.run();
    let (second, fetched, embedded) = project.changed(|_| tar("a.tar", 10..13));
    assert_eq!((second.len(), fetched, embedded, added(&first, &second).len()), (10, 3, 1, 3));
    // One that goes is missed by nobody.
    let (third, fetched, _) =
        project.changed(|project| fs::remove_file(project.path("tars/b.tar")).expect("it is there"));
    assert_eq!((third.len(), fetched, project.dropped("no_longer_listed")), (3, 0, 7));
}

#[test]
fn what_was_fetched_before_a_list_changed_twice_is_not_fetched_again() {
    let (port, seen) = serve();
    let project = Project::new("[sources.s]\nurls = [\"l.txt\"]", "");
    project.write("l.txt", &urls(port, 0..12));
    let work = project.work("").to_string_lossy().into_owned();
    let task = |phase: &str, number: &str| {
        run(&["plan", &project.file, "--tasks", "sh"]);
        run(&["task", &work, "ingest", phase, number]);
    };
    let mut known = 0;
    task("list", "0");
    task("fetch", "1");
    assert_eq!(news(&seen, &mut known).len(), 5);
    // Nothing of the first shard was fetched: its rows are numbered anew.
    project.write("l.txt", &urls(port, (3..12).chain(20..23)));
    task("list", "0");
    task("fetch", "1");
    assert_eq!(news(&seen, &mut known).len(), 5);
    project.write("l.txt", &urls(port, (3..12).chain(20..24)));
    let rows = project.run();
    assert_eq!((rows.len(), news(&seen, &mut known).len()), (13, 3));
    assert_eq!(project.dropped("no_longer_listed"), 0);
}

#[test]
fn files_that_failed_and_were_removed_are_no_failures_any_more() {
    let project = Project::new("[sources.s]\nfolder = \"photos\"", "max_failed_share = 0.1");
    picture(&project.path("photos/0.png"), 0);
    for n in 0..3 {
        fs::write(project.path(&format!("photos/junk{n}.png")), "junk").expect("junk");
    }
    let (code, said) = failure(&["run", &project.file]);
    assert!(code == 3 && said.contains("75.0% of the rows"), "{code}: {said}");
    for n in 0..3 {
        fs::remove_file(project.path(&format!("photos/junk{n}.png"))).expect("it is there");
    }
    assert_eq!(project.run().len(), 1);
    assert_eq!((project.dropped("no_longer_listed"), project.dropped("unsupported_format")), (3, 0));
}

#[test]
fn other_limits_fetch_all_anew_and_only_when_told() {
    let project = Project::new("[sources.s]\nfolder = \"photos\"", "");
    for n in 0..7 {
        picture(&project.path(&format!("photos/{n}.png")), n);
    }
    project.run();
    let (first, ..) = project.changed(|project| fs::remove_file(project.path("photos/0.png")).expect("it is there"));
    assert_eq!((first.len(), first["1.png"].0, project.dropped("no_longer_listed")), (6, 1, 1));

    let (_, said) = failure(&["run", &project.file, "--set", "ingest.min_side=20"]);
    let command = said.split("hint: ").nth(1).and_then(|hint| hint.split(": lvd run ").nth(1)).expect("a command");
    let command: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(command, [&project.file, "--set", "ingest.min_side=20", "--replace"]);
    // Set back, all is as it was.
    let (second, fetched, embedded) = project.changed(|_| ());
    assert_eq!((second == first, fetched, embedded), (true, 0, 0));

    run(&[&["run", "--quiet"], &command[..]].concat());
    let third = project.rows();
    assert_eq!((third.len(), third["1.png"].0, project.dropped("no_longer_listed")), (6, 0, 0));
}

#[test]
fn listed_rows_that_are_lost_are_listed_again_and_not_fetched() {
    let (port, seen) = serve();
    let project = Project::new("[sources.s]\nurls = [\"l.txt\"]", "");
    project.write("l.txt", &urls(port, 0..12));
    let first = project.run();
    let mut parts: Vec<PathBuf> = fs::read_dir(project.work("ingest/listed"))
        .expect("parts")
        .map(|entry| entry.expect("a part").path())
        .collect();
    parts.sort();
    let bytes: Vec<_> = parts.iter().map(|part| fs::read(part).expect("a part")).collect();
    fs::remove_file(&parts[0]).expect("it is there");
    let mut bad = bytes[1].clone();
    bad[40] ^= 1;
    fs::write(&parts[1], bad).expect("room");
    let (second, fetched, embedded) = project.changed(|_| ());
    assert_eq!((second == first, fetched, embedded, asked(&seen).len()), (true, 0, 0, 12));
    assert_eq!(parts.iter().map(|part| fs::read(part).expect("a part")).collect::<Vec<_>>(), bytes);
}
