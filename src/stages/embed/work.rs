//! One shard through the models: this thread reads files and writes vectors in row order, workers
//! decode and infer.
//!
//! A job is handed out when fewer than `IN_FLIGHT` a worker are unwritten, so memory does not
//! depend on the shard.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::stages::embed::fit::ModelFile;
use crate::stages::embed::model_file::{MODELS, file_of};
use crate::stages::embed::resume::Pieces;
use crate::stages::embed::sessions::Sessions;
use crate::stages::embed::spec::{EmbedCommon, EmbedTask, EmbedderSpec};
use crate::stages::embed::worker::{Embedded, Worker};
use crate::stages::pool::kept_ids;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Reason};
use lvd_io::images::{self, ImageFile};
use lvd_io::vectors::VectorWriter;

/// Jobs a worker that are read and not yet written.
const IN_FLIGHT: usize = 4;

/// Images a job, rounded up to whole batches: enough that handing out costs nothing, few enough
/// that workers end together.
const JOB_IMAGES: usize = 8;

/// A numbered job.
type Job = (usize, Vec<ImageFile>);
/// The answer to it.
type JobDone = Result<(usize, Embedded)>;

/// Embeds one shard.
pub fn run(spec: &EmbedTask, common: &EmbedCommon, task: &mut Task) -> Result<()> {
    let models = model_files(common, task)?;
    let jobs = jobs(spec, common, task)?;
    task.outcome.rows_in = jobs.kept.len() as u64;
    task.outcome.shard = spec.images.shard;
    let mut writers: Vec<Option<VectorWriter>> = common.embedders.iter().map(|_| None).collect();
    let sessions = Sessions::open(models, &common.providers, common.batch_images, task.threads)?;
    let names: Vec<&str> = sessions.providers().iter().map(|provider| provider.name()).collect();
    task.outcome.facts.insert("providers".into(), names.join(", ").into());
    task.outcome.warnings.extend(sessions.passed_over().iter().map(|reason| format!("not used: {reason}")));
    let worker = |number| Worker::new(number, &sessions, common);
    let (mut failure, threads) = (None, task.threads);
    let mut pieces = Pieces::of(task, jobs.rows);
    let mut take = |embedded: &Embedded| {
        write(embedded, &mut writers, common, task)?;
        failure = failure.take().or_else(|| embedded.failure.clone());
        Ok(())
    };
    let done = pieces.replay(&mut take)?;
    flow(jobs.skip(done), threads, &worker, &mut |embedded| {
        take(&embedded)?;
        pieces.add(&embedded)
    })?;
    judge(failure.as_deref(), task)?;
    for (writer, embedder) in writers.into_iter().zip(&common.embedders) {
        if let Some(writer) = writer {
            task.publish(writer.finish()?, &embedder.name, spec.images.shard)?;
        }
    }
    pieces.clear();
    Ok(())
}

/// How long threads had nothing to do.
#[derive(Default)]
pub struct Waits {
    /// All workers, for the next job.
    pub workers: Duration,
    /// The thread that reads and writes, for the next answer.
    pub driver: Duration,
}

/// Puts `jobs` through `threads` workers, each made by `open` from its number on its own thread;
/// `sink` gets what comes back, in order.
pub fn flow<'a>(
    mut jobs: impl Iterator<Item = Result<Vec<ImageFile>>>,
    threads: usize,
    open: &(dyn Fn(usize) -> Worker<'a> + Sync),
    sink: &mut dyn FnMut(Embedded) -> Result<()>,
) -> Result<Waits> {
    let threads = threads.max(1);
    let (sender, queue) = channel::<Job>();
    let (results, answers) = channel::<JobDone>();
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let (queue, results) = (&queue, results.clone());
                let work = move || work(queue, &results, open(number));
                std::thread::Builder::new().spawn_scoped(scope, work).map_err(Error::thread)
            })
            .collect::<Result<_>>()?;
        drop(results);
        let driver = drive(&mut jobs, sender, &answers, threads * IN_FLIGHT, sink)?;
        let workers = workers.into_iter().filter_map(|worker| worker.join().ok()).sum();
        Ok(Waits { workers, driver })
    })
}

/// Feeds the workers and hands on what comes back, in order. Returns how long it waited.
fn drive(
    jobs: &mut dyn Iterator<Item = Result<Vec<ImageFile>>>,
    sender: Sender<Job>,
    answers: &Receiver<JobDone>,
    in_flight: usize,
    sink: &mut dyn FnMut(Embedded) -> Result<()>,
) -> Result<Duration> {
    let (mut sent, mut written) = (0, 0);
    let mut early = BTreeMap::new();
    let mut sender = Some(sender);
    let mut waited = Duration::ZERO;
    loop {
        while let Some(open) = sender.as_ref().filter(|_| sent - written < in_flight) {
            match jobs.next().transpose()? {
                Some(job) => {
                    open.send((sent, job)).map_err(|_| stopped())?;
                    sent += 1;
                }
                // Workers that find the queue empty may go.
                None => sender = None,
            }
        }
        if sent == written {
            return Ok(waited);
        }
        let begin = Instant::now();
        let (number, embedded) = answers.recv().map_err(|_| stopped())??;
        waited += begin.elapsed();
        early.insert(number, embedded);
        while let Some(embedded) = early.remove(&written) {
            sink(embedded)?;
            written += 1;
        }
    }
}

/// Does jobs until there are no more. Returns how long it waited for them.
fn work(queue: &Mutex<Receiver<Job>>, results: &Sender<JobDone>, mut worker: Worker) -> Duration {
    let mut waited = Duration::ZERO;
    loop {
        let begin = Instant::now();
        let next = queue.lock().map(|queue| queue.recv());
        waited += begin.elapsed();
        let Ok(Ok((number, files))) = next else { return waited };
        if results.send(worker.embed(files).map(|done| (number, done))).is_err() {
            return waited;
        }
    }
}

fn write(
    embedded: &Embedded,
    writers: &mut [Option<VectorWriter>],
    common: &EmbedCommon,
    task: &mut Task,
) -> Result<()> {
    let images = embedded.ids.len();
    (task.progress)((images + embedded.drops.len()) as u64);
    embedded.drops.iter().for_each(|&reason| task.drop(reason, 1));
    task.outcome.rows_out += images as u64;
    if images == 0 {
        return Ok(());
    }
    for ((writer, embedder), vectors) in writers.iter_mut().zip(&common.embedders).zip(&embedded.vectors) {
        if writer.is_none() {
            *writer = Some(task.vectors(&embedder.name, vectors.len() / images)?);
        }
        if let Some(writer) = writer {
            writer.write(embedded.ids.clone(), embedded.sha256.clone(), vectors)?;
        }
    }
    Ok(())
}

/// Share of the images of a shard on which a model may fail without a warning.
const FAILURES: f64 = 0.01;

/// Looks at how often models failed; `failure` is what the first of them said.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn judge(failure: Option<&str>, task: &mut Task) -> Result<()> {
    let Some(failure) = failure else { return Ok(()) };
    let count = |reasons: &[Reason]| reasons.iter().filter_map(|reason| task.outcome.drops.get(reason)).sum::<u64>();
    let failed = count(&[Reason::ModelFailed]);
    let asked = task.outcome.rows_out + failed + count(&[Reason::NanVector, Reason::ZeroVector]);
    if failed == asked && asked > 1 {
        return Err(Error::usage(
            format!("the model fails on every one of the {asked} images of the shard: {failure}"),
            "lvd check FILE shows the model pictures of its own; look at the export (docs/models.md)",
        ));
    }
    if failed as f64 > FAILURES * asked as f64 {
        let fact =
            format!("the model fails on {failed} of {asked} images of a shard, which are dropped as model_failed");
        task.outcome.warnings.insert(format!("{fact}; the first: {failure}"));
    }
    Ok(())
}

fn stopped() -> Error {
    Error::native("embed", "a worker stopped without an answer")
}

/// The files of the embedders' models, in their order.
pub fn model_files(common: &EmbedCommon, task: &Task) -> Result<Vec<ModelFile>> {
    common.embedders.iter().map(|embedder| model_file(embedder, task)).collect()
}

fn model_file(spec: &EmbedderSpec, task: &Task) -> Result<ModelFile> {
    let known = task.catalog.embedders.get(&spec.name);
    let known =
        known.ok_or_else(|| Error::usage(format!("embedder {:?} is gone from the file", spec.name), "run again"))?;
    let path = file_of(&known.model, &task.shared_folder(MODELS))?;
    Ok(ModelFile { path, spec: spec.clone(), normalised: known.normalised })
}

/// Images a job.
pub fn job_images(common: &EmbedCommon) -> usize {
    JOB_IMAGES.next_multiple_of(common.batch_images.max(1))
}

/// The jobs of a shard.
pub fn jobs(spec: &EmbedTask, common: &EmbedCommon, task: &Task) -> Result<Jobs> {
    Ok(Jobs {
        groups: Box::new(images::read_files(&task.open(&spec.images)?)?),
        kept: kept_ids(task, &spec.kept)?,
        pending: Vec::new().into_iter(),
        rows: job_images(common),
    })
}

/// The kept files of a shard, in jobs cut by row number.
pub struct Jobs {
    groups: Box<dyn Iterator<Item = Result<Vec<ImageFile>>>>,
    kept: Vec<ImageId>,
    pending: std::vec::IntoIter<ImageFile>,
    rows: usize,
}

impl Iterator for Jobs {
    type Item = Result<Vec<ImageFile>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut job = Vec::with_capacity(self.rows);
        loop {
            job.extend(self.pending.by_ref().take(self.rows - job.len()));
            if job.len() == self.rows {
                return Some(Ok(job));
            }
            match self.groups.next() {
                Some(Ok(mut group)) => {
                    group.retain(|file| self.kept.binary_search(&file.id).is_ok());
                    self.pending = group.into_iter();
                }
                Some(Err(error)) => return Some(Err(error)),
                None => return (!job.is_empty()).then_some(Ok(job)),
            }
        }
    }
}
