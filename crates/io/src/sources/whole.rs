//! A damaged file among whole ones: a row that says so, and is dropped and counted like others. A
//! source of damaged files alone is an error.

use std::path::Path;

use super::Each;
use super::rows::{InputRow, Notes};
use lvd_base::error::{Error, Result};

const DAMAGED: &str = "files are damaged: of each, what is before the damage is read, and the rest is one failed row.";

/// Reads the rows of a file.
type Read<'a> = dyn FnMut(&mut Notes, &mut Each) -> Result<()> + 'a;

/// Reads file `index` of `files`. What is wrong with its content is a row where there are others.
pub(super) fn or_a_row(
    index: usize,
    files: usize,
    path: &Path,
    read: &mut Read,
    notes: &mut Notes,
    each: &mut Each,
) -> Result<()> {
    let mut stopped = false;
    let result = read(notes, &mut |row| each(row).inspect_err(|_| stopped = true));
    match result {
        Err(error) if files > 1 && !stopped && is_of_content(&error) => {
            notes.suspect(path, 0, DAMAGED);
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let fact = error.to_string().replace(&path.display().to_string(), &name);
            each(InputRow::unusable("file", index as u64, &fact))
        }
        result => result,
    }
}

/// The rows of all files. A damaged one counts as a row, unless all are damaged.
pub(super) fn count(files: impl Iterator<Item = Result<u64>>) -> Result<u64> {
    let (mut rows, mut whole, mut damaged, mut first) = (0, 0, 0, None);
    for counted in files {
        match counted {
            Ok(n) => (rows, whole) = (rows + n, whole + 1),
            Err(error) if is_of_content(&error) => {
                damaged += 1;
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match first {
        Some(error) if whole == 0 => Err(error),
        _ => Ok(rows + damaged),
    }
}

/// Whether an error is about what is in the file, and not about the disk or the settings.
fn is_of_content(error: &Error) -> bool {
    match error {
        Error::Data(_) => true,
        // What is compressed, and damaged.
        Error::Io { source, .. } => source.raw_os_error().is_none(),
        _ => false,
    }
}
