//! Stages at scale, for `benches/compare/`: makes vectors with planted copies, runs the stages' own
//! tasks on them, and compares what dedup finds with every pair.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "random numbers and measurements"
)]

#[path = "pool/clouds.rs"]
mod clouds;
#[path = "pool/tasks.rs"]
mod tasks;

use std::path::Path;
use std::time::Instant;

use lvd_base::types::ShardId;
use lvd_io::checked::Stored;
use lvd_io::vectors::{self, VectorWriter};
use lvd_kernels::blas;
use lvd_kernels::codes::{self, ScanMode};
use lvd_kernels::dot::normalise;
use lvd_kernels::hash::Draw;
use rayon::prelude::*;

use clouds::Clouds;

/// Vectors a shard.
const SHARD_ROWS: usize = 100_000;

const USAGE: &str = "usage: pool make FOLDER N D SEED KIND   (KIND: clouds, nested, narrow, tight, mixed or equal)
       pool raw FOLDER FILE           the vectors as plain f32
       pool join FOLDER SETTINGS      runs dedup with these settings (TOML), prints a line a phase
       pool cluster FOLDER SETTINGS   runs cluster, and says how near it is to the speed of sgemm
       pool seeds FOLDER N FILE       vectors near some of those made, and the same as plain f32
       pool retrieve FOLDER K SETTINGS   runs retrieve for these seeds
       pool sample FOLDER N TARGET    chooses that many of N images in three levels of clusters
       pool exact FOLDER QUERIES FLOOR   every pair of some images: what the join should find
       pool speed D                   products of codes and of sgemm";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    if let Some(warning) = blas::ensure_fast_kernel() {
        eprintln!("warning: {}; {}", warning.fact, warning.cure);
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => println!("run benches/compare/dedup.sh"),
        ["make", folder, n, d, seed, kind] => make(Path::new(folder), n.parse()?, d.parse()?, seed.parse()?, kind)?,
        ["raw", folder, file] => raw(Path::new(folder), Path::new(file))?,
        ["join", folder, settings] => tasks::join(Path::new(folder), settings)?,
        ["cluster", folder, settings] => tasks::cluster(Path::new(folder), settings)?,
        ["seeds", folder, n, file] => seeds(Path::new(folder), n.parse()?, Path::new(file))?,
        ["retrieve", folder, k, settings] => tasks::retrieve(Path::new(folder), k.parse()?, settings)?,
        ["sample", folder, n, target] => tasks::sample(Path::new(folder), n.parse()?, target.parse()?)?,
        ["exact", folder, queries, floor] => tasks::exact(Path::new(folder), queries.parse()?, floor.parse()?)?,
        ["speed", d] => speed(d.parse()?),
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// Writes vectors as embed does, a part a shard.
fn make(folder: &Path, n: usize, d: usize, seed: u64, kind: &str) -> Result<()> {
    let folder = folder.join("embed/copy");
    std::fs::create_dir_all(&folder)?;
    let clouds = Clouds::new(n, d, seed, kind)?;
    for (shard, first) in (0u32..).zip((0..n).step_by(SHARD_ROWS)) {
        let rows = SHARD_ROWS.min(n - first);
        let mut values = vec![0.0; rows * d];
        values.par_chunks_mut(d).enumerate().for_each(|(row, vector)| clouds.write(first + row, vector));
        let mut writer = VectorWriter::create(&folder.join(format!("part-{shard:05}.parquet")), d)?;
        for (block, values) in values.chunks(8192 * d).enumerate() {
            let first = u32::try_from(block * 8192)?;
            let count = u32::try_from(values.len() / d)?;
            let ids = (first..first + count).map(|row| ShardId::new(0, shard).image(row)).collect();
            writer.write(ids, vec![String::new(); count as usize], values)?;
        }
        writer.finish()?;
    }
    Ok(())
}

/// Writes seeds: vectors of the pool, evenly spread over it, each turned by a random angle to a
/// cosine of about 0.8.
fn seeds(folder: &Path, n: usize, file: &Path) -> Result<()> {
    let parts = tasks::parts(folder)?;
    let total = usize::try_from(parts.iter().map(|part| part.rows).sum::<u64>())?;
    let (every, draw) = (total.div_ceil(n), Draw::new(7, "seeds"));
    let (mut values, mut at, mut d) = (Vec::new(), 0, 1);
    for part in parts {
        for block in vectors::read(&part.stored(folder.join(&part.path)))? {
            let block = block?;
            d = block.dimension;
            for row in 0..block.ids.len() {
                if (at + row) % every == 0 {
                    let noise = 1.5 / (d as f64).sqrt();
                    let turned = block.row(row).iter().enumerate().map(|(i, x)| {
                        let random = draw.within((at + row) as u64).unit(i as u64) - 0.5;
                        x + (noise * random) as f32 * 1.732
                    });
                    let mut turned: Vec<f32> = turned.collect();
                    normalise(&mut turned);
                    values.extend(turned);
                }
            }
            at += block.ids.len();
        }
    }
    std::fs::create_dir_all(folder.join("embed/seeds"))?;
    let path = folder.join("embed/seeds/part-00000.parquet");
    let _ = std::fs::remove_file(&path);
    let mut writer = VectorWriter::create(&path, d)?;
    let count = u32::try_from(values.len() / d)?;
    let ids = (0..count).map(|row| ShardId::new(1, 0).image(row)).collect();
    writer.write(ids, vec![String::new(); count as usize], &values)?;
    writer.finish()?;
    // As they are stored: in half precision.
    let mut bytes = Vec::new();
    for block in vectors::read(&Stored::from(&path))? {
        bytes.extend(block?.values.iter().flat_map(|x| x.to_le_bytes()));
    }
    Ok(std::fs::write(file, bytes)?)
}

fn raw(folder: &Path, file: &Path) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
    for part in tasks::parts(folder)? {
        for block in vectors::read(&part.stored(folder.join(&part.path)))? {
            let bytes: Vec<u8> = block?.values.iter().flat_map(|x| x.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
    }
    Ok(out.flush()?)
}

/// Products a second of both kinds, on all threads.
fn speed(d: usize) {
    let clouds = Clouds::new(20_000, d, 1, "clouds").expect("a kind");
    let mut values = vec![0.0; 20_000 * d];
    values.chunks_mut(d).enumerate().for_each(|(row, vector)| clouds.write(row, vector));
    let codes = codes::Codes::new(&values, d);
    let floors = vec![2.0; codes.rows()];
    let chosen: Vec<u32> = (0..20_000).collect();
    let run = |depth| {
        let start = Instant::now();
        chosen.par_chunks(64).for_each(|chosen| {
            codes.scan(&codes, (chosen, &floors), (0..20_000, &floors), depth, &mut |_, _| {});
        });
        2.0 * 20_000f64.powi(2) * d as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    run(ScanMode::Full);
    let (sketch, scan) = (run(ScanMode::Sketch(128)), run(ScanMode::Full));
    let threads = rayon::current_num_threads();
    let sgemm = blas::sgemm_gflops(threads);
    println!(
        "threads={threads} kernel={} sketch={sketch:.0} scan={scan:.0} sgemm={sgemm:.0} GFLOP/s ratio={:.2}",
        codes::kernel_name(),
        scan / sgemm
    );
}
