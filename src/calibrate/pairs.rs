//! The pairs of some copies with some images of the pool: their cosines, and whether a pair is
//! wrong or undecided.

use std::ops::Range;

use crate::calibrate::question::Question;
use lvd_base::types::ImageId;
use lvd_io::vectors::Vectors;
use lvd_kernels::blas;
use lvd_kernels::dot;
use lvd_ops::edits::Edit;

/// Originals a block: with 30 copies each, about as many queries as fill a matrix product.
const ORIGINALS: usize = 16;
/// References a block.
const REFERENCES: usize = 1024;
/// A pair that is not a copy with its own original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// The image is another one.
    Wrong,
    /// Its original, or what a collage is pasted on, looks like the image.
    Undecided,
}

/// Some originals with all their copies: the unit of parallel work.
pub struct CopyBlock {
    /// Places in the sample.
    pub originals: Range<usize>,
    /// Places among the copies.
    pub copies: Range<usize>,
}

impl CopyBlock {
    /// All originals, in blocks.
    pub fn all(question: &Question) -> Vec<Self> {
        let made = &question.copies.made;
        let first_of = |original: usize| made.partition_point(|copy| copy.original < original);
        let n = question.sample.ids.len();
        let ends = |start: usize| (start + ORIGINALS).min(n);
        let starts = (0..n).step_by(ORIGINALS);
        starts
            .map(|start| Self { originals: start..ends(start), copies: first_of(start)..first_of(ends(start)) })
            .collect()
    }

    /// Calls `each` with every copy, every image of `base` that is not its original, their cosine,
    /// and what the pair is.
    pub fn pairs(&self, question: &Question, base: &Vectors, mut each: impl FnMut(usize, ImageId, f32, Pair)) {
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
                        let exact = || dot::similarity(question.vector(copy), &references[at * d..][..d]);
                        let similarity = if similarity < dot::WITH_ITSELF { similarity } else { exact() };
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
        let mark = |flags: &mut [bool], others: &[ImageId]| {
            for at in others.iter().filter_map(|id| ids.binary_search(id).ok()) {
                flags[at] = true;
            }
        };
        mark(&mut own, question.lookalikes.of(place));
        let mut of_collages = own.clone();
        let host = question.sample.host[place];
        mark(&mut of_collages, question.lookalikes.of(host));
        mark(&mut of_collages, &[question.sample.ids[host]]);
        Self { own, of_collages }
    }

    fn of(&self, edit: Edit) -> &[bool] {
        if edit.is_collage() { &self.of_collages } else { &self.own }
    }
}
