//! How closely a pipeline file is looked at.

/// How closely, each more than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The file alone: what it names may be gone, and is not touched.
    File,
    /// What it names is there, and its sources are counted.
    Named,
    /// Models are opened and tried, and the work folder is written to.
    Tried,
}
