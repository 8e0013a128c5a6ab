//! Images out of Parquet files: both kinds of columns, slices, and rows in any order.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use tempfile::tempdir;

use super::*;
use crate::sources::fixture::{binaries, hugging_face, rows, write_parquet};
use lvd_base::error::Error;

fn source(path: &Path) -> Source {
    Source::Parquet { files: vec![path.into()], image_column: "image".into(), caption_column: None, keep: Vec::new() }
}

/// A folder of two files of 50 images each, in row groups of 7; image `N` holds the text `N`.
fn hundred(path: &Path) -> Done {
    let texts: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let bytes: Vec<_> = texts.iter().map(|text| Some(text.as_bytes())).collect();
    write_parquet(&path.join("a.parquet"), vec![("image", binaries(&bytes[..50]))], 7)?;
    write_parquet(&path.join("b.parquet"), vec![("image", hugging_face(&bytes[50..], 50))], 7)
}

fn check(source: &Source, all: &[InputRow], places: &[usize]) -> Done {
    let asked: Vec<_> = places.iter().map(|&place| all[place].clone()).collect();
    let expect: Vec<_> = places.iter().map(|place| Ok(place.to_string())).collect();
    for concurrency in [1, 3, 64] {
        let fetcher = fetcher(FetchLimits { concurrency, ..limits() })?;
        assert_eq!(outcomes(answers(&fetcher, source, &asked)?), expect);
    }
    Ok(())
}

#[test]
fn slices_and_rows_in_any_order() -> Done {
    let dir = tempdir()?;
    hundred(dir.path())?;
    let source = source(dir.path());
    let all = rows(&source)?;
    check(&source, &all, &(0..100).collect::<Vec<_>>())?;
    check(&source, &all, &(45..58).collect::<Vec<_>>())?;
    check(&source, &all, &[6, 7, 49, 50, 99])?;
    check(&source, &all, &[99, 0, 0, 13, 12, 60, 3])?;
    check(&source, &all, &[])
}

#[test]
fn nulls_are_empty_and_big_ones_too_big() -> Done {
    let dir = tempdir()?;
    let big = [0; 1001];
    let bytes = [Some(b"x".as_slice()), None, Some(b""), Some(&big), Some(b"y")];
    let columns: [ArrayRef; 3] =
        [binaries(&bytes), hugging_face(&bytes, 99), Arc::new(arrow::array::LargeBinaryArray::from(bytes.to_vec()))];
    let [x, y] = ["x", "y"].map(|text| Ok(text.to_owned()));
    let expect = [x, Err(Reason::Empty), Err(Reason::Empty), Err(Reason::TooManyBytes), y];
    for column in columns {
        let path = dir.path().join("a.parquet");
        write_parquet(&path, vec![("id", binaries(&bytes)), ("image", column)], 2)?;
        let source = source(&path);
        assert_eq!(outcomes(answers(&fetcher(limits())?, &source, &rows(&source)?)?), expect);
    }
    Ok(())
}

#[test]
fn a_null_struct_is_empty_whatever_lies_below() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("a.parquet");
    write_parquet(&path, vec![("image", hugging_face(&[Some(b"x"), Some(b"y")], 0))], 2)?;
    let source = source(&path);
    let answers = answers(&fetcher(limits())?, &source, &rows(&source)?)?;
    assert_eq!(outcomes(answers), [Err(Reason::Empty), Ok("y".to_owned())]);
    Ok(())
}

#[test]
fn rows_that_are_not_there_are_dropped() -> Done {
    let dir = tempdir()?;
    hundred(dir.path())?;
    let asked = ["nonsense", "0:a.parquet#49", "0:a.parquet#50", "0:a.parquet#18446744073709551615", "0:b.parquet#0"];
    let answers = answers(&fetcher(limits())?, &source(dir.path()), &asked.map(row))?;
    let gone = || Err(Reason::Unreadable);
    assert_eq!(outcomes(answers), [gone(), Ok("49".into()), gone(), gone(), Ok("50".into())]);
    Ok(())
}

#[test]
fn rows_stay_in_their_files_when_others_come_and_go() -> Done {
    let dir = tempdir()?;
    hundred(dir.path())?;
    let source = source(dir.path());
    let all = rows(&source)?;
    fs::copy(dir.path().join("a.parquet"), dir.path().join("0.parquet"))?;
    check(&source, &all, &[0, 49, 50, 99])?;
    fs::remove_file(dir.path().join("a.parquet"))?;
    let answers = outcomes(answers(&fetcher(limits())?, &source, &all)?);
    assert!(answers[..50].iter().all(|answer| *answer == Err(Reason::Unreadable)), "{answers:?}");
    check(&source, &all, &[50, 99])
}

#[test]
fn files_of_one_name_are_told_apart() -> Done {
    let dir = tempdir()?;
    let files: Vec<_> = ["x", "y"].iter().map(|below| dir.path().join(below).join("a.parquet")).collect();
    for (path, text) in files.iter().zip([b"of x", b"of y"]) {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        write_parquet(path, vec![("image", binaries(&[Some(text)]))], 7)?;
    }
    let source = Source::Parquet { files, image_column: "image".into(), caption_column: None, keep: Vec::new() };
    let all = rows(&source)?;
    assert_eq!(all, [row("0:a.parquet#0"), row("1:a.parquet#0")]);
    let answers = answers(&fetcher(limits())?, &source, &all)?;
    assert_eq!(outcomes(answers), [Ok("of x".to_owned()), Ok("of y".to_owned())]);
    Ok(())
}

#[test]
fn a_broken_file_is_an_error_with_its_path() -> Done {
    let dir = tempdir()?;
    hundred(dir.path())?;
    let source = source(dir.path());
    let all = rows(&source)?;
    let path = dir.path().join("a.parquet");
    let mut bytes = fs::read(&path)?;
    bytes[4..200].fill(0xff);
    fs::write(&path, bytes)?;
    let error = answers(&fetcher(limits())?, &source, &all).expect_err("the pages are broken");
    assert!(matches!(&error, Error::Data(fault) if fault.place.ends_with("a.parquet")), "{error}");
    Ok(())
}

#[test]
fn an_error_of_the_caller_stops_the_reading() -> Done {
    let dir = tempdir()?;
    hundred(dir.path())?;
    let source = source(dir.path());
    let mut seen = 0;
    let stopped = fetcher(limits())?.fetch_all(&source, &rows(&source)?, &mut |_, _| {
        seen += 1;
        if seen == 3 { Err(Error::usage("enough", "")) } else { Ok(()) }
    });
    assert!(stopped.is_err_and(|error| error.to_string() == "enough"));
    assert_eq!(seen, 3);
    Ok(())
}

#[test]
fn no_broken_byte_makes_it_panic() -> Done {
    let dir = tempdir()?;
    let path = dir.path().join("a.parquet");
    let bytes = [Some(b"one".as_slice()), None, Some(b"two"), Some(b"three")];
    write_parquet(&path, vec![("image", hugging_face(&bytes, 1))], 2)?;
    let source = source(&path);
    let (good, asked) = (fs::read(&path)?, rows(&source)?);
    let fetcher = fetcher(limits())?;
    for place in 0..good.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut broken = good.clone();
            broken[place] ^= mask;
            fs::write(&path, broken)?;
            // Some bytes do not matter, others do: only panics fail this test.
            let _ = (source.check(), rows(&source), answers(&fetcher, &source, &asked));
        }
    }
    Ok(())
}
