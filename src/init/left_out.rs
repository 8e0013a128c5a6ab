//! What is in no source, counted by reason.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

use serde::Serialize;

/// Why a file is in no source. The order is that of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// A file beside an image that holds no caption, by its extension.
    Caption(String),
    /// A list that is named like an image, a tar or a folder of images.
    Describes,
    /// A list of URLs in a place that has images as well.
    UrlsBesideImages,
    /// A list or table without a column of URLs or images.
    NoColumn,
    /// A tar or table without an image.
    NoImage,
    /// A name that a pipeline file cannot hold.
    Name,
    /// What is wrong with it.
    Unreadable(String),
    /// A file of ours.
    OfWork,
    /// What this user may not read.
    Closed,
    /// A name with a dot before it.
    Hidden,
    /// No image by its extension.
    Other(String),
}

impl Display for Why {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Caption(extension) => write!(f, "beside images, no caption in the first ones: .{extension}"),
            Self::Describes => f.write_str("lists of what is in a tar or folder of the same name"),
            Self::UrlsBesideImages => {
                f.write_str("lists of URLs beside images: not read; in a pipeline file, commented out")
            }
            Self::NoColumn => f.write_str("lists and tables without URLs or images"),
            Self::NoImage => f.write_str("tars, tables and archives without an image"),
            Self::Name => f.write_str("names that are not UTF-8"),
            Self::Unreadable(fact) => write!(f, "cannot be read: {fact}"),
            Self::OfWork => f.write_str("in a work folder of lvd"),
            Self::Closed => f.write_str("folders and files that you may not read"),
            Self::Hidden => f.write_str("hidden: the name begins with a dot"),
            Self::Other(extension) if extension.is_empty() => f.write_str("no image: without an ending"),
            Self::Other(extension) => write!(f, "no image by its name: .{extension}"),
        }
    }
}

/// Files that are in no source, for one reason.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The reason.
    pub why: String,
    /// How many they are; a hidden folder counts as one.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts of what is left out.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<Why, (u64, u64)>);

impl Counts {
    pub(super) fn add(&mut self, why: Why, bytes: u64) {
        self.add_all(why, 1, bytes);
    }

    /// Adds several files at once.
    pub(super) fn add_all(&mut self, why: Why, files: u64, bytes: u64) {
        let (all, sum) = self.0.entry(why).or_default();
        *all += files;
        *sum += bytes;
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (why, (files, bytes)) in other.0 {
            self.add_all(why, files, bytes);
        }
    }

    pub(super) fn into_vec(self) -> Vec<LeftOut> {
        let line = |(why, (files, bytes)): (Why, (u64, u64))| LeftOut { why: why.to_string(), files, bytes };
        self.0.into_iter().map(line).collect()
    }
}
