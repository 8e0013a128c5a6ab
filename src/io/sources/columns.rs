//! The columns of a list by their names, and what to say where one is not there.

use std::path::Path;

use super::DEFAULT_CAPTION;
use crate::error::{Error, Result};

/// Which columns to read.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    pub(super) url: &'a str,
    pub(super) caption: Option<&'a str>,
}

impl Columns<'_> {
    /// The place of the URL.
    pub(super) fn url_in(self, path: &Path, header: &[String]) -> Result<usize> {
        place(path, header, self.url)
    }

    /// The place of the caption; where no column is named, that of `caption` if there is one.
    pub(super) fn caption_in(self, path: &Path, header: &[String]) -> Result<Option<usize>> {
        match self.caption {
            Some(name) => place(path, header, name).map(Some),
            None if header.iter().any(|name| name == DEFAULT_CAPTION) => place(path, header, DEFAULT_CAPTION).map(Some),
            None => Ok(None),
        }
    }
}

/// The place of a column, which there must be once.
pub(super) fn place(path: &Path, header: &[String], column: &str) -> Result<usize> {
    let mut places = header.iter().enumerate().filter(|(_, name)| *name == column).map(|(place, _)| place);
    match (places.next(), places.count()) {
        (Some(place), 0) => Ok(place),
        (Some(_), more) => Err(Error::usage(
            format!("{}: {} columns are called {column:?}", path.display(), more + 1),
            "rename all but the one that is meant",
        )),
        (None, _) => Err(missing(path, column, header)),
    }
}

/// A missing column, with those there are.
pub(super) fn missing(path: &Path, column: &str, available: &[String]) -> Error {
    let is_url = |name: &String| name.starts_with("http://") || name.starts_with("https://");
    let listed = available.iter().map(String::as_str).take(50).collect::<Vec<_>>().join(", ");
    let hint = match (available, nearest(column, available)) {
        ([], _) => "the file has no columns at all".to_owned(),
        (names, _) if names.iter().any(is_url) => {
            format!("its first line is a row, not a header: put a line before it that names the columns ({listed})")
        }
        (_, Some(name)) => format!("did you mean {name:?}? The columns are: {listed}"),
        _ => format!("the columns are: {listed}"),
    };
    Error::usage(format!("{}: no column {column:?}", path.display()), hint)
}

/// The name that is most like `wanted`, if one is.
fn nearest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let apart = |name: &String| {
        let name = name.to_lowercase();
        if name.contains(&wanted) || wanted.contains(&name) && !name.is_empty() { 1 } else { edits(&wanted, &name) }
    };
    let (apart, name) = names.iter().map(|name| (apart(name), name)).min_by_key(|(apart, _)| *apart)?;
    (apart <= (wanted.chars().count() / 3).max(1)).then_some(name.as_str())
}

/// Letters to change, add or leave out to make `b` of `a` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(100).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_no_other() {
        let names = ["id", "URL", "TEXT", "image_path"].map(str::to_owned);
        assert_eq!(nearest("url", &names), Some("URL"));
        assert_eq!(nearest("txt", &names), Some("TEXT"));
        assert_eq!(nearest("image", &names), Some("image_path"));
        assert_eq!(nearest("caption", &names), None);
        assert_eq!(nearest("url", &[]), None);
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, expect) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("url", "urls", 1)] {
            assert_eq!((edits(a, b), edits(b, a)), (expect, expect), "{a} {b}");
        }
    }
}
