//! `lvd audit`: are images of a set, or copies of them, in the finished data set?

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;

use super::finished::{self, Finished};
use super::nearest::Haystack;
use super::origin::{Image, of, origins};
use super::pictures::{Eye, Picture, Unusable};
use super::set::Set;
use super::view::{Against, Threshold, View};
use crate::init::LeftOut;
use crate::pipeline::event::{Event, Observer};
use crate::pipeline::evidence;
use crate::pipeline::steps::Pipeline;
use crate::stages::ingest::{Hashed, Ingest};
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Neighbour, Reason};

/// Images of the set that are compared together: the vectors of the data set are read once for so
/// many.
pub const GROUP: usize = 16_384;

/// What is asked.
pub struct Question<'a> {
    /// The set: a folder, or a file of images.
    pub set: &'a Path,
    /// The cosine from which two images are called copies; left out, the dedup step's.
    pub threshold: Option<f32>,
    /// Threads to use.
    pub threads: usize,
}

/// The answer.
#[derive(Serialize)]
pub struct Answer {
    /// The step whose images are the finished data set.
    pub step: String,
    /// Its images that have a vector.
    pub compared: u64,
    /// The vectors that were compared, `STEP/EMBEDDER`.
    pub vectors: String,
    /// Whether they were whitened, as the dedup step does.
    pub whitened: bool,
    /// From which cosine two images are called copies.
    pub threshold: Threshold,
    /// Images of the set that were compared.
    pub read: u64,
    /// Those of which the data set has the same file.
    pub exact: u64,
    /// Those that have another image of the data set over the threshold.
    pub near: u64,
    /// All others.
    pub none: u64,
    /// Images of the set that could not be compared, by reason.
    pub unusable: Vec<Unread>,
    /// Files of the set that were not looked at, by reason.
    pub left_out: Vec<LeftOut>,
    /// Share of the pairs over the threshold that the search finds: every pair is compared.
    pub recall_of_search: f64,
    /// Share of edited copies that the threshold finds, by the dedup step's calibration.
    pub recall_of_threshold: Option<f64>,
    /// The images that were found, the nearest first.
    pub found: Vec<Match>,
    /// Of all others, the one that is nearest to the data set.
    pub next: Option<Match>,
}

/// Images that could not be compared, for one reason.
#[derive(Serialize)]
pub struct Unread {
    /// The reason.
    pub reason: Reason,
    /// How many there are.
    pub images: u64,
    /// The first of them.
    pub first: Unusable,
}

/// An image of the set, and what it is nearest to.
#[derive(Clone, Serialize)]
pub struct Match {
    /// The image of the set.
    pub path: String,
    /// Cosine of the two vectors.
    pub cosine: f32,
    /// Whether the data set has the same file, byte for byte.
    pub exact: bool,
    /// The image of the data set.
    #[serde(flatten)]
    pub image: Image,
}

/// Answers.
///
/// # Errors
/// A set without images, steps that have not run, no threshold.
pub fn audit(pipeline: &Pipeline, question: &Question, tell: &Observer) -> Result<Answer> {
    let view = View::choose(pipeline, None, Against::References)?;
    let threshold = threshold(&view, question.threshold)?;
    let (step, _) = finished::step(pipeline)?;
    pipeline.tables(step)?;
    let set = Set::open(question.set)?;
    view.warnings(step)?.into_iter().for_each(|text| tell(Event::Warning(text)));
    let task = Task::reader(&pipeline.catalog, &pipeline.store.work, question.threads);
    let finished = Finished::of(pipeline, &task)?;
    let audit = Audit::open(&view, &finished, threshold.cosine, &task, tell)?;
    let Count { compared, read, exact, near, unread, mut found, next } = audit.of(&set)?;
    found.sort_by(|a, b| b.2.cmp(&a.2).then(b.1.total_cmp(&a.1)));
    let mut found = audit.shown(found.into_iter().chain(next).collect())?;
    let next = if found.len() as u64 > exact + near { found.pop() } else { None };
    let recall = view.dedup.and_then(|(name, dedup)| evidence::recall(pipeline, name, dedup, threshold.cosine));
    Ok(Answer {
        step: step.into(),
        compared,
        vectors: view.name(),
        whitened: view.whitens(),
        threshold,
        read,
        exact,
        near,
        none: read - exact - near,
        unusable: unread.into_values().collect(),
        left_out: set.left_out,
        recall_of_search: 1.0,
        recall_of_threshold: recall,
        found,
        next,
    })
}

/// The threshold, which has to be known.
fn threshold(view: &View, asked: Option<f32>) -> Result<Threshold> {
    if let Some(wrong) = asked.filter(|cosine| !(0.0..=1.0).contains(cosine)) {
        return Err(Error::usage(format!("--threshold {wrong}: no cosine"), "give 0 to 1, for instance 0.9"));
    }
    let unknown = || {
        let fact = format!("from which cosine two images are copies is not known for {}", view.name());
        let hint = format!("lvd calibrate {} measures it; or say it: --threshold 0.9", view.pipeline.typed);
        Error::usage(fact, hint)
    };
    view.threshold(asked, Against::References).ok_or_else(unknown)
}

/// All that an audit looks at, open.
struct Audit<'a> {
    ingest: &'a Ingest,
    eye: Eye<'a>,
    haystack: Haystack<'a>,
    finished: &'a Finished,
    /// The table of facts of the ingest step.
    facts: Table,
    /// Their hashes.
    hashes: Table,
    threshold: f32,
    task: &'a Task<'a>,
    tell: &'a Observer<'a>,
}

/// What was found so far.
#[derive(Default)]
struct Count {
    compared: u64,
    read: u64,
    exact: u64,
    near: u64,
    unread: BTreeMap<Reason, Unread>,
    found: Vec<Hit>,
    /// Of what is under the threshold, the nearest.
    next: Option<Hit>,
}

/// An image of the set, the cosine to one of the data set, whether the two are the same file, and
/// which one it is.
type Hit = (String, f32, bool, ImageId);

impl<'a> Audit<'a> {
    fn open(
        view: &View<'a>,
        finished: &'a Finished,
        threshold: f32,
        task: &'a Task<'a>,
        tell: &'a Observer<'a>,
    ) -> Result<Self> {
        let vectors = view.vectors()?;
        let haystack =
            Haystack { shards: finished.shards(&vectors, task), ids: finished.ids(), whitening: view.whitening(task)? };
        let mut tables = view.pipeline.tables(view.ingest.0)?;
        let mut table = |name| tables.remove(name).unwrap_or_default();
        let (facts, hashes) = (table("facts"), table("kept"));
        let eye = Eye::open(view, &vectors, task, tell)?;
        Ok(Self { ingest: view.ingest.1, eye, haystack, finished, facts, hashes, threshold, task, tell })
    }

    /// Looks at all images of a set and compares them.
    fn of(&self, set: &Set) -> Result<Count> {
        let fetcher = self.ingest.fetcher()?;
        let (mut count, mut waiting, mut done) = (Count::default(), Vec::new(), 0);
        let (phase, rows) = ("look at images", Some(set.images));
        let begin = || (self.tell)(Event::PhaseBegins { step: "audit", phase, tasks: 1, to_run: 1, rows });
        begin();
        set.for_each(&fetcher, &mut |files| {
            done += files.len() as u64;
            for looked in self.eye.look(files)? {
                match looked {
                    Ok(picture) => waiting.push(picture),
                    Err(unusable) => count.leave(unusable),
                }
            }
            (self.tell)(Event::Rows(done));
            if waiting.len() >= GROUP {
                (self.tell)(Event::PhaseEnds);
                self.compare(std::mem::take(&mut waiting), &mut count)?;
                begin();
            }
            Ok(())
        })?;
        (self.tell)(Event::PhaseEnds);
        self.compare(waiting, &mut count)?;
        Ok(count)
    }

    /// Compares pictures with the data set, and counts.
    fn compare(&self, pictures: Vec<Picture>, count: &mut Count) -> Result<()> {
        if pictures.is_empty() {
            return Ok(());
        }
        let nearest = self.haystack.nearest(&pictures, 1, self.task, self.tell)?;
        let same = self.same_files(&pictures)?;
        count.compared = nearest.compared;
        count.read += pictures.len() as u64;
        for (number, picture) in pictures.into_iter().enumerate() {
            let first = nearest.of[number].first();
            if let Some(&id) = same.get(&number) {
                count.exact += 1;
                count.found.push((picture.place, first.map_or(1.0, |first| first.similarity), true, id));
                continue;
            }
            let Some(&Neighbour { similarity, id }) = first else { continue };
            if similarity >= self.threshold {
                count.near += 1;
                count.found.push((picture.place, similarity, false, id));
            } else if count.next.as_ref().is_none_or(|next| next.1 < similarity) {
                count.next = Some((picture.place, similarity, false, id));
            }
        }
        Ok(())
    }

    /// What was hit, with where it came from.
    fn shown(&self, hits: Vec<Hit>) -> Result<Vec<Match>> {
        let mut ids: Vec<ImageId> = hits.iter().map(|hit| hit.3).collect();
        ids.sort_unstable();
        ids.dedup();
        let origins = origins(&self.facts, &ids, self.task)?;
        let shown = |(path, cosine, exact, id): Hit| {
            let image = of(&origins, id, |row| row.id).map(Image::from);
            let gone =
                || Error::usage(format!("image {:016x} has a vector and no row", id.0), "lvd plan FILE says why");
            Ok(Match { path, cosine, exact, image: image.ok_or_else(gone)? })
        };
        hits.into_iter().map(shown).collect()
    }

    /// For the pictures of which the data set has the same file, by their places: the image, of
    /// several the one with the lowest id.
    fn same_files(&self, pictures: &[Picture]) -> Result<HashMap<usize, ImageId>> {
        let mut wanted: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, picture) in pictures.iter().enumerate() {
            wanted.entry(&picture.sha256).or_default().push(number);
        }
        let mut met: Vec<(ImageId, &[usize])> = Vec::new();
        self.task.for_each::<Hashed>(&self.hashes, |row| {
            met.extend(wanted.get(row.sha256.as_str()).map(|numbers| (row.id, numbers.as_slice())));
            Ok(())
        })?;
        met.sort_unstable();
        let ids: Vec<ImageId> = met.iter().map(|(id, _)| *id).collect();
        let held = self.finished.among(&ids, self.task)?;
        let mut same = HashMap::new();
        for (id, numbers) in met.into_iter().filter(|(id, _)| held.binary_search(id).is_ok()) {
            for &number in numbers {
                same.entry(number).or_insert(id);
            }
        }
        Ok(same)
    }
}

impl Count {
    fn leave(&mut self, unusable: Unusable) {
        let reason = unusable.reason;
        let unread = self.unread.entry(reason).or_insert_with(|| Unread { reason, images: 0, first: unusable });
        unread.images += 1;
    }
}
