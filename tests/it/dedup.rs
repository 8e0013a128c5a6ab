//! What a dedup step may be asked for beyond its defaults, on the built-in example, by the real
//! binary.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::common::{cell, failure, on_example, parquet_files, quickstart, rows, run, strs};

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

/// The images of a source.
fn of_source(work: &Path, source: &str) -> BTreeSet<String> {
    let all = crate::common::table(&work.join("ingest"));
    let of_it = all.into_iter().filter(|row| cell(row, "source") == source);
    of_it.map(|row| cell(&row, "id").to_owned()).collect()
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
        for block in lvd_io::vectors::read(&lvd_io::checked::Stored::from(&path)).expect("a part") {
            let block = block.expect("vectors");
            d = block.dimension;
            ids.extend(block.ids.iter().map(|id| id.0.to_string()));
            values.extend(block.values);
        }
    }
    let pool: BTreeSet<String> = decided(&work.join("dedup")).into_keys().collect();
    let rows: Vec<usize> = (0..ids.len()).filter(|&row| pool.contains(&ids[row])).collect();
    let mut white: Vec<f32> = rows.iter().flat_map(|&row| &values[row * d..(row + 1) * d]).copied().collect();
    lvd_ops::whiten::Whitening::fit(&white, d).apply(&mut white);
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

    let (mut old, new, whole) = (decided(&work.join("old")), decided(&work.join("new")), decided(&work.join("whole")));
    // What it did not compare stays.
    let compared = links(&work.join("old"), 0.0);
    let apart: BTreeSet<String> = of_source(&work, "archive");
    assert!(!apart.is_empty() && apart.iter().all(|id| !old.contains_key(id) || old[id].3));
    assert_eq!(old.len(), whole.len(), "all of the pool is there");
    assert!(compared.iter().all(|(a, b)| !apart.contains(a) && !apart.contains(b)));
    old.retain(|id, _| !apart.contains(id));
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

/// A pipeline of some folders and the example's copy encoder, which is used where it is.
fn pipeline(folder: &Path, sources: &[(&str, &str)], steps: &str) -> String {
    let model = Path::new(&quickstart()[0]).parent().expect("a folder").join("models/copy.onnx");
    let source = |(name, role): &(&str, &str)| {
        std::fs::create_dir_all(folder.join(name)).expect("a folder");
        format!("[sources.{name}]\nrole = \"{role}\"\nfolder = \"{name}\"\n")
    };
    let text = format!(
        "work = \"work\"\n{}[embedders.copy]\nmodel = {:?}\nresize = 72\nsquash = true\nmean = [0.5, 0.5, 0.5]\n\
         std = [0.5, 0.5, 0.5]\n[steps.ingest]\n[steps.embed]\n{steps}",
        sources.iter().map(source).collect::<Vec<_>>().concat(),
        model.to_string_lossy()
    );
    let file = folder.join("pipeline.toml");
    std::fs::write(&file, text).expect("the file is written");
    file.to_string_lossy().into_owned()
}

/// A picture of noise, between two others.
fn picture(path: &Path, (one, other): (u64, u64), share: f64, noise: u64) {
    let unit = |seed: u64, i: u64| lvd_kernels::hash::Draw::new(seed, "pictures").unit(i);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a colour")]
    let colour =
        |i: u64| (255.0 * (0.9 * (share * unit(one, i) + (1.0 - share) * unit(other, i)) + 0.1 * unit(noise, i))) as u8;
    // Large squares, which the encoder sees.
    let pixel = |x: u32, y: u32| image::Rgb([0, 1, 2].map(|c| colour(u64::from(x / 12 * 100 + y / 12) * 3 + c)));
    image::RgbImage::from_fn(72, 72, pixel).save(path).expect("a picture");
}

/// The vectors of the pool by id.
fn vectors(work: &Path) -> BTreeMap<String, Vec<f32>> {
    let mut all = BTreeMap::new();
    for path in parquet_files(&work.join("embed/copy")) {
        for block in lvd_io::vectors::read(&(&path).into()).expect("a part") {
            let block = block.expect("vectors");
            all.extend(block.ids.iter().enumerate().map(|(row, id)| (id.0.to_string(), block.row(row).to_vec())));
        }
    }
    all
}

#[test]
fn crowds_larger_than_the_lists_go_as_every_pair_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = pipeline(folder.path(), &[("pool", "pool")], "[steps.dedup]\nthreshold = 0.9\nkeep = \"first\"\n");
    for i in 0..170u64 {
        // Two crowds, and some on the way from one to the other.
        let share = if i < 80 {
            1.0
        } else if i < 160 {
            0.0
        } else {
            0.1 * f64::from(u8::try_from(i - 160).expect("small"))
        };
        picture(&folder.path().join(format!("pool/{i:03}.png")), (1, 2), share, 1000 + i);
    }
    run(&["run", &file, "--to", "embed"]);
    let work = folder.path().join("work");
    let vectors = vectors(&work);
    let mut ids: Vec<&String> = vectors.keys().collect();
    ids.sort_by_key(|id| id.parse::<u64>().expect("an id"));
    assert_eq!(ids.len(), 170);
    let cosine = |a: usize, b: usize| lvd_kernels::dot::similarity(&vectors[ids[a]], &vectors[ids[b]]);
    let mut within: Vec<f32> = (0..80).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| cosine(a, b)).collect();
    within.sort_by(f32::total_cmp);
    // So low that many have more than 8 neighbours, so high that no one is near all.
    for threshold in [within[within.len() / 2], within[within.len() / 10]] {
        let near = |a: usize, b: usize| cosine(a, b) >= threshold;
        let crowd = (0..80).filter(|&b| near(40, b)).count();
        assert!(crowd > 9, "{crowd}");
        for neighbours in [8, 64] {
            let set = [format!("dedup.threshold={threshold}"), format!("dedup.neighbours={neighbours}")];
            let with = |linkage: &str| {
                let linkage = format!("dedup.linkage={linkage}");
                run(&["run", &file, "--set", &set[0], "--set", &set[1], "--set", &linkage]);
                decided(&work.join("dedup"))
            };
            let component = with("component");
            let mut roots: Vec<usize> = (0..170).collect();
            for (a, b) in (0..170).flat_map(|a| (0..a).map(move |b| (a, b))).filter(|&(a, b)| near(a, b)) {
                let (from, to) = (roots[a].max(roots[b]), roots[a].min(roots[b]));
                roots.iter_mut().filter(|root| **root == from).for_each(|root| *root = to);
            }
            for (row, &id) in ids.iter().enumerate() {
                assert_eq!(&component[id].0, ids[roots[row]], "{threshold} {neighbours}");
            }
            for (linkage, by_any) in [("representative", false), ("earlier", true)] {
                let found = with(linkage);
                let mut stay: Vec<bool> = Vec::new();
                for row in 0..170 {
                    let goes = (0..row).any(|other| (by_any || stay[other]) && near(row, other));
                    stay.push(!goes);
                    assert_eq!(found[ids[row]].3, !goes, "{linkage} {threshold} {neighbours}: {}", ids[row]);
                }
            }
        }
    }
}

#[test]
fn at_a_threshold_of_one_what_is_equal_goes_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = pipeline(folder.path(), &[("pool", "pool")], "[steps.dedup]\nthreshold = 1.0\n");
    let pool = folder.path().join("pool");
    for i in 0..12u64 {
        picture(&pool.join(format!("{i}.png")), (i, i), 1.0, i);
        // Other bytes, the same pixels.
        let mut bytes = std::fs::read(pool.join(format!("{i}.png"))).expect("a picture");
        bytes.push(0);
        std::fs::write(pool.join(format!("{i}-again.png")), bytes).expect("a picture");
    }
    // Equal but for a pixel.
    let mut near = image::open(pool.join("3.png")).expect("a picture").to_rgb8();
    near.get_pixel_mut(5, 5).0[0] ^= 128;
    near.save(pool.join("near.png")).expect("a picture");
    run(&["run", &file]);
    let all = decided(&folder.path().join("work/dedup"));
    assert_eq!((all.len(), kept(&all).len()), (25, 13));
    let similarities: BTreeSet<String> = all.values().filter(|row| !row.3).map(|row| row.2.to_string()).collect();
    assert_eq!(similarities, BTreeSet::from(["1".to_owned()]));
}

#[test]
fn copies_of_seeds_leave_the_pool_and_a_reference_source_without_vectors_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let sources = [("pool", "pool"), ("seeds", "seed"), ("held", "reference")];
    let file = pipeline(folder.path(), &sources, "[steps.dedup]\nthreshold = 0.95\nreferences = [\"seeds\"]\n");
    for i in 0..20u64 {
        let name = format!("{i:02}.png");
        picture(&folder.path().join("pool").join(&name), (i, i), 1.0, i);
        if i < 7 {
            std::fs::copy(folder.path().join("pool").join(&name), folder.path().join("seeds").join(&name))
                .expect("a copy");
        }
    }
    picture(&folder.path().join("held/0.png"), (77, 77), 1.0, 77);
    let some = ["run", &file, "--set", "ingest.sources=[\"pool\", \"seeds\"]"];
    run(&some);
    let all = decided(&folder.path().join("work/dedup"));
    assert_eq!((all.len(), kept(&all).len()), (20, 13));
    let both = ["--set", "dedup.references=[\"seeds\", \"held\"]"];
    let (code, said) = failure(&[&some[..], &both[..]].concat());
    assert!(code != 0 && said.contains("\"held\" has no vector") && said.contains("hint: "), "{said}");
    let (code, said) = failure(&["check", &file, "--set", "dedup.references=[\"pool\"]"]);
    assert!(code == 2 && said.contains("is a pool source, expected reference or seed"), "{said}");
}
