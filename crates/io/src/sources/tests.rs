//! Listings of real folders and files, row by row.

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
    Source::Urls { files: vec![file.into()], format: None, url_column: "url".into(), caption_column: None }
}

fn images(file: impl Into<PathBuf>) -> Source {
    Source::Parquet { files: vec![file.into()], image_column: "image".into(), caption_column: None }
}

fn folder(path: impl Into<PathBuf>) -> Source {
    Source::Folder { path: path.into(), except: Vec::new() }
}

fn locations(source: &Source) -> lvd_base::Result<Vec<String>> {
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

/// A row of a list that has no URL that could be used.
fn unusable(why: &str) -> InputRow {
    row(&format!("(unusable) {why}"), None)
}

#[test]
fn text_lists() -> Done {
    let list = b"\xef\xbb\xbfhttp://a/1\r\n\n# no\n  # no\n  http://a/2  \n   \n\xff\xfe\nhttp://a/3";
    let wrong = unusable("line 7: the URL is no UTF-8");
    check_list("l.txt", list, &[row("http://a/1", None), row("http://a/2", None), wrong, row("http://a/3", None)])?;
    check_list("mac.txt", b"http://a/1\rhttp://a/2\r", &[row("http://a/1", None), row("http://a/2", None)])?;
    check_list("empty.txt", b"", &[])
}

#[test]
fn separated_lists() -> Done {
    let csv = b"\xef\xbb\xbfid,url,caption\n1,http://a/1,\"two\nlines, quoted\"\n2,,x\n3\n\n4,http://a/4,\n";
    let expect =
        [row("http://a/1", Some("two\nlines, quoted")), row("", Some("x")), row("", None), row("http://a/4", None)];
    check_list("l.csv", csv, &expect)?;
    check_list("header.csv", b"url\n", &[])?;
    check_list("empty-fields.csv", b"url\n\"\"\n\nhttp://a/1\n", &[row("", None), row("http://a/1", None)])?;
    let quotes =
        b"\"url\",\"caption\"\r\n\"http://a/1\",\"say \"\"hi\"\"\"\r\nhttp://a/2,5\" pipe\r\nhttp://a/3,\"a\"b";
    let expect =
        [row("http://a/1", Some("say \"hi\"")), row("http://a/2", Some("5\" pipe")), row("http://a/3", Some("ab"))];
    check_list("quotes.csv", quotes, &expect)?;
    check_list("mac.csv", b"url,n\rhttp://a/1,1\rhttp://a/2,2", &[row("http://a/1", None), row("http://a/2", None)])?;
    check_list("spaces.csv", b" url , caption\nhttp://a/1, c\n", &[row("http://a/1", Some(" c"))])
}

#[test]
fn tab_separated_lists_quote_as_others_write_them() -> Done {
    let tsv = b"url\tcaption\nhttp://a/0\t\"He said \"\"hi\"\"\"\nhttp://a/1\t\"two\nlines\"\nhttp://a/2\t\"tab\there\"\nhttp://a/3\t5\" pipe\n";
    let expect = ["He said \"hi\"", "two\nlines", "tab\there", "5\" pipe"];
    let expect: Vec<InputRow> =
        (0..).zip(expect).map(|(n, caption)| row(&format!("http://a/{n}"), Some(caption))).collect();
    check_list("l.tsv", tsv, &expect)?;
    let dir = tempdir()?;
    let path = dir.path().join("l.tsv");
    fs::write(&path, "caption\turl\n\"\thttp://a/1\n\"so\thttp://a/2\n")?;
    let error = urls(&path).check().expect_err("a quote is open");
    assert!(hint(&error).contains("l.tsv:2:") && hint(&error).contains("tsv_unquoted"), "{}", hint(&error));
    let Source::Urls { files, url_column, caption_column, .. } = urls(&path) else { unreachable!() };
    let unquoted = Source::Urls { files, format: Some(UrlFormat::TsvUnquoted), url_column, caption_column };
    assert_eq!(rows(&unquoted)?, [row("http://a/1", Some("\"")), row("http://a/2", Some("\"so"))]);
    Ok(())
}

/// Lists and checks a file, which are to say the same.
fn fault_of(name: &str, content: &[u8]) -> Done<String> {
    let dir = tempdir()?;
    let path = dir.path().join(name);
    fs::write(&path, content)?;
    let source = urls(&path);
    let (listed, checked) = (rows(&source).expect_err(name), source.check().expect_err(name));
    assert_eq!(hint(&listed), hint(&checked));
    Ok(hint(&listed))
}

#[test]
fn a_quote_that_swallows_rows_is_an_error_that_names_its_line() -> Done {
    let mut list = b"url,caption\nhttp://a/0,fine\nhttp://a/1,\"5 inch screen\n".to_vec();
    (2..1001).for_each(|n| list.extend_from_slice(format!("http://a/{n},fine\n").as_bytes()));
    let check = |list: &[u8], fact: &str| -> Done {
        let said = fault_of("l.csv", list)?;
        assert!(said.contains(&format!("l.csv:3: the quote that opens a field on this line {fact}")), "{said}");
        Ok(())
    };
    check(&list, "is never closed")?;
    // Closed by chance: where a line ends, in the middle of a field, and by a quoted field that begins.
    check(&[&list[..], b"http://a/1001,7\"\n"].concat(), "holds 1000 more rows")?;
    check(&[&list[..75], b"\nhttp://a/x,\"7 inch\nhttp://a/y,fine\n"].concat(), "is closed lines later")?;
    check(b"url,caption\n\nhttp://a/1,\"5 inch\nhttp://a/2,\"nice, dog\"\n", "is closed lines later")?;
    // Where the URL comes last, it is the first line that shows it.
    check(b"caption,url\n\n\"5 inch,http://a/1\n\"7 inch,http://a/2\n", "is closed lines later")?;
    let long = [&b"url,caption\n\nhttp://a/1,\"5 inch\n"[..], &b"long line\n".repeat(2 << 20)].concat();
    check(&long, "is not closed within 16 MiB")
}

#[test]
fn what_may_be_a_swallowed_row_is_a_warning_and_many_lines_alone_are_none() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("l.csv");
    let warnings = |content: &str| -> Done<(usize, Vec<String>)> {
        fs::write(&path, content)?;
        let mut rows = 0;
        let notes = urls(&path).list(&mut |_| {
            rows += 1;
            Ok(())
        })?;
        Ok((rows, notes.warnings().collect()))
    };
    let (rows, said) = warnings("url,caption\nhttp://a/1,\"5 inch\nhttp://a/2,7\"\nhttp://a/3,\n")?;
    assert_eq!((rows, said.len()), (2, 1), "{said:?}");
    assert!(said[0].starts_with("1 quoted fields hold lines that look like rows") && said[0].ends_with("l.csv:2"));
    let (rows, said) = warnings("n,caption,url\n1,\"5 inch,http://a/1\n2,7\",http://a/2\n")?;
    assert_eq!((rows, said.len()), (1, 1), "{said:?}");
    let poem = format!("url,caption\nhttp://a/1,\"{}\"\nhttp://a/2,x\n", "a line, see http://b\n".repeat(500));
    assert_eq!(warnings(&poem)?, (2, vec![]));
    let (rows, said) = warnings("url,caption\nhttp://a/1,one, two\nhttp://a/2,x,\nhttp://a/3\n")?;
    assert_eq!((rows, said.len()), (3, 1), "{said:?}");
    assert!(said[0].starts_with("1 rows have more fields than the header") && said[0].ends_with("l.csv:2"));
    Ok(())
}

#[test]
fn what_is_no_list_is_said() -> Done {
    let wide: Vec<u8> = "url,caption\nhttp://a/1,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: [(&[u8], &str); 6] = [
        (b"\x1f\x8b\x08\x00 gzip", "gzip -d"),
        (b"\x28\xb5\x2f\xfd zstd", "zstd -d"),
        (b"PAR1 a table", "Parquet, not text"),
        (b"PK\x03\x04 a sheet", "spreadsheet"),
        (&[b"\xff\xfe", &wide[..]].concat(), "iconv -f UTF-16"),
        (&wide, "iconv -f UTF-16"),
    ];
    for (body, expect) in bodies {
        for name in ["l.txt", "l.csv", "l.tsv", "l.jsonl"] {
            let said = fault_of(name, body)?;
            assert!(said.contains(name) && said.contains(expect), "{said}");
        }
    }
    let said = fault_of("l.csv", b"url,url\nhttp://a/1,http://a/2\n")?;
    assert!(said.contains("2 columns are called \"url\""), "{said}");
    let said = fault_of("l.csv", b"http://a/1,x\nhttp://a/2,y\n")?;
    assert!(said.contains("its first line is a row"), "{said}");
    let said = fault_of("l.csv", b"id,URL,text\n1,http://a/2,y\n")?;
    assert!(said.contains("did you mean \"URL\"? The columns are: id, URL, text"), "{said}");
    Ok(())
}

#[test]
fn json_lines_that_are_none_are_said_where_no_line_is_one() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("l.jsonl");
    let said = |content: &str, caption: Option<&str>| -> Done<String> {
        fs::write(&path, content)?;
        let files = vec![path.clone()];
        let caption_column = caption.map(str::to_owned);
        let source = Source::Urls { files, format: None, url_column: "url".into(), caption_column };
        Ok(hint(&source.check().expect_err(content)))
    };
    let array = said("[\n  {\"url\": \"http://a/1\"},\n]\n", None)?;
    assert!(array.contains("l.jsonl:1: no JSON object"), "{array}");
    let other = said("{\"url\":\"http://a/1\",\"TEXT\":\"c\"}\n", Some("text"))?;
    assert!(other.contains("no column \"text\"") && other.contains("did you mean \"TEXT\""), "{other}");
    Ok(())
}

#[test]
fn long_rows_cost_themselves_alone() -> Done {
    let long = "x".repeat(17 << 20);
    for (name, head, middle) in [
        ("l.txt", "", format!("http://a/{long}")),
        ("l.csv", "url,caption\n", format!("{long},c")),
        ("q.csv", "url,caption\n", format!("http://a/x,\"{long}\"")),
        ("l.tsv", "url\tcaption\n", format!("{long}\tc")),
    ] {
        let list = format!("{head}http://a/1\n{middle}\nhttp://a/2\n");
        let number = 2 + u64::from(!head.is_empty());
        let wrong = unusable(&format!("line {number}: longer than 16 MiB"));
        check_list(name, list.as_bytes(), &[row("http://a/1", None), wrong, row("http://a/2", None)])?;
    }
    Ok(())
}

#[test]
fn json_lists() -> Done {
    let list = b"\xef\xbb\xbf{\"url\":\"http://a/1\",\"caption\":\"c\"}\r\n{broken\n\n{\"url\":7}\n[]\n{\"caption\":\"d\"}\n{\"url\":\"http://a/2\",\"n\":NaN}";
    let expect = [
        row("http://a/1", Some("c")),
        unusable("line 2: no JSON object: key must be a string"),
        row("", None),
        unusable("line 5: no JSON object: invalid type: sequence, expected a JSON object"),
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
    let wrong = unusable("line 2: longer than 16 MiB");
    check_list("l.jsonl", &list, &[row("http://a/1", None), wrong, row("http://a/2", None)])
}

#[test]
fn a_text_that_is_repeated_is_held_once() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("l.parquet");
    // 20 GB, were the rows put together.
    let text = format!("http://a/{}", "x".repeat(20 << 20));
    let words = strings(&[Some(&*text), Some("http://a/1"), None]);
    let keys: Vec<i32> = (0..1000).map(|row| i32::from(row == 7) + 2 * i32::from(row == 8)).collect();
    let column = arrow::array::DictionaryArray::try_new(arrow::array::Int32Array::from(keys), words)?;
    write_parquet(&path, vec![("url", std::sync::Arc::new(column))], 1000)?;
    assert!(fs::metadata(&path)?.len() < 30 << 20);
    let rows = rows(&urls(&path))?;
    assert_eq!((rows.len(), urls(&path).check()?), (1000, 1000));
    assert_eq!(rows[7..9], [row("http://a/1", None), row("", None)]);
    assert_eq!(rows[999], unusable("row 999: a URL of 20971529 bytes, more than 65536"));
    Ok(())
}

#[test]
fn texts_are_found_behind_nested_columns_and_across_pages() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("l.parquet");
    let bytes = vec![Some(b"x".as_slice()); 5000];
    let texts: Vec<String> = (0..5000).map(|n| format!("http://a/{n}")).collect();
    let some: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    let captions: Vec<Option<&str>> = (0..5000).map(|n| (n % 3 == 0).then_some("c")).collect();
    let columns = vec![("image", hugging_face(&bytes, 0)), ("caption", strings(&captions)), ("url", strings(&some))];
    write_parquet(&path, columns, 1300)?;
    let expect: Vec<InputRow> = texts.iter().zip(&captions).map(|(text, caption)| row(text, *caption)).collect();
    assert_eq!(rows(&urls(&path))?, expect);
    Ok(())
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
    let source = Source::Folder { path: root.into(), except };
    assert_eq!(locations(&source)?, ["1.png"]);
    assert_eq!(source.check()?, 1);
    let before = source.fingerprint()?;
    fs::write(root.join("work/ingest/more.parquet"), "")?;
    assert_eq!(source.fingerprint()?, before);
    Ok(())
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
