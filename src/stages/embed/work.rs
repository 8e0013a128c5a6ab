//! One shard through the models: this thread reads files and writes vectors in row order, workers
//! decode and infer.
//!
//! A job is handed out when fewer than `IN_FLIGHT` a worker are unwritten, so memory does not
//! depend on the shard.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::stages::embed::carry::{Carried, EmbedTold};
use crate::stages::embed::fit::ModelFile;
use crate::stages::embed::model_file::{MODELS, file_of};
use crate::stages::embed::resume::Pieces;
use crate::stages::embed::sessions::Sessions;
use crate::stages::embed::spec::{EmbedCommon, EmbedTask, EmbedderSpec};
use crate::stages::embed::worker::{Embedded, Worker};
use crate::stages::pool::kept_ids;
use crate::stages::table::Table;
use crate::stages::task::{Headway, Task};
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

/// Embeds one shard; `former` are the vectors that were computed of its files before.
pub fn run(spec: &EmbedTask, common: &EmbedCommon, former: Option<&Table>, task: &mut Task) -> Result<()> {
    let models = model_files(common, task)?;
    let mut jobs = jobs(spec, common, task)?;
    task.outcome.rows_in = jobs.kept.len() as u64;
    task.outcome.shard = spec.images.shard;
    task.tell(EmbedTold::new(spec, common)?)?;
    let mut output = Output::new(Carried::of(former, &jobs.kept, common, task)?, common, task);
    jobs.kept.retain(|id| output.carried.ids.binary_search(id).is_err());
    if !jobs.kept.is_empty() {
        embed(jobs, models, common, &mut output, task)?;
    }
    for (writer, embedder) in output.finish(task)?.into_iter().zip(&common.embedders) {
        if let Some(writer) = writer {
            task.publish(writer.finish()?, &embedder.name, spec.images.shard)?;
        }
    }
    Ok(())
}

/// Puts the files of a shard through the models.
fn embed(jobs: Jobs, models: Vec<ModelFile>, common: &EmbedCommon, output: &mut Output, task: &mut Task) -> Result<()> {
    let sessions = Sessions::open(models, &common.providers, common.batch_images, task.threads)?;
    let names: Vec<&str> = sessions.providers().iter().map(|provider| provider.name()).collect();
    task.outcome.facts.insert("providers".into(), names.join(", ").into());
    task.outcome.warnings.extend(sessions.passed_over().iter().map(|reason| format!("not used: {reason}")));
    let worker = |number| Worker::new(number, &sessions, common);
    let (mut failure, threads) = (None, task.threads);
    let mut pieces = Pieces::of(task, jobs.rows, &output.carried.name);
    let mut take = |embedded: &Embedded, rows: fn(u64) -> Headway| {
        (task.progress)(rows((embedded.ids.len() + embedded.drops.len()) as u64));
        output.write(embedded, task)?;
        failure = failure.take().or_else(|| embedded.failure.clone());
        Ok(())
    };
    let done = pieces.replay(&mut |embedded| take(embedded, Headway::Before))?;
    flow(jobs.skip(done), threads, &worker, &mut |embedded| {
        take(&embedded, Headway::Done)?;
        pieces.add(&embedded)
    })?;
    judge(failure.as_deref(), task)?;
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

/// Where vectors go, in the order of ids: those that are computed, and those that are taken over.
struct Output<'a> {
    common: &'a EmbedCommon,
    carried: Carried,
    /// One for each embedder, from its first vector on.
    writers: Vec<Option<VectorWriter>>,
}

impl<'a> Output<'a> {
    fn new(carried: Carried, common: &'a EmbedCommon, task: &mut Task) -> Self {
        let rows = carried.ids.len() as u64;
        (task.progress)(Headway::Before(rows));
        task.outcome.rows_out += rows;
        if rows > 0 {
            task.count("vectors_as_before", rows);
        }
        Self { common, carried, writers: common.embedders.iter().map(|_| None).collect() }
    }

    fn write(&mut self, embedded: &Embedded, task: &mut Task) -> Result<()> {
        let images = embedded.ids.len();
        embedded.drops.iter().for_each(|&reason| task.drop(reason, 1));
        task.outcome.rows_out += images as u64;
        // One by one where others may lie between them.
        let at_once = if self.carried.ids.is_empty() { images } else { 1 };
        for first in (0..images).step_by(at_once.max(1)) {
            self.carried.write_before(Some(embedded.ids[first]), &mut self.writers, self.common, task)?;
            self.write_rows(embedded, first..(first + at_once).min(images), task)?;
        }
        Ok(())
    }

    fn write_rows(&mut self, embedded: &Embedded, rows: Range<usize>, task: &Task) -> Result<()> {
        for ((writer, embedder), vectors) in self.writers.iter_mut().zip(&self.common.embedders).zip(&embedded.vectors)
        {
            let dimension = vectors.len() / embedded.ids.len();
            if writer.is_none() {
                *writer = Some(task.vectors(&embedder.name, dimension)?);
            }
            if let Some(writer) = writer {
                let (ids, sha256) = (embedded.ids[rows.clone()].to_vec(), embedded.sha256[rows.clone()].to_vec());
                writer.write(ids, sha256, &vectors[rows.start * dimension..rows.end * dimension])?;
            }
        }
        Ok(())
    }

    /// Writes what is left to take over.
    fn finish(mut self, task: &Task) -> Result<Vec<Option<VectorWriter>>> {
        self.carried.write_before(None, &mut self.writers, self.common, task)?;
        Ok(self.writers)
    }
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
