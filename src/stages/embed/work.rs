//! One shard through the models: this thread reads files and writes vectors in row order, the others decode and infer.
//!
//! A batch is handed out when fewer than `IN_FLIGHT` a worker are unwritten, so memory does not depend on the shard.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::error::{Error, Result};
use crate::io::decode::{self, ImageLimits};
use crate::io::download;
use crate::io::images::{self, ImageFile};
use crate::io::vectors::VectorWriter;
use crate::native::onnx::Session;
use crate::ops::dot;
use crate::ops::preprocess::preprocess;
use crate::stages::catalog::Model;
use crate::stages::embed::{Common, EmbedderSpec, Spec};
use crate::stages::pool::kept_ids;
use crate::stages::task::Task;
use crate::types::{ImageId, Reason, ShardId};

/// Batches a worker that are read and not yet written.
const IN_FLIGHT: usize = 4;

/// The images of a batch that got a vector from every embedder, and the drops.
struct Embedded {
    ids: Vec<ImageId>,
    sha256: Vec<String>,
    /// For each embedder: n x d.
    vectors: Vec<Vec<f32>>,
    drops: Vec<Reason>,
}

/// Embeds one shard.
pub fn run(spec: &Spec, common: &Common, task: &mut Task) -> Result<()> {
    let kept = kept_ids(task, &spec.kept)?;
    task.outcome.rows_in = kept.len() as u64;
    let models = common.embedders.iter().map(|e| model_file(e, task)).collect::<Result<Vec<_>>>()?;
    let mut files = Batches {
        groups: Box::new(images::read_files(&task.path(&spec.images))?),
        kept,
        pending: Vec::new(),
        rows: common.batch_images,
    };
    let workers = task.threads.max(1);
    let (jobs, queue) = channel::<(usize, Vec<ImageFile>)>();
    let (results, answers) = channel::<Result<(usize, Embedded)>>();
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (queue, results, models) = (&queue, results.clone(), &models);
            scope.spawn(move || work(queue, &results, models, common));
        }
        drop(results);
        overlap(&mut files, jobs, &answers, workers * IN_FLIGHT, spec.images.shard, common, task)
    })
}

/// Feeds the workers and writes what comes back, in order.
fn overlap(
    files: &mut Batches,
    jobs: Sender<(usize, Vec<ImageFile>)>,
    answers: &Receiver<Result<(usize, Embedded)>>,
    in_flight: usize,
    shard: Option<ShardId>,
    common: &Common,
    task: &mut Task,
) -> Result<()> {
    let mut writers: Vec<Option<VectorWriter>> = common.embedders.iter().map(|_| None).collect();
    let (mut sent, mut written) = (0, 0);
    let mut waiting = BTreeMap::new();
    let mut more = true;
    loop {
        while more && sent - written < in_flight {
            match files.next().transpose()? {
                Some(batch) => jobs.send((sent, batch)).map_err(|_| stopped())?,
                None => more = false,
            }
            sent += usize::from(more);
        }
        if sent == written {
            break;
        }
        let (number, embedded) = answers.recv().map_err(|_| stopped())??;
        waiting.insert(number, embedded);
        while let Some(embedded) = waiting.remove(&written) {
            write(&embedded, &mut writers, common, task)?;
            written += 1;
        }
    }
    drop(jobs);
    for (writer, embedder) in writers.into_iter().zip(&common.embedders) {
        if let Some(writer) = writer {
            task.publish(writer.finish()?, &embedder.name, shard)?;
        }
    }
    Ok(())
}

fn write(embedded: &Embedded, writers: &mut [Option<VectorWriter>], common: &Common, task: &mut Task) -> Result<()> {
    let images = embedded.ids.len();
    (task.progress)((images + embedded.drops.len()) as u64);
    embedded.drops.iter().for_each(|&reason| task.drop(reason, 1));
    task.outcome.rows_out += images as u64;
    if images == 0 {
        return Ok(());
    }
    for ((writer, embedder), vectors) in writers.iter_mut().zip(&common.embedders).zip(&embedded.vectors) {
        if writer.is_none() {
            check_dims(&embedder.name, embedder.dims, vectors.len() / images)?;
            *writer = Some(task.vectors(&embedder.name, vectors.len() / images)?);
        }
        if let Some(writer) = writer {
            writer.write(embedded.ids.clone(), embedded.sha256.clone(), vectors)?;
        }
    }
    Ok(())
}

fn check_dims(name: &str, dims: Option<u32>, got: usize) -> Result<()> {
    match dims {
        Some(dims) if dims as usize != got => {
            let fact = format!("embedder {name:?}: the model gives vectors of {got} values, not {dims}");
            Err(Error::usage(fact, "choose the preset of this model, or set the embedder's `dims` or `output`"))
        }
        _ => Ok(()),
    }
}

fn stopped() -> Error {
    Error::Native { library: "embed", message: "a worker stopped without an answer".into() }
}

fn model_file(embedder: &EmbedderSpec, task: &Task) -> Result<PathBuf> {
    let known = task.catalog.embedders.get(&embedder.name);
    let known = known
        .ok_or_else(|| Error::usage(format!("embedder {:?} is gone from the file", embedder.name), "run again"))?;
    match &known.model {
        Model::File(path) => Ok(path.clone()),
        Model::Url { url, sha256 } => download::by_hash(url, sha256, &task.shared_folder("_models")),
    }
}

/// The kept files of a shard, in batches cut by row number.
struct Batches {
    groups: Box<dyn Iterator<Item = Result<Vec<ImageFile>>>>,
    kept: Vec<ImageId>,
    pending: Vec<ImageFile>,
    rows: usize,
}

impl Iterator for Batches {
    type Item = Result<Vec<ImageFile>>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.pending.len() < self.rows {
            match self.groups.next() {
                Some(Ok(group)) => {
                    self.pending.extend(group.into_iter().filter(|file| self.kept.binary_search(&file.id).is_ok()));
                }
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            }
        }
        let batch: Vec<_> = self.pending.drain(..self.rows.min(self.pending.len())).collect();
        (!batch.is_empty()).then_some(Ok(batch))
    }
}

fn work(
    queue: &Mutex<Receiver<(usize, Vec<ImageFile>)>>,
    results: &Sender<Result<(usize, Embedded)>>,
    models: &[PathBuf],
    common: &Common,
) {
    let mut sessions: Option<Vec<Session>> = None;
    loop {
        let Ok((number, files)) = (match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        }) else {
            return;
        };
        let answer = (|| {
            if sessions.is_none() {
                sessions = Some(models.iter().map(|path| Session::open(path, 1)).collect::<Result<_>>()?);
            }
            let sessions = sessions.as_mut().map_or(&mut [][..], Vec::as_mut_slice);
            Ok((number, embed(files, sessions, &common.embedders)?))
        })();
        if results.send(answer).is_err() {
            return;
        }
    }
}

/// Decodes a batch once and puts it through every model.
fn embed(files: Vec<ImageFile>, sessions: &mut [Session], embedders: &[EmbedderSpec]) -> Result<Embedded> {
    let mut drops = Vec::new();
    let mut ids = Vec::new();
    let mut sha256 = Vec::new();
    let mut pixels: Vec<Vec<f32>> = embedders.iter().map(|_| Vec::new()).collect();
    for file in files {
        // Ingest has checked these files against its own limits.
        match decode::decode(&file.bytes, &ImageLimits::NONE) {
            Ok(picture) => {
                for (pixels, embedder) in pixels.iter_mut().zip(embedders) {
                    let start = pixels.len();
                    pixels.resize(start + embedder.preprocess.values(), 0.0);
                    preprocess(picture.width, picture.height, &picture.rgb, &embedder.preprocess, &mut pixels[start..]);
                }
                ids.push(file.id);
                sha256.push(file.sha256);
            }
            Err(dropped) => drops.push(dropped.reason),
        }
    }
    let n = ids.len();
    if n == 0 {
        return Ok(Embedded { ids, sha256, vectors: vec![Vec::new(); embedders.len()], drops });
    }
    let mut vectors = Vec::new();
    for ((session, embedder), pixels) in sessions.iter_mut().zip(embedders).zip(&pixels) {
        let side = embedder.preprocess.crop as usize;
        vectors.push(session.run(pixels, [n, 3, side, side], embedder.output.as_deref())?.values);
    }
    let faults: Vec<Option<Reason>> =
        (0..n).map(|row| vectors.iter_mut().find_map(|all| normalise_row(all, n, row))).collect();
    drops.extend(faults.iter().flatten());
    let good = |row: usize| faults[row].is_none();
    for all in &mut vectors {
        let d = all.len() / n;
        *all = (0..n).filter(|&row| good(row)).flat_map(|row| all[row * d..(row + 1) * d].to_vec()).collect();
    }
    let mut rows = 0..n;
    ids.retain(|_| rows.next().is_some_and(good));
    let mut rows = 0..n;
    sha256.retain(|_| rows.next().is_some_and(good));
    Ok(Embedded { ids, sha256, vectors, drops })
}

/// Makes row `row` of n unit-norm, or says why it cannot be.
fn normalise_row(vectors: &mut [f32], n: usize, row: usize) -> Option<Reason> {
    let d = vectors.len() / n;
    let vector = &mut vectors[row * d..(row + 1) * d];
    if vector.iter().any(|value| !value.is_finite()) {
        return Some(Reason::NanVector);
    }
    (!dot::normalise(vector)).then_some(Reason::ZeroVector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_another_length_are_refused() {
        assert!(check_dims("copy", Some(512), 512).is_ok());
        assert!(check_dims("copy", None, 7).is_ok());
        let error = check_dims("copy", Some(512), 384).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("\"copy\"") && error.contains("384") && error.contains("512"), "{error}");
    }
}
