//! Every copy against the whole pool, a shard at a time: counts between bounds, since the wrong pairs are too many to keep.
//!
//! Similarities of wrong pairs come from matrix products of fixed blocks, so that they are the same on any number of threads;
//! last bits may differ on another kind of machine. Those of right pairs are summed in the fixed order of `ops::dot`.

use std::ops::Range;

use rayon::prelude::*;

use crate::calibrate::Event;
use crate::calibrate::alike::Alike;
use crate::calibrate::copies::Copies;
use crate::calibrate::sample::Sample;
use crate::error::Result;
use crate::io::vectors::Vectors;
use crate::native::blas;
use crate::ops::dot::dot;
use crate::ops::edits::Edit;
use crate::ops::hash::Draw;
use crate::ops::ranking::{Bounds, Tally};
use crate::ops::top_k::TopK;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use crate::types::{ImageId, Neighbour};

/// Originals a block: with 30 copies each, about as many queries as fill a matrix product.
const ORIGINALS: usize = 16;
/// References a block.
const REFERENCES: usize = 1024;
/// Similarities to the background that are averaged (SSCD, Pizzi et al. 2022, arXiv 2202.10261, section 5.1).
const BACKGROUND_TOP: usize = 3;

/// What is compared.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The images that were drawn.
    pub sample: &'a Sample,
    /// Their stored vectors.
    pub originals: &'a Vectors,
    /// Their copies.
    pub copies: &'a Copies,
    /// What may be copies of them already.
    pub alike: &'a Alike,
}

/// How it is compared.
pub struct Rules {
    /// The step's threshold.
    pub threshold: f32,
    /// Of the draw of the background.
    pub seed: u64,
    /// Whether to subtract what each copy has in common with a background.
    pub normalise: bool,
}

/// What came out.
pub struct Scored {
    /// The score of each copy with its original.
    pub right: Vec<f32>,
    /// The bounds of the tallies: all of `right`, every hundredth, and the step's threshold.
    pub bounds: Bounds,
    /// Pairs of a copy with an image it is no copy of.
    pub wrong: Tally,
    /// Pairs of a copy with an image that its original (or its host) may be a copy of.
    pub undecided: Tally,
    /// For each copy, the wrong image of the highest score.
    pub nearest: Vec<Option<Neighbour>>,
    /// Images compared with.
    pub references: u64,
    /// Images kept for normalisation, and not compared with.
    pub background: u64,
}

/// Scores every copy against the images of `shards`.
pub fn score(
    question: &Question,
    rules: &Rules,
    shards: &[VectorShard],
    task: &Task,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Scored> {
    let blocks = Block::all(question);
    let draw = Draw::new(rules.seed, "calibrate/background");
    // Half of what was not drawn; the originals must stay among the references.
    let in_background =
        |id: ImageId| rules.normalise && draw.bits(id.0) % 2 == 1 && question.sample.ids.binary_search(&id).is_err();
    let mut background = 0;
    let mut offsets = vec![0.0; question.copies.made.len()];
    if rules.normalise {
        let mut tops: Vec<Vec<TopK>> =
            blocks.iter().map(|block| block.copies.clone().map(|_| TopK::new(BACKGROUND_TOP)).collect()).collect();
        tell(Event::Begins("compare with the background", shards.len()));
        for shard in shards {
            let base = only(shard.load(task)?, in_background);
            background += base.ids.len() as u64;
            blocks.par_iter().zip(&mut tops).for_each(|(block, tops)| {
                block.pairs(question, &base, |copy, id, similarity, kind| {
                    if kind == Pair::Wrong {
                        tops[copy - block.copies.start].push(Neighbour { similarity, id });
                    }
                });
            });
            tell(Event::Done);
        }
        tell(Event::Ends);
        offsets = tops.into_iter().flatten().map(|top| mean(&top.into_sorted())).collect();
    }
    let right: Vec<f32> = question
        .copies
        .made
        .iter()
        .zip(&offsets)
        .enumerate()
        .map(|(copy, (made, offset))| dot(question.vector(copy), question.originals.row(made.original)) - offset)
        .collect();
    let bounds = Bounds::new(right.iter().copied().chain(hundredths()).chain([rules.threshold]).collect());
    let mut scored = Scored {
        wrong: Tally::new(&bounds),
        undecided: Tally::new(&bounds),
        nearest: vec![None; right.len()],
        references: 0,
        background,
        right,
        bounds,
    };
    tell(Event::Begins("compare with the pool", shards.len()));
    for shard in shards {
        let base = only(shard.load(task)?, |id| !in_background(id));
        scored.references += base.ids.len() as u64;
        scored.count(question, &blocks, &base, &offsets);
        tell(Event::Done);
    }
    tell(Event::Ends);
    Ok(scored)
}

impl Scored {
    /// Counts the pairs of all copies with the images of `base`.
    fn count(&mut self, question: &Question, blocks: &[Block], base: &Vectors, offsets: &[f32]) {
        let bounds = &self.bounds;
        let empty = || (Tally::new(bounds), Tally::new(bounds), Vec::new());
        let counted: Vec<_> = blocks
            .par_iter()
            .fold(empty, |(mut wrong, mut undecided, mut nearest), block| {
                let from = nearest.len();
                nearest.extend(block.copies.clone().map(|copy| (copy, None::<Neighbour>)));
                block.pairs(question, base, |copy, id, similarity, kind| {
                    let similarity = similarity - offsets[copy];
                    match kind {
                        Pair::Undecided => undecided.add(bounds, similarity),
                        Pair::Wrong => {
                            wrong.add(bounds, similarity);
                            let found = Neighbour { similarity, id };
                            let known = &mut nearest[from + copy - block.copies.start].1;
                            if known.is_none_or(|known| found < known) {
                                *known = Some(found);
                            }
                        }
                    }
                });
                (wrong, undecided, nearest)
            })
            .collect();
        for (wrong, undecided, nearest) in counted {
            self.wrong.merge(&wrong);
            self.undecided.merge(&undecided);
            for (copy, found) in nearest {
                let known = &mut self.nearest[copy];
                *known = [*known, found].into_iter().flatten().min();
            }
        }
    }
}

/// A pair that is not a copy with its own original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pair {
    Wrong,
    Undecided,
}

/// Some originals with all their copies: the unit of parallel work.
struct Block {
    originals: Range<usize>,
    copies: Range<usize>,
}

impl Block {
    fn all(question: &Question) -> Vec<Self> {
        let made = &question.copies.made;
        let first_of = |original: usize| made.partition_point(|copy| copy.original < original);
        let n = question.sample.ids.len();
        let ends = |start: usize| (start + ORIGINALS).min(n);
        let starts = (0..n).step_by(ORIGINALS);
        starts
            .map(|start| Self { originals: start..ends(start), copies: first_of(start)..first_of(ends(start)) })
            .collect()
    }

    /// Calls `each` with every copy, every image of `base` that is not its original, their cosine, and what the pair is.
    fn pairs(&self, question: &Question, base: &Vectors, mut each: impl FnMut(usize, ImageId, f32, Pair)) {
        let d = question.originals.dimension;
        if base.ids.is_empty() || self.copies.is_empty() {
            return;
        }
        let copies = &question.copies.values[self.copies.start * d..self.copies.end * d];
        for (references, ids) in base.values.chunks(REFERENCES * d).zip(base.ids.chunks(REFERENCES)) {
            let n = ids.len();
            let undecided: Vec<Undecided> =
                self.originals.clone().map(|place| Undecided::among(ids, place, question)).collect();
            let mut similarities = vec![0.0; self.copies.len() * n];
            blas::products(copies, references, d, &mut similarities);
            for (copy, row) in self.copies.clone().zip(similarities.chunks_exact(n)) {
                let made = question.copies.made[copy];
                let original = question.sample.ids[made.original];
                let undecided = undecided[made.original - self.originals.start].of(made.edit);
                for (at, (&id, &similarity)) in ids.iter().zip(row).enumerate() {
                    if id != original {
                        each(copy, id, similarity, if undecided[at] { Pair::Undecided } else { Pair::Wrong });
                    }
                }
            }
        }
    }
}

/// Which of some references the copies of one original may be copies of, too.
struct Undecided {
    own: Vec<bool>,
    /// The same of collages, which show their host as well.
    of_collages: Vec<bool>,
}

impl Undecided {
    /// Among references with these ids, which ascend.
    fn among(ids: &[ImageId], place: usize, question: &Question) -> Self {
        let mut own = vec![false; ids.len()];
        let mark = |flags: &mut [bool], alike: &[ImageId]| {
            for at in alike.iter().filter_map(|id| ids.binary_search(id).ok()) {
                flags[at] = true;
            }
        };
        mark(&mut own, question.alike.of(place));
        let mut of_collages = own.clone();
        let host = question.sample.host[place];
        mark(&mut of_collages, question.alike.of(host));
        mark(&mut of_collages, &[question.sample.ids[host]]);
        Self { own, of_collages }
    }

    fn of(&self, edit: Edit) -> &[bool] {
        if edit.is_collage() { &self.of_collages } else { &self.own }
    }
}

impl Question<'_> {
    fn vector(&self, copy: usize) -> &[f32] {
        let d = self.originals.dimension;
        &self.copies.values[copy * d..(copy + 1) * d]
    }
}

/// The rows whose ids `wanted` takes, moved together in place.
fn only(mut vectors: Vectors, wanted: impl Fn(ImageId) -> bool) -> Vectors {
    let d = vectors.dimension;
    let mut kept = 0;
    for row in 0..vectors.ids.len() {
        if wanted(vectors.ids[row]) {
            vectors.ids[kept] = vectors.ids[row];
            vectors.values.copy_within(row * d..(row + 1) * d, kept * d);
            kept += 1;
        }
    }
    vectors.ids.truncate(kept);
    vectors.values.truncate(kept * d);
    vectors
}

/// The mean similarity; 0 of none.
#[expect(clippy::cast_precision_loss, reason = "three at most")]
fn mean(neighbours: &[Neighbour]) -> f32 {
    let sum: f32 = neighbours.iter().map(|neighbour| neighbour.similarity).sum();
    sum / neighbours.len().max(1) as f32
}

/// Every hundredth from -1 to 1.
pub fn hundredths() -> impl Iterator<Item = f32> {
    (-100i8..=100).map(|hundredth| f32::from(hundredth) / 100.0)
}
