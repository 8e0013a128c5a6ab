//! A worker: what happens to a job of files.
//!
//! An image is decoded once, made ready for every model, and put through them a batch at a time,
//! all on the calling thread.

use crate::stages::embed::sessions::Sessions;
use crate::stages::embed::spec::EmbedCommon;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Reason};
use lvd_engines::onnx::{Session, is_of_the_machine};
use lvd_io::images::ImageFile;
use lvd_kernels::dot;
use lvd_ops::preprocess::preprocess;

/// The images of a job that got a vector from every embedder, and the drops.
#[derive(Default)]
pub struct Embedded {
    /// The images, in the order of the job.
    pub ids: Vec<ImageId>,
    /// The hashes of their files.
    pub sha256: Vec<String>,
    /// For each embedder: n x d, unit norm.
    pub vectors: Vec<Vec<f32>>,
    /// The images that got none.
    pub drops: Vec<Reason>,
    /// Why each image of `ids` is to be dropped, while the job lasts.
    pub(super) faults: Vec<Option<Reason>>,
    /// What the first model that failed said, and of which image.
    pub failure: Option<String>,
}

/// Room for a batch of pixels for each model, and the sessions to put them through.
pub struct Worker<'a> {
    number: usize,
    sessions: &'a Sessions,
    common: &'a EmbedCommon,
    pixels: Vec<Vec<f32>>,
    batch: usize,
}

impl<'a> Worker<'a> {
    /// Worker `number` of those that share `sessions`.
    pub fn new(number: usize, sessions: &'a Sessions, common: &'a EmbedCommon) -> Self {
        let batch = common.batch_images.max(sessions.fixed_images().unwrap_or(1));
        let pixels = sessions.fits().iter().map(|fit| vec![0.0; batch * fit.preprocess.values()]).collect();
        Self { number, sessions, common, pixels, batch }
    }

    /// Decodes the files of a job and puts them through every model.
    pub fn embed(&mut self, files: Vec<ImageFile>) -> Result<Embedded> {
        let mut done = Embedded { vectors: vec![Vec::new(); self.common.embedders.len()], ..Embedded::default() };
        let mut filled = 0;
        for file in files {
            match self.common.decode(&file.bytes) {
                Ok(picture) => {
                    for (pixels, fit) in self.pixels.iter_mut().zip(self.sessions.fits()) {
                        let values = fit.preprocess.values();
                        let room = &mut pixels[filled * values..(filled + 1) * values];
                        preprocess(picture.width, picture.height, &picture.rgb, &fit.preprocess, room);
                    }
                    done.ids.push(file.id);
                    done.sha256.push(file.sha256);
                    filled += 1;
                }
                Err(dropped) => done.drops.push(dropped.reason),
            }
            if filled == self.batch {
                self.infer(filled, &mut done)?;
                filled = 0;
            }
        }
        if filled > 0 {
            self.infer(filled, &mut done)?;
        }
        done.keep_usable();
        Ok(done)
    }

    /// Runs every model on the first `images` images of the batch.
    fn infer(&mut self, images: usize, done: &mut Embedded) -> Result<()> {
        let run = if self.sessions.wants_full_batches() { self.batch } else { images };
        let first = done.faults.len();
        done.faults.resize(first + images, None);
        self.sessions.with(self.number, |sessions| {
            for (index, session) in sessions.iter_mut().enumerate() {
                let (embedder, fit) = (&self.common.embedders[index], &self.sessions.fits()[index]);
                let (values, side) = (fit.preprocess.values(), fit.preprocess.crop as usize);
                let mut ask = |pixels: &[f32]| {
                    let shape = [pixels.len() / values, 3, side, side];
                    answer(session, pixels, shape, embedder.output.as_deref(), fit.dimension)
                };
                let pixels = &self.pixels[index][..run * values];
                // One image is to blame, as a rule, for what fails: the others go on without it.
                let (vectors, failures) = if let Ok(vectors) = ask(pixels)? {
                    (vectors, Vec::new())
                } else {
                    let copies = if self.sessions.wants_full_batches() { run } else { 1 };
                    let images = pixels.chunks_exact(values).take(images);
                    one_by_one(images, copies, fit.dimension, &mut ask)?
                };
                done.vectors[index].extend(&vectors[..images * fit.dimension]);
                for (row, message) in failures {
                    done.faults[first + row] = Some(Reason::ModelFailed);
                    let id = done.ids[first + row].0;
                    done.failure.get_or_insert(format!("embedder {:?}, image {id}: {message}", embedder.name));
                }
            }
            Ok(())
        })
    }
}

/// The vectors of a batch, or why the model has none for these pictures.
type VectorOrFault = std::result::Result<Vec<f32>, String>;

/// A row of a batch, and why the model failed on it.
type Failure = (usize, String);

/// Runs the images of a batch each alone, as `copies` of it. Their vectors (zeros, where the model
/// fails) and the failures.
fn one_by_one<'a>(
    images: impl Iterator<Item = &'a [f32]>,
    copies: usize,
    dimension: usize,
    ask: &mut dyn FnMut(&[f32]) -> Result<VectorOrFault>,
) -> Result<(Vec<f32>, Vec<Failure>)> {
    let (mut vectors, mut failures) = (Vec::new(), Vec::new());
    for (row, pixels) in images.enumerate() {
        match ask(&pixels.repeat(copies))? {
            Ok(answer) => vectors.extend(&answer[..dimension]),
            Err(message) => {
                vectors.resize(vectors.len() + dimension, 0.0);
                failures.push((row, message));
            }
        }
    }
    Ok((vectors, failures))
}

/// Runs a batch; an error where the pictures are not to blame.
fn answer(
    session: &mut Session,
    pixels: &[f32],
    shape: [usize; 4],
    output: Option<&str>,
    dimension: usize,
) -> Result<VectorOrFault> {
    match session.run(pixels, shape, output) {
        Ok(vectors) if vectors.dimension == dimension => Ok(Ok(vectors.values)),
        Ok(vectors) => Ok(Err(format!("a vector of {} numbers instead of {dimension}", vectors.dimension))),
        Err(error) if is_of_the_machine(&error) => Err(error),
        Err(Error::Native(fault)) => Ok(Err(fault.fact)),
        Err(error) => Ok(Err(error.to_string())),
    }
}

impl Embedded {
    /// Makes every vector unit-norm; an image of which one cannot be leaves all tables.
    fn keep_usable(&mut self) {
        let n = self.ids.len();
        let vectors = &mut self.vectors;
        let mut faults = std::mem::take(&mut self.faults);
        faults.resize(n, None);
        for (row, fault) in faults.iter_mut().enumerate().filter(|(_, fault)| fault.is_none()) {
            *fault = vectors.iter_mut().find_map(|all| normalise_row(all, n, row));
        }
        if faults.iter().all(Option::is_none) {
            return;
        }
        self.drops.extend(faults.iter().flatten());
        let good = |row: usize| faults[row].is_none();
        for all in vectors {
            let d = all.len() / n;
            *all = (0..n).filter(|&row| good(row)).flat_map(|row| all[row * d..(row + 1) * d].to_vec()).collect();
        }
        let mut rows = 0..n;
        self.ids.retain(|_| rows.next().is_some_and(good));
        let mut rows = 0..n;
        self.sha256.retain(|_| rows.next().is_some_and(good));
    }
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
    fn an_image_without_a_usable_vector_leaves_all_tables() {
        let mut done = Embedded {
            ids: (0..4).map(|row| ImageId::new(1, 0, row)).collect(),
            sha256: ["a", "b", "c", "d"].map(str::to_owned).into(),
            vectors: vec![vec![3.0, 4.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0], vec![-2.0, 1.0, f32::NAN, 4.0]],
            drops: vec![Reason::Broken],
            ..Embedded::default()
        };
        done.keep_usable();
        assert_eq!(done.ids, [ImageId::new(1, 0, 0), ImageId::new(1, 0, 3)]);
        assert_eq!(done.sha256, ["a", "d"]);
        assert_eq!(done.vectors, [vec![0.6, 0.8, 0.0, 1.0], vec![-1.0, 1.0]]);
        assert_eq!(done.drops, [Reason::Broken, Reason::ZeroVector, Reason::NanVector]);
    }
}
