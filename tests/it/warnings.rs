//! What a run warns of is in the manual: the words of docs/troubleshooting.md are the program's, and
//! no warning is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How a source file says that it warns, and what it says that by.
const SAID_BY: [(&str, &str); 3] = [
    ("src/stages", "warnings.insert("),
    ("src/pipeline/evidence.rs", "Some(format!("),
    ("src/pipeline/usable.rs", "the data set may hold them twice; a step"),
];

/// The files of Rust at or below a path.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries.collect();
    paths.sort();
    paths.iter().flat_map(|path| sources(path)).filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// A source file, its strings on one line each.
fn read(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a source");
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

/// The first quoted words of each row of the table of warnings.
fn documented() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    let text = std::fs::read_to_string(page).expect("the page");
    let section = text.split("## It warns").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    let words = section.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('"').nth(1));
    words.map(str::to_owned).collect()
}

#[test]
fn every_warning_is_in_the_manual() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts: BTreeMap<PathBuf, (String, usize)> = SAID_BY
        .iter()
        .flat_map(|(place, by)| sources(&root.join(place)).into_iter().map(move |path| (path, *by)))
        .map(|(path, by)| {
            let text = read(&path);
            let warnings = text.matches(by).count();
            (path, (text, warnings))
        })
        .filter(|(_, (_, warnings))| *warnings > 0)
        .collect();
    let documented = documented();
    for words in &documented {
        assert!(texts.values().any(|(text, _)| text.contains(words)), "the program does not say {words:?}");
    }
    for (path, (text, warnings)) in &texts {
        let known = documented.iter().filter(|words| text.contains(*words)).count();
        assert_eq!(known, *warnings, "{}: {known} of its {warnings} warnings are in the manual", path.display());
    }
}
