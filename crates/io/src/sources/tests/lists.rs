//! Lists of URLs as text, as people have them.

use super::*;

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
    let list = b"\xef\xbb\xbfhttp://a/1\r\n\n# no\n  # no\n  http://a/2  \n   \n\xff\xfe\nhttp://a/3";
    let odd = row("%FF%FE", None);
    check_list("l.txt", list, &[row("http://a/1", None), row("http://a/2", None), odd, row("http://a/3", None)])?;
    check_list(
        "t.txt",
        b"http://a/1\ta dog\nhttp://a/2\t\n",
        &[row("http://a/1", Some("a dog")), row("http://a/2", None)],
    )?;
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
    let unquoted = Source::Urls {
        files,
        format: Some(UrlFormat::TsvUnquoted),
        url_column,
        caption_column,
        keep: Vec::new(),
        headless: false,
    };
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
    // Closed by chance: where a line ends, in the middle of a field, and by a quoted field that
    // begins.
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
        (b"BZh91AY bzip2", "bzip2 -d"),
        (b"\xfd7zXZ\0 xz", "xz -d"),
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
        let source = Source::Urls {
            files,
            format: None,
            url_column: "url".into(),
            caption_column,
            keep: Vec::new(),
            headless: false,
        };
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
fn lists_may_be_compressed() -> Done {
    use std::io::Write;
    let csv = b"\xef\xbb\xbfurl,caption\nhttp://a/1,one\nhttp://a/2,two\n";
    let expect = [row("http://a/1", Some("one")), row("http://a/2", Some("two"))];
    let gzip = |bytes: &[u8]| -> Done<Vec<u8>> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes)?;
        Ok(out.finish()?)
    };
    check_list("l.csv.gz", &[gzip(&csv[..30])?, gzip(&csv[30..])?].concat(), &expect)?;
    check_list("l.CSV.zst", &zstd::encode_all(&csv[..], 3)?, &expect)?;
    check_list("l.csv", &gzip(csv)?, &expect)?;
    check_list("l.jsonl.gz", &gzip(b"{\"url\":\"http://a/1\"}\n")?, &[row("http://a/1", None)])?;
    check_list("l.txt.gz", &gzip(b"http://a/1\n")?, &[row("http://a/1", None)])?;
    let said = fault_of("cut.csv.gz", &gzip(&csv.repeat(1000))?[..50])?;
    assert!(said.contains("cut.csv.gz"), "{said}");
    Ok(())
}

#[test]
fn cells_may_hold_several_urls() -> Done {
    let [one, two] = ["http://a/1", "http://a/2"].map(|url| row(url, Some("c")));
    let csv = b"url,caption\n\"['http://a/1', 'http://a/2']\",c\nhttp://a/1|http://a/2,c\nhttp://a/caf\xe9,\n";
    let latin = row("http://a/caf%E9", None);
    check_list("l.csv", csv, &[one.clone(), two.clone(), one.clone(), two.clone(), latin])?;
    let json = b"{\"url\":[\"http://a/1\",\"http://a/2\"],\"caption\":\"c\"}\n";
    check_list("l.jsonl", json, &[one, two])
}

#[test]
fn columns_are_kept_and_may_be_numbered() -> Done {
    let dir = tempdir()?;
    let check = |name: &str, content: &[u8], headless: bool, expect: &[(&str, &str)]| -> Done {
        let path = dir.path().join(name);
        fs::write(&path, content)?;
        let (url, keep) = if headless { ("1", ["2", "3"]) } else { ("url", ["page", "n"]) };
        let keep = keep.map(str::to_owned).to_vec();
        let source = Source::Urls {
            files: vec![path],
            format: None,
            url_column: url.into(),
            caption_column: None,
            keep,
            headless,
        };
        let found = rows(&source)?;
        let found: Vec<(&str, &str)> =
            found.iter().map(|row| (&*row.location, row.extra.as_deref().unwrap_or_default())).collect();
        assert_eq!(found, expect, "{name}");
        assert_eq!(source.check()?, expect.len() as u64);
        Ok(())
    };
    let csv = b"url,page,n\nhttp://a/1,http://a/,7\nhttp://a/2,,\n";
    let expect = [("http://a/1", r#"{"page":"http://a/","n":"7"}"#), ("http://a/2", r#"{"page":null,"n":null}"#)];
    check("l.csv", csv, false, &expect)?;
    let numbered = [("http://a/1", r#"{"2":"http://a/","3":"7"}"#), ("http://a/2", r#"{"2":null,"3":null}"#)];
    check("l.tsv", String::from_utf8(csv[11..].to_vec())?.replace(',', "\t").as_bytes(), true, &numbered)?;
    check("empty.csv", b"", true, &[])?;
    let json = b"{\"url\":\"http://a/1\",\"page\":\"\\ud83d\",\"n\":{\"x\":[1]}}\n{\"url\":\"http://a/2\",\"n\":NaN}\n";
    check(
        "l.jsonl",
        json,
        false,
        &[("http://a/1", "{\"page\":\"\u{fffd}\",\"n\":{\"x\":[1]}}"), ("http://a/2", r#"{"n":null}"#)],
    )?;
    let missing = Source::Urls {
        files: vec![dir.path().join("l.csv")],
        format: None,
        url_column: "url".into(),
        caption_column: None,
        keep: vec!["pge".into()],
        headless: false,
    };
    assert!(hint(&missing.check().expect_err("it is missing")).contains("did you mean \"page\""));
    Ok(())
}
