//! The columns of a list by their names, and what to say where one is not there.

use std::path::Path;

use lvd_base::error::{Error, Result, nearest};

/// The caption column that is taken when none is named.
pub(super) const DEFAULT_CAPTION: &str = "caption";

/// The longest text that is kept of a first row, in bytes: enough to see what it is.
const FIRST_BYTES: usize = 4096;

/// A column of a table or list.
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
}

/// What a column holds, by its type and its first row.
#[derive(Debug, PartialEq, Eq)]
pub enum Holds {
    /// Text: that of the first row, empty where it has none.
    Text(String),
    /// The bytes of images.
    Image,
    /// Anything else.
    Other,
}

impl Holds {
    /// Text, as far as it says what it is.
    pub(super) fn of_text(bytes: &[u8]) -> Self {
        Self::Text(String::from_utf8_lossy(&bytes[..bytes.len().min(FIRST_BYTES)]).trim().to_owned())
    }

    /// Whether it is a URL of the web.
    #[must_use]
    pub fn is_url(&self) -> bool {
        matches!(self, Self::Text(text) if text.starts_with("http://") || text.starts_with("https://"))
    }
}

/// Which columns to read.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    /// That of the URL, or of the image itself.
    pub(super) url: &'a str,
    pub(super) caption: Option<&'a str>,
    /// What else is kept.
    pub(super) keep: &'a [String],
    /// Whether no line of a text names the columns, which are then called 1, 2, 3.
    pub(super) headless: bool,
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

impl<'a> Columns<'a> {
    /// The names and places of what else is kept.
    pub(super) fn kept_in(self, path: &Path, header: &[String]) -> Result<Vec<(&'a str, usize)>> {
        self.keep.iter().map(|name| Ok((name.as_str(), place(path, header, name)?))).collect()
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
    let hint = match (available, meant(column, available)) {
        ([], _) => "the file has no columns at all".to_owned(),
        (names, _) if names.iter().any(is_url) => {
            format!(
                "its first line is a row, not a header: set `header = false`, and name the columns by their numbers \
                 ({listed})"
            )
        }
        ([only], _) if only.contains([';', '|', '\t', ',']) => {
            format!("its only column is {only:?}: a csv has commas between its columns, a tsv has tabs")
        }
        (_, Some(name)) => format!("did you mean {name:?}? The columns are: {listed}"),
        _ => format!("the columns are: {listed}"),
    };
    Error::usage(format!("{}: no column {column:?}", path.display()), hint)
}

/// The name that was meant: the nearest, or else the first that holds `wanted`.
fn meant<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let holds = |name: &&String| name.to_lowercase().contains(&wanted.to_lowercase());
    nearest(wanted, names.iter().map(String::as_str)).or_else(|| names.iter().find(holds).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_was_meant_is_suggested_and_no_other() {
        let names = ["id", "URL", "TEXT", "image_path"].map(str::to_owned);
        assert_eq!(meant("url", &names), Some("URL"));
        assert_eq!(meant("txt", &names), Some("TEXT"));
        assert_eq!(meant("image", &names), Some("image_path"));
        assert_eq!(meant("caption", &names), None);
        assert_eq!(meant("url", &[]), None);
    }
}
