//! Crawl archives through the real program: from pages to the exported data set, what is damaged,
//! and real archives.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use lvd_io::sources::Source;

use crate::common::{cell, lvd, parquet_files, rows, run, shared_data, table};

/// A record of WARC with a page.
fn page(url: &str, html: &str) -> Vec<u8> {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}");
    let head = format!(
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nContent-Type: application/http\r\n\
         Content-Length: {}\r\n\r\n",
        answer.len()
    );
    format!("{head}{answer}\r\n\r\n").into_bytes()
}

/// Packs a record as a member of gzip, by the program that everybody has.
fn gzip(record: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    fs::write(&path, record).expect("a file");
    let packed = std::process::Command::new("gzip").arg("-nc").arg(&path).output().expect("gzip starts");
    assert!(packed.status.success());
    packed.stdout
}

/// A server of pictures on this machine: `/N.png` is a picture of its own. Ends with the process.
fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(answer(stream))));
    port
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let number = first.split(['/', '.']).nth(1).and_then(|number| number.parse::<u8>().ok());
    let Some(number) = number else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let picture = image::RgbImage::from_fn(40, 40, |x, y| image::Rgb([number, x.to_le_bytes()[0], y.to_le_bytes()[0]]));
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).expect("a picture");
    let (png, length) = (png.get_ref(), png.get_ref().len());
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(png)
}

#[test]
fn pages_of_archives_become_a_data_set_with_page_and_licence() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let host = format!("http://127.0.0.1:{}", server());
    let commons = "https://creativecommons.org/licenses/by/4.0/";
    let first = page(
        &format!("{host}/a/x.html"),
        &format!("<base href=/><a rel=license href={commons}>by</a><img src=1.png alt='a d\u{f6}g'><img src=none.png>"),
    );
    let second =
        page(&format!("{host}/y.html"), "<img srcset='9.png 1x, 2.png 2x'><img src='data:image/gif;base64,AA'>");
    let damaged = &gzip(&page(&format!("{host}/z.html"), "<img src=3.png>"))[..60];
    fs::create_dir(at("crawl")).expect("a folder");
    fs::write(at("crawl/1.warc.gz"), [gzip(&first), gzip(&second)].concat()).expect("an archive");
    fs::write(at("crawl/2.warc.gz"), damaged).expect("an archive");
    fs::write(at("crawl/3.warc.gz"), b"\xff\xd8\xff no archive").expect("a file");
    let text = "work = \"work\"\n[sources.web]\narchives = [\"crawl/*.warc.gz\"]\n[steps.ingest]\nmin_side = 1\n\
        max_failed_share = 0.5\nhttp.retries = 0\nhttp.private_addresses = true\n[steps.sample]\ntarget = 2\n[steps.export]\n";
    let file = at("p.toml");
    fs::write(&file, text).expect("a pipeline file");
    let file = file.to_str().expect("a path");
    run(&["check", file]);
    let ran = lvd().args(["run", file, "--quiet"]).output().expect("the program starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");

    let report = run(&["report", file, "ingest"]);
    for counter in [["archive_pages", "2"], ["archive_records", "2"], ["archive_inline_images", "1"]] {
        assert!(report.lines().any(|line| line.split_whitespace().eq(counter)), "{report}");
    }
    for warning in ["1 archives are cut off", "1 places in archives begin no record", "2 archives have no record"] {
        assert!(report.contains(warning), "{report}");
    }
    let extra = |page: &str, rest: &str| format!("{{\"page\":\"{host}{page}\"{rest}}}");
    let with_license = extra("/a/x.html", &format!(",\"license\":\"{commons}\""));
    let failed = table(&at("work/ingest/failed"));
    assert_eq!(failed.len(), 1);
    assert_eq!((cell(&failed[0], "url"), cell(&failed[0], "reason")), (&*format!("{host}/none.png"), "not_found"));
    assert_eq!(cell(&failed[0], "extra"), with_license);
    let mut exported: Vec<[String; 3]> = parquet_files(&at("work/export/data"))
        .iter()
        .flat_map(|path| rows(path))
        .map(|row| ["url", "caption", "extra"].map(|name| cell(&row, name).to_owned()))
        .collect();
    exported.sort();
    let expect = [
        [format!("{host}/1.png"), "a d\u{f6}g".to_owned(), with_license],
        [format!("{host}/2.png"), "null".to_owned(), extra("/y.html", "")],
    ];
    assert_eq!(exported, expect);
}

/// The rows of one archive as URLs, and what was said.
fn listed(path: &Path) -> (BTreeSet<String>, Vec<String>) {
    let mut urls = BTreeSet::new();
    let source = Source::Archives { files: vec![path.to_path_buf()] };
    let notes = source.list(&mut |row| {
        urls.insert(row.location);
        Ok(())
    });
    (urls, notes.expect("a list").warnings().collect())
}

#[test]
fn real_archives_are_read_and_their_damage_is_said() {
    let Some(data) = shared_data() else { return };
    let found = |name: &str| listed(&data.join("crawl").join(name));
    // Their pages have no picture; html5lib and selectolax find none in what warcio reads, either.
    let whole = [
        "example-iana.org-chunked.warc",
        "example.warc.gz",
        "example.warc",
        "example.arc",
        "example.arc.gz",
        "example-resource.warc.gz",
        // Compressed in one piece, at which readers by record stop.
        "example-bad-non-chunked.warc.gz",
        "example-bad.warc.gz.bad",
    ];
    for whole in whole {
        let (urls, warnings) = found(whole);
        assert!(urls.is_empty() && warnings.is_empty(), "{whole}: {urls:?} {warnings:?}");
    }
    for damaged in ["example-trunc.warc", "bad.arc"] {
        assert!(!found(damaged).1.is_empty(), "{damaged}");
    }
    for entry in fs::read_dir(data.join("crawl")).expect("a folder").flatten() {
        if entry.path().is_file() {
            listed(&entry.path());
        }
    }
}
