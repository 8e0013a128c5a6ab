//! A task that an engine could not bring to an end.

use std::path::PathBuf;

use lvd_base::error::Error;

/// A task that failed.
#[derive(Debug)]
pub struct Failure {
    /// Its number.
    pub number: usize,
    /// Why.
    pub error: String,
    /// The cure, where one is known.
    pub hint: Option<String>,
    /// What it printed.
    pub log: Option<PathBuf>,
}

impl Failure {
    /// A task that failed in this process.
    #[must_use]
    pub fn of(number: usize, error: &Error) -> Self {
        Self { number, hint: error.hint().map(str::to_owned), error: error.to_string(), log: None }
    }
}
