//! What a dedup step may be asked for beyond its defaults, on the built-in example, by the real binary.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{cell, on_example, parquet_files, quickstart, rows, run, strs};

const THRESHOLD: f64 = 0.78;
/// Low enough for chains of images that are alike.
const LOW: f64 = 0.5;

/// What a step decided: image -> (component, representative, similarity, kept).
fn decided(step: &Path) -> BTreeMap<String, (String, String, f64, bool)> {
    let parts = parquet_files(step).into_iter().filter(|path| {
        path.parent() == Some(step) && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"))
    });
    let row = |row: Vec<(String, String)>| {
        let text = |column: &str| cell(&row, column).to_owned();
        let similarity = text("similarity").parse().unwrap_or(f64::NAN);
        (text("id"), (text("component"), text("representative"), similarity, text("kept") == "true"))
    };
    parts.flat_map(|path| rows(&path)).map(row).collect()
}

/// The pairs over a threshold.
fn links(step: &Path, threshold: f64) -> BTreeSet<(String, String)> {
    let all = parquet_files(&step.join("edges")).into_iter().flat_map(|path| rows(&path));
    let over = all.filter(|row| cell(row, "similarity").parse::<f64>().is_ok_and(|similarity| similarity >= threshold));
    over.map(|row| (cell(&row, "id").to_owned(), cell(&row, "neighbour").to_owned())).collect()
}

fn kept(decided: &BTreeMap<String, (String, String, f64, bool)>) -> BTreeSet<&String> {
    decided.iter().filter(|(_, (.., kept))| *kept).map(|(id, _)| id).collect()
}

#[test]
fn linkages_differ_in_who_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let with = |more: &[&str]| {
        let low = ["--to", "dedup", "--set", "dedup.threshold=0.5", "--set", "dedup.edge_floor=0.5"];
        run(&strs(&on_example("run", &work, &[&low[..], more].concat())));
        decided(&work.join("dedup"))
    };
    let component = with(&[]);
    let representative = with(&["--set", "dedup.linkage=representative"]);
    let links = links(&work.join("dedup"), LOW);
    let earlier = with(&["--set", "dedup.linkage=earlier"]);
    assert!(kept(&representative).len() > kept(&component).len(), "the example has chains");
    let first = with(&["--set", "dedup.keep=first"]);

    for (id, (_, stands, similarity, kept)) in &representative {
        assert!(*kept || (*similarity >= LOW && representative[stands].3), "{id}: {stands} {similarity}");
    }
    let survivors = kept(&representative);
    let both = links.iter().find(|(a, b)| survivors.contains(a) && survivors.contains(b));
    assert_eq!(both, None, "no two that stay are linked");
    assert!(kept(&component).is_subset(&kept(&earlier)) && kept(&earlier).is_subset(&survivors));
    for (id, (component, _, _, kept)) in &first {
        assert_eq!(*kept, id == component, "the lowest id of its component stays");
    }
}

#[test]
fn whitened_vectors_are_compared_by_cells_as_in_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let work = folder.path().join("work");
    let edges = |more: &[&str]| -> BTreeMap<(String, String), f64> {
        let white = [
            "--to",
            "dedup",
            "--set",
            "dedup.whiten=true",
            "--set",
            "dedup.threshold=0.5",
            "--set",
            "dedup.edge_floor=0.4",
        ];
        run(&strs(&on_example("run", &work, &[&white[..], more].concat())));
        let all = parquet_files(&work.join("dedup/edges")).into_iter().flat_map(|path| rows(&path));
        let edge = |row: Vec<(String, String)>| {
            let similarity = cell(&row, "similarity").parse().expect("a number");
            ((cell(&row, "id").to_owned(), cell(&row, "neighbour").to_owned()), similarity)
        };
        all.map(edge).collect()
    };
    let found = edges(&[]);
    assert!(found.len() > 100, "{} edges", found.len());

    // By its definition: the vectors whitened here, in the order of the shards.
    let (mut ids, mut values, mut d) = (Vec::new(), Vec::new(), 0);
    for path in parquet_files(&work.join("embed/copy")) {
        for block in lvd::io::vectors::read(&lvd::io::checked::Stored::from(&path)).expect("a part") {
            let block = block.expect("vectors");
            d = block.dimension;
            ids.extend(block.ids.iter().map(|id| id.0.to_string()));
            values.extend(block.values);
        }
    }
    let pool: BTreeSet<String> = decided(&work.join("dedup")).into_keys().collect();
    let rows: Vec<usize> = (0..ids.len()).filter(|&row| pool.contains(&ids[row])).collect();
    let mut white: Vec<f32> = rows.iter().flat_map(|&row| &values[row * d..(row + 1) * d]).copied().collect();
    lvd::ops::whiten::Whitening::fit(&white, d).apply(&mut white);
    let place: BTreeMap<&String, usize> = rows.iter().enumerate().map(|(place, &row)| (&ids[row], place)).collect();
    for ((id, neighbour), similarity) in &found {
        let vector = |id| &white[place[id] * d..][..d];
        let cosine: f32 = vector(id).iter().zip(vector(neighbour)).map(|(a, b)| a * b).sum();
        // Equal vectors hang on each other with the product of what is stored.
        assert!((f64::from(cosine) - similarity).abs() < 3e-3, "{id} {neighbour}: {similarity}, not {cosine}");
    }
    let by_cells =
        edges(&["--set", "dedup.exact_up_to=0", "--set", "dedup.cell_images=32", "--set", "dedup.neighbours=1024"]);
    let both = found.iter().filter(|&(pair, similarity)| by_cells.get(pair) == Some(similarity)).count();
    assert!(both * 100 >= found.len() * 95, "{both} of {}", found.len());
}

#[test]
fn a_pool_grows_without_being_joined_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = Path::new(&quickstart()[0]).parent().expect("a folder").to_owned();
    let text = std::fs::read_to_string(example.join("quickstart.toml")).expect("the example's file");
    let (begin, end) = (text.find("[steps.dedup]").expect("dedup"), text.find("[steps.cluster]").expect("cluster"));
    let settings = "stage = \"dedup\"\nvectors = \"embed/copy\"\nthreshold = 0.78\nedge_floor = 0.6\npool = \"none\"\n";
    let steps = format!(
        "[steps.old]\n{settings}sources = [\"web\", \"news\"]\n[steps.new]\n{settings}settled = \"old\"\n\
         [steps.whole]\n{settings}"
    );
    let file = example.join("growing.toml");
    let cut = text[..begin].to_owned() + &steps;
    assert!(end > begin);
    std::fs::write(&file, cut).expect("the file is written");
    let work = folder.path().join("work");
    run(&["run", &file.to_string_lossy(), "--work", &work.to_string_lossy()]);

    let (old, new, whole) = (decided(&work.join("old")), decided(&work.join("new")), decided(&work.join("whole")));
    let survivors = kept(&old);
    assert!(survivors.len() < old.len() && survivors.is_subset(&kept(&new)), "what stayed still stays");
    assert!(old.keys().filter(|id| !survivors.contains(id)).all(|id| !new.contains_key(id)), "what went stays out");
    assert!(
        whole.keys().filter(|id| !old.contains_key(*id)).all(|id| new.contains_key(id)),
        "all new images are there"
    );
    let stays = kept(&new);
    let joined = links(&work.join("whole"), THRESHOLD);
    let both = joined.iter().find(|(a, b)| stays.contains(a) && stays.contains(b));
    assert_eq!(both, None, "a new image that is a copy of another goes");
    let gone = new.iter().filter(|(_, (.., kept))| !kept).count();
    assert!(gone > 3, "{gone} new copies");
    let again = links(&work.join("new"), THRESHOLD);
    assert!(
        !again.iter().any(|(a, b)| survivors.contains(a) && survivors.contains(b)),
        "the old are not compared again"
    );
}
