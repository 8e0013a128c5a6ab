//! Words as a shell reads them back.

use std::borrow::Cow;

use shlex::Quoter;

/// A word of a command line. Only a NUL cannot be quoted, and none comes here: no argument and no
/// path holds one, and settings with one are refused.
#[must_use]
pub fn quoted(word: &str) -> String {
    Quoter::new().allow_nul(true).quote(word).map_or_else(|_| word.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn words_survive_the_shell() {
        let words = ["a-b/c.d:1", "", "dedup.threshold=0.7", "it's", "a b", "$HOME `x` \\ \"!^\"", "é\n*"];
        let line = words.map(quoted).join(" ");
        let output = Command::new("sh").arg("-c").arg(format!("printf '%s\\0' {line}")).output();
        let said = String::from_utf8(output.expect("sh starts").stdout).expect("UTF-8");
        assert_eq!(said.trim_end_matches('\0').split('\0').collect::<Vec<_>>(), words);
        assert_eq!(quoted("a-b/c.d:1"), "a-b/c.d:1");
    }
}
