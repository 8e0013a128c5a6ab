//! Exact copies among made-up hashes: what `scatter`, `match` and `mark` of ingest take for pools of
//! growing size, each in a process of its own, and the exponent of the growth.
//! `cargo bench --bench copies [-- HELD_HASHES IMAGES...]`

#![expect(clippy::cast_precision_loss, reason = "measurements")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lvd::stages::catalog::{Catalog, Role, SourceEntry};
use lvd::stages::context::PlanContext;
use lvd::stages::ingest::Ingest;
use lvd::stages::task::{Outcome, Place, Task};
use lvd::stages::{Stage, StageKind, TaskInput};
use lvd_base::types::{ImageId, ShardId};
use lvd_io::digest::hex;
use lvd_io::images::ImageFacts;
use lvd_io::sources::Source;
use lvd_io::work_folder::WorkFolder;
use lvd_kernels::hash::Draw;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Images a shard.
const SHARD_ROWS: u32 = 10_000;
/// One in so many images is a copy of an earlier one.
const COPIES: u64 = 5;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [one, held, images] = &arguments[..]
        && one == "one"
    {
        return measure(held.parse()?, images.parse()?);
    }
    let mut numbers = arguments.iter().map(|text| text.parse::<u64>());
    let held = numbers.next().transpose()?.unwrap_or(1 << 17);
    let mut sizes = numbers.collect::<std::result::Result<Vec<u64>, _>>()?;
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000, 10_000_000];
    }
    let mut points: Vec<(f64, f64)> = Vec::new();
    for images in sizes {
        let arguments = ["one".to_owned(), held.to_string(), images.to_string()];
        let output = Command::new(std::env::current_exe()?).args(arguments).output()?;
        let said = String::from_utf8(output.stdout)?;
        let cpu = said.split_whitespace().find_map(|word| word.strip_prefix("cpu=")?.parse::<f64>().ok());
        let cpu = cpu.ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        print!("{said}");
        if let Some((before, took)) = points.last() {
            println!("exponent from {before} images on: {:.3}", (cpu / took).ln() / (images as f64 / before).ln());
        }
        points.push((images as f64, cpu));
    }
    Ok(())
}

/// Makes facts of so many images, runs the phases on them and prints a line.
fn measure(held: u64, images: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut catalog = Catalog::default();
    let source = Source::Folder { path: "none".into(), except: Vec::new(), extensions: Vec::new(), captions: false };
    catalog.sources.insert("pool".into(), SourceEntry::new(0, Role::Pool, source));
    let stage = Ingest { held_hashes: held, shard_rows: SHARD_ROWS, ..Ingest::default() };
    let mut earlier = BTreeMap::from([("fetch", facts(folder.path(), &catalog, images)?)]);
    let inputs = BTreeMap::new();
    let (start, cpu) = (Instant::now(), cpu_seconds()?);
    let (mut took, mut files) = (Vec::new(), 0);
    for phase in ["scatter", "match", "mark"] {
        let begin = cpu_seconds()?;
        let plan = stage.plan(phase, &PlanContext { catalog: &catalog, inputs: &inputs, earlier: &earlier })?;
        let mut outcomes = Vec::new();
        for (number, spec) in plan.tasks.iter().enumerate() {
            let mut task = task(folder.path(), &catalog, phase, number)?;
            let input = TaskInput { common: &plan.common, unhashed: &plan.unhashed, spec, former: None };
            lvd::stages::run(StageKind::Ingest, phase, input, &mut task)?;
            outcomes.push(task.outcome);
        }
        let made = outcomes.iter().map(|outcome| outcome.parts.len()).sum::<usize>();
        files += if phase == "mark" { 0 } else { made };
        took.push(format!("{phase} {:.2} s in {} tasks", cpu_seconds()? - begin, outcomes.len()));
        earlier.insert(phase, outcomes);
    }
    let copies = earlier["mark"].iter().map(|outcome| outcome.rows_in - outcome.rows_out).sum::<u64>();
    println!(
        "{images} images, {held} hashes held: cpu={:.2} s ({}), {:.2} s by the clock, peak {} MiB, {files} files \
         between the phases, {copies} copies",
        cpu_seconds()? - cpu,
        took.join(", "),
        start.elapsed().as_secs_f64(),
        peak_mebibytes()
    );
    Ok(())
}

/// Writes facts as `fetch` does, a part a shard.
fn facts(folder: &Path, catalog: &Catalog, images: u64) -> Result<Vec<Outcome>> {
    let draw = Draw::new(1, "hashes");
    let mut outcomes = Vec::new();
    for (number, first) in (0..images).step_by(SHARD_ROWS as usize).enumerate() {
        let shard = ShardId::new(0, u32::try_from(number)?);
        let mut task = task(folder, catalog, "fetch", number)?;
        let mut writer = task.rows("facts")?;
        for (row, image) in (first..images.min(first + u64::from(SHARD_ROWS))).enumerate() {
            // A copy has the bytes of any earlier image.
            let is_copy = image > 0 && draw.bits(image).is_multiple_of(COPIES);
            let content = if is_copy { draw.within(1).bits(image) % image } else { image };
            writer.push(made_up(shard.image(u32::try_from(row)?), content, draw.within(2)))?;
        }
        task.publish(writer.finish()?, "facts", Some(shard))?;
        outcomes.push(task.outcome);
    }
    Ok(outcomes)
}

fn made_up(id: ImageId, content: u64, draw: Draw) -> ImageFacts {
    let sha256: Vec<u8> = (0..4).flat_map(|word| draw.bits(4 * content + word).to_le_bytes()).collect();
    ImageFacts {
        id,
        source: "pool".into(),
        url: format!("https://a.example/{:x}/{content}.jpg", draw.bits(content)),
        caption: None,
        width: 640,
        height: 480,
        format: "jpeg".into(),
        size_bytes: 100_000,
        sha256: hex(&sha256),
    }
}

fn task<'a>(folder: &Path, catalog: &'a Catalog, phase: &str, number: usize) -> Result<Task<'a>> {
    let work = WorkFolder::open(&folder.to_string_lossy())?;
    let aside = folder.join(format!("tmp-{phase}-{number}"));
    let (copies, checkpoint) = (folder.into(), folder.join("checkpoint"));
    let place = Place { work, copies, step: "ingest".into(), number, aside, checkpoint };
    Ok(Task::new(catalog, place, rayon::current_num_threads(), &|_| {}))
}

/// Processor time of this process.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

fn peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) / 1024
}
