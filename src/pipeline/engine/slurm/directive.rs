//! Values in the `#SBATCH` lines of a script, and what keeps one out of them.

use std::path::Path;

/// A value as `sbatch` reads it back from a directive. It knows quotes and the backslash; the
/// line's end ends it, so values hold none ([`directive_fault`]).
#[must_use]
pub fn directive(value: &str) -> String {
    if is_plain(value) { value.to_owned() } else { format!("\"{}\"", value.replace('\\', r"\\").replace('"', "\\\"")) }
}

fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c))
}

/// A path as `--output` takes it, which replaces what follows a `%`.
#[must_use]
pub fn pattern(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// What keeps a value out of a directive, or none.
#[must_use]
pub fn directive_fault(value: &str) -> Option<&'static str> {
    let control = value.chars().any(char::is_control);
    control.then_some("holds a line break or another control character, which would end the #SBATCH line it stands in")
}

/// What keeps a folder from being where logs go, or none.
#[must_use]
pub fn folder_fault(folder: &Path) -> Option<&'static str> {
    match folder.to_str() {
        None => Some("is not UTF-8, which scripts and tables here are"),
        Some(path) if path.contains('\\') => {
            Some("holds a backslash, which turns off the %a in the names of Slurm's logs")
        }
        Some(path) => directive_fault(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_any_name_stay_one_word_of_a_directive() {
        assert_eq!(directive("a&b"), r#""a&b""#);
        assert_eq!(directive(r#"it's "a\b""#), r#""it's \"a\\b\"""#);
        assert_eq!(directive(&pattern(Path::new("/w/100%j of é"))), r#""/w/100%%j of é""#);
        assert_eq!(directive_fault("a&b [c*2]"), None);
        assert_eq!(folder_fault(Path::new("/w/it's 100% \"é\"")), None);
        for bad in ["/w/a\nb", "/w/a\u{7f}b", r"/w/a\b"] {
            assert!(folder_fault(Path::new(bad)).is_some(), "{bad:?}");
        }
    }
}
