//! `lvd find`: which images of the pool are nearest to a picture, and what became of them.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::became::{Became, became};
use super::finished::{self, Finished};
use super::nearest::Haystack;
use super::origin::{Image, Origin, of, origins};
use super::pictures::{Arrived, Eye, Picture, Unusable};
use super::view::{Against, Threshold, View};
use crate::init;
use crate::pipeline::event::{Event, Observer};
use crate::pipeline::steps::Pipeline;
use crate::stages::pool;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{Dropped, ImageId, Neighbour, Reason};

/// Neighbours of a picture, at most.
pub const MOST: usize = 1000;
/// Pictures that are compared together: what one more pass over the vectors is worth.
const GROUP: usize = 1024;

/// What is asked.
pub struct Question<'a> {
    /// The pictures.
    pub pictures: &'a [PathBuf],
    /// Neighbours of each.
    pub k: usize,
    /// The vectors, `STEP` or `STEP/EMBEDDER`; left out, those that dedup compares.
    pub vectors: Option<&'a str>,
    /// Threads to use.
    pub threads: usize,
}

/// The answer.
#[derive(Serialize)]
pub struct Answer {
    /// The vectors that were searched, `STEP/EMBEDDER`.
    pub vectors: String,
    /// Whether they were whitened, as the dedup step does.
    pub whitened: bool,
    /// How many there are.
    pub compared: u64,
    /// From which cosine two images are called copies, where that is known.
    pub threshold: Option<Threshold>,
    /// The pictures that are usable, in their order.
    pub pictures: Vec<Found>,
    /// The others.
    pub unusable: Vec<Unusable>,
}

/// A picture and its neighbours.
#[derive(Serialize)]
pub struct Found {
    /// The file.
    pub path: String,
    /// Pixels, upright.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
    /// Whether any would be called a copy; `None`: no threshold is known.
    pub is_copy: Option<bool>,
    /// The nearest images, best first.
    pub nearest: Vec<Near>,
}

/// An image of the pool that is near to a picture.
#[derive(Serialize)]
pub struct Near {
    /// 1 for the nearest.
    pub rank: usize,
    /// Cosine of the two vectors.
    pub cosine: f32,
    /// Whether the two files are equal, byte for byte.
    pub same_file: bool,
    /// Whether it would be called a copy; `None`: no threshold is known.
    pub is_copy: Option<bool>,
    /// The image.
    #[serde(flatten)]
    pub image: Image,
    /// What became of it.
    pub became: Became,
}

impl Near {
    /// How alike they are, in a word: `exact`, `near` for a copy, nothing for another picture.
    #[must_use]
    pub fn kin(&self) -> &'static str {
        match (self.same_file, self.is_copy) {
            (true, _) => "exact",
            (false, Some(true)) => "near",
            (false, _) => "",
        }
    }
}

impl Answer {
    /// What is to be said of a picture: which of its neighbours are copies, as far as the dedup step
    /// can tell. `file` is the pipeline file as it was typed.
    #[must_use]
    pub fn verdict(&self, found: &Found, file: &str) -> String {
        let Some(first) = found.nearest.first() else { return "there is nothing to compare with".into() };
        let exact = if first.same_file { "rank 1 is the same file, byte for byte; " } else { "" };
        let Some(Threshold { cosine: threshold, of }) = &self.threshold else {
            return format!(
                "{exact}from which cosine two images are copies is not known for {}: lvd calibrate {file} measures it for a dedup step",
                self.vectors
            );
        };
        let copies: Vec<&Near> = found.nearest.iter().filter(|near| near.is_copy == Some(true)).collect();
        let more = if copies.len() == found.nearest.len() { "; there may be more: a larger -k shows them" } else { "" };
        match copies.as_slice() {
            [one] if one.same_file => match found.nearest.get(1) {
                Some(next) => format!(
                    "{exact}no other would be called a copy: {:.4} is under {threshold}, the threshold {of}",
                    next.cosine
                ),
                None => "rank 1 is the same file, byte for byte".into(),
            },
            [] => format!("none would be called a copy: {:.4} is under {threshold}, the threshold {of}", first.cosine),
            [one] => format!(
                "rank 1 would be called a copy: {:.4} is not under {threshold}, the threshold {of}{more}",
                one.cosine
            ),
            [.., last] => format!(
                "{exact}ranks 1 to {} would be called copies: {:.4} is not under {threshold}, the threshold {of}{more}",
                copies.len(),
                last.cosine
            ),
        }
    }
}

/// Answers.
///
/// # Errors
/// A file that is not there, vectors that are not there, an embedder that is not that of the
/// vectors.
pub fn find(pipeline: &Pipeline, question: &Question, tell: &Observer) -> Result<Answer> {
    let k = question.k;
    if !(1..=MOST).contains(&k) {
        return Err(Error::usage(format!("{k} neighbours"), format!("ask for 1 to {MOST}: -k 10")));
    }
    let view = View::choose(pipeline, question.vectors, Against::Pool)?;
    are_files(question.pictures)?;
    let task = Task::reader(&pipeline.catalog, &pipeline.store.work, question.threads);
    let mut answer = Answer {
        vectors: view.name(),
        whitened: view.whitens(),
        compared: 0,
        threshold: view.threshold(None, Against::Pool),
        pictures: Vec::new(),
        unusable: Vec::new(),
    };
    let search = Search::open(view, &task, tell)?;
    for paths in question.pictures.chunks(GROUP) {
        search.add(paths, k, &mut answer, tell)?;
    }
    Ok(answer)
}

/// All that a search looks at, open.
struct Search<'a> {
    view: View<'a>,
    task: &'a Task<'a>,
    eye: Eye<'a>,
    haystack: Haystack<'a>,
    /// The table of facts of the ingest step.
    facts: Table,
    /// The step of the finished data set, and the set where it is whole.
    last: &'a str,
    finished: Option<Finished>,
}

impl<'a> Search<'a> {
    fn open(view: View<'a>, task: &'a Task<'a>, tell: &Observer) -> Result<Self> {
        let pipeline = view.pipeline;
        let vectors = view.vectors()?;
        let whitening = view.whitening(task)?;
        let (last, _) = finished::step(pipeline)?;
        view.warnings(last)?.into_iter().for_each(|text| tell(Event::Warning(text)));
        let finished = pipeline.store.manifest(last)?.map(|_| Finished::of(pipeline, task)).transpose()?;
        let facts = pipeline.tables(view.ingest.0)?.remove("facts").unwrap_or_default();
        let eye = Eye::open(&view, &vectors, task, tell)?;
        let haystack = Haystack { shards: pool::shards(&vectors, None, |_| true), ids: None, whitening };
        Ok(Self { view, task, eye, haystack, facts, last, finished })
    }

    /// Adds some pictures to the answer.
    fn add(&self, paths: &[PathBuf], k: usize, answer: &mut Answer, tell: &Observer) -> Result<()> {
        let longest = self.view.ingest.1.max_bytes;
        let mut pictures = Vec::new();
        for looked in self.eye.look(paths.iter().map(|path| read(path, longest)).collect())? {
            match looked {
                Ok(picture) => pictures.push(picture),
                Err(unusable) => answer.unusable.push(unusable),
            }
        }
        if pictures.is_empty() {
            return Ok(());
        }
        let nearest = self.haystack.nearest(&pictures, k, self.task, tell)?;
        answer.compared = nearest.compared;
        let known = self.known(&nearest.of)?;
        for (picture, nearest) in pictures.into_iter().zip(nearest.of) {
            let threshold = answer.threshold.as_ref().map(|threshold| threshold.cosine);
            let seen = |(rank, neighbour)| self.seen(rank, neighbour, &picture, &known, threshold);
            let near = (1..).zip(nearest).map(seen).collect::<Result<Vec<Near>>>()?;
            let is_copy = near.first().and_then(|first| first.is_copy);
            let Picture { place: path, width, height, .. } = picture;
            answer.pictures.push(Found { path, width, height, is_copy, nearest: near });
        }
        Ok(())
    }

    /// What is known of all neighbours.
    fn known(&self, nearest: &[Vec<Neighbour>]) -> Result<Known> {
        let mut ids: Vec<ImageId> = nearest.iter().flatten().map(|neighbour| neighbour.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let origins = origins(&self.facts, &ids, self.task)?;
        let finished = self.finished.as_ref().ok_or(self.last);
        let became = became(self.view.pipeline, &ids, &self.facts, finished, self.task)?;
        Ok(Known { origins, became: ids.into_iter().zip(became).collect() })
    }

    fn seen(
        &self,
        rank: usize,
        neighbour: Neighbour,
        picture: &Picture,
        known: &Known,
        threshold: Option<f32>,
    ) -> Result<Near> {
        let Neighbour { id, similarity: cosine } = neighbour;
        let origin = of(&known.origins, id, |row| row.id).zip(of(&known.became, id, |(id, _)| *id));
        let (origin, (_, became)) = origin.ok_or_else(|| {
            let fact = format!("image {:016x} has a vector, and step {:?} does not know it", id.0, self.view.ingest.0);
            Error::usage(fact, format!("lvd plan {} shows what is out of date", self.view.pipeline.typed))
        })?;
        let same_file = picture.sha256 == origin.sha256;
        let is_copy = threshold.map(|threshold| cosine >= threshold);
        Ok(Near { rank, cosine, same_file, is_copy, image: Image::from(origin), became: became.clone() })
    }
}

/// What is known of images, by id.
struct Known {
    origins: Vec<Origin>,
    became: Vec<(ImageId, Became)>,
}

/// Refuses what is no file, before anything is opened.
fn are_files(paths: &[PathBuf]) -> Result<()> {
    init::are_there(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    match paths.iter().find(|path| !path.is_file()) {
        Some(folder) if folder.is_dir() => {
            let hint = "name pictures; lvd audit compares a folder with the finished data set";
            Err(Error::usage(format!("{}: a folder", folder.display()), hint))
        }
        Some(other) => Err(Error::usage(format!("{}: no plain file", other.display()), "name pictures")),
        None => Ok(()),
    }
}

/// The file at `path`; of one that is longer than a picture may be, so much that this is seen.
fn read(path: &Path, longest: u64) -> Arrived {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).and_then(|file| file.take(longest + 1).read_to_end(&mut bytes));
    let unreadable = |error: std::io::Error| Dropped::new(Reason::Unreadable, error.to_string());
    (path.display().to_string(), file.map(|_| bytes).map_err(unreadable))
}
