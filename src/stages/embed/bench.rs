//! How fast the parts of the embed stage are on this machine, each alone on all threads, and
//! together.
//!
//! Files are read from the shards of the step's images, vectors are written to a temporary folder;
//! the work folder stays as it is, but for models that have yet to be downloaded.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::stages::embed::fit::ModelFile;
use crate::stages::embed::rate::rate;
use crate::stages::embed::sessions::Sessions;
use crate::stages::embed::spec::{EmbedCommon, EmbedTask};
use crate::stages::embed::work::{Jobs, flow, jobs, model_files};
use crate::stages::embed::worker::{Embedded, Worker};
use crate::stages::plan::{PhasePlan, from_value};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_engines::onnx::{self, Session};
use lvd_io::decode::Picture;
use lvd_io::images::ImageFile;
use lvd_io::vectors::VectorWriter;
use lvd_kernels::blas;
use lvd_ops::preprocess::preprocess;

/// Images that the parts are measured on, at most.
const SAMPLE_IMAGES: usize = 256;
/// Bytes of decoded pictures that are held for it, at most.
const SAMPLE_BYTES: usize = 256 << 20;
/// Vectors a part that is written: what a shard of the default size gives.
const PART_ROWS: u64 = 10_000;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Threads, of the parts and of the whole.
    pub threads: usize,
    /// Images that the parts were measured on.
    pub images: usize,
    /// Images a batch of the models.
    pub batch_images: usize,
    /// Every part alone, in the order of the pipeline.
    pub parts: Vec<Part>,
    /// Matrix products of the BLAS library on all threads, 10^9 operations a second.
    pub sgemm_gflops: f64,
    /// All parts at work together, as in a run.
    pub pipeline: Whole,
}

/// A part alone.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub part: &'static str,
    /// The embedder it works for; `None` when it works for all.
    pub embedder: Option<String>,
    /// Images a second on all threads.
    pub images_per_second: f64,
    /// Its share of the time that an image takes.
    pub share: f64,
    /// What an image costs the model, 10^9 operations; inference only.
    pub gflop_per_image: Option<f64>,
    /// Operations a second over those of sgemm; inference only.
    pub fraction_of_sgemm: Option<f64>,
}

/// The parts together.
#[derive(Clone, Debug, Serialize)]
pub struct Whole {
    /// Images a second, from the first file read to the last vector written.
    pub images_per_second: f64,
    /// What the parts' speeds add up to, if no thread ever waited.
    pub expected_images_per_second: f64,
    /// Share of their time that the workers waited for files.
    pub workers_waited: f64,
    /// Share of its time that the thread that reads and writes had work.
    pub reader_busy: f64,
}

/// A folder of this process for what is measured and thrown away.
struct Aside(PathBuf);

impl Aside {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("lvd-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(Error::io(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _nothing_to_do_about_it = std::fs::remove_dir_all(&self.0);
    }
}

/// Measures each part of the embed phase planned in `plan` for `length`; `tell` hears which.
pub fn run(plan: &PhasePlan, task: &Task, length: Duration, tell: &dyn Fn(&str)) -> Result<Bench> {
    let common: EmbedCommon = from_value(&plan.common)?;
    let specs = plan.tasks.iter().map(from_value).collect::<Result<Vec<EmbedTask>>>()?;
    let bench = Measure { models: model_files(&common, task)?, aside: Aside::new()?, common, specs, task, length };
    let files = bench.sample()?;
    if files.is_empty() {
        return Err(Error::usage("there is no image to embed", "ingest some: lvd report FILE says why none was kept"));
    }
    let mut parts = Vec::new();
    let mut note = |part, embedder: Option<&str>, images_per_second: f64| {
        let embedder = embedder.map(str::to_owned);
        parts.push(Part {
            part,
            embedder,
            images_per_second,
            share: 0.0,
            gflop_per_image: None,
            fraction_of_sgemm: None,
        });
    };
    tell("read");
    note("read", None, bench.read()?);
    tell("decode");
    note("decode", None, bench.decode(&files)?);
    let pictures = pictures(&files, &bench.common);
    for index in 0..bench.common.embedders.len() {
        let name = bench.common.embedders[index].name.clone();
        tell(&format!("resize for {name}"));
        note("resize + normalise", Some(&name), bench.preprocess(index, &pictures)?);
    }
    let mut dimensions = Vec::new();
    for index in 0..bench.common.embedders.len() {
        let name = bench.common.embedders[index].name.clone();
        tell(&format!("inference of {name}"));
        let (speed, dimension) = bench.infer(index, &pictures)?;
        note("inference", Some(&name), speed);
        dimensions.push(dimension);
    }
    drop(pictures);
    tell("write");
    note("write", None, bench.write(&dimensions)?);
    tell("matrix products");
    let sgemm_gflops = blas::sgemm_gflops(task.threads);
    bench.count_operations(&mut parts, sgemm_gflops)?;
    let seconds: f64 = parts.iter().map(|part| 1.0 / part.images_per_second).sum();
    for part in &mut parts {
        part.share = 1.0 / part.images_per_second / seconds;
    }
    tell("all together");
    let pipeline = bench.together(1.0 / seconds)?;
    let (threads, images, batch_images) = (task.threads, files.len(), bench.common.batch_images);
    Ok(Bench { threads, images, batch_images, parts, sgemm_gflops, pipeline })
}

struct Measure<'a, 'b> {
    common: EmbedCommon,
    specs: Vec<EmbedTask>,
    models: Vec<ModelFile>,
    task: &'a Task<'b>,
    length: Duration,
    aside: Aside,
}

/// The pictures that the files hold, as many as fit.
fn pictures(files: &[ImageFile], common: &EmbedCommon) -> Vec<Picture> {
    let mut bytes = 0;
    let decoded = files.iter().filter_map(|file| common.decode(&file.bytes).ok());
    decoded
        .take_while(|picture| {
            let first = bytes == 0;
            bytes += picture.rgb.len();
            first || bytes <= SAMPLE_BYTES
        })
        .collect()
}

impl Measure<'_, '_> {
    fn jobs(&self, shard: usize) -> Result<Jobs> {
        jobs(&self.specs[shard % self.specs.len()], &self.common, self.task)
    }

    fn sessions(&self, models: Vec<ModelFile>) -> Result<Sessions> {
        Sessions::open(models, &self.common.providers, self.common.batch_images, self.task.threads)
    }

    fn rate<S>(
        &self,
        prepare: impl Fn(usize) -> Result<S> + Sync,
        step: impl Fn(&mut S) -> Result<usize> + Sync,
    ) -> Result<f64> {
        rate(self.task.threads, self.length, prepare, step)
    }

    /// The first images.
    fn sample(&self) -> Result<Vec<ImageFile>> {
        let mut files = Vec::new();
        for shard in 0..self.specs.len() {
            for job in self.jobs(shard)? {
                files.extend(job?);
                if files.len() >= SAMPLE_IMAGES {
                    files.truncate(SAMPLE_IMAGES);
                    return Ok(files);
                }
            }
        }
        Ok(files)
    }

    /// Parquet to files, shard after shard; after the first round from the system's cache.
    fn read(&self) -> Result<f64> {
        let prepare = |thread| Ok((thread, self.jobs(thread)?));
        self.rate(prepare, |(shard, jobs)| {
            if let Some(job) = jobs.next() {
                return Ok(job?.len());
            }
            *shard += 1;
            *jobs = self.jobs(*shard)?;
            Ok(0)
        })
    }

    fn decode(&self, files: &[ImageFile]) -> Result<f64> {
        self.rate(
            |thread| Ok(thread * 7),
            |next| {
                *next += 1;
                // What cannot be decoded takes its time too.
                let _ = self.common.decode(&files[*next % files.len()].bytes);
                Ok(1)
            },
        )
    }

    fn preprocess(&self, embedder: usize, pictures: &[Picture]) -> Result<f64> {
        let spec = &self.common.embedders[embedder].preprocess;
        let prepare = |thread| Ok((thread * 7, vec![0.0; spec.values()]));
        self.rate(prepare, |(next, out)| {
            *next += 1;
            let picture = &pictures[*next % pictures.len()];
            preprocess(picture.width, picture.height, &picture.rgb, spec, out);
            Ok(1)
        })
    }

    /// Images a second, and the length of a vector.
    fn infer(&self, index: usize, pictures: &[Picture]) -> Result<(f64, usize)> {
        let embedder = &self.common.embedders[index];
        let sessions = self.sessions(vec![self.models[index].clone()])?;
        let spec = &sessions.fits()[0].preprocess;
        let side = spec.crop as usize;
        let images = sessions.fixed_images().unwrap_or(1).max(self.common.batch_images);
        let dimension = AtomicUsize::new(0);
        let run = |thread: usize, pixels: &[f32]| {
            let run = |sessions: &mut [Session]| {
                let vectors = sessions[0].run(pixels, [images, 3, side, side], embedder.output.as_deref())?;
                dimension.store(vectors.dimension, Ordering::Relaxed);
                Ok(images)
            };
            sessions.with(thread, run)
        };
        let prepare = |thread: usize| {
            let mut pixels = vec![0.0; images * spec.values()];
            for (row, out) in pixels.chunks_exact_mut(spec.values()).enumerate() {
                let picture = &pictures[(thread + row) % pictures.len()];
                preprocess(picture.width, picture.height, &picture.rgb, spec, out);
            }
            // The first run sets up the session's memory.
            run(thread, &pixels)?;
            Ok((thread, pixels))
        };
        let speed = rate(sessions.count(), self.length, prepare, |(thread, pixels)| run(*thread, pixels))?;
        Ok((speed, dimension.into_inner()))
    }

    /// To fp16, to Parquet, hashed and made durable, a job at a time, for all embedders.
    fn write(&self, dimensions: &[usize]) -> Result<f64> {
        let job = |d: usize| vec![0.5; 8 * d];
        let vectors: Vec<Vec<f32>> = dimensions.iter().map(|&d| job(d)).collect();
        let ids: Vec<_> = (0..8).map(|row| lvd_base::types::ImageId::new(1, 0, row)).collect();
        let sha256: Vec<String> = (0..8).map(|row| lvd_io::part::sha256(&[row])).collect();
        let open = |thread: usize| self.writers(dimensions, thread);
        let prepare = |thread| Ok((thread, 0, open(thread)?));
        self.rate(prepare, |(thread, rows, writers)| {
            for (writer, vectors) in writers.iter_mut().zip(&vectors) {
                writer.write(ids.clone(), sha256.clone(), vectors)?;
            }
            *rows += 8;
            if *rows >= PART_ROWS {
                for writer in writers.drain(..) {
                    let written = writer.finish()?;
                    std::fs::remove_file(&written.path).map_err(Error::io(&written.path))?;
                }
                *rows = 0;
                *writers = open(*thread)?;
            }
            Ok(8)
        })
    }

    /// A writer an embedder, in a folder of the thread's own, whose earlier files go.
    fn writers(&self, dimensions: &[usize], thread: usize) -> Result<Vec<VectorWriter>> {
        let folder = self.aside.0.join(thread.to_string());
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let open = |(index, &d): (usize, &usize)| {
            let path = folder.join(index.to_string());
            if path.exists() {
                std::fs::remove_file(&path).map_err(Error::io(&path))?;
            }
            VectorWriter::create(&path, d)
        };
        dimensions.iter().enumerate().map(open).collect()
    }

    /// What the models cost, and how much of sgemm's speed they reach.
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    fn count_operations(&self, parts: &mut [Part], sgemm_gflops: f64) -> Result<()> {
        if self.common.providers.iter().any(|provider| provider.is_gpu()) {
            return Ok(());
        }
        for (embedder, model) in self.common.embedders.iter().zip(&self.models) {
            let side = embedder.preprocess.crop as usize;
            let gflop = onnx::flops(&model.path, [3, side, side], &self.aside.0.join("profile"))? as f64 / 1e9;
            let of_it = |part: &&mut Part| part.part == "inference" && part.embedder.as_ref() == Some(&embedder.name);
            for part in parts.iter_mut().filter(of_it) {
                part.gflop_per_image = Some(gflop);
                part.fraction_of_sgemm = Some(gflop * part.images_per_second / sgemm_gflops);
            }
        }
        Ok(())
    }

    /// The stage as it runs, on the shards one after the other until the time is up; its sessions
    /// are open before.
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    fn together(&self, expected_images_per_second: f64) -> Result<Whole> {
        let threads = self.task.threads;
        let sessions = self.sessions(self.models.clone())?;
        let worker = |number| Worker::new(number, &sessions, &self.common);
        // The first run sets up the sessions' memory.
        for number in 0..sessions.count() {
            worker(number).embed(self.jobs(0)?.next().transpose()?.unwrap_or_default())?;
        }
        let mut writers: Vec<VectorWriter> = Vec::new();
        let mut images = 0;
        let mut sink = |done: Embedded| {
            let n = done.ids.len();
            images += n + done.drops.len();
            if n > 0 && writers.is_empty() {
                let dimensions: Vec<usize> = done.vectors.iter().map(|all| all.len() / n).collect();
                writers = self.writers(&dimensions, 0)?;
            }
            for (writer, vectors) in writers.iter_mut().zip(&done.vectors).filter(|_| n > 0) {
                writer.write(done.ids.clone(), done.sha256.clone(), vectors)?;
            }
            Ok(())
        };
        let begin = Instant::now();
        let shards = (0..).take_while(|_| begin.elapsed() < self.length);
        let jobs = shards.flat_map(|shard| -> Box<dyn Iterator<Item = Result<Vec<ImageFile>>>> {
            match self.jobs(shard) {
                Ok(jobs) => Box::new(jobs),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        });
        let jobs = jobs.take_while(|_| begin.elapsed() < self.length);
        let waits = flow(jobs, threads, &worker, &mut sink)?;
        for writer in writers {
            writer.finish()?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Whole {
            images_per_second: images as f64 / seconds,
            expected_images_per_second,
            workers_waited: waits.workers.as_secs_f64() / seconds / threads as f64,
            reader_busy: 1.0 - waits.driver.as_secs_f64() / seconds,
        })
    }
}
