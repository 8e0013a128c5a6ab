//! What the page of an embed step says of patches, with a real vision transformer.

use std::fs;
use std::os::unix::fs::symlink;

use super::page::Page;
use crate::common::{run, shared_data};

#[test]
fn a_vision_transformer_shows_what_it_tells_apart() {
    let Some(data) = shared_data() else { return };
    let data = data.canonicalize().expect("a path");
    let folder = tempfile::tempdir().expect("a folder");
    symlink(data.join("photos/caltech101/Leopards"), folder.path().join("pool")).expect("a link");
    let model = data.join("models/vit_tiny_patch16_224.onnx");
    let file = folder.path().join("p.toml");
    let text = |more: &str| {
        format!(
            "[sources.pool]\nfolder = \"pool\"\n[embedders.vit]\nmodel = {model:?}\nresize = 224\n\
             output = \"pooler_output\"\n{more}[embedders.copy]\nmodel = \"builtin:copy\"\n[steps.ingest]\n[steps.embed]\n"
        )
    };
    fs::write(&file, text("")).expect("the file is written");
    let name = file.to_string_lossy();
    run(&["run", &name, "--quiet", "--look"]);
    let page = || Page::read(&folder.path().join("work/look/embed.html"));
    // Eight photos beside their patches; the other encoder gives vectors alone, and has none.
    let before = page();
    assert_eq!(before.text.matches("what it tells apart").count(), 1);
    assert!(before.text.contains("vit: what it tells apart"));
    let own = |page: &Page| page.embedded().into_keys().filter(|id| id.starts_with("ffffffff")).count();
    assert_eq!(own(&before), 16);
    assert_eq!(before.text.matches(">14×14<").count(), 8);
    assert_eq!(before.text.matches(">its patches<").count(), 8);
    // The same again; and none of a model that is no longer that of the vectors.
    run(&["look", &name, "embed"]);
    assert!(page().text == before.text);
    fs::write(&file, text("squash = true\n")).expect("the file is written");
    run(&["look", &name, "embed"]);
    assert_eq!(own(&page()), 0);
}
