//! The places that the user names: whether they are there, apart from each other, and how a
//! pipeline file names them.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use lvd_base::error::{Error, Result, nearest};

/// Refuses a place that is not there.
///
/// # Errors
/// The first that is not, with the name that was meant.
pub fn are_there(paths: &[&Path]) -> Result<()> {
    paths.iter().try_for_each(|path| match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::usage(format!("{}: no such folder or file", path.display()), neighbours(path)))
        }
        Err(error) => Err(unreadable(path, &error)),
    })
}

/// A folder or file that the system does not let us read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::usage(format!("{}: {error}", path.display()), "make it readable, or name another folder")
}

/// What is there instead.
fn neighbours(path: &Path) -> String {
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let wrong = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    match nearest(&wrong, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {name:?}?"),
        None => "name a folder or file that is there".into(),
    }
}

/// Refuses places of which one lies in the other: its images would be read twice.
pub(super) fn are_apart(paths: &[&Path]) -> Result<()> {
    let mut seen: Vec<(&Path, PathBuf)> = Vec::new();
    for path in paths {
        let real = std::fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
        let other = seen.iter().find(|(_, other)| real.starts_with(other) || other.starts_with(&real));
        if let Some((outer, _)) = other {
            let fact = if seen.iter().any(|(_, other)| *other == real) {
                format!("{} is named twice", path.display())
            } else {
                format!("{} and {}: one lies in the other", outer.display(), path.display())
            };
            let cure = "move one out, or name folders beside each other: what lies in both would be read twice";
            return Err(Error::usage(fact, cure));
        }
        seen.push((path, real));
    }
    Ok(())
}

/// The folder of a pipeline file, which has to be there.
pub(super) fn folder_of(file: &Path) -> Result<PathBuf> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let there = if folder == Path::new("") { Path::new(".") } else { folder };
    if there.is_dir() {
        return Ok(folder.to_path_buf());
    }
    let fact = format!("-o {}: there is no folder {}", file.display(), folder.display());
    Err(Error::usage(fact, "make it first, or name a file elsewhere"))
}

/// Refuses a work folder that has somebody else's files.
pub(super) fn holds_no_other(work: &Path) -> Result<()> {
    let is_work = work.join("datasets.json").is_file();
    let is_empty = std::fs::read_dir(work).map(|mut entries| entries.next().is_none());
    let fine = match std::fs::symlink_metadata(work) {
        Err(_) => true,
        Ok(_) => is_work || is_empty.unwrap_or(false),
    };
    if fine {
        return Ok(());
    }
    let fact = format!("{} is no work folder of lvd, and the pipeline's would be called so", work.display());
    Err(Error::usage(fact, "name the file otherwise: -o NAME.toml has the work folder work-NAME"))
}

/// A path as a file in the folder `base` names it: relative where that is shorter.
pub(super) fn named_from(base: &Path, path: &Path) -> Result<String> {
    let whole = |path: &Path| {
        std::path::absolute(if path == Path::new("") { Path::new(".") } else { path }).map_err(Error::io(path))
    };
    let (from, to) = (whole(base)?, whole(path)?);
    let is_plain = |path: &Path| path.components().all(|part| !matches!(part, Component::ParentDir));
    let relative = match to.strip_prefix(&from) {
        Ok(below) if is_plain(&to) => below.to_path_buf(),
        // Symlinks make `..` lead elsewhere than it looks.
        _ => {
            let real = |path: &Path| std::fs::canonicalize(path).map_err(Error::io(path));
            between(&real(&from)?, &real(&to)?)
        }
    };
    let relative = if relative == Path::new("") { PathBuf::from(".") } else { relative };
    let shorter = if to.as_os_str().len() < relative.as_os_str().len() { to } else { relative };
    match shorter.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => Err(Error::usage(
            format!("{}: its name is not UTF-8, and a pipeline file has to be", path.display()),
            "rename it, or make a symlink to it with another name",
        )),
    }
}

/// The way from one whole path to another.
fn between(from: &Path, to: &Path) -> PathBuf {
    let same = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(same).map(|_| Component::ParentDir);
    up.chain(to.components().skip(same)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_way_is_named() {
        let way = |from: &str, to: &str| between(Path::new(from), Path::new(to)).to_string_lossy().into_owned();
        assert_eq!(way("/a/b", "/a/b/c"), "c");
        assert_eq!(way("/a/b", "/a/c/d"), "../c/d");
        assert_eq!(way("/a", "/a"), "");
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("some/deep/folder/of/folders");
        std::fs::create_dir_all(&deep).expect("folders");
        std::fs::create_dir(folder.path().join("my photos")).expect("a folder");
        let named = |base: &Path, path: &Path| named_from(base, path).expect("a name");
        assert_eq!(named(folder.path(), &folder.path().join("my photos")), "my photos");
        assert_eq!(named(folder.path(), folder.path()), ".");
        assert_eq!(named(&deep, Path::new("/tmp")), "/tmp");
    }
}
