//! The pipeline file: what is wrong with it is said before anything runs, with its line and a cure.

use std::path::Path;

use crate::common::{failure, on_example, output, run, strs};

/// The message for `text` as a pipeline file in the example's folder.
fn complaint(text: &str) -> String {
    let file = crate::common::EXAMPLE.join(format!("test-{}.toml", lvd_io::part::sha256(text.as_bytes())));
    std::fs::write(&file, text).expect("the file is written");
    let (code, said) = failure(&["check", &file.to_string_lossy()]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("hint:"), "{said}");
    std::fs::remove_file(&file).expect("the file goes");
    said
}

const SOURCE: &str = "[sources.web]\nfolder = \"pool/web\"\n";
const EMBEDDER: &str = "[embedders.copy]\nmodel = \"models/copy.onnx\"\nresize = 96\n";

#[test]
fn everything_wrong_is_found_with_its_place() {
    let steps = |text: &str| format!("{SOURCE}{EMBEDDER}[steps.ingest]\n[steps.embed]\n{text}");
    for (text, expected) in [
        ("[sources.web]\nfolder = \"pool/weeb\"\n".to_owned(), ".toml:1: sources.web: "),
        (
            format!("{SOURCE}[embedders.x]\nmodel = \"nothing.onnx\"\nresize = 9\n"),
            ".toml:4: embedders.x.model: model ",
        ),
        (steps("[steps.dedup]\nthreshhold = 0.6\n"), ".toml:9: steps.dedup.threshhold: is no setting"),
        (
            steps("[steps.dedup]\nthreshold = \"high\"\n"),
            ".toml:9: steps.dedup.threshold: is \"high\", and has to be a number",
        ),
        (steps("[steps.dedup]\nthreshold = 1.6\n"), ".toml:9: steps.dedup.threshold: a cosine of 1.6"),
        (steps("[steps.dedup]\nthreshold = 0.3\nedge_floor = 0.4\n"), "edges below 0.4 are not kept"),
        (steps("[steps.dedup]\nthreshold = 0.3\nkeep = \"farthest\"\n"), "needs a cluster step above it"),
        (steps("[steps.dedup]\nthreshold = 0.3\nsettled = \"dedup\"\n"), "there is no dedup step \"dedup\" above"),
        (steps("[steps.dedup]\n"), "no known threshold for copies"),
        (steps("[steps.dedup]\nthreshold = 0.7\nreferences = [\"web\"]\n"), "is a pool source, expected reference"),
        (steps("[steps.cluster]\nclusters = [100000]\n"), "too few for 100000 clusters"),
        (steps("[steps.cluster]\nclusters = [10, 10]\n"), "ever fewer clusters"),
        (steps("[steps.cluster]\nclusters = [10]\nsplits = 3\n"), "cannot be split evenly"),
        (steps("[steps.cluster]\nclusters = [10, 5]\nresamplings = [1]\n"), "1 numbers for 2 levels"),
        (steps("[steps.retrieve]\nrecall = 0.2\nsets = {}\n"), "steps.retrieve.recall"),
        (steps("[steps.sample]\ntarget = 10\nquotas = { wobb = 3 }\n"), "there is no source \"wobb\""),
        (format!("scale = 0.0\n{SOURCE}"), ".toml:1: scale: a scale of 0"),
        (steps("[steps.sample]\ntarget = 1000000\n"), "1000000 images of"),
        (steps("[steps.export]\n"), "needs a sample step above it"),
        (steps("[steps.frob]\n"), "stage \"frob\" does not exist"),
        (steps("[steps.retrieve]\nsets.web = { method = \"sample\" }\n"), "is a pool source, expected seed"),
        (format!("{SOURCE}[steps.embed]\n"), "needs a ingest step above it"),
        ("work = 3\n".to_owned() + SOURCE, ".toml:1: work: is 3, and has to be text"),
    ] {
        let said = complaint(&text);
        assert!(said.contains(expected), "expected {expected:?} in:\n{said}\nfor\n{text}");
    }
}

#[test]
fn all_faults_come_at_once() {
    let said = complaint(&format!("{SOURCE}[steps.ingest]\nshard_rows = 0\n[steps.sample]\ntarget = 0\n"));
    assert!(said.contains("steps.ingest.shard_rows") && said.contains("steps.sample.target"), "{said}");
}

/// What is wrong, a line each.
fn faults(text: &str) -> Vec<String> {
    let said = complaint(text);
    let lines = said.lines().filter_map(|line| line.strip_prefix("error: "));
    lines.filter_map(|line| Some(line.split_once(".toml:")?.1.to_owned())).collect()
}

#[test]
fn slips_everywhere_are_found_at_once_and_each_once() {
    // A folder that is not there, a source without images to find, slips in a source, in an embedder
    // and in steps, and steps that refer to all of them.
    let text = "[sources.web]
folder = \"pool/weeb\"
[sources.night]
role = \"sede\"
folder = \"seeds/night\"
[sources.held]
role = \"reference\"
folder = \"reference/holdout\"
urls = [\"a.csv\"]
[embedders.copy]
model = \"models/copy.onnx\"
resize = \"big\"
[embedders.semantic]
model = \"models/semantic.onnx\"
rezise = 96
[sources.archive]
fodler = \"pool/archive\"
[steps.ingest]
shard_row = 10
[steps.embed]
[steps.dedup]
vectors = \"embed/copy\"
threshold = 1.7
[steps.clean]
stage = \"dedup\"
vectors = \"embed/copy\"
references = [\"held\"]
threshold = 0.6
[steps.cluster]
vectors = \"embed/semantic\"
clusters = \"many\"
[steps.retrieve]
vectors = \"embed/semantic\"
[steps.retrieve.sets.night]
method = \"cluster\"
[steps.sample]
target = \"many\"
fil = true
[steps.export]
";
    let mut found = faults(text);
    found.sort_by_key(|fault| fault.split(':').next().and_then(|line| line.parse::<u32>().ok()));
    let keys: Vec<&str> = found.iter().map(|fault| fault.split(':').nth(1).unwrap_or(fault).trim()).collect();
    let expected = [
        "sources.web",
        "sources.night.role",
        "sources.held",
        "embedders.copy.resize",
        "embedders.semantic.rezise",
        "sources.archive.fodler",
        "steps.ingest.shard_row",
        "steps.dedup.threshold",
        "steps.cluster.clusters",
        "steps.sample.target",
        "steps.sample.fil",
    ];
    assert_eq!(keys, expected, "{found:#?}");
}

#[test]
fn a_file_that_is_not_there_is_told_which_was_meant() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let says = |command: &str, name: &str| {
        let (code, said) = failure(&[command, &at(name)]);
        assert_eq!(code, 2, "{said}");
        said
    };
    assert!(says("run", "photo.toml").contains("hint: lvd init FOLDER"));
    std::fs::create_dir(at("photos")).expect("a folder");
    std::fs::write(at("photos.toml"), "").expect("a file");
    std::fs::write(at("photon.png"), "").expect("a file");
    for command in ["run", "check", "plan", "status", "report", "look", "calibrate"] {
        let said = says(command, "photo.toml");
        assert!(said.contains(&format!("did you mean {}?", at("photos.toml"))), "{said}");
        let said = says(command, "photos");
        assert!(said.contains("is a folder") && said.contains(&format!("hint: lvd init {}", at("photos"))), "{said}");
    }
    assert!(says("check", "nofile.toml").contains(&format!("pipeline files there are: {}", at("photos.toml"))));
}

#[test]
fn a_step_of_no_kind_brings_no_faults_of_those_below_it() {
    // The side that the example's model takes.
    let embedder = EMBEDDER.replace("96", "72");
    let text = |step: &str, sample: &str| {
        format!(
            "{SOURCE}{embedder}[steps.ingest]\n[steps.embed]\n[steps.{step}]\nthreshold = 0.7\n{sample}[steps.export]\n"
        )
    };
    let found = faults(&text("dedpu", "[steps.sample]\ntarget = 10\n"));
    assert!(found.len() == 1 && found[0].contains("stage \"dedpu\" does not exist"), "{found:?}");
    let found = faults(&text("dedup", "[steps.smaple]\ntarget = 10\n"));
    assert!(found.len() == 1 && found[0].contains("stage \"smaple\" does not exist"), "{found:?}");
}

#[test]
fn checking_and_planning_write_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    run(&strs(&on_example("check", &work, &[])));
    run(&strs(&on_example("plan", &work, &[])));
    run(&strs(&on_example("status", &work, &[])));
    assert!(!work.exists());
    assert!(!output(&strs(&on_example("report", &work, &[]))).status.success());
}

#[test]
fn the_reference_pages_are_fresh() {
    for (command, page) in [("config", "docs/config.md"), ("tables", "docs/tables.md")] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        let known = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(run(&[command]) == known, "{page} is stale: lvd {command} > {page}");
    }
}
