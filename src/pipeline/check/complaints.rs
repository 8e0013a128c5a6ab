//! What is wrong with a pipeline file, collected: a user sees all of it at once.

use std::collections::BTreeSet;

use crate::pipeline::file::{Parsed, Source};
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
    /// Sources, embedders and steps with a fault: that something else cannot use them only follows.
    pub broken: BTreeSet<String>,
    /// The keys of settings that were left out for a fault.
    left_out: Vec<Vec<String>>,
}

impl<'a> Complaints<'a> {
    /// None so far.
    pub fn new(source: &'a Source) -> Self {
        Self {
            source,
            faults: Vec::new(),
            missing: Vec::new(),
            undecided: Vec::new(),
            broken: BTreeSet::new(),
            left_out: Vec::new(),
        }
    }

    /// What can be used of a part of the file. The rest is noted, and the source, embedder or step
    /// that lacks it.
    pub fn usable<T>(&mut self, parsed: Parsed<T>) -> Option<T> {
        self.faults.extend(parsed.faults);
        for keys in parsed.left_out {
            self.broken.extend(named(&keys).cloned());
            self.left_out.push(keys);
        }
        parsed.value
    }

    /// Whether a setting is in the file, and was used.
    pub fn is_set(&self, keys: &[String]) -> bool {
        self.source.holds(keys) && !self.left_out.iter().any(|left_out| keys.starts_with(left_out))
    }

    /// Whether a whole step was left out.
    pub fn lacks_a_step(&self) -> bool {
        self.left_out.iter().any(|keys| keys.len() == 2 && keys[0] == "steps")
    }

    /// Notes a fault of the setting at `keys`.
    pub fn fault(&mut self, keys: &[&str], fault: Fault) {
        let keys = owned(keys);
        self.faults.push(self.source.fault(&keys, fault));
        self.broken.extend(named(&keys).cloned());
    }

    /// Notes that what `keys` names is not there.
    pub fn missing(&mut self, keys: &[&str], fault: Fault) {
        let error = self.source.fault(&owned(keys), fault);
        self.missing.push(error);
    }
}

/// The source, embedder or step that a setting is of.
fn named(keys: &[String]) -> Option<&String> {
    keys.get(1).filter(|_| keys[0] != "engine")
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|&key| key.to_owned()).collect()
}

/// An error as a fault of a setting, with a cure for where it brings none.
pub fn fault_of(error: &Error, cure: &str) -> Fault {
    Fault::new(error.to_string(), error.hint().unwrap_or(cure))
}
