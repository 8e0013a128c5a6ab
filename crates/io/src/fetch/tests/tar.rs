//! Members of tars: whole ones, and what is none.

use std::fs::File;
use std::path::Path;

use super::*;
use crate::sources::fixture::rows;

/// A tar of members with their texts; a member whose text is `->` is a link to it.
fn write(path: &Path, members: &[(&str, &str)]) -> Done {
    let mut builder = ::tar::Builder::new(File::create(path)?);
    for (name, text) in members {
        let mut header = ::tar::Header::new_gnu();
        header.set_mode(0o644);
        if *text == "->" {
            header.set_entry_type(::tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, "elsewhere")?;
        } else {
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, name, text.as_bytes())?;
        }
    }
    Ok(builder.finish()?)
}

#[test]
fn members_come_in_order_and_what_is_none_is_dropped() -> Done {
    let dir = tempfile::tempdir()?;
    let big = "x".repeat(1001);
    write(&dir.path().join("a.tar"), &[("0.jpg", "zero"), ("0.cls", "7"), ("1.jpg", ""), ("2.jpg", "->")])?;
    write(&dir.path().join("b.tar"), &[("0.jpg", "again"), ("3.png", &big), ("d/4.webp", "four")])?;
    write(&dir.path().join("c.other"), &[("9.jpg", "nine")])?;
    let source = Source::Tar { files: vec![dir.path().into()], caption_key: None, keep: Vec::new() };
    let mut rows = rows(&source)?;
    rows.push(row("nonsense"));
    let text = |text: &str| Ok(text.to_owned());
    let expect = [
        text("zero"),
        Err(Reason::Empty),
        Err(Reason::Empty),
        text("again"),
        Err(Reason::TooManyBytes),
        text("four"),
        Err(Reason::Unreadable),
    ];
    for concurrency in [1, 64] {
        let fetcher = fetcher(FetchLimits { concurrency, ..limits() })?;
        assert_eq!(outcomes(answers(&fetcher, &source, &rows)?), expect);
        let backwards: Vec<InputRow> = rows.iter().rev().cloned().collect();
        let expect: Vec<_> = expect.iter().rev().cloned().collect();
        assert_eq!(outcomes(answers(&fetcher, &source, &backwards)?), expect);
    }
    Ok(())
}

#[test]
fn tars_that_are_others_or_shorter_by_now_are_noticed() -> Done {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("b.tar");
    write(&path, &[("0.jpg", "zero"), ("1.jpg", "one")])?;
    let source = Source::Tar { files: vec![dir.path().into()], caption_key: None, keep: Vec::new() };
    let (fetcher, rows) = (fetcher(limits())?, rows(&source)?);
    File::options().write(true).open(&path)?.set_len(600)?;
    assert_eq!(outcomes(answers(&fetcher, &source, &rows)?), [Ok("zero".to_owned()), Err(Reason::Unreadable)]);
    write(&dir.path().join("a.tar"), &[("0.jpg", "before")])?;
    assert_eq!(outcomes(answers(&fetcher, &source, &rows)?), [Ok("zero".to_owned()), Err(Reason::Unreadable)]);
    std::fs::rename(&path, dir.path().join("c.tar"))?;
    assert_eq!(outcomes(answers(&fetcher, &source, &rows)?), [Err(Reason::Unreadable), Err(Reason::Unreadable)]);
    Ok(())
}
