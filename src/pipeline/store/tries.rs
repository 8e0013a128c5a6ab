//! Attempts that have not succeeded.

use crate::pipeline::attempter::{Attempter, Try};
use crate::pipeline::store::Store;
use crate::pipeline::store::paths::{TRIES, try_path};
use lvd_base::error::{Error, Result};

impl Store {
    /// Tells that an attempt runs, or why it failed.
    pub fn write_try(&self, step: &str, phase: &str, key: &str, attempt: &Try) -> Result<()> {
        self.work.replace_json(&try_path(step, phase, key, &attempt.who), attempt)
    }

    /// Takes an attempt's file back: it succeeded, or does not count.
    pub fn end_try(&self, step: &str, phase: &str, key: &str, who: &Attempter) -> Result<()> {
        self.work.remove(&try_path(step, phase, key, who))
    }

    /// The attempts at a phase's tasks that run or did not succeed, in no order.
    pub fn tries(&self, step: &str, phase: &str) -> Result<Vec<Try>> {
        let folder = format!("{step}/{TRIES}/{phase}");
        let mut tries = Vec::new();
        let names = self.work.names(&folder)?;
        for name in names.iter().filter(|name| !name.contains(".tmp-")) {
            // A file that has gone meanwhile is an attempt that has succeeded.
            // One that cannot be read says nothing.
            match self.work.read_json(&format!("{folder}/{name}"), "") {
                Err(Error::Bookkeeping { .. }) | Ok(None) => {}
                attempt => tries.extend(attempt?),
            }
        }
        Ok(tries)
    }
}
