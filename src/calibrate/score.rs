//! Every copy against the whole pool, a shard at a time: counts between bounds, since the wrong
//! pairs are too many to keep.
//!
//! Similarities of wrong pairs come from matrix products of fixed blocks, so that they are the same
//! on any number of threads; last bits may differ on another kind of machine. Those of right pairs
//! are summed in the fixed order of `ops::dot`.

use rayon::prelude::*;

use crate::calibrate::inputs::Event;
use crate::calibrate::pairs::{CopyBlock, Pair};
use crate::calibrate::question::Question;
use crate::calibrate::sample::DrawnImages;
use crate::stages::pool::VectorShard;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Neighbour};
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::similarity;
use lvd_kernels::hash::Draw;
use lvd_ops::ranking::{Bounds, Curve, Tally};
use lvd_ops::top_k::TopK;

/// Similarities to the background that are averaged (SSCD, Pizzi et al. 2022, arXiv 2202.10261).
const BACKGROUND_TOP: usize = 3;

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
    /// How scores were normalised, when they were.
    pub normalised: Option<Normalised>,
}

/// What normalised scores were made with, and what they are to be compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalised {
    /// Images of the background, which copies are not compared with.
    pub background: u64,
    /// Micro average precision of the plain cosines with the same references.
    pub cosine_micro_ap: f64,
}

/// The images that scores are normalised with, when they are.
#[derive(Clone, Copy)]
struct Background<'a> {
    /// Half of the pool by hash.
    draw: Option<Draw>,
    /// Never in it: the originals must stay among the references.
    sample: &'a DrawnImages,
}

impl Background<'_> {
    fn holds(&self, id: ImageId) -> bool {
        self.draw.is_some_and(|draw| draw.bits(id.0) % 2 == 1) && self.sample.ids.binary_search(&id).is_err()
    }
}

/// Scores every copy against the images of `shards`.
pub fn score(
    question: &Question,
    rules: &Rules,
    shards: &[VectorShard],
    task: &Task,
    tell: &(dyn Fn(Event) + Sync),
) -> Result<Scored> {
    let draw = rules.normalise.then(|| Draw::new(rules.seed, "calibrate/background"));
    let background = Background { draw, sample: question.sample };
    let search = Comparison { question, rules, background, shards, blocks: CopyBlock::all(question), task, tell };
    let cosines = search.against_pool("compare with the pool", &vec![0.0; question.copies.made.len()])?;
    if !rules.normalise {
        return Ok(cosines);
    }
    let (images, offsets) = search.against_background()?;
    let micro_ap = Curve::new(&cosines.bounds, &cosines.right, &cosines.wrong).average_precision();
    let scored = search.against_pool("compare with the pool, normalised", &offsets)?;
    Ok(Scored { normalised: Some(Normalised { background: images, cosine_micro_ap: micro_ap }), ..scored })
}

/// All copies, about to be compared.
struct Comparison<'a> {
    question: &'a Question<'a>,
    rules: &'a Rules,
    background: Background<'a>,
    shards: &'a [VectorShard],
    blocks: Vec<CopyBlock>,
    task: &'a Task<'a>,
    tell: &'a (dyn Fn(Event) + Sync),
}

impl Comparison<'_> {
    /// Calls `each` with the images of every shard that `wanted` takes.
    fn shards(
        &self,
        name: &'static str,
        wanted: impl Fn(ImageId) -> bool,
        mut each: impl FnMut(&Vectors),
    ) -> Result<()> {
        (self.tell)(Event::Begins(name, self.shards.len()));
        for shard in self.shards {
            each(&only(shard.load(self.task)?, &wanted));
            (self.tell)(Event::Done);
        }
        (self.tell)(Event::Ends);
        Ok(())
    }

    /// How many images the background has, and what each copy has in common with it: the mean of
    /// its highest cosines.
    fn against_background(&self) -> Result<(u64, Vec<f32>)> {
        let mut images = 0;
        let none = |block: &CopyBlock| block.copies.clone().map(|_| TopK::new(BACKGROUND_TOP)).collect();
        let mut tops: Vec<Vec<TopK>> = self.blocks.iter().map(none).collect();
        self.shards(
            "compare with the background",
            |id| self.background.holds(id),
            |base| {
                images += base.ids.len() as u64;
                self.blocks.par_iter().zip(&mut tops).for_each(|(block, tops)| {
                    block.pairs(self.question, base, |copy, id, similarity, kind| {
                        if kind == Pair::Wrong {
                            tops[copy - block.copies.start].push(Neighbour { similarity, id });
                        }
                    });
                });
            },
        )?;
        Ok((images, tops.into_iter().flatten().map(|top| mean(&top.into_sorted())).collect()))
    }

    /// Scores are cosines less the `offsets` of the copies.
    fn against_pool(&self, name: &'static str, offsets: &[f32]) -> Result<Scored> {
        let made = self.question.copies.made.iter().zip(offsets).enumerate();
        let right: Vec<f32> = made
            .map(|(copy, (made, offset))| {
                similarity(self.question.vector(copy), self.question.originals.row(made.original)) - offset
            })
            .collect();
        let bounds = Bounds::new(right.iter().copied().chain(hundredths()).chain([self.rules.threshold]).collect());
        let mut scored = Scored {
            wrong: Tally::new(&bounds),
            undecided: Tally::new(&bounds),
            nearest: vec![None; right.len()],
            references: 0,
            normalised: None,
            right,
            bounds,
        };
        self.shards(
            name,
            |id| !self.background.holds(id),
            |base| {
                scored.references += base.ids.len() as u64;
                scored.count(self.question, &self.blocks, base, offsets);
            },
        )?;
        Ok(scored)
    }
}

impl Scored {
    /// Counts the pairs of all copies with the images of `base`.
    fn count(&mut self, question: &Question, blocks: &[CopyBlock], base: &Vectors, offsets: &[f32]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::copies::{Copies, EditedCopy};
    use crate::calibrate::lookalikes::{Lookalikes, NearPair};
    use lvd_kernels::dot::{dot, normalise};
    use lvd_ops::edits::Edit;

    fn units(n: usize, d: usize, seed: u64) -> Vec<f32> {
        let draw = Draw::new(seed, "score");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let mut values: Vec<f32> = (0..n * d).map(|i| draw.unit(i as u64) as f32 - 0.5).collect();
        values.chunks_mut(d).for_each(|vector| assert!(normalise(vector)));
        values
    }

    /// Every pair by hand: right, wrong and undecided ones are told apart as the module says, over
    /// more than a block each way.
    #[test]
    fn pairs_are_counted_as_brute_force_counts_them() {
        let (n, d, pool) = (40, 8, 1500);
        let ids: Vec<ImageId> = (0..pool).map(|row| ImageId::new(1, 0, 3 * row)).collect();
        let base = Vectors { ids: ids.clone(), values: units(1500, d, 1), dimension: d };
        // The sample is every 30th image of the pool; the host of each is the one before.
        let places: Vec<usize> = (0..n).map(|place| 30 * place).collect();
        let host = (0..n).map(|place| (place + n - 1) % n).collect();
        let sample = DrawnImages { ids: places.iter().map(|&row| ids[row]).collect(), host, population: pool.into() };
        let values = places.iter().flat_map(|&row| base.row(row).to_vec()).collect();
        let originals = Vectors { ids: sample.ids.clone(), values, dimension: d };
        let pair = |place: usize, row: usize| NearPair {
            id: sample.ids[place],
            other: ids[row],
            similarity: 0.9,
            correlation: 1.0,
        };
        let thirds = (0..n).step_by(3);
        let lookalikes = Lookalikes::new(
            &sample.ids,
            thirds.flat_map(|place| [pair(place, 1400), pair(place, place + 1)]).collect(),
            Vec::new(),
        );
        let edits = [Edit::CropMild, Edit::CollageHalf];
        let made: Vec<EditedCopy> =
            (0..n).flat_map(|original| edits.map(|edit| EditedCopy { original, edit })).collect();
        let copies = Copies { values: units(made.len(), d, 2), made, ..Copies::default() };
        let question = Question { sample: &sample, originals: &originals, copies: &copies, lookalikes: &lookalikes };
        let offsets: Vec<f32> = (0..80u8).map(|copy| f32::from(copy) / 400.0).collect();
        let bounds = Bounds::new(hundredths().collect());
        let mut scored = Scored {
            right: Vec::new(),
            wrong: Tally::new(&bounds),
            undecided: Tally::new(&bounds),
            bounds,
            nearest: vec![None; 80],
            references: 0,
            normalised: None,
        };
        scored.count(&question, &CopyBlock::all(&question), &base, &offsets);

        let (mut wrong, mut undecided) = (Tally::new(&scored.bounds), Tally::new(&scored.bounds));
        for (copy, made) in copies.made.iter().enumerate() {
            let host = sample.host[made.original];
            let mut best: Option<f32> = None;
            for (row, &id) in ids.iter().enumerate().filter(|&(_, &id)| id != sample.ids[made.original]) {
                let score = dot(question.vector(copy), base.row(row)) - offsets[copy];
                let of_host = lookalikes.of(host).contains(&id) || id == sample.ids[host];
                if lookalikes.of(made.original).contains(&id) || made.edit == Edit::CollageHalf && of_host {
                    undecided.add(&scored.bounds, score);
                } else {
                    wrong.add(&scored.bounds, score);
                    best = Some(best.map_or(score, |best| best.max(score)));
                }
            }
            let nearest = scored.nearest[copy].expect("there are many").similarity;
            assert!((nearest - best.expect("there are many")).abs() < 1e-5, "{copy}");
        }
        for (got, expected) in [(&scored.wrong, &wrong), (&scored.undecided, &undecided)] {
            let at = |tally: &Tally, threshold| Curve::new(&scored.bounds, &[], tally).at(threshold).wrong;
            assert_eq!(at(got, -1.0), at(expected, -1.0));
            assert!(at(got, 0.0) > 0);
            // The last bits of a matrix product may put a pair on the other side of a threshold.
            assert!(hundredths().all(|threshold| at(got, threshold).abs_diff(at(expected, threshold)) <= 3));
        }
    }
}
