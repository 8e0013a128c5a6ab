//! The library's one error type: every I/O error with its path, every
//! other with the place, the fact and the cure.
//!
//! A bad image is never an error here: it is a counted drop ([`crate::types::Reason`]).

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What is wrong, and what to type next: with settings, files, the machine or a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: a file (with its line), a flag, a library. Empty where the fact says it.
    #[serde(rename = "where", skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What is wrong, with the numbers.
    pub fact: String,
    /// What to do about it; empty where that is not known.
    pub cure: String,
}

impl Fault {
    /// A fault that says itself where it is.
    pub fn new(fact: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { place: String::new(), fact: fact.into(), cure: cure.into() }
    }

    /// The same fault at `place`.
    #[must_use]
    pub fn at(self, place: impl Display) -> Self {
        Self { place: place.to_string(), ..self }
    }

    /// The cure, where one is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(self.cure.as_str()).filter(|cure| !cure.is_empty())
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.fact)
    }
}

/// What stops a command. A message states the fact; [`Error::hint`] states the cure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is there and does not hold what it should.
    #[error("{0}")]
    Data(Fault),
    /// A published file is gone, or its bytes are not those that were written.
    #[error("{fault}")]
    Damaged {
        /// Its name in the work folder, where it is a part of a table.
        part: Option<String>,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Bookkeeping of the work folder cannot be read.
    #[error("{0}")]
    Bookkeeping(Fault),
    /// A setting of the user's is wrong.
    #[error("{0}")]
    Setting(Fault),
    /// A command cannot go on, for a reason that a user can mend.
    #[error("{0}")]
    Usage(Fault),
    /// Another driver holds the work folder.
    #[error("{0}")]
    Locked(Fault),
    /// A step is whole, but more of its rows failed than the file allows, or all of a set that
    /// others depend on.
    #[error("{0}")]
    TooManyFailed(Fault),
    /// FAISS, BLAS or ONNX Runtime failed.
    #[error("{0}")]
    Native(Fault),
}

/// `Result` with the library's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The cure, where one is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Io { .. } => None,
            Self::Damaged { fault, .. }
            | Self::Data(fault)
            | Self::Bookkeeping(fault)
            | Self::Setting(fault)
            | Self::Usage(fault)
            | Self::Locked(fault)
            | Self::TooManyFailed(fault)
            | Self::Native(fault) => fault.hint(),
        }
    }

    /// An I/O error of `path`: for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A thread that could not be started: for `map_err`.
    pub fn thread(error: impl Display) -> Self {
        Self::usage(
            format!("a thread cannot be started: {error}"),
            "give fewer --threads, or raise the limits of processes and memory (ulimit -u, ulimit -v, those of the \
             container or the job)",
        )
    }

    /// A fault in the content of `path`.
    pub fn data(path: impl AsRef<Path>, fact: impl Display) -> Self {
        Self::Data(Fault::new(fact.to_string(), "").at(path.as_ref().display()))
    }

    /// A published file that is gone, or not as it was written; `part` is its name in the work
    /// folder.
    pub fn damaged(path: impl AsRef<Path>, part: Option<String>, fact: impl Into<String>) -> Self {
        let cure = "lvd verify FILE finds all that is damaged; lvd run FILE makes it again";
        Self::Damaged { part, fault: Fault::new(fact, cure).at(path.as_ref().display()) }
    }

    /// Bookkeeping that cannot be read, with its cure.
    pub fn bookkeeping(path: impl AsRef<Path>, fact: impl Into<String>, cure: &str) -> Self {
        Self::Bookkeeping(Fault::new(fact, cure).at(path.as_ref().display()))
    }

    /// What a library said.
    pub fn native(library: &str, fact: impl Into<String>) -> Self {
        Self::Native(Fault::new(fact, "").at(library))
    }

    /// A fault that the user can mend, with its cure.
    pub fn usage(fact: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Usage(Fault::new(fact, cure))
    }
}

/// A hint at the names there are, after `list` ("sources are: a, b"): the one that was meant first,
/// where one is near `wrong`.
#[must_use]
pub fn choices<'a>(wrong: &str, list: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(wrong, known) {
        Some(name) => format!("did you mean {name:?}? {list}"),
        None => list.to_owned(),
    }
}

/// The first of the names that are as near to `wrong` as a slip of the fingers makes them: a third
/// of its letters wrong at most.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |name: &str| name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let wrong = letters(wrong);
    let most = (wrong.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|name| (strsim::damerau_levenshtein(&wrong, &letters(name)), name));
    distances.filter(|&(distance, _)| distance <= most).min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_recognised() {
        let known = ["folder", "urls", "parquet", "tars"];
        for (wrong, meant) in
            [("fodler", "folder"), ("Folder", "folder"), ("url", "urls"), ("parqet", "parquet"), ("tars-", "tars")]
        {
            assert_eq!(nearest(wrong, known), Some(meant));
        }
        assert_eq!(nearest("images", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(choices("ursl", "keys are: urls", known), "did you mean \"urls\"? keys are: urls");
        assert_eq!(choices("x", "keys are: urls", known), "keys are: urls");
    }
}
