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
