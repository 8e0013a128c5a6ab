//! The library's one error type: every I/O error with its path, every bad setting with its place and a cure.
//!
//! A bad image is never an error here: it is a counted drop ([`crate::types::Reason`]).

use std::path::{Path, PathBuf};

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
    #[error("{}: {message}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A published file is gone, or its bytes are not those that were written.
    #[error("{}: {message}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its name in the work folder, where it is a part of a table.
        part: Option<String>,
        /// What is wrong with it.
        message: String,
    },
    /// Bookkeeping of the work folder cannot be read.
    #[error("{}: {message}", path.display())]
    Bookkeeping {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
        /// The cure.
        hint: &'static str,
    },
    /// A setting of the user's is wrong.
    #[error("{place}: {message}")]
    Setting {
        /// `file:line` or the flag it came from.
        place: String,
        /// What is wrong.
        message: String,
        /// The cure.
        hint: String,
    },
    /// A command cannot go on, for a reason that a user can mend.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// The cure.
        hint: String,
    },
    /// Another driver holds the work folder.
    #[error("another lvd is running in {work}{owner}")]
    Locked {
        /// The work folder.
        work: String,
        /// Who holds it, as it said itself.
        owner: String,
    },
    /// A step is whole, but more of its rows failed than the file allows, or all of a set that others depend on.
    #[error("{step}: {failed}")]
    TooManyFailed {
        /// The step.
        step: String,
        /// How many of what failed, and how many may.
        failed: String,
        /// The command that shows why.
        report: String,
    },
    /// FAISS, BLAS or ONNX Runtime failed.
    #[error("{library}: {message}")]
    Native {
        /// Which library.
        library: &'static str,
        /// What it said.
        message: String,
    },
}

/// `Result` with the library's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The cure, where one is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Setting { hint, .. } | Self::Usage { hint, .. } if !hint.is_empty() => Some(hint),
            Self::TooManyFailed { report, .. } => Some(report),
            Self::Damaged { .. } => Some("lvd verify FILE finds all that is damaged; lvd run FILE makes it again"),
            Self::Bookkeeping { hint, .. } => Some(hint),
            Self::Locked { .. } => Some("wait for it, stop it, or choose another folder with --work"),
            _ => None,
        }
    }

    /// An I/O error of `path`: for `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.as_ref().to_path_buf(), source }
    }

    /// A thread that could not be started: for `map_err`.
    pub fn thread(error: impl std::fmt::Display) -> Self {
        Self::usage(
            format!("a thread cannot be started: {error}"),
            "give fewer --threads, or raise the limits of processes and memory (ulimit -u, ulimit -v, those of the container or the job)",
        )
    }

    /// A fault in the content of `path`.
    pub fn data(path: impl AsRef<Path>, message: impl std::fmt::Display) -> Self {
        Self::Data { path: path.as_ref().to_path_buf(), message: format!("{message}") }
    }

    /// A fault that the user can mend, with its cure.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: hint.into() }
    }
}

/// A hint at the names there are, after `list` ("sources are: a, b"): the one that was meant first, where one is near `wrong`.
#[must_use]
pub fn choices<'a>(wrong: &str, list: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(wrong, known) {
        Some(name) => format!("did you mean {name:?}? {list}"),
        None => list.to_owned(),
    }
}

/// The first of the names that are as near to `wrong` as a slip of the fingers makes them: a third of its letters wrong at most.
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
