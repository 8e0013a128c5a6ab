//! Parquet files, of URLs and of images.

use super::*;

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
fn a_column_of_a_wrong_type_is_an_error() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("t.parquet");
    write_parquet(&path, vec![("image", strings(&[Some("x")]))], 1)?;
    let error = images(&path).check().expect_err("strings are no images");
    assert!(hint(&error).contains("image (Utf8)"), "{}", hint(&error));
    fs::write(&path, b"PAR1 no")?;
    assert!(matches!(images(&path).check(), Err(Error::Data(_))));
    assert!(matches!(images(dir.path().join("gone.parquet")).check(), Err(Error::Io { .. })));
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
        row("0:b.parquet#0", None),
        row("0:b.parquet#1", None),
    ];
    assert_eq!(rows(&images(dir.path()))?, expect);
    assert_eq!(images(dir.path()).check()?, 4);
    Ok(())
}

#[test]
fn lists_of_urls_are_rows_and_columns_are_kept() -> Done {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, ListBuilder, StringBuilder, UInt64Array};

    let dir = tempdir()?;
    let path = dir.path().join("l.parquet");
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("http://a/1"), Some("http://a/2")]);
    lists.append_null();
    lists.append_value([Some("http://a/3")]);
    let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(7)]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("url", Arc::new(lists.finish())),
        ("n", numbers),
        ("f", Arc::new(Float64Array::from(vec![0.5, 2.0, f64::NAN]))),
        ("b", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("page", strings(&[Some("p"), Some("q"), None])),
    ];
    write_parquet(&path, columns, 2)?;
    let keep = |keep: &[&str]| Source::Urls {
        files: vec![path.clone()],
        format: None,
        url_column: "url".into(),
        caption_column: None,
        keep: keep.iter().map(|&name| name.to_owned()).collect(),
        headless: false,
    };
    let source = keep(&["n", "f", "b", "page"]);
    let found: Vec<(String, String)> =
        rows(&source)?.into_iter().map(|row| (row.location, row.extra.unwrap_or_default())).collect();
    let first = format!(r#"{{"n":{},"f":0.5,"b":true,"page":"p"}}"#, u64::MAX);
    let expect = [
        ("http://a/1", &*first),
        ("http://a/2", &first),
        ("", r#"{"n":null,"f":2,"b":false,"page":"q"}"#),
        ("http://a/3", r#"{"n":7,"f":null,"b":true,"page":null}"#),
    ];
    assert_eq!(found, expect.map(|(url, extra)| (url.to_owned(), extra.to_owned())));
    assert_eq!(source.check()?, 4);
    assert!(hint(&keep(&["url"]).check().expect_err("a list")).contains("column \"url\" holds List"));
    Ok(())
}
