//! README.md and docs/example.md show what `make demo` prints.

use std::path::Path;

use crate::common::run;

/// The first block of a page in which `words` stand.
fn block(page: &str, words: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page");
    let shown = text.split("```").find(|block| block.contains(words)).expect("a block with the scores");
    lines(shown)
}

fn lines(text: &str) -> Vec<String> {
    text.trim().lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The table of the steps, without what hangs on the machine: seconds, and images a second.
fn steps(lines: &[String]) -> Vec<Vec<&str>> {
    let begin = lines.iter().position(|line| line.starts_with("step ")).expect("a table of the steps");
    let table = lines[begin..].iter().take_while(|line| !line.is_empty());
    table
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            [&words[..3], &words[5..]].concat()
        })
        .collect()
}

#[test]
fn the_numbers_in_the_pages_are_those_of_the_demo() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = folder.path().join("demo");
    let place = demo.to_string_lossy();
    run(&["example", &place]);
    let ran = lines(&run(&["run", &demo.join("quickstart.toml").to_string_lossy()]));
    let scores = lines(&run(&["example", &place, "--score"]));
    let stale =
        |page: &str| format!("{page} is stale: the demo now prints\n{}\n\n{}", ran.join("\n"), scores.join("\n"));
    assert_eq!(block("docs/example.md", "Balance over"), scores, "{}", stale("docs/example.md"));

    let shown = block("README.md", "held-out copies");
    assert_eq!(steps(&shown), steps(&ran), "{}", stale("README.md"));
    let begin = shown.iter().position(|line| line.starts_with("Copies that were planted")).expect("the scores");
    assert_eq!(shown[begin..], scores[..shown.len() - begin], "{}", stale("README.md"));
}
