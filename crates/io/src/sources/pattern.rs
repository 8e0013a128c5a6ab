//! Patterns of files: `shards/{00000..00099}.tar`, `data/{train,val}/*.parquet`,
//! `lists/**/*.parquet`.
//!
//! Braces name files as in a shell: each of them has to be there. `*`, `?` and `[a-z]` stand for
//! any letters of a name, `**` for any folders between. They find the files that there are, none
//! whose name, or a folder's, begins with a dot. A folder whose own name has such letters is taken
//! as it is.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::walk;
use lvd_base::error::{Error, Result};

/// The most names that the braces of one entry may stand for.
const MAX_NAMES: usize = 1_000_000;
const STARS: [char; 3] = ['*', '?', '['];

/// The paths that the braces of an entry stand for; the entry itself where it exists or has none.
pub(super) fn names(entry: &Path) -> Result<Vec<PathBuf>> {
    let (folder, rest) = split(entry);
    match rest.to_str() {
        Some(rest) if !rest.is_empty() => Ok(spelled(entry, rest)?.iter().map(|name| folder.join(name)).collect()),
        _ => Ok(vec![entry.to_path_buf()]),
    }
}

/// Whether a path is not there and has letters that stand for others.
pub(super) fn has_stars(path: &Path) -> bool {
    split(path).1.to_str().is_some_and(|rest| rest.contains(STARS))
}

/// A path up to the first part that is not there, and the rest.
fn split(path: &Path) -> (PathBuf, PathBuf) {
    let mut folder = PathBuf::new();
    let mut parts = path.components();
    loop {
        let rest = parts.as_path();
        match parts.next() {
            Some(part) if folder.join(part).exists() => folder.push(part),
            _ => return (folder, rest.to_path_buf()),
        }
    }
}

/// The first braces that hold a list or a range and no other braces: where they begin and end, and
/// what they stand for.
fn first_braces(text: &str) -> Option<(usize, usize, Vec<String>)> {
    text.match_indices('}').find_map(|(close, _)| {
        let open = text[..close].rfind('{')?;
        let inside = &text[open + 1..close];
        let choices = match range(inside) {
            Some(numbers) => numbers,
            None if inside.contains(',') && !inside.contains('}') => inside.split(',').map(str::to_owned).collect(),
            None => return None,
        };
        Some((open, close + 1, choices))
    })
}

/// The numbers of `first..last`, with as many zeros before them as the first has, or the last.
fn range(text: &str) -> Option<Vec<String>> {
    let (first, last) = text.split_once("..")?;
    let number = |digits: &str| -> Option<u64> {
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        all.then(|| digits.parse().ok()).flatten()
    };
    let (from, to) = (number(first)?, number(last)?);
    let padded = [first, last].iter().any(|digits| digits.len() > 1 && digits.starts_with('0'));
    let width = if padded { first.len().max(last.len()) } else { 0 };
    // One more than may be is enough to know that there are too many.
    let numbers = (from.min(to)..=from.max(to)).take(MAX_NAMES + 1);
    Some(numbers.map(|number| format!("{number:0width$}")).collect())
}

/// A pattern with its braces spelled out.
fn spelled(entry: &Path, pattern: &str) -> Result<Vec<String>> {
    let mut open = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(name) = open.pop() {
        match first_braces(&name) {
            None => done.push(name),
            Some((from, to, choices)) => {
                open.extend(choices.iter().map(|choice| format!("{}{choice}{}", &name[..from], &name[to..])));
            }
        }
        if open.len() + done.len() > MAX_NAMES {
            return Err(Error::usage(
                format!("{}: its braces stand for more than {MAX_NAMES} files", entry.display()),
                "name the folders, or use `*`",
            ));
        }
    }
    Ok(done)
}

/// The files that a pattern with stars finds.
pub(super) fn search(path: &Path) -> Result<Vec<PathBuf>> {
    let (folder, pattern) = split(path);
    // A pattern without a folder is one of the current folder.
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let glob = matcher(path, &pattern)?;
    let any_depth = pattern.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"**"));
    let depth = if any_depth { usize::MAX } else { pattern.components().count() };
    let mut files = Vec::new();
    let mut closed = None;
    let each = &mut |path: &Path, metadata: &Metadata| {
        if path.strip_prefix(&folder).is_ok_and(|below| glob.is_match(below)) {
            // A link that leads nowhere is an error only where the pattern finds it.
            if metadata.is_symlink() {
                std::fs::metadata(path).map_err(Error::io(path))?;
            }
            files.push(path.to_path_buf());
        }
        Ok(())
    };
    walk::files(&folder, depth, &[], each, &mut |path| {
        closed.get_or_insert_with(|| path.to_path_buf());
    })?;
    if let Some(closed) = closed {
        return Err(Error::usage(
            format!("{}: may not be read, and may hold files that the pattern finds", closed.display()),
            "make it readable, or name a pattern that does not search it",
        ));
    }
    if files.is_empty() {
        return Err(Error::usage(
            format!("{}: no file matches this pattern", path.display()),
            format!("look what `ls {}` holds; `*` stands for letters of one name, `**` for folders", folder.display()),
        ));
    }
    Ok(files)
}

fn matcher(path: &Path, pattern: &Path) -> Result<GlobMatcher> {
    let glob = GlobBuilder::new(&pattern.to_string_lossy()).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| {
        let hint = "mend the pattern, or name the folder";
        Error::usage(format!("{}: not a pattern: {}", path.display(), error.kind()), hint)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sources::files::expand;
    use crate::sources::fixture::Done;

    /// A folder with files of these names.
    fn folder(names: &[&str]) -> Done<tempfile::TempDir> {
        let dir = tempfile::tempdir()?;
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().ok_or("a file is in a folder")?)?;
            fs::write(path, name)?;
        }
        Ok(dir)
    }

    /// What an entry stands for, by the places below the folder.
    fn found(root: &Path, entry: &str) -> Result<Vec<String>> {
        let files = expand(&[root.join(entry)], &["tar"])?;
        let below = |path: &PathBuf| path.strip_prefix(root).unwrap_or(path).display().to_string();
        Ok(files.iter().map(below).collect())
    }

    fn fault(root: &Path, entry: &str) -> String {
        let error = found(root, entry).expect_err(entry);
        format!("{error} / {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn braces_name_files_that_must_be_there() -> Done {
        let dir = folder(&["s/00008.tar", "s/00009.tar", "s/00010.tar", "s/8.tar", "t/9.tar", "t/10.tar"])?;
        let root = dir.path();
        assert_eq!(found(root, "s/{00008..00010}.tar")?, ["s/00008.tar", "s/00009.tar", "s/00010.tar"]);
        assert_eq!(found(root, "s/{00010..00009}.tar")?, ["s/00009.tar", "s/00010.tar"]);
        // Sorted by bytes, not by numbers.
        assert_eq!(found(root, "t/{9..10}.tar")?, ["t/10.tar", "t/9.tar"]);
        assert_eq!(found(root, "{s/8,t/{9,1{0..0}}}.tar")?, ["s/8.tar", "t/10.tar", "t/9.tar"]);
        assert!(fault(root, "s/{00009..00011}.tar").contains("s/00011.tar: No such file"));
        assert_eq!(found(root, "{t,s/8.tar}")?, ["s/8.tar", "t/10.tar", "t/9.tar"]);
        assert!(fault(root, "s/{0..999999999999}.tar").contains("more than 1000000 files"));
        assert!(fault(root, "s/{0..999}{0..9999}.tar").contains("more than 1000000 files"));
        assert!(fault(root, "s/{a..b}.tar").contains("No such file"), "no range, and no pattern");
        Ok(())
    }

    #[test]
    fn stars_find_files_sorted_by_bytes() -> Done {
        let names = ["a-b/1.tar", "a/1.tar", "a/2.TAR", "a/b/c/3.tar", "a/.4.tar", ".x/5.tar", "a/6.tar/7.tar"];
        let dir = folder(&names)?;
        let root = dir.path();
        assert_eq!(found(root, "a/*.tar")?, ["a/1.tar"]);
        assert_eq!(found(root, "*/?.tar")?, ["a-b/1.tar", "a/1.tar"]);
        let all = ["a-b/1.tar", "a/1.tar", "a/6.tar/7.tar", "a/b/c/3.tar"];
        assert_eq!(found(root, "**/*.tar")?, all);
        assert_eq!(found(root, "{a,a-b}/**/[0-9].tar")?, all);
        for nothing in ["*.tar", "a/*.tgz", "c/*.tar", "**/5.tar"] {
            let said = fault(root, nothing);
            assert!(said.contains("no file matches this pattern") && said.contains("ls "), "{said}");
        }
        assert!(fault(root, "a/[.tar").contains("mend the pattern"));
        Ok(())
    }

    #[test]
    fn names_with_such_letters_that_exist_win() -> Done {
        let dir = folder(&["[old]/a.tar", "[old]/{1..2}.tar", "[old]/b*.tar", "[old]/bc.tar", "{x,y}/z.tar"])?;
        let root = dir.path();
        assert_eq!(found(root, "[old]/{1..2}.tar")?, ["[old]/{1..2}.tar"]);
        assert_eq!(found(root, "[old]/b*.tar")?, ["[old]/b*.tar"]);
        assert_eq!(found(root, "[old]/{a,b*}.tar")?, ["[old]/a.tar", "[old]/b*.tar"]);
        assert_eq!(found(root, "[old]/?.tar")?, ["[old]/a.tar"]);
        assert_eq!(found(root, "{x,y}/*.tar")?, ["{x,y}/z.tar"]);
        assert_eq!(found(root, "{x,y}")?, ["{x,y}/z.tar"]);
        Ok(())
    }

    #[test]
    fn links_are_followed_loops_survived_and_those_that_lead_nowhere_matter_if_they_match() -> Done {
        let dir = folder(&["a/1.tar", "b/2.tar"])?;
        let root = dir.path();
        symlink("../b", root.join("a/b"))?;
        symlink("..", root.join("a/up"))?;
        symlink("nowhere", root.join("a/lost"))?;
        assert_eq!(found(root, "a/**/*.tar")?, ["a/1.tar", "a/b/2.tar", "a/up/b/2.tar"]);
        symlink("nowhere", root.join("a/3.tar"))?;
        assert!(fault(root, "a/*.tar").contains("a/3.tar"));
        Ok(())
    }
}
