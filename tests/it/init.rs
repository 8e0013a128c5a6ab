//! `lvd init`: what it finds in folders as people have them, and that the file it writes can be
//! checked, planned and run as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{cell, lvd, parquet_files, rows, table};

/// Writes pictures, no two alike.
fn pictures(folder: &Path, from: u8, count: u8) {
    fs::create_dir_all(folder).expect("a folder");
    for n in from..from + count {
        let wave = |at: u32| u8::try_from((at * u32::from(n + 1) * 7) % 251).expect("a level");
        let picture = image::RgbImage::from_fn(48, 48, |x, y| image::Rgb([wave(x), wave(y), wave(x * y / 5 + 1)]));
        picture.save(folder.join(format!("{n}.png"))).expect("a picture");
    }
}

fn text(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

/// Packs a folder's files into a tar.
fn tar(folder: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    let status = Command::new("tar").arg("-cf").arg(to).arg("-C").arg(folder).args(["--sort=name", "."]).status();
    assert!(status.expect("tar starts").success());
}

/// Writes a Parquet file.
fn parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let file = fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("a batch");
    writer.close().expect("a footer");
}

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A folder to work in.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program here.
    fn output(&self, args: &[&str]) -> Output {
        lvd().args(args).current_dir(self.0.path()).output().expect("the program starts")
    }

    /// What it prints and says, once it has gone well.
    fn run(&self, args: &[&str]) -> (String, String) {
        let output = self.output(args);
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "lvd {args:?}: {}\n{out}\n{err}", output.status);
        (out, err)
    }

    /// What is wrong, for exit code 2.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "lvd {args:?}: {said}");
        assert!(said.contains("hint: "), "{said}");
        said
    }

    /// Lets init look as JSON, and checks the file that it writes.
    fn init(&self, args: &[&str]) -> Value {
        let (out, _) = self.run(&[&["init", "--json"], args].concat());
        let found: Value = serde_json::from_str(&out).expect("JSON");
        let file = found["file"].as_str().expect("a file");
        self.run(&["check", file]);
        found
    }

    fn file(&self, name: &str) -> toml::Table {
        fs::read_to_string(self.at(name)).expect("a file").parse().expect("TOML")
    }
}

/// `kind files images` of each source.
fn sources(found: &Value) -> Vec<String> {
    let sources = found["sources"].as_array().expect("sources");
    let line = |source: &Value| {
        let role =
            source["role"].as_str().filter(|role| *role != "pool").map_or(String::new(), |role| format!("{role} "));
        format!(
            "{role}{} {} {} {}",
            source["name"].as_str().expect("a name"),
            source["kind"].as_str().expect("a kind"),
            source["files"],
            source["images"]
        )
    };
    sources.iter().map(line).collect()
}

/// The beginnings of the reasons, with how many files each has.
fn left_out(found: &Value) -> Vec<String> {
    let left_out = found["left_out"].as_array().expect("reasons");
    let line = |left: &Value| {
        let why = left["why"].as_str().expect("a reason");
        format!("{}: {}", why.split(':').next().unwrap_or(why), left["files"])
    };
    left_out.iter().map(line).collect()
}

#[test]
fn a_folder_of_photos_becomes_a_data_set() {
    let desk = Desk::new();
    pictures(&desk.at("My Photos/a"), 0, 20);
    pictures(&desk.at("My Photos/b"), 20, 20);
    text(&desk.at("My Photos/a/0.txt"), "a dog");
    text(&desk.at("My Photos/notes.pdf"), "no image");
    text(&desk.at("My Photos/.DS_Store"), "no image");
    let (out, err) = desk.run(&["init", "My Photos"]);
    assert!(out.contains("my-photos  pool  folder     40      40"), "{out}");
    assert!(out.contains("no image by its name: .pdf") && out.contains("captions in 1 .txt"), "{out}");
    assert!(err.contains("wrote my-photos.toml: a data set of about 20 images"), "{err}");
    assert!(err.contains("\n  lvd run my-photos.toml\n"), "{err}");
    let (_, checked) = desk.run(&["check", "my-photos.toml"]);
    assert!(checked.contains("no fault found"), "{checked}");

    // Thresholds of the encoders are for photographs. What was drawn is compared strictly.
    let (out, err) = desk.run(&["run", "my-photos.toml", "--set", "dedup.threshold=0.9999"]);
    let line = |step: &str| out.lines().find_map(|line| line.strip_prefix(step)).expect("a line").split_whitespace();
    assert_eq!(line("ingest").take(2).collect::<Vec<_>>(), ["40", "40"], "{out}");
    assert!(err.contains("work-my-photos/export/data/*.parquet"), "{err}");
    let exported: usize =
        parquet_files(&desk.at("work-my-photos/export/data")).iter().map(|path| rows(path).len()).sum();
    let composition = rows(&desk.at("work-my-photos/export/composition.parquet"));
    let counted: usize = composition.iter().map(|row| cell(row, "images").parse::<usize>().expect("a number")).sum();
    assert_eq!((exported, counted, line("export").nth(1)), (20, 20, Some("20")), "{out}");
    let ingested = table(&desk.at("work-my-photos/ingest"));
    assert_eq!(ingested.iter().filter(|row| cell(row, "caption") == "a dog").count(), 1);

    // The work folder and the file are no part of what it finds when it looks again.
    desk.run(&["init", "--force", "."]);
}

#[test]
fn the_same_folder_gives_the_same_file() {
    let desk = Desk::new();
    pictures(&desk.at("p"), 0, 3);
    tar(&desk.at("p"), &desk.at("1.tar"));
    fs::rename(desk.at("1.tar"), desk.at("p/1.tar")).expect("a tar");
    desk.run(&["init", "p"]);
    let first = fs::read_to_string(desk.at("p.toml")).expect("a file");
    desk.run(&["init", "p", "--force"]);
    assert_eq!(fs::read_to_string(desk.at("p.toml")).expect("a file"), first);
}

#[test]
fn every_kind_of_source_is_found_and_passes_the_check() {
    let desk = Desk::new();
    pictures(&desk.at("loose"), 0, 6);
    let png = fs::read(desk.at("loose/0.png")).expect("a picture");
    // Tars with captions, and the lists that download programs put beside them.
    pictures(&desk.at("packed"), 0, 5);
    text(&desk.at("packed/0.txt"), "a dog");
    for n in 0..5 {
        tar(&desk.at("packed"), &desk.at(&format!("heap/tars/{n:05}.tar")));
        text(&desk.at(&format!("heap/tars/{n:05}.csv")), "url\nhttps://example.org/1.png\n");
    }
    // Images in columns of two names.
    let images = |name| {
        vec![(name, Arc::new(BinaryArray::from(vec![&*png, &*png])) as ArrayRef), ("text", strings(&["a", "b"]))]
    };
    parquet(&desk.at("heap/a.parquet"), images("image"));
    parquet(&desk.at("heap/b.parquet"), images("picture"));
    parquet(&desk.at("heap/c.parquet"), vec![("label", strings(&["dog"]))]);
    text(&desk.at("heap/broken.tar"), "no tar");
    text(&desk.at("heap/urls.csv"), "url\nhttps://example.org/2.png\n");
    text(&desk.at("heap/.git/config"), "");
    pictures(&desk.at("heap/photos"), 0, 2);
    let found = desk.init(&["heap"]);
    let expect = [
        "heap folder 2 2",
        "heap_tars tars 5 25",
        "heap_parquet parquet 1 2",
        "heap_parquet_2 parquet 1 2",
        "heap_urls urls 1 1",
    ];
    assert_eq!(sources(&found), expect);
    let expect = [
        "lists of what is in a tar or folder of the same name: 5",
        "lists of URLs beside images: 1",
        "lists and tables without URLs or images: 1",
        "cannot be read: 1",
        "hidden: 1",
    ];
    assert_eq!(left_out(&found), expect);
    let file = desk.file("heap.toml");
    assert_eq!(file["sources"]["heap"].to_string(), "{ folder = \"heap\", extensions = [\"png\"] }");
    assert_eq!(file["sources"]["heap_tars"].to_string(), "{ tars = [\"heap/tars/*.tar\"] }");
    let expect = "{ parquet = [\"heap/b.parquet\"], image_column = \"picture\", caption_column = \"text\" }";
    assert_eq!(file["sources"]["heap_parquet_2"].to_string(), expect);
    assert!(!file["sources"].as_table().expect("sources").contains_key("heap_urls"));
}

#[test]
fn lists_of_urls_are_grouped_by_their_columns() {
    let desk = Desk::new();
    text(
        &desk.at("lists/a.csv"),
        "id,URL,TEXT\n1,https://example.org/1.jpg,a dog\n2,https://example.org/2.jpg,a cat\n",
    );
    text(&desk.at("lists/b.txt"), "# mine\nhttps://example.org/3.jpg\n");
    text(&desk.at("lists/c.jsonl"), "{\"url\": \"https://example.org/4.jpg\", \"caption\": \"a cow\"}\n");
    text(&desk.at("lists/d.tsv"), "url\tcaption\nhttps://example.org/5.jpg\t\"open\nhttps://example.org/6.jpg\tb\n");
    text(&desk.at("lists/README.txt"), "Lists of mine.\n");
    parquet(&desk.at("lists/e.parquet"), vec![("url", strings(&["https://example.org/7.jpg"]))]);
    let found = desk.init(&["lists"]);
    let lines = sources(&found);
    assert_eq!(lines.iter().filter(|line| line.contains(" urls ")).count(), lines.len());
    assert_eq!(left_out(&found), ["lists and tables without URLs or images: 1"]);
    assert_eq!(found["proposal"]["pool"], 7);
    let file = desk.file("lists.toml");
    let named = |file: &toml::Table, list: &str| {
        let sources = file["sources"].as_table().expect("sources").values();
        let mut with = sources.filter(|source| source["urls"].to_string().contains(list));
        with.next().expect("a source").clone()
    };
    let csv = named(&file, "a.csv");
    assert_eq!((csv["url_column"].as_str(), csv["caption_column"].as_str()), (Some("URL"), Some("TEXT")));
    assert_eq!(named(&file, "d.tsv")["format"].as_str(), Some("tsv_unquoted"));

    // One list by itself.
    let found = desk.init(&["lists/a.csv"]);
    assert_eq!(sources(&found), ["a urls 1 2"]);
}

#[test]
fn seeds_are_retrieved_for_and_references_are_kept_out() {
    let desk = Desk::new();
    pictures(&desk.at("pool/images"), 0, 70);
    pictures(&desk.at("good/flowers"), 100, 4);
    pictures(&desk.at("packed"), 110, 3);
    tar(&desk.at("packed"), &desk.at("held/test.tar"));
    let seeds = ["--seed", "good/flowers", "--reference", "held/test.tar", "-o", "mine.toml"];
    let found = desk.init(&[&["pool/images"], &seeds[..]].concat());
    assert_eq!(sources(&found), ["images folder 70 70", "seed flowers folder 4 4", "reference test tars 1 3"]);
    let file = desk.file("mine.toml");
    assert_eq!(file["work"].as_str(), Some("work-mine"));
    let against = |step: &str| file["steps"][step].to_string();
    assert_eq!(against("clean"), "{ stage = \"dedup\", references = [\"test\"] }");
    assert_eq!(against("not_seeds"), "{ stage = \"dedup\", references = [\"flowers\"], threshold = 0.88 }");
    assert_eq!(file["steps"]["retrieve"]["sets"]["flowers"]["k"].as_integer(), Some(4));
    assert_eq!(file["steps"]["cluster"]["clusters"].to_string(), "[2]");
    assert_eq!(file["steps"]["sample"]["target"].as_integer(), Some(39));
}

/// Seeds that lie in the pool as well, in other files, are in the data set once.
#[test]
fn a_copy_of_a_seed_does_not_come_from_the_pool_again() {
    let desk = Desk::new();
    pictures(&desk.at("pool"), 0, 20);
    pictures(&desk.at("good"), 100, 4);
    for n in 100..104 {
        let picture = image::open(desk.at(&format!("good/{n}.png"))).expect("a picture");
        picture.to_rgb8().save(desk.at(&format!("pool/copy-{n}.bmp"))).expect("a copy");
    }
    desk.init(&["pool", "--seed", "good"]);
    // Thresholds of the encoders are for photographs. What was drawn is compared strictly.
    let strict = ["--set", "dedup.threshold=0.9999", "--set", "not_seeds.threshold=0.9999"];
    let everything = ["--set", "sample.target=24"];
    let (out, _) = desk.run(&[&["run", "pool.toml"], &strict[..], &everything].concat());
    assert!(out.contains("near_reference 4"), "{out}");
    let data = parquet_files(&desk.at("work-pool/export/data"));
    let urls: Vec<String> = data.iter().flat_map(|path| rows(path)).map(|row| cell(&row, "url").to_string()).collect();
    assert_eq!((urls.len(), urls.iter().filter(|url| url.contains("copy-")).count()), (24, 0), "{urls:?}");
}

#[test]
fn the_block_with_other_encoders_is_a_pipeline_file_once_the_marks_are_away() {
    let desk = Desk::new();
    pictures(&desk.at("p"), 0, 3);
    desk.run(&["init", "p"]);
    let text = fs::read_to_string(desk.at("p.toml")).expect("a file");
    let (before, block) = text.split_once("#\n# [embedders.copy]").expect("the block");
    let (block, after) = block.split_once("\n\n").expect("its end");
    let block = block.replace("\n# ", "\n");
    fs::write(desk.at("p.toml"), format!("{before}\n[embedders.copy]{block}\n\n{after}")).expect("a file");
    for model in ["sscd_disc_mixup.onnx", "dinov2_vitb14.onnx"] {
        fs::write(desk.at(model), "").expect("a file");
    }
    desk.run(&["plan", "p.toml"]);
}

#[test]
fn names_that_need_quotes_are_quoted() {
    let desk = Desk::new();
    for name in ["a \"b\" 'c'", "tab\tand\nline", "back\\slash", "#1 [x] {a,b} *"] {
        let folder = desk.at(name);
        pictures(&folder, 0, 2);
        pictures(&desk.at("packed"), 0, 2);
        for n in 0..5 {
            tar(&desk.at("packed"), &desk.at("a.tar"));
            fs::create_dir_all(folder.join("t")).expect("a folder");
            fs::rename(desk.at("a.tar"), folder.join(format!("t/{n}.tar"))).expect("a tar");
        }
        let found = desk.init(&["--force", "-o", "odd.toml", name]);
        assert_eq!(found["proposal"]["pool"], 12, "{name}");
    }
}

#[test]
fn what_is_there_is_not_overwritten() {
    let desk = Desk::new();
    pictures(&desk.at("p"), 0, 2);
    text(&desk.at("p.toml"), "mine");
    let said = desk.refused(&["init", "p"]);
    assert!(said.contains("p.toml is there already") && said.contains("--force") && said.contains("-o"), "{said}");
    assert_eq!(fs::read_to_string(desk.at("p.toml")).expect("a file"), "mine");
    desk.run(&["init", "p", "--force"]);
    desk.run(&["init", "p", "-o", "q.toml"]);
    text(&desk.at("work-r/mine"), "mine");
    let said = desk.refused(&["init", "p", "-o", "r.toml"]);
    assert!(said.contains("work-r is no work folder of lvd"), "{said}");
    let said = desk.refused(&["init", "p", "-o", "p"]);
    assert!(said.contains("a folder"), "{said}");
    let said = desk.refused(&["init", "p", "-o", "not/there.toml"]);
    assert!(said.contains("there is no folder not"), "{said}");
}

#[test]
fn places_that_cannot_be_are_refused_with_a_cure() {
    let desk = Desk::new();
    pictures(&desk.at("photos/seeds"), 0, 2);
    text(&desk.at("papers/1.pdf"), "");
    text(&desk.at("papers/2.pdf"), "");
    fs::create_dir(desk.at("empty")).expect("a folder");
    let says = |args: &[&str], expect: &[&str]| {
        let said = desk.refused(&[&["init"], args].concat());
        assert!(expect.iter().all(|part| said.contains(part)), "{said}");
    };
    says(&["photo"], &["photo: no such folder or file", "did you mean \"photos\"?"]);
    says(&["empty"], &["empty: nothing in this folder"]);
    says(&["papers"], &["papers: no images; it has: no image by its name: .pdf (2)"]);
    says(&["photos/seeds/0.png"], &["is one image", "folder"]);
    says(&["photos", "--seed", "photos/seeds"], &["one lies in the other", "would be read twice"]);
    says(&["photos/seeds", "--reference", "photos"], &["one lies in the other"]);
    says(&["photos", "--reference", "./photos"], &["./photos is named twice"]);
    says(&["photos", "--seed", "empty"], &["empty: nothing in this folder"]);
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStrExt;
        let odd = desk.at("x").with_file_name(std::ffi::OsStr::from_bytes(b"odd\xff"));
        pictures(&odd, 0, 1);
        let output = lvd().arg("init").arg(&odd).current_dir(desk.0.path()).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("not UTF-8") && said.contains("rename it"), "{said}");
    }
    assert!(!desk.at("photos.toml").exists());
}
