//! Runs the tasks of a dedup step on vectors that no image belongs to, and looks at what the join found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use lvd::io::row;
use lvd::io::vectors;
use lvd::native::codes::{Codes, Depth};
use lvd::ops::dot::dot;
use lvd::ops::hash::Draw;
use lvd::ops::top_k::TopK;
use lvd::ops::union_find::UnionFind;
use lvd::stages::catalog::Catalog;
use lvd::stages::dedup::{Dedup, Edge};
use lvd::stages::known::{Known, Part, Table};
use lvd::stages::task::{Outcome, Place, Task};
use lvd::stages::{Order, Stage, StageKind};
use lvd::types::{ImageId, Neighbour, ShardId};
use parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;

use super::{Result, SHARD_ROWS};

/// Neighbours an image, as the stage's default.
const NEIGHBOURS: usize = 64;

/// The parts that `make` wrote.
pub fn parts(folder: &Path) -> Result<Vec<Part>> {
    let mut names: Vec<_> = std::fs::read_dir(folder.join("embed/copy"))?.collect::<std::io::Result<_>>()?;
    names.sort_by_key(std::fs::DirEntry::file_name);
    let part = |(shard, entry): (u32, std::fs::DirEntry)| {
        let reader = SerializedFileReader::new(std::fs::File::open(entry.path())?)?;
        let rows = u64::try_from(reader.metadata().file_metadata().num_rows())?;
        let path = format!("embed/copy/{}", entry.file_name().to_string_lossy());
        let (table, bytes, shard) = ("copy".into(), entry.metadata()?.len(), Some(ShardId::new(0, shard)));
        Ok(Part { table, path, rows, bytes, sha256: String::new(), shard })
    };
    (0u32..).zip(names).map(part).collect()
}

/// Runs every phase but the decisions about images, for which there are none.
pub fn join(folder: &Path, settings: &str) -> Result<()> {
    let mut text: toml::Table = toml::from_str(settings)?;
    text.insert("vectors".into(), "embed/copy".into());
    text.insert("images".into(), "ingest".into());
    let stage: Dedup = toml::Value::Table(text).try_into()?;
    let catalog = catalog();
    let vectors = Table { parts: parts(folder)? };
    let rows: u64 = vectors.rows();
    let bytes: u64 = vectors.parts.iter().map(|part| part.bytes).sum();
    let inputs = BTreeMap::from([("embed/copy".to_owned(), vectors), ("ingest".to_owned(), Table::default())]);
    let mut earlier: BTreeMap<&'static str, Vec<Outcome>> = BTreeMap::new();
    let step = folder.join("dedup");
    if step.exists() {
        std::fs::remove_dir_all(&step)?;
    }
    std::fs::create_dir_all(&step)?;
    let (mut total, mut products) = (0.0, 0);
    for phase in stage.phases().iter().filter(|phase| phase.name != "components") {
        let (start, cpu) = (Instant::now(), cpu_seconds()?);
        let known = Known { catalog: &catalog, inputs: &inputs, earlier: &earlier };
        let plan = stage.plan(phase.name, &known)?;
        let mut outcomes = Vec::new();
        for (number, spec) in plan.tasks.iter().enumerate() {
            let aside = step.join(format!("tmp-{}-{number}", phase.name));
            let checkpoint = step.join("checkpoint");
            let place = Place { work: folder.into(), step: "dedup".into(), number, aside, checkpoint };
            let mut task = Task::new(&catalog, place, rayon::current_num_threads(), &|_| {});
            let order = Order { common: &plan.common, knobs: &plan.knobs, spec };
            lvd::stages::run(StageKind::Dedup, phase.name, order, &mut task)?;
            outcomes.push(task.outcome);
        }
        let seconds = start.elapsed().as_secs_f64();
        total += seconds;
        let facts: BTreeMap<_, _> = outcomes.iter().flat_map(|outcome| outcome.facts.clone()).collect();
        let mut counters: BTreeMap<String, u64> = BTreeMap::new();
        for (name, n) in outcomes.iter().flat_map(|outcome| &outcome.counters) {
            *counters.entry(name.clone()).or_default() += n;
        }
        products += counters.get("products").copied().unwrap_or(0);
        let busy = (cpu_seconds()? - cpu) / seconds;
        let tasks = plan.tasks.len();
        println!("{}: {tasks} tasks, {seconds:.2} s, {busy:.2} cores busy {facts:?} {counters:?}", phase.name);
        earlier.insert(phase.name, outcomes);
    }
    let written: u64 = earlier.values().flatten().flat_map(|outcome| &outcome.parts).map(|part| part.bytes).sum();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim().to_owned();
    let (disk, gflops) = (written as f64 / bytes as f64, products as f64 * 2.0 * dimension(folder)? as f64 / 1e9);
    println!(
        "rows={rows} seconds={total:.2} peak={peak} disk={disk:.3} of the vectors' {bytes} bytes, {gflops:.0} GFLOP in the join"
    );
    Ok(())
}

/// Processor time of this process so far.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    // User and system time, in hundredths of a second.
    Ok((ticks(11) + ticks(12)) / 100.0)
}

fn catalog() -> Catalog {
    let mut catalog = Catalog { seed: 1, ..Catalog::default() };
    let source = lvd::io::sources::Source::Folder { path: "none".into() };
    let entry = lvd::stages::catalog::SourceEntry::new(0, lvd::stages::catalog::Role::Pool, source);
    catalog.sources.insert("pool".into(), entry);
    catalog
}

fn dimension(folder: &Path) -> Result<usize> {
    let first = parts(folder)?.into_iter().next().ok_or("no vectors")?;
    let block = vectors::read(&folder.join(first.path))?.next().ok_or("no vectors")??;
    Ok(block.dimension)
}

/// Finds the true neighbours over `floor` of some images by comparing them with all, and says how many of these pairs the join's
/// edges hold (the 64 nearest of an image), and whether the components of these pairs are joined.
pub fn exact(folder: &Path, queries: usize, floor: f32) -> Result<()> {
    let parts = parts(folder)?;
    let n: u64 = parts.iter().map(|part| part.rows).sum();
    let row_of = |id: ImageId| u64::from(id.shard().0 as u32) * SHARD_ROWS as u64 + u64::from(id.row());
    let mut edges: BTreeSet<(u64, u64)> = BTreeSet::new();
    let mut links = UnionFind::new(u32::try_from(n)?);
    for entry in std::fs::read_dir(folder.join("dedup/edges"))? {
        for batch in row::read::<Edge>(&entry?.path())? {
            for edge in batch? {
                let (a, b) = (row_of(edge.id), row_of(edge.neighbour));
                if edge.similarity >= floor {
                    edges.insert((a.min(b), a.max(b)));
                    if edge.tree {
                        links.union(u32::try_from(a)?, u32::try_from(b)?);
                    }
                }
            }
        }
    }
    let draw = Draw::new(9, "exact");
    let share = queries as f64 / n as f64;
    let wanted = |row: u64| draw.unit(row) < share;
    let (mut ids, mut values, mut d) = (Vec::new(), Vec::new(), 1);
    for part in &parts {
        for block in vectors::read(&folder.join(&part.path))? {
            let block = block?;
            d = block.dimension;
            for (row, &id) in block.ids.iter().enumerate().filter(|&(_, &id)| wanted(row_of(id))) {
                ids.push(row_of(id));
                values.extend_from_slice(block.row(row));
            }
        }
    }
    let codes = Codes::new(&values, d);
    let chosen: Vec<u32> = (0..u32::try_from(ids.len())?).collect();
    let floors = vec![floor; ids.len()];
    let mut tops: Vec<TopK> = chosen.iter().map(|_| TopK::new(NEIGHBOURS)).collect();
    for part in &parts {
        for block in vectors::read(&folder.join(&part.path))? {
            let block = block?;
            let (base, none) = (Codes::new(&block.values, d), vec![f32::INFINITY; block.ids.len()]);
            tops.par_chunks_mut(16).zip(chosen.par_chunks(16)).for_each(|(tops, chosen)| {
                base.scan(&codes, (chosen, &floors), (0..block.ids.len(), &none), Depth::Full, &mut |q, row| {
                    let (similarity, id) = (dot(&values[q as usize * d..][..d], block.row(row)), block.ids[row]);
                    if similarity >= floor && row_of(id) != ids[q as usize] {
                        tops[(q - chosen[0]) as usize].push(Neighbour { similarity, id });
                    }
                });
            });
        }
    }
    let (mut pairs, mut found, mut joined, mut bins) = (0u64, 0u64, 0u64, [(0u64, 0u64); 10]);
    for (top, &a) in tops.into_iter().zip(&ids) {
        for Neighbour { similarity, id } in top.into_sorted() {
            let b = row_of(id);
            let there = edges.contains(&(a.min(b), a.max(b)));
            let bin = &mut bins[(((similarity - floor) / (1.0 - floor) * 10.0) as usize).min(9)];
            *bin = (bin.0 + 1, bin.1 + u64::from(there));
            pairs += 1;
            found += u64::from(there);
            joined += u64::from(links.find(u32::try_from(a)?) == links.find(u32::try_from(b)?));
        }
    }
    let of = |some: u64, all: u64| some as f64 / all.max(1) as f64;
    let bins: Vec<String> = bins.iter().map(|&(all, some)| format!("{:.3}", of(some, all))).collect();
    println!("queries={} pairs={pairs} recall={:.4} joined={:.4}", ids.len(), of(found, pairs), of(joined, pairs));
    println!("recall by similarity, from the floor to 1: {}", bins.join(" "));
    Ok(())
}
