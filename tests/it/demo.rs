//! docs/example.md shows what `make demo` prints.

use std::path::Path;

use crate::common::run;

#[test]
fn the_scores_in_the_documentation_are_those_of_the_demo() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = folder.path().join("demo");
    let place = demo.to_string_lossy();
    run(&["example", &place]);
    run(&["run", "--quiet", &demo.join("quickstart.toml").to_string_lossy()]);
    let scores = run(&["example", &place, "--score"]);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/example.md");
    let text = std::fs::read_to_string(page).expect("the page");
    let shown = text.split("```").find(|block| block.contains("Balance over")).expect("a block with the scores");
    let lines = |text: &str| -> Vec<String> { text.trim().lines().map(|line| line.trim_end().to_owned()).collect() };
    assert_eq!(lines(shown), lines(&scores), "docs/example.md is stale: lvd example demo --score now prints\n{scores}");
}
