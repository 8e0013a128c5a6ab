//! What is wrong with a pipeline file, collected: a user sees all of it at once.

use crate::pipeline::file::Source;
use lvd_base::error::{Error, Fault};

/// What is wrong so far.
pub struct Complaints<'a> {
    source: &'a Source,
    /// What has to be mended before anything.
    pub faults: Vec<Error>,
    /// What is not there yet: enough to plan by, not to run.
    pub missing: Vec<Error>,
    /// Settings without which a step cannot run, though those above it can.
    pub undecided: Vec<(String, Error)>,
}

impl<'a> Complaints<'a> {
    /// None so far.
    pub fn new(source: &'a Source) -> Self {
        Self { source, faults: Vec::new(), missing: Vec::new(), undecided: Vec::new() }
    }

    /// Notes a fault of the setting at `keys`.
    pub fn fault(&mut self, keys: &[&str], fault: Fault) {
        let error = self.source.fault(&owned(keys), fault);
        self.faults.push(error);
    }

    /// Notes that what `keys` names is not there.
    pub fn missing(&mut self, keys: &[&str], fault: Fault) {
        let error = self.source.fault(&owned(keys), fault);
        self.missing.push(error);
    }
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

/// An error as a fault of a setting, with a cure for where it brings none.
pub fn fault_of(error: &Error, cure: &str) -> Fault {
    Fault::new(error.to_string(), error.hint().unwrap_or(cure))
}
