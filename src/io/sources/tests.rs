//! Listings of real folders and files, row by row.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::tempdir;

use super::fixture::{Done, binaries, hugging_face, rows, strings, write_parquet};
use super::{InputRow, Source, UrlFormat};
use crate::error::Error;

fn urls(file: impl Into<PathBuf>) -> Source {
    Source::Urls { files: vec![file.into()], format: None, url_column: "url".into(), caption_column: None }
}

fn images(file: impl Into<PathBuf>) -> Source {
    Source::Parquet { files: vec![file.into()], image_column: "image".into(), caption_column: None }
}

fn folder(path: impl Into<PathBuf>) -> Source {
    Source::Folder { path: path.into() }
}

fn locations(source: &Source) -> crate::Result<Vec<String>> {
    Ok(rows(source)?.into_iter().map(|row| row.location).collect())
}

fn row(location: &str, caption: Option<&str>) -> InputRow {
    InputRow { location: location.into(), caption: caption.map(str::to_owned) }
}

fn hint(error: &Error) -> String {
    format!("{error} / {}", error.hint().unwrap_or_default())
}

/// Writes a list and checks its rows, and that the check counts at least as many.
fn check_list(name: &str, content: &[u8], expect: &[InputRow]) -> Done {
    let dir = tempdir()?;
    let path = dir.path().join(name);
    fs::write(&path, content)?;
    assert_eq!(rows(&urls(&path))?, expect, "{name}");
    assert!(urls(&path).check()? >= expect.len() as u64, "{name}");
    // A folder of lists reads the same.
    assert_eq!(rows(&urls(dir.path()))?, expect, "{name} in a folder");
    Ok(())
}

#[test]
fn text_lists() -> Done {
    let list = b"\xef\xbb\xbfhttp://a/1\r\n\n# no\n  http://a/2  \n   \n\xff\xfe\nhttp://a/3";
    check_list(
        "l.txt",
        list,
        &[row("http://a/1", None), row("http://a/2", None), row("", None), row("http://a/3", None)],
    )?;
    check_list("empty.txt", b"", &[])
}

#[test]
fn separated_lists() -> Done {
    let csv = b"\xef\xbb\xbfid,url,caption\n1,http://a/1,\"two\nlines, quoted\"\n2,,x\n3\n\n4,http://a/4,\n";
    let expect =
        [row("http://a/1", Some("two\nlines, quoted")), row("", Some("x")), row("", None), row("http://a/4", None)];
    check_list("l.csv", csv, &expect)?;
    let tsv = b"caption\turl\n5\" pipe\thttp://a/1\n\"\thttp://a/2\n";
    check_list("l.tsv", tsv, &[row("http://a/1", Some("5\" pipe")), row("http://a/2", Some("\""))])?;
    check_list("header.csv", b"url\n", &[])
}

#[test]
fn json_lists() -> Done {
    let list = b"{\"url\":\"http://a/1\",\"caption\":\"c\"}\n{broken\n\n{\"url\":7}\n[]\n{\"caption\":\"d\"}\n{\"url\":\"http://a/2\"}";
    let expect = [
        row("http://a/1", Some("c")),
        row("", None),
        row("", None),
        row("", None),
        row("", Some("d")),
        row("http://a/2", None),
    ];
    check_list("l.jsonl", list, &expect)?;
    check_list("l.ndjson", list, &expect)
}

#[test]
fn an_endless_json_line_is_one_malformed_row() -> Done {
    let mut list = b"{\"url\":\"http://a/1\"}\n".to_vec();
    list.resize(list.len() + (17 << 20), b' ');
    list.extend_from_slice(b"\n{\"url\":\"http://a/2\"}\n");
    check_list("l.jsonl", &list, &[row("http://a/1", None), row("", None), row("http://a/2", None)])
}

#[test]
fn parquet_lists_in_either_order_of_columns() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("l.parquet");
    let url = || strings(&[Some("http://a/1"), None, Some("")]);
    let caption = || strings(&[Some("one"), Some("two"), None]);
    let expect = [row("http://a/1", Some("one")), row("", Some("two")), row("", None)];
    for columns in [
        vec![("url", url()), ("id", url()), ("caption", caption())],
        vec![("caption", caption()), ("id", url()), ("url", url())],
    ] {
        write_parquet(&path, columns, 2)?;
        assert_eq!(rows(&urls(&path))?, expect);
        assert_eq!(urls(&path).check()?, 3);
    }
    Ok(())
}

#[test]
fn a_missing_column_is_an_error_that_names_the_others() -> Done {
    let dir = tempdir()?;
    let check = |name: &str, content: &[u8]| -> Done {
        let path = dir.path().join(name);
        fs::write(&path, content)?;
        let error = urls(&path).check().expect_err("the column is missing");
        assert!(hint(&error).contains("no column \"url\" / the columns are: link, alt"), "{}", hint(&error));
        Ok(())
    };
    check("l.csv", b"link,alt\nx,y\n")?;
    check("l.tsv", b"link\talt\nx\ty\n")?;
    check("l.jsonl", b"{\"link\":1}\n{\"alt\":2}\n")?;
    write_parquet(&dir.path().join("l.parquet"), vec![("link", strings(&[None])), ("alt", strings(&[None]))], 1)?;
    check("l.parquet", &fs::read(dir.path().join("l.parquet"))?)?;
    let named = Source::Urls {
        files: vec![dir.path().join("l.csv")],
        format: None,
        url_column: "link".into(),
        caption_column: Some("text".into()),
    };
    assert!(hint(&named.check().expect_err("no such caption")).contains("no column \"text\""));
    Ok(())
}

#[test]
fn a_column_of_a_wrong_type_is_an_error() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("t.parquet");
    write_parquet(&path, vec![("image", strings(&[Some("x")]))], 1)?;
    let error = images(&path).check().expect_err("strings are no images");
    assert!(hint(&error).contains("image (Utf8)"), "{}", hint(&error));
    fs::write(&path, b"PAR1 no")?;
    assert!(matches!(images(&path).check(), Err(Error::Data { .. })));
    assert!(matches!(images(dir.path().join("gone.parquet")).check(), Err(Error::Io { .. })));
    Ok(())
}

#[test]
fn the_format_comes_from_the_extension_or_the_setting() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("list.dat");
    fs::write(&path, "http://a/1\n")?;
    assert!(matches!(urls(&path).check(), Err(Error::Usage { .. })));
    assert!(matches!(urls(dir.path()).check(), Err(Error::Usage { .. })));
    let format = Some(UrlFormat::Txt);
    let source = Source::Urls { files: vec![path], format, url_column: String::new(), caption_column: None };
    assert_eq!(locations(&source)?, ["http://a/1"]);
    Ok(())
}

#[test]
fn a_folder_is_listed_in_the_order_of_bytes() -> Done {
    let dir = tempdir()?;
    let root = dir.path();
    fs::create_dir_all(root.join("b/.hidden"))?;
    fs::create_dir_all(root.join("B"))?;
    let odd = std::ffi::OsStr::from_bytes(b"\xff%.jpg");
    for name in ["b/2.jpg", "b/.hidden/no.jpg", "B/x", "a.txt", ".no.jpg", "b.jpg", "Zürich.png"] {
        fs::write(root.join(name), name)?;
    }
    fs::write(root.join(odd), "odd")?;
    symlink("nowhere", root.join("dangling"))?;
    symlink("a.txt", root.join("link"))?;
    symlink("self", root.join("self"))?;
    let expect = ["B/x", "Zürich.png", "a.txt", "b/2.jpg", "b.jpg", "dangling", "link", "self", "%FF%25.jpg"];
    assert_eq!(locations(&folder(root))?, expect);
    assert_eq!(folder(root).check()?, expect.len() as u64);
    Ok(())
}

#[test]
fn symlinked_folders_are_followed_and_loops_survived() -> Done {
    let dir = tempdir()?;
    let root = dir.path();
    fs::create_dir_all(root.join("a/b"))?;
    fs::create_dir_all(root.join("c"))?;
    fs::write(root.join("a/b/1.jpg"), "1")?;
    symlink(root, root.join("a/b/up"))?;
    symlink("../a", root.join("c/a"))?;
    assert_eq!(locations(&folder(root))?, ["a/b/1.jpg", "c/a/b/1.jpg"]);
    Ok(())
}

#[test]
fn a_folder_that_is_none_is_an_error() -> Done {
    let dir = tempdir()?;
    let file = dir.path().join("file");
    fs::write(&file, "")?;
    assert!(matches!(folder(&file).check(), Err(Error::Usage { .. })));
    let gone = dir.path().join("gone");
    let error = folder(&gone).check().expect_err("it is not there");
    assert!(error.to_string().starts_with(&*gone.to_string_lossy()), "{error}");
    Ok(())
}

#[test]
fn an_error_of_the_caller_stops_the_listing() -> Done {
    let dir = tempdir()?;
    fs::write(dir.path().join("l.txt"), "http://a/1\nhttp://a/2\n")?;
    let mut seen = 0;
    let stopped = urls(dir.path()).list(&mut |_| {
        seen += 1;
        Err(Error::usage("enough", ""))
    });
    assert!(stopped.is_err_and(|error| error.to_string() == "enough"));
    assert_eq!(seen, 1);
    Ok(())
}

#[test]
fn parquet_images_are_listed_by_file_and_row() -> Done {
    let dir = tempdir()?;
    let bytes = [Some(b"one".as_slice()), None];
    write_parquet(&dir.path().join("b.parquet"), vec![("image", binaries(&bytes))], 1)?;
    let captions = strings(&[None, Some("c")]);
    write_parquet(&dir.path().join("a.parquet"), vec![("caption", captions), ("image", hugging_face(&bytes, 0))], 1)?;
    let expect = [
        row("0:a.parquet#0", None),
        row("0:a.parquet#1", Some("c")),
        row("1:b.parquet#0", None),
        row("1:b.parquet#1", None),
    ];
    assert_eq!(rows(&images(dir.path()))?, expect);
    assert_eq!(images(dir.path()).check()?, 4);
    Ok(())
}

#[test]
fn the_fingerprint_tells_changes_and_survives_a_move() -> Done {
    let dir = tempdir()?;
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::create_dir(&old)?;
    fs::write(old.join("l.txt"), "http://a/1\n")?;
    let prints = |path: &PathBuf| -> Done<[String; 2]> { Ok([folder(path).fingerprint()?, urls(path).fingerprint()?]) };
    let before = prints(&old)?;
    assert_eq!(before[0].len(), 64);
    fs::rename(&old, &new)?;
    assert_eq!(prints(&new)?, before);

    let list = fs::File::options().write(true).open(new.join("l.txt"))?;
    list.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1, 1))?;
    let touched = prints(&new)?;
    list.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1, 2))?;
    let nanosecond_later = prints(&new)?;
    fs::rename(new.join("l.txt"), new.join("m.txt"))?;
    let renamed = prints(&new)?;
    for (earlier, later) in [(&before, &touched), (&touched, &nanosecond_later), (&nanosecond_later, &renamed)] {
        assert!(earlier[0] != later[0] && earlier[1] != later[1]);
    }
    let other =
        Source::Urls { files: vec![new], format: None, url_column: "url".into(), caption_column: Some("url".into()) };
    assert_ne!(other.fingerprint()?, renamed[1]);
    Ok(())
}

#[test]
fn a_crawl_of_a_thousand_urls() -> Done {
    let shared = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !shared.exists() {
        println!("skipped: no shared data");
        return Ok(());
    }
    let source = Source::Urls {
        files: vec![shared.join("crawl/urls_1000.parquet")],
        format: None,
        url_column: "URL".into(),
        caption_column: Some("TEXT".into()),
    };
    let rows = rows(&source)?;
    assert_eq!((rows.len(), source.check()?), (1000, 1000));
    assert!(rows.iter().all(|row| row.location.starts_with("http")));
    assert!(rows.iter().filter(|row| row.caption.is_some()).count() > 900);
    Ok(())
}
