//! Names of files and sources that are made from names of folders.

use std::path::Path;

/// The name where a folder's own has no letter that could be used.
const FALLBACK: &str = "images";
/// The longest name, in letters.
const LONGEST: usize = 60;

/// What a folder or file is called, as a name of a file or source: lower case letters, digits and
/// dashes.
pub(super) fn slug(path: &Path) -> String {
    // `.` and `..` have no name of their own.
    let named = path.file_name().map(|_| path.to_path_buf()).or_else(|| std::fs::canonicalize(path).ok());
    let named = named.unwrap_or_default();
    let stem = if path.is_dir() { named.file_name() } else { named.file_stem() };
    slug_of(&stem.unwrap_or_default().to_string_lossy())
}

/// What a file that may not be there yet is called, in the same way.
pub(super) fn slug_of_file(file: &Path) -> String {
    slug_of(&file.file_stem().unwrap_or_default().to_string_lossy())
}

fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.to_lowercase().chars() {
        match letter {
            'a'..='z' | '0'..='9' => slug.push(letter),
            '_' if !slug.is_empty() => slug.push(letter),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() == LONGEST {
            break;
        }
    }
    let slug = slug.trim_end_matches(['-', '_']);
    if slug.is_empty() { FALLBACK.to_owned() } else { slug.to_owned() }
}

/// `wanted`, or with a number behind it where that is taken.
pub(super) fn unique(wanted: &str, taken: &dyn Fn(&str) -> bool) -> String {
    if !taken(wanted) {
        return wanted.to_owned();
    }
    let mut number = 2;
    while taken(&format!("{wanted}_{number}")) {
        number += 1;
    }
    format!("{wanted}_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_one_that_a_source_may_have() {
        for (name, slug) in [
            ("Photos", "photos"),
            ("My \"best\" photos (2024)", "my-best-photos-2024"),
            ("__a_b", "a_b"),
            ("--", "images"),
            ("写真", "images"),
            ("Zürich 1", "z-rich-1"),
        ] {
            assert_eq!(slug_of(name), slug, "{name}");
        }
        assert_eq!(slug_of(&"x".repeat(300)).len(), LONGEST);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken = |name: &str| ["a", "a_2"].contains(&name);
        assert_eq!(unique("a", &taken), "a_3");
        assert_eq!(unique("b", &taken), "b");
    }
}
