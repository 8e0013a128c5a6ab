//! Words as a shell reads them back.

use std::borrow::Cow;
use std::path::Path;

use shlex::Quoter;

/// A word of a command line. Only a NUL cannot be quoted, and none comes here: no argument and no
/// path holds one, and settings with one are refused.
#[must_use]
pub fn quoted(word: &str) -> String {
    Quoter::new().allow_nul(true).quote(word).map_or_else(|_| word.to_owned(), Cow::into_owned)
}

/// A pipeline file and the options that changed what it says, as they are typed after a command: a
/// hint without them would name another run.
#[must_use]
pub fn typed(file: &Path, overrides: &[String], work: Option<&str>) -> String {
    let options = overrides.iter().map(|set| ("--set", set.as_str())).chain(work.map(|work| ("--work", work)));
    options
        .fold(quoted(&file.to_string_lossy()), |line, (option, value)| format!("{line} {option} {}", value_of(value)))
}

/// What was typed, with `sets` in place of its own settings of the same keys.
#[must_use]
pub fn changed(typed: &str, sets: &[String]) -> String {
    let key = |set: &str| set.split('=').next().map(str::to_owned);
    let mut words = shlex::split(typed).unwrap_or_default().into_iter().peekable();
    let mut line: Vec<String> = words.next().iter().map(|file| quoted(file)).collect();
    while let (Some(option), Some(value)) = (words.next(), words.next()) {
        if option != "--set" || !sets.iter().any(|set| key(set) == key(&value)) {
            line.extend([option, value_of(&value)]);
        }
    }
    line.extend(sets.iter().flat_map(|set| ["--set".to_owned(), value_of(set)]));
    line.join(" ")
}

/// The value of an option. There, `a.b=c` sets no variable, and reads better without quotes.
fn value_of(value: &str) -> String {
    let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:=".contains(c));
    if plain { value.to_owned() } else { quoted(value) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_hint_repeats_what_was_typed() {
        let sets = ["dedup.threshold=0.8".to_owned(), "sources.a.urls=my list.txt".to_owned()];
        let line = typed(Path::new("my photos.toml"), &sets, Some("w"));
        assert_eq!(line, "'my photos.toml' --set dedup.threshold=0.8 --set 'sources.a.urls=my list.txt' --work w");
        assert_eq!(typed(Path::new("photos.toml"), &[], None), "photos.toml");
        let other = changed(&line, &["dedup.threshold=0.9".into(), "dedup.whiten=true".into()]);
        let rest = "'my photos.toml' --set 'sources.a.urls=my list.txt' --work w";
        assert_eq!(other, format!("{rest} --set dedup.threshold=0.9 --set dedup.whiten=true"));
    }

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
