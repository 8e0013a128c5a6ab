//! The names of the bookkeeping in a step's folder.

use crate::pipeline::attempter::Attempter;

/// The folder of a step's checkpoints.
pub const CHECKPOINTS: &str = "_checkpoint";
/// The folder of its plans.
pub const PLANS: &str = "_plan";
/// The folder of its attempts.
pub const TRIES: &str = "_tries";
/// The folder of its markers.
pub const DONE: &str = "_done";
/// The folder of its temporaries.
pub const TEMPORARIES: &str = "_tmp";
/// The plan of a phase.
pub fn plan(step: &str, phase: &str) -> String {
    format!("{step}/{PLANS}/{phase}.json")
}

/// The marker of a task.
pub fn marker(step: &str, phase: &str, key: &str) -> String {
    format!("{step}/{DONE}/{phase}/{key}.json")
}

/// The file of an attempt.
pub fn try_path(step: &str, phase: &str, key: &str, who: &Attempter) -> String {
    format!("{step}/{TRIES}/{phase}/{key}.{}.json", who.name())
}
