//! Exact copies, found by the phases' own tasks in made-up tables of facts, against brute force.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::*;
use crate::stages::catalog::{Catalog, Role, SourceEntry};
use crate::stages::phase::PhaseId;
use crate::stages::table::Table;
use crate::stages::task::{Outcome, Place};
use lvd_base::error::Error;
use lvd_base::types::{ImageId, ShardId};
use lvd_io::images::ImageFacts;
use lvd_io::part::sha256;
use lvd_io::sources::Source;
use lvd_io::work_folder::WorkFolder;
use lvd_kernels::hash::Draw;

/// Two shards a group.
const SHARD_ROWS: u32 = 1 << 21;

/// Data sets in an order that is not that of their numbers.
const SETS: [(&str, u16, Role, u32); 4] = [
    ("late", 3, Role::Pool, 5),
    ("eval", 1, Role::Reference, 2),
    ("seeds", 2, Role::Seed, 3),
    ("early", 0, Role::Pool, 4),
];

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (name, number, role, _) in SETS {
        let source = Source::Folder { path: name.into(), except: Vec::new(), extensions: Vec::new(), captions: false };
        catalog.sources.insert(name.into(), SourceEntry::new(number, role, source));
    }
    catalog
}

fn task<'a>(folder: &Path, catalog: &'a Catalog, phase: IngestPhase, number: usize) -> Result<Task<'a>> {
    let work = WorkFolder::open(&folder.to_string_lossy())?;
    let aside = folder.join(format!("tmp-{}-{number}", phase.name()));
    let place = Place { work, copies: folder.into(), step: "ingest".into(), number, aside, checkpoint: folder.into() };
    Ok(Task::new(catalog, place, 1, &|_| ()))
}

/// Images of all shards, some of them of the same content; one content comes over and over. A shard
/// has no image.
fn images() -> Vec<(ShardId, Vec<(ImageId, String)>)> {
    let draw = Draw::new(7, "images");
    let mut shards = Vec::new();
    for (_, number, _, count) in SETS {
        for shard in (0..count).map(|shard| ShardId::new(number, shard)) {
            let rows = if shard == ShardId::new(3, 1) { 0 } else { 40 };
            let row = |row: u32| {
                // Every seventh row of the list has failed.
                let id = shard.image(row * 7 / 6);
                let content = if draw.unit(id.0) < 0.3 { 0 } else { draw.within(1).bits(id.0) % 300 };
                (id, sha256(&content.to_le_bytes()))
            };
            shards.push((shard, (0..rows).map(row).collect()));
        }
    }
    shards
}

fn facts((id, sha256): (ImageId, String)) -> ImageFacts {
    let (source, url, caption, format) = (String::new(), String::new(), None, "jpeg".into());
    ImageFacts { id, source, url, caption, width: 1, height: 1, format, size_bytes: 1, sha256 }
}

/// What the phases after `fetch` make of the images.
fn run(folder: &Path, settings: &Ingest) -> Result<BTreeMap<&'static str, Vec<Outcome>>> {
    let (catalog, inputs) = (catalog(), BTreeMap::new());
    let mut fetched = Vec::new();
    for (number, (shard, rows)) in images().into_iter().enumerate() {
        let mut task = task(folder, &catalog, IngestPhase::Fetch, number)?;
        let mut writer = task.rows("facts")?;
        rows.into_iter().try_for_each(|row| writer.push(facts(row)))?;
        task.publish(writer.finish()?, "facts", Some(shard))?;
        fetched.push(task.outcome);
    }
    let mut earlier = BTreeMap::from([(IngestPhase::Fetch.name(), fetched)]);
    for phase in [IngestPhase::Scatter, IngestPhase::Match, IngestPhase::Mark] {
        let context = PlanContext { catalog: &catalog, inputs: &inputs, earlier: &earlier };
        let plan = Phased::plan(settings, phase, &context)?;
        let mut outcomes = Vec::new();
        for (number, spec) in plan.tasks.iter().enumerate() {
            let mut task = task(folder, &catalog, phase, number)?;
            Ingest::run(
                phase,
                TaskInput { common: &plan.common, unhashed: &plan.unhashed, spec, former: None },
                &mut task,
            )?;
            assert!(task.outcome.balances(), "{:?}", task.outcome);
            outcomes.push(task.outcome);
        }
        earlier.insert(phase.name(), outcomes);
    }
    Ok(earlier)
}

/// A part: its name and its content.
type File = (String, String);

/// The rows of `kept`, and its parts.
fn kept(folder: &Path, earlier: &BTreeMap<&'static str, Vec<Outcome>>) -> Result<(Vec<Kept>, Vec<File>)> {
    let parts = earlier["mark"].iter().flat_map(|outcome| outcome.parts.clone()).collect();
    let catalog = catalog();
    let (mut rows, table) = (Vec::new(), Table { parts });
    task(folder, &catalog, IngestPhase::Mark, 0)?.for_each(&table, |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, table.parts.into_iter().map(|part| (part.path, part.sha256)).collect()))
}

fn counters(earlier: &BTreeMap<&'static str, Vec<Outcome>>) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (name, n) in earlier.values().flatten().flat_map(|outcome| &outcome.counters) {
        *sums.entry(name.clone()).or_default() += n;
    }
    sums
}

fn scratch() -> Result<tempfile::TempDir> {
    tempfile::tempdir().map_err(Error::io("a folder"))
}

#[test]
fn exact_copies_are_those_of_brute_force_however_few_hashes_are_held() -> Result<()> {
    let of_pool = |id: ImageId| matches!(id.shard().dataset(), 0 | 3);
    let all: Vec<(ImageId, String)> = images().into_iter().flat_map(|(_, rows)| rows).collect();
    let mut first: HashMap<&str, ImageId> = HashMap::new();
    for (id, sha256) in all.iter().filter(|(id, _)| of_pool(*id)) {
        let lowest = first.entry(sha256).or_insert(*id);
        *lowest = (*lowest).min(*id);
    }
    let decided = |(id, sha256): &(ImageId, String)| {
        let duplicate_of = first.get(sha256.as_str()).copied().filter(|first| of_pool(*id) && first != id);
        Kept { id: *id, sha256: sha256.clone(), kept: duplicate_of.is_none(), duplicate_of }
    };
    let expected: Vec<Kept> = all.iter().map(decided).collect();
    let across = expected.iter().filter(|row| row.duplicate_of.is_some_and(|of| of.shard() != row.id.shard())).count();
    assert!(across > 100, "{across} copies of images in other shards");
    let of_set = |number| all.iter().filter(move |(id, _)| id.shard().dataset() == number);
    let in_pool = |number| of_set(number).filter(|(_, sha256)| first.contains_key(sha256.as_str())).count() as u64;
    let also =
        BTreeMap::from([("also_in_pool/eval".to_owned(), in_pool(1)), ("also_in_pool/seeds".to_owned(), in_pool(2))]);
    assert!(also.values().all(|&images| images > 10), "{also:?}");

    let mut parts = Vec::new();
    for (held_hashes, slices) in [(1, 100), (7, 20), (100, 3), (1 << 22, 1)] {
        let folder = scratch()?;
        let earlier = run(folder.path(), &Ingest { held_hashes, shard_rows: SHARD_ROWS, ..Ingest::default() })?;
        assert_eq!(earlier["scatter"].len(), 3 + 1 + 2 + 2, "groups of two shards");
        assert!(earlier["match"].len() >= slices, "{} slices", earlier["match"].len());
        let held = earlier["match"].iter().map(|outcome| outcome.rows_in).max();
        // Of one content, a hash of each time that so many were held goes on.
        let most = 4 * held_hashes + 320 / held_hashes + 4;
        assert!(held.is_some_and(|held| held <= most), "{held:?} hashes where {held_hashes} are held");
        let (rows, files) = kept(folder.path(), &earlier)?;
        assert!(rows == expected, "with {held_hashes} hashes held");
        assert_eq!(counters(&earlier), also);
        parts.push(files);
    }
    assert!(parts.iter().all(|files| *files == parts[0]), "files are the same, and called the same");
    Ok(())
}

#[test]
fn nobody_goes_where_copies_may_stay() -> Result<()> {
    let folder = scratch()?;
    let settings = Ingest { drop_exact_duplicates: false, shard_rows: SHARD_ROWS, ..Ingest::default() };
    let earlier = run(folder.path(), &settings)?;
    assert!(earlier["scatter"].is_empty() && earlier["match"].is_empty());
    let (rows, _) = kept(folder.path(), &earlier)?;
    assert!(rows.len() > 400 && rows.iter().all(|row| row.kept && row.duplicate_of.is_none()));
    Ok(())
}

#[test]
fn a_pool_of_one_picture_is_one_image_and_no_slice_is_full_of_it() -> Result<()> {
    let folder = scratch()?;
    let catalog = catalog();
    let mut hashes = task(folder.path(), &catalog, IngestPhase::Fetch, 0)?;
    let mut writer = hashes.rows("facts")?;
    let shard = ShardId::new(0, 0);
    (0..1000).try_for_each(|row| writer.push(facts((shard.image(row), sha256(b"the same")))))?;
    hashes.publish(writer.finish()?, "facts", Some(shard))?;
    let (settings, inputs) = (Ingest { held_hashes: 10, ..Ingest::default() }, BTreeMap::new());
    let mut earlier = BTreeMap::from([(IngestPhase::Fetch.name(), vec![hashes.outcome])]);
    for (phase, rows) in [(IngestPhase::Scatter, 1000), (IngestPhase::Match, 100), (IngestPhase::Mark, 1000)] {
        let context = PlanContext { catalog: &catalog, inputs: &inputs, earlier: &earlier };
        let plan = Phased::plan(&settings, phase, &context)?;
        assert_eq!(plan.tasks.len(), 1);
        let mut task = task(folder.path(), &catalog, phase, 0)?;
        let input = TaskInput { common: &plan.common, unhashed: &plan.unhashed, spec: &plan.tasks[0], former: None };
        Ingest::run(phase, input, &mut task)?;
        assert_eq!(task.outcome.rows_in, rows, "{}: one hash goes on of each ten", phase.name());
        earlier.insert(phase.name(), vec![task.outcome]);
    }
    let (rows, _) = kept(folder.path(), &earlier)?;
    assert!(rows.iter().all(|row| row.duplicate_of.is_none() == (row.id == shard.image(0))));
    Ok(())
}
