//! What a person has, before anything is said about it: the names and sizes of files, and the
//! columns of a table or a list with their first row.
//!
//! [`Source::check`](super::Source::check) counts what a source has once its columns are known.

use std::path::{Path, PathBuf};

use super::kinds::UrlFormat;
use super::separated::{self, Dialect};
use super::{archive, folder, json, lines, table, walk};
use lvd_base::error::{Error, Result};

pub use super::columns::{Column, Holds};

/// The extensions by which files are images, in lower case.
pub const IMAGES: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// How the name of a crawl archive ends, in lower case and without the first dot; `None` of what is
/// no archive.
#[must_use]
pub fn archive_ending(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let ends = |ending: &&&str| name.strip_suffix(**ending).is_some_and(|stem| stem.ends_with('.'));
    archive::EXTENSIONS.iter().find(ends).copied()
}

/// How many rows an archive has, about: of a large one only the beginning is read.
///
/// # Errors
/// A file that cannot be read.
pub fn archive_rows(path: &Path) -> Result<u64> {
    archive::estimate(path)
}

/// Something that the walk came by.
pub enum Sighting<'a> {
    /// A file: its path, its extension in lower case, and its bytes.
    File(&'a Path, String, u64),
    /// A file or folder whose name begins with a dot, which no source reads.
    Hidden(&'a Path),
    /// A file or folder that this user may not read.
    Closed(&'a Path),
}

/// Calls `each` for every file below `root`, sorted, but those at `except` and below.
///
/// # Errors
/// A folder that cannot be read, or whatever `each` returns.
pub fn files(root: &Path, except: &[PathBuf], each: &mut dyn FnMut(Sighting) -> Result<()>) -> Result<()> {
    let each = std::cell::RefCell::new(each);
    let failed = std::cell::RefCell::new(Ok(()));
    let other = |sighting: Sighting| {
        let mut failed = failed.borrow_mut();
        if failed.is_ok() {
            *failed = (each.borrow_mut())(sighting);
        }
    };
    walk::all(
        root,
        usize::MAX,
        except,
        &mut |path, metadata| (each.borrow_mut())(Sighting::File(path, folder::extension(path), metadata.len())),
        &mut |path| other(Sighting::Hidden(path)),
        &mut |path| other(Sighting::Closed(path)),
    )?;
    failed.into_inner()
}

/// The columns of a table or list. A text list has one without a name: its first line that is no
/// comment.
///
/// # Errors
/// A file that cannot be read, or is not what its format says.
pub fn columns(path: &Path, format: UrlFormat) -> Result<Vec<Column>> {
    let separated = |delimiter, quotes| {
        let (header, row) = separated::first(path, Dialect { delimiter, quotes })?;
        let holds = |place: usize| row.get(place).map_or_else(|| Holds::of_text(b""), |field| Holds::of_text(field));
        Ok(header.into_iter().enumerate().map(|(place, name)| Column { name, holds: holds(place) }).collect())
    };
    match format {
        UrlFormat::Parquet => table::look(path),
        UrlFormat::Csv => separated(b',', true),
        UrlFormat::Tsv => separated(b'\t', true),
        UrlFormat::TsvUnquoted => separated(b'\t', false),
        UrlFormat::Txt => {
            let line = first_line(path, &|line| !line.is_empty() && !line.starts_with(b"#"))?;
            Ok(line.map(|line| Column { name: String::new(), holds: Holds::of_text(&line) }).into_iter().collect())
        }
        UrlFormat::Jsonl => match first_line(path, &|line| !line.is_empty())? {
            None => Ok(Vec::new()),
            Some(line) => of_json(path, &line),
        },
    }
}

/// The keys of a JSON line.
fn of_json(path: &Path, line: &[u8]) -> Result<Vec<Column>> {
    let fault = |fault: String| Error::data(path, format!("no JSON object in its first line: {fault}"));
    let column = |name: String| {
        let [text] = json::pick(line, [&*name]).map_err(fault)?;
        let holds = text.map_or(Holds::Other, |text| Holds::of_text(text.as_bytes()));
        Ok(Column { name, holds })
    };
    json::keys(line).map_err(fault)?.into_iter().map(column).collect()
}

/// The first line that is wanted, without blanks around it.
fn first_line(path: &Path, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
    let mut found = None;
    let stopped = lines::for_each(path, &mut |_, line| match line.map(<[u8]>::trim_ascii) {
        Some(line) if !wanted(line) => Ok(()),
        line => {
            found = Some(line.unwrap_or_default().to_vec());
            Err(Error::data(path, "one line is enough"))
        }
    });
    if found.is_some() { Ok(found) } else { stopped.map(|()| None) }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Done, binaries, hugging_face, strings, write_parquet};
    use super::*;

    fn text(text: &str) -> Holds {
        Holds::Text(text.to_owned())
    }

    fn seen(path: &Path) -> Done<Vec<(String, Holds)>> {
        let format = UrlFormat::of(path).ok_or("a format")?;
        Ok(columns(path, format)?.into_iter().map(|column| (column.name, column.holds)).collect())
    }

    #[test]
    fn columns_come_with_their_first_row() -> Done {
        let dir = tempfile::tempdir()?;
        let check = |name: &str, content: &str, expect: &[(&str, Holds)]| -> Done {
            let path = dir.path().join(name);
            std::fs::write(&path, content)?;
            let expect: Vec<(&str, &Holds)> = expect.iter().map(|(name, holds)| (*name, holds)).collect();
            let seen = seen(&path)?;
            assert_eq!(seen.iter().map(|(name, holds)| (&**name, holds)).collect::<Vec<_>>(), expect, "{content}");
            Ok(())
        };
        let url = || text("http://a/1");
        check("l.csv", "id,url\n1,http://a/1\n", &[("id", text("1")), ("url", url())])?;
        check("l.tsv", "id\turl\n1\thttp://a/1\n", &[("id", text("1")), ("url", url())])?;
        check("short.csv", "id,url\n", &[("id", text("")), ("url", text(""))])?;
        check("l.txt", "\n# a list\n http://a/1 \nhttp://a/2\n", &[("", url())])?;
        check("empty.txt", "", &[])?;
        check("l.jsonl", "\n{\"url\": \"http://a/1\", \"n\": {}}\n", &[("url", url()), ("n", Holds::Other)])?;
        assert!(url().is_url() && !text("a.jpg").is_url() && !Holds::Image.is_url());
        let array = dir.path().join("array.jsonl");
        std::fs::write(&array, "[1]\n")?;
        assert!(columns(&array, UrlFormat::Jsonl).is_err());
        Ok(())
    }

    #[test]
    fn columns_of_parquet_with_images_are_told_from_texts() -> Done {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("l.parquet");
        let png: &[u8] = b"\x89PNG\r\n\x1a\n and more";
        let columns = vec![
            ("image", hugging_face(&[Some(png)], 7)),
            ("raw", binaries(&[Some(png)])),
            ("bytes", binaries(&[Some(b"http://a/1")])),
            ("null", binaries(&[None])),
            ("caption", strings(&[Some("a dog")])),
        ];
        write_parquet(&path, columns, 1)?;
        let expect = [
            ("image", Holds::Image),
            ("raw", Holds::Image),
            ("bytes", text("http://a/1")),
            ("null", Holds::Image),
            ("caption", text("a dog")),
        ];
        assert_eq!(seen(&path)?, expect.map(|(name, holds)| (name.to_owned(), holds)));
        Ok(())
    }

    #[test]
    fn files_and_what_is_hidden_are_seen_in_order() -> Done {
        let dir = tempfile::tempdir()?;
        let root = dir.path();
        std::fs::create_dir_all(root.join("b/.git"))?;
        for name in ["b/2.JPG", "b/.git/config", ".DS_Store", "a.txt", "out.toml"] {
            std::fs::write(root.join(name), name)?;
        }
        let mut seen = Vec::new();
        files(root, &[root.join("out.toml")], &mut |sighting| {
            seen.push(match sighting {
                Sighting::File(path, extension, bytes) => {
                    format!("{} {extension} {bytes}", path.strip_prefix(root).unwrap_or(path).display())
                }
                Sighting::Closed(path) => format!("closed {}", path.display()),
                Sighting::Hidden(path) => format!("hidden {}", path.strip_prefix(root).unwrap_or(path).display()),
            });
            Ok(())
        })?;
        assert_eq!(seen, ["hidden .DS_Store", "a.txt txt 5", "hidden b/.git", "b/2.JPG jpg 7"].map(str::to_owned));
        Ok(())
    }
}
