//! Runs the tasks of steps on vectors that no image belongs to, and looks at what they found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use lvd::pipeline::engine::local::local;
use lvd::stages::catalog::Catalog;
use lvd::stages::cluster::{Assigned, Cluster, Node};
use lvd::stages::context::PlanContext;
use lvd::stages::dedup::{Dedup, Edge};
use lvd::stages::pool::Decision;
use lvd::stages::retrieve::{Retrieve, SeedNeighbour};
use lvd::stages::sample::Sample;
use lvd::stages::table::{Part, Table};
use lvd::stages::task::{Outcome, Place, Task};
use lvd::stages::{Stage, TaskInput};
use lvd_base::types::{ImageId, Neighbour, ShardId};
use lvd_io::checked::Stored;
use lvd_io::part::FACTS;
use lvd_io::row::{self, RowWriter};
use lvd_io::vectors;
use lvd_io::work_folder::WorkFolder;
use lvd_kernels::blas;
use lvd_kernels::codes::{Codes, ScanMode};
use lvd_kernels::dot::dot;
use lvd_kernels::hash::Draw;
use lvd_ops::top_k::TopK;
use lvd_ops::union_find::UnionFind;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;
use serde::de::DeserializeOwned;

use super::{Result, SHARD_ROWS};

/// Neighbours an image, as the stage's default.
const NEIGHBOURS: usize = 64;

/// The parts that `make` wrote.
pub fn parts(folder: &Path) -> Result<Vec<Part>> {
    let mut names: Vec<_> = std::fs::read_dir(folder.join("embed/copy"))?.collect::<std::io::Result<_>>()?;
    names.sort_by_key(std::fs::DirEntry::file_name);
    let of = |(shard, entry): (u32, std::fs::DirEntry)| {
        part(folder, &format!("embed/copy/{}", entry.file_name().to_string_lossy()), ShardId::new(0, shard))
    };
    (0u32..).zip(names).map(of).collect()
}

/// A part at `path` within `folder`.
fn part(folder: &Path, path: &str, shard: ShardId) -> Result<Part> {
    let file = std::fs::File::open(folder.join(path))?;
    let bytes = file.metadata()?.len();
    let rows = u64::try_from(SerializedFileReader::new(file)?.metadata().file_metadata().num_rows())?;
    Ok(Part {
        table: String::new(),
        path: path.into(),
        rows,
        bytes,
        sha256: String::new(),
        tail: None,
        shard: Some(shard),
    })
}

/// What a stage gave: its outcomes by phase, and the seconds it took.
pub struct Ran {
    pub earlier: BTreeMap<&'static str, Vec<Outcome>>,
    pub seconds: f64,
}

impl Ran {
    /// The sum of a counter over all tasks.
    pub fn counted(&self, counter: &str) -> u64 {
        self.earlier.values().flatten().filter_map(|outcome| outcome.counters.get(counter)).sum()
    }

    fn bytes(&self) -> u64 {
        self.earlier.values().flatten().flat_map(|outcome| &outcome.parts).map(|part| part.bytes).sum()
    }
}

/// Runs the phases of a stage that `wanted` takes in `folder`, and prints a line for each.
pub fn run(
    folder: &Path,
    stage: &dyn Stage,
    inputs: &BTreeMap<String, Table>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Ran> {
    let catalog = catalog();
    let kind = stage.kind();
    let step = folder.join(kind.name());
    if step.exists() {
        std::fs::remove_dir_all(&step)?;
    }
    std::fs::create_dir_all(&step)?;
    let mut ran = Ran { earlier: BTreeMap::new(), seconds: 0.0 };
    for phase in stage.phases().iter().filter(|phase| wanted(phase.name)) {
        let (start, cpu) = (Instant::now(), cpu_seconds()?);
        let plan = stage.plan(phase.name, &PlanContext { catalog: &catalog, inputs, earlier: &ran.earlier })?;
        let outcomes = Mutex::new(BTreeMap::new());
        let numbers: Vec<usize> = (0..plan.tasks.len()).collect();
        let failed = local(&numbers, phase.at_once, &|number| -> lvd_base::error::Result<()> {
            let aside = step.join(format!("tmp-{}-{number}", phase.name));
            let checkpoint = step.join(format!("checkpoint-{}-{number}", phase.name));
            let work = WorkFolder::open(&folder.to_string_lossy())?;
            let copies = folder.into();
            let place = Place { work, copies, step: kind.name().into(), number, aside, checkpoint };
            let mut task = Task::new(&catalog, place, rayon::current_num_threads(), &|_| {});
            let (common, unhashed, spec) = (&plan.common, &plan.unhashed, &plan.tasks[number]);
            let input = TaskInput { common, unhashed, spec, former: None };
            lvd::stages::run(kind, phase.name, input, &mut task)?;
            outcomes.lock().expect("no task panics").insert(number, task.outcome);
            Ok(())
        });
        if let Some((_, error)) = failed.into_iter().next() {
            return Err(error.into());
        }
        let outcomes: Vec<Outcome> = outcomes.into_inner().expect("no task panics").into_values().collect();
        let seconds = start.elapsed().as_secs_f64();
        ran.seconds += seconds;
        let facts: BTreeMap<_, _> = outcomes.iter().flat_map(|outcome| outcome.facts.clone()).collect();
        let mut counters: BTreeMap<String, u64> = BTreeMap::new();
        for (name, n) in outcomes.iter().flat_map(|outcome| &outcome.counters) {
            *counters.entry(name.clone()).or_default() += n;
        }
        let busy = (cpu_seconds()? - cpu) / seconds;
        let tasks = plan.tasks.len();
        println!("{}: {tasks} tasks, {seconds:.2} s, {busy:.2} cores busy {facts:?} {counters:?}", phase.name);
        ran.earlier.insert(phase.name, outcomes);
    }
    Ok(ran)
}

/// Runs every phase of dedup but the decisions about images, for which there are none.
pub fn join(folder: &Path, settings: &str) -> Result<()> {
    let stage: Dedup = settled(settings, &[("vectors", "embed/copy"), ("images", "ingest")])?;
    let vectors = Table { parts: parts(folder)? };
    let rows: u64 = vectors.rows();
    let bytes: u64 = vectors.parts.iter().map(|part| part.bytes).sum();
    let inputs = BTreeMap::from([("embed/copy".to_owned(), vectors), ("ingest/facts".to_owned(), Table::default())]);
    let ran = run(folder, &stage, &inputs, |phase| phase != "components")?;
    let (disk, gflop) =
        (ran.bytes() as f64 / bytes as f64, ran.counted("products") as f64 * 2.0 * dimension(folder)? as f64 / 1e9);
    println!(
        "rows={rows} seconds={:.2} peak={} disk={disk:.3} of the vectors' {bytes} bytes, {gflop:.0} GFLOP in the join",
        ran.seconds,
        peak()?
    );
    Ok(())
}

/// Runs cluster, and says how near `train` is to the speed of sgemm.
pub fn cluster(folder: &Path, settings: &str) -> Result<()> {
    let stage: Cluster = settled(settings, &[("vectors", "embed/copy")])?;
    let inputs = BTreeMap::from([("embed/copy".to_owned(), Table { parts: parts(folder)? })]);
    let rows = inputs["embed/copy"].rows();
    let start = Instant::now();
    let ran = run(folder, &stage, &inputs, |phase| phase == "train")?;
    let train = start.elapsed().as_secs_f64();
    let trained = ran.counted("training_images");
    let flop =
        trained as f64 * f64::from(stage.clusters[0]) * f64::from(stage.iterations) * 2.0 * dimension(folder)? as f64;
    let sgemm = blas::sgemm_gflops(rayon::current_num_threads());
    let peak = peak()?;
    let rate = trained as f64 * f64::from(stage.iterations) / train;
    println!(
        "rows={rows} trained={trained} train={train:.2}s images/s/round={rate:.0} peak={peak} {:.0} GFLOP/s, {:.2} of sgemm",
        flop / train / 1e9,
        flop / train / 1e9 / sgemm
    );
    let ran = run(folder, &stage, &inputs, |_| true)?;
    println!("rows={rows} seconds={:.2} peak={}", ran.seconds, self::peak()?);
    Ok(())
}

/// Runs retrieve for seeds that `make_seeds` wrote, and, where lists were used, compares what was
/// found with every pair.
pub fn retrieve(folder: &Path, k: usize, settings: &str) -> Result<()> {
    let sets = format!("sets = {{ seeds = {{ method = \"sample\", k = {k} }} }}\n{settings}");
    let stage: Retrieve = settled(&sets, &[("vectors", "embed/copy")])?;
    let mut all = parts(folder)?;
    all.push(part(folder, "embed/seeds/part-00000.parquet", ShardId::new(1, 0))?);
    let inputs = BTreeMap::from([("embed/copy".to_owned(), Table { parts: all })]);
    let ran = run(folder, &stage, &inputs, |_| true)?;
    println!("seconds={:.2} peak={}", ran.seconds, peak()?);
    let mut tops: BTreeMap<ImageId, TopK> = BTreeMap::new();
    for part in ran.earlier["search"].iter().flat_map(|outcome| &outcome.parts) {
        for batch in row::read::<SeedNeighbour>(&part.stored(folder.join(&part.path)))? {
            for SeedNeighbour { seed_id, id, similarity } in batch? {
                tops.entry(seed_id).or_insert_with(|| TopK::new(k)).push(Neighbour { similarity, id });
            }
        }
    }
    let of_seed = |(seed, top): (ImageId, TopK)| top.into_sorted().into_iter().map(move |near| (seed.0, near.id.0));
    let pairs: Vec<(u64, u64)> = tops.into_iter().flat_map(of_seed).collect();
    let bytes: Vec<u8> =
        pairs.iter().flat_map(|&(seed, id)| [seed.to_le_bytes(), id.to_le_bytes()]).flatten().collect();
    Ok(std::fs::write(folder.join("retrieved.u64"), bytes)?)
}

/// Chooses `target` of `n` images in three levels of clusters, sizes long-tailed, and says how long
/// that took.
pub fn sample(folder: &Path, n: usize, target: usize) -> Result<()> {
    let (kept, assigned, tree) = (folder.join("kept"), folder.join("assigned"), folder.join("tree"));
    if !tree.exists() {
        std::fs::create_dir_all(&kept)?;
        std::fs::create_dir_all(&assigned)?;
        let draw = Draw::new(3, "sizes");
        for shard in 0..u32::try_from(n.div_ceil(SHARD_ROWS))? {
            let name = format!("part-{shard:05}.parquet");
            let mut decisions = RowWriter::<Decision>::create(&kept.join(&name), &FACTS)?;
            let mut clusters = RowWriter::<Assigned>::create(&assigned.join(&name), &FACTS)?;
            for row in 0..u32::try_from(SHARD_ROWS.min(n - shard as usize * SHARD_ROWS))? {
                let id = ShardId::new(0, shard).image(row);
                decisions.push(Decision { id, kept: true })?;
                // Cluster c has about a share of c^(-2/3) of the images.
                let cluster = (f64::from(LEAVES) * draw.unit(id.0).powi(3)) as u32;
                clusters.push(Assigned { id, cluster, distance: draw.within(1).unit(id.0) as f32 })?;
            }
            decisions.finish()?;
            clusters.finish()?;
        }
        std::fs::create_dir_all(&tree)?;
        let mut nodes = RowWriter::<Node>::create(&tree.join("part-00000.parquet"), &FACTS)?;
        for (level, clusters) in (1..).zip([LEAVES, LEAVES / 10, LEAVES / 100]) {
            for cluster in 0..clusters {
                let parent = (level < 3).then_some(cluster / 10);
                nodes.push(Node { level, cluster, parent, images: 0 })?;
            }
        }
        nodes.finish()?;
    }
    let table = |name: &str| -> Result<Table> {
        let shards = 0..u32::try_from(n.div_ceil(SHARD_ROWS))?;
        let parts =
            shards.map(|shard| part(folder, &format!("{name}/part-{shard:05}.parquet"), ShardId::new(0, shard)));
        Ok(Table { parts: parts.collect::<Result<_>>()? })
    };
    let wired = [("images", "ingest"), ("pool", "dedup"), ("cluster", "cluster")];
    let stage: Sample = settled(&format!("target = {target}"), &wired)?;
    let nodes = Table { parts: vec![part(folder, "tree/part-00000.parquet", ShardId::new(0, 0))?] };
    let inputs = BTreeMap::from([
        ("ingest/kept".to_owned(), Table::default()),
        ("dedup".to_owned(), table("kept")?),
        ("cluster".to_owned(), table("assigned")?),
        ("cluster/tree".to_owned(), nodes),
    ]);
    let ran = run(folder, &stage, &inputs, |phase| phase == "choose")?;
    println!("seconds={:.2} peak={} size={}", ran.seconds, peak()?, ran.counted("size"));
    let ran = run(folder, &stage, &inputs, |_| true)?;
    println!("with the balance measured: seconds={:.2} peak={}", ran.seconds, peak()?);
    Ok(())
}

/// Level-1 clusters of [`sample`].
const LEAVES: u32 = 10_000;

/// Settings as TOML, with inputs filled in as the pipeline's check would.
fn settled<T: DeserializeOwned>(settings: &str, inputs: &[(&str, &str)]) -> Result<T> {
    let mut text: toml::Table = toml::from_str(settings)?;
    text.extend(inputs.iter().map(|&(key, value)| (key.to_owned(), toml::Value::from(value))));
    Ok(toml::Value::Table(text).try_into()?)
}

/// The most memory this process ever held.
fn peak() -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?").trim().to_owned())
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
    let source = lvd_io::sources::Source::Folder {
        path: "none".into(),
        except: Vec::new(),
        extensions: Vec::new(),
        captions: false,
    };
    let entry = lvd::stages::catalog::SourceEntry::new(0, lvd::stages::catalog::Role::Pool, source);
    catalog.sources.insert("pool".into(), entry);
    let source = lvd_io::sources::Source::Folder {
        path: "none".into(),
        except: Vec::new(),
        extensions: Vec::new(),
        captions: false,
    };
    let entry = lvd::stages::catalog::SourceEntry::new(1, lvd::stages::catalog::Role::Seed, source);
    catalog.sources.insert("seeds".into(), entry);
    catalog
}

fn dimension(folder: &Path) -> Result<usize> {
    let first = parts(folder)?.into_iter().next().ok_or("no vectors")?;
    let block = vectors::read(&first.stored(folder.join(&first.path)))?.next().ok_or("no vectors")??;
    Ok(block.dimension)
}

/// Finds the true neighbours over `floor` of some images by comparing them with all, and says how
/// many of these pairs the join's edges hold (the 64 nearest of an image), and whether the
/// components of these pairs are joined.
pub fn exact(folder: &Path, queries: usize, floor: f32) -> Result<()> {
    let parts = parts(folder)?;
    let n: u64 = parts.iter().map(|part| part.rows).sum();
    let row_of = |id: ImageId| u64::from(id.shard().0 as u32) * SHARD_ROWS as u64 + u64::from(id.row());
    let mut edges: BTreeSet<(u64, u64)> = BTreeSet::new();
    let mut links = UnionFind::new(u32::try_from(n)?);
    for entry in std::fs::read_dir(folder.join("dedup/edges"))? {
        for batch in row::read::<Edge>(&Stored::from(&entry?.path()))? {
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
        for block in vectors::read(&part.stored(folder.join(&part.path)))? {
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
        for block in vectors::read(&part.stored(folder.join(&part.path)))? {
            let block = block?;
            let (base, none) = (Codes::new(&block.values, d), vec![f32::INFINITY; block.ids.len()]);
            tops.par_chunks_mut(16).zip(chosen.par_chunks(16)).for_each(|(tops, chosen)| {
                base.scan(&codes, (chosen, &floors), (0..block.ids.len(), &none), ScanMode::Full, &mut |q, row| {
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
