//! Listings of real folders and files, row by row.

mod lists;
mod parquet;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::tempdir;

use super::fixture::{Done, binaries, hugging_face, rows, strings, write_parquet};
use super::{InputRow, Source, UrlFormat};
use lvd_base::error::Error;

fn urls(file: impl Into<PathBuf>) -> Source {
    Source::Urls {
        files: vec![file.into()],
        format: None,
        url_column: "url".into(),
        caption_column: None,
        keep: Vec::new(),
        headless: false,
    }
}

fn images(file: impl Into<PathBuf>) -> Source {
    Source::Parquet { files: vec![file.into()], image_column: "image".into(), caption_column: None, keep: Vec::new() }
}

fn folder(path: impl Into<PathBuf>) -> Source {
    Source::Folder { path: path.into(), except: Vec::new(), extensions: Vec::new(), captions: false }
}

fn locations(source: &Source) -> lvd_base::Result<Vec<String>> {
    Ok(rows(source)?.into_iter().map(|row| row.location).collect())
}

fn row(location: &str, caption: Option<&str>) -> InputRow {
    InputRow::new(location.into(), caption.map(str::to_owned))
}

/// A row of a list that has no URL that could be used.
fn unusable(why: &str) -> InputRow {
    row(&format!("(unusable) {why}"), None)
}

fn hint(error: &Error) -> String {
    format!("{error} / {}", error.hint().unwrap_or_default())
}

#[test]
fn what_is_ours_is_no_image_of_a_folder() -> Done {
    let dir = tempdir()?;
    let root = dir.path();
    fs::create_dir_all(root.join("work/ingest"))?;
    for name in ["1.png", "p.toml", "work/ingest/part.parquet"] {
        fs::write(root.join(name), name)?;
    }
    symlink("work", root.join("link"))?;
    let except = vec![root.join("work"), root.join("p.toml"), root.join("not there")];
    let source = Source::Folder { path: root.into(), except, extensions: Vec::new(), captions: false };
    assert_eq!(locations(&source)?, ["1.png"]);
    assert_eq!(source.check()?, 1);
    let before = source.fingerprint()?;
    fs::write(root.join("work/ingest/more.parquet"), "")?;
    assert_eq!(source.fingerprint()?, before);
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
        keep: Vec::new(),
        headless: false,
    };
    assert!(hint(&named.check().expect_err("no such caption")).contains("no column \"text\""));
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
    let source = Source::Urls {
        files: vec![path],
        format,
        url_column: String::new(),
        caption_column: None,
        keep: Vec::new(),
        headless: false,
    };
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
    // A link that leads above the source, which holds the source.
    assert_eq!(locations(&folder(root.join("a")))?, ["b/1.jpg"]);
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
    let other = Source::Urls {
        files: vec![new],
        format: None,
        url_column: "url".into(),
        caption_column: Some("url".into()),
        keep: Vec::new(),
        headless: false,
    };
    assert_ne!(other.fingerprint()?, renamed[1]);
    Ok(())
}
