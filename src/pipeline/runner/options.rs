//! How steps are run.

use crate::pipeline::engine::Engine;
use crate::pipeline::event::{Event, Observer};

/// How to run.
pub struct Options<'a> {
    /// Where tasks run.
    pub engine: Engine,
    /// Wait for another driver to go, instead of giving up.
    pub wait: bool,
    /// Replace ingested images or vectors that the file no longer describes.
    pub replace: bool,
    /// Told what happens.
    pub observer: &'a Observer<'a>,
}

impl Options<'_> {
    /// Tells of something that a user should look at.
    pub fn warn(&self, text: String) {
        (self.observer)(Event::Warning(text));
    }

    /// Tells of something to know.
    pub fn note(&self, text: String) {
        (self.observer)(Event::Note(text));
    }
}
