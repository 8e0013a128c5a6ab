//! Names of sources, embedders and steps, which become folders and parts of table names.

use lvd_base::error::Fault;

/// Refuses a name that is none.
pub fn named(name: &str) -> Result<(), Fault> {
    let fine = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && !name.starts_with('_')
        && !name.is_empty();
    let fault = || Fault::new(format!("{name:?} is no name"), "use letters, digits, - and _, not starting with _");
    if fine { Ok(()) } else { Err(fault()) }
}

/// Names that no step may have: the folder of the pages, the page that leads to all others, and
/// that of what `lvd find` found.
pub const TAKEN: [&str; 3] = ["look", "index", "find"];

/// Refuses a name that is none, or that something else has, for a step.
pub fn of_step(name: &str) -> Result<(), Fault> {
    named(name)?;
    let fault = || Fault::new(format!("no step can be called {name:?}: pages have that name"), "give it another name");
    if TAKEN.contains(&name) { Err(fault()) } else { Ok(()) }
}
