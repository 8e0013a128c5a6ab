//! Files of a folder, good and bad.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;

use super::*;
use crate::sources::fixture::rows;

#[test]
fn every_listed_file_is_read_whatever_its_name() -> Done {
    let dir = tempfile::tempdir()?;
    fs::create_dir(dir.path().join("a"))?;
    for name in [b"a/1.jpg".as_slice(), b"50%.jpg", b"\xff.jpg", "Zürich".as_bytes()] {
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), name)?;
    }
    symlink("nowhere", dir.path().join("dangling"))?;
    symlink("a/1.jpg", dir.path().join("link"))?;
    let source =
        Source::Folder { path: dir.path().into(), except: Vec::new(), extensions: Vec::new(), captions: false };
    let answers = answers(&fetcher(limits())?, &source, &rows(&source)?)?;
    let text = |text: &str| Ok(text.to_owned());
    let expect = [
        text("50%.jpg"),
        text("Zürich"),
        text("a/1.jpg"),
        Err(Reason::Unreadable),
        text("a/1.jpg"),
        text("\u{fffd}.jpg"),
    ];
    assert_eq!(outcomes(answers), expect);
    Ok(())
}

#[test]
fn what_is_no_image_file_is_dropped_and_never_waited_for() -> Done {
    let dir = tempfile::tempdir()?;
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("folder"))?;
    fs::write(dir.path().join("outside"), "secret")?;
    fs::write(root.join("empty"), "")?;
    fs::write(root.join("full"), [b'x'; 1000])?;
    fs::write(root.join("big"), [b'x'; 1001])?;
    assert!(Command::new("mkfifo").arg(root.join("fifo")).status()?.success());
    let _socket = UnixListener::bind(root.join("socket"))?;
    symlink("/dev/zero", root.join("device"))?;
    let check = |location: &str, expect: std::result::Result<&str, Reason>| -> Done {
        let source = Source::Folder { path: root.clone(), except: Vec::new(), extensions: Vec::new(), captions: false };
        let answers = answers(&fetcher(limits())?, &source, &[row(location)])?;
        let detail = format!("{location}: {answers:?}");
        assert_eq!(outcomes(answers), [expect.map(str::to_owned)], "{detail}");
        Ok(())
    };
    check("full", Ok(&"x".repeat(1000)))?;
    check("big", Err(Reason::TooManyBytes))?;
    check("empty", Err(Reason::Empty))?;
    let outside = dir.path().join("outside");
    for unreadable in [
        "gone",
        "fifo",
        "socket",
        "device",
        "folder",
        "",
        ".",
        "/",
        "../outside",
        "folder/../../outside",
        "%2E%2E/outside",
        "%2e%2e%2foutside",
        "full%00",
        "full%",
        &outside.to_string_lossy(),
    ] {
        check(unreadable, Err(Reason::Unreadable))?;
    }
    Ok(())
}

#[test]
fn a_thousand_files_keep_their_order() -> Done {
    let dir = tempfile::tempdir()?;
    for number in 0..1000 {
        fs::write(dir.path().join(format!("{number:04}")), format!("{number:04}"))?;
    }
    let source =
        Source::Folder { path: dir.path().into(), except: Vec::new(), extensions: Vec::new(), captions: false };
    let rows = rows(&source)?;
    let expect: Vec<_> = rows.iter().map(|row| Ok(row.location.clone())).collect();
    assert_eq!(outcomes(answers(&fetcher(limits())?, &source, &rows)?), expect);
    Ok(())
}
