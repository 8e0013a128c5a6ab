//! Who goes where only direct links count: the images of a component by rank, each looked at once.
//!
//! A pair is among the edges if one of its ends has room for it in its list of the nearest, and is
//! no part of a crowd. Other pairs are compared again here, by codes: as many images at a time as
//! memory holds, with those that stand for others.

use std::ops::Range;

use rayon::prelude::*;

use lvd_base::error::Result;
use lvd_kernels::codes::Codes;
use lvd_kernels::dot::{WITH_ITSELF, similarity};

/// Images that stand for others, compared with all after them at a time.
const PIECE: usize = 64;
/// Images that are compared with those by one thread.
const ROWS: usize = 4096;

/// An image with links. They are ordered by component, and by rank within; a *place* is a number in
/// this order.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// Its node.
    pub node: u32,
    /// Its component.
    pub root: u32,
    /// Whether it stays in any case.
    pub settled: bool,
}

/// A pair over the threshold: `to` is among the nearest of `from`.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub from: u32,
    pub to: u32,
    pub similarity: f32,
    /// Whether `from` is one of many that are attached to `to`: no links among these were looked
    /// for.
    pub attached: bool,
}

impl Link {
    fn lower(&self) -> u32 {
        self.from.max(self.to)
    }

    fn higher(&self) -> u32 {
        self.from.min(self.to)
    }
}

/// In whose place an image goes, and their cosine where it is known.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    pub instead: u32,
    pub similarity: Option<f32>,
}

/// What is to be decided.
pub struct Case<'a> {
    pub images: &'a [Image],
    pub threshold: f32,
    /// Neighbours that a list has room for.
    pub neighbours: usize,
    /// Whether an image goes for any of a higher rank, or only for one that stays.
    pub by_any: bool,
    /// Vectors that may be held.
    pub held_rows: usize,
}

/// Calls its second argument with the node and the vector of every image whose node the first one
/// takes, in any order.
pub type Read<'a> = dyn FnMut(&dyn Fn(u32) -> bool, &mut dyn FnMut(u32, &[f32])) -> Result<()> + 'a;

/// Who goes, and for whom, by place; and how many images were compared again.
pub fn decide(question: &Case, mut links: Vec<Link>, read: &mut Read) -> Result<(Vec<Option<Gone>>, u64)> {
    let unsure = question.unsure(&links);
    links.sort_unstable_by(|a, b| {
        a.lower().cmp(&b.lower()).then(b.similarity.total_cmp(&a.similarity)).then(a.higher().cmp(&b.higher()))
    });
    let mut turns = Turns {
        question,
        links: &links,
        next: 0,
        gone: vec![None; question.images.len()],
        found: vec![None; unsure.len()],
        unsure: &unsure,
    };
    let mut start = 0;
    while start < unsure.len() {
        let end = unsure.len().min(start + question.held_rows.max(PIECE));
        let held = turns.hold(start..end, read)?;
        let standing = turns.among(&held);
        turns.beyond(&held, &standing, end, read)?;
        start = end;
    }
    turns.pass(question.images.len(), &[]);
    Ok((turns.gone, unsure.len() as u64))
}

impl Case<'_> {
    /// The places of images of which not all links are known, where there are others in their
    /// component.
    fn unsure(&self, links: &[Link]) -> Vec<u32> {
        let n = self.images.len();
        let (mut listed, mut crowd) = (vec![0usize; n], vec![false; n]);
        for link in links {
            listed[link.from as usize] += usize::from(!link.attached);
            for end in [link.from, link.to].into_iter().filter(|_| link.attached) {
                crowd[end as usize] = true;
            }
        }
        let mut unsure: Vec<bool> = (0..n).map(|place| crowd[place] || listed[place] >= self.neighbours).collect();
        // A crowd shows others only its nearest image.
        for link in links.iter().filter(|link| crowd[link.from as usize] || crowd[link.to as usize]) {
            (unsure[link.from as usize], unsure[link.to as usize]) = (true, true);
        }
        let places: Vec<u32> = (0u32..).zip(&unsure).filter(|(_, unsure)| **unsure).map(|(place, _)| place).collect();
        let of_one = places.chunk_by(|&a, &b| self.root(a) == self.root(b));
        of_one.filter(|together| together.len() > 1).flatten().copied().collect()
    }

    fn root(&self, place: u32) -> u32 {
        self.images[place as usize].root
    }
}

/// Some images that are compared again, in order.
struct HeldImages {
    /// Their numbers among all that are unsure.
    numbers: Vec<usize>,
    d: usize,
    values: Vec<f32>,
    codes: Codes,
}

impl HeldImages {
    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.d..][..self.d]
    }

    /// For each row of `range`, the first of the `standing` rows of `others` that is within the
    /// threshold, with their similarity.
    fn near(&self, range: Range<usize>, others: &Self, standing: &[u32], threshold: f32) -> Vec<Option<(u32, f32)>> {
        let starts: Vec<usize> = range.clone().step_by(ROWS).collect();
        let near = |&start: &usize| {
            let rows = start..range.end.min(start + ROWS);
            let mut first: Vec<Option<(u32, f32)>> = vec![None; rows.len()];
            for some in standing.chunks(PIECE) {
                let floors = vec![threshold.min(WITH_ITSELF); some.len()];
                self.codes.scan_from(&others.codes, (some, &floors), rows.clone(), &mut |place, row| {
                    let known = &mut first[row - rows.start];
                    if known.is_none_or(|(known, _)| some[place] < known) {
                        let similarity = similarity(others.row(some[place] as usize), self.row(row));
                        if similarity >= threshold {
                            *known = Some((some[place], similarity));
                        }
                    }
                });
            }
            first
        };
        starts.par_iter().map(near).collect::<Vec<_>>().concat()
    }
}

/// Goes through the images in order.
struct Turns<'a> {
    question: &'a Case<'a>,
    /// By their lower ends, most similar first.
    links: &'a [Link],
    /// The place whose turn is next.
    next: usize,
    gone: Vec<Option<Gone>>,
    /// The places that are unsure.
    unsure: &'a [u32],
    /// For each of them, for whom it goes, as far as was found by comparing again.
    found: Vec<Option<Gone>>,
}

impl Turns<'_> {
    fn stands(&self, place: u32) -> bool {
        self.question.by_any || self.gone[place as usize].is_none()
    }

    /// Decides about the places before `end`; `near` are pairs that were found by comparing again,
    /// by lower and higher end.
    fn pass(&mut self, end: usize, near: &[Link]) {
        for place in self.next..end {
            let (own, later) = self.links.split_at(self.links.partition_point(|link| link.lower() as usize <= place));
            self.links = later;
            if self.question.images[place].settled {
                continue;
            }
            let again = &near[near.partition_point(|link| (link.lower() as usize) < place)..];
            let again = again.iter().take_while(|link| link.lower() as usize == place);
            let number = self.unsure.binary_search_by_key(&place, |&place| place as usize);
            let found = number.ok().and_then(|number| self.found[number]);
            let by = |link: &Link| Gone { instead: link.higher(), similarity: Some(link.similarity) };
            let direct = own.iter().find(|link| self.stands(link.higher())).map(by);
            self.gone[place] =
                direct.or(found).or_else(|| again.clone().find(|link| self.stands(link.higher())).map(by));
        }
        self.next = self.next.max(end);
    }

    /// Reads the vectors of those unsure images in `range` that are not known to go.
    fn hold(&self, range: Range<usize>, read: &mut Read) -> Result<HeldImages> {
        let numbers: Vec<usize> = range.filter(|&number| self.found[number].is_none()).collect();
        let node = |&number: &usize| self.question.images[self.unsure[number] as usize].node;
        let mut rows: Vec<(u32, usize)> = numbers.iter().map(node).zip(0..).collect();
        rows.sort_unstable();
        let row_of = |node: u32| rows.binary_search_by_key(&node, |&(node, _)| node).ok().map(|at| rows[at].1);
        let (mut values, mut d) = (Vec::new(), 1);
        read(&|node| row_of(node).is_some(), &mut |node, vector| {
            if values.is_empty() {
                d = vector.len();
                values.resize(rows.len() * d, 0.0);
            }
            if let Some(row) = row_of(node) {
                values[row * d..][..d].copy_from_slice(vector);
            }
        })?;
        Ok(HeldImages { codes: Codes::new(&values, d), numbers, d, values })
    }

    /// Decides about all that are held. Returns the rows of the last component that stand for
    /// others.
    fn among(&mut self, held: &HeldImages) -> Vec<u32> {
        let place = |number: usize| self.unsure[held.numbers[number]];
        let (question, n) = (self.question, held.numbers.len());
        let mut standing = Vec::new();
        let mut row = 0;
        while row < n {
            let root = question.root(place(row));
            let rest = held.numbers[row..].partition_point(|&number| question.root(self.unsure[number]) <= root);
            let end = row + rest;
            standing.clear();
            while row < end {
                let open = (row..end).filter(|&row| self.found[held.numbers[row]].is_none()).take(PIECE);
                let chosen: Vec<u32> = open.map(|row| u32::try_from(row).expect("a row")).collect();
                let Some(&last) = chosen.last() else { break };
                let near = self.within(held, &chosen);
                self.pass(place(last as usize) as usize + 1, &near);
                row = last as usize + 1;
                let stand: Vec<u32> = chosen.into_iter().filter(|&row| self.stands(place(row as usize))).collect();
                let found = held.near(row..end, held, &stand, question.threshold);
                for (row, near) in (row..end).zip(found) {
                    self.goes(held.numbers[row], near.map(|(by, similarity)| (place(by as usize), similarity)));
                }
                standing.extend(stand);
            }
            row = end;
        }
        standing
    }

    /// Notes for whom an unsure image goes, if for anybody.
    fn goes(&mut self, number: usize, near: Option<(u32, f32)>) {
        let settled = self.question.images[self.unsure[number] as usize].settled;
        if let Some((instead, similarity)) = near.filter(|_| !settled && self.found[number].is_none()) {
            self.found[number] = Some(Gone { instead, similarity: Some(similarity) });
        }
    }

    /// The pairs over the threshold among some rows, by lower and higher end.
    fn within(&self, held: &HeldImages, chosen: &[u32]) -> Vec<Link> {
        let place = |row: u32| self.unsure[held.numbers[row as usize]];
        let (codes, all): (_, Vec<u32>) = (held.codes.of_rows(chosen), (0..).take(chosen.len()).collect());
        let floors = vec![self.question.threshold.min(WITH_ITSELF); chosen.len()];
        let mut near = Vec::new();
        codes.scan_from(&codes, (&all, &floors), 0..chosen.len(), &mut |a, b| {
            if a < b {
                let similarity = similarity(held.row(chosen[a] as usize), held.row(chosen[b] as usize));
                if similarity >= self.question.threshold {
                    near.push(Link { from: place(chosen[b]), to: place(chosen[a]), similarity, attached: false });
                }
            }
        });
        near.sort_unstable_by_key(|link| (link.lower(), link.higher()));
        near
    }

    /// Compares those of the last component that stand for others with what of it was not held: the
    /// unsure images from `end` on.
    fn beyond(&mut self, held: &HeldImages, standing: &[u32], end: usize, read: &mut Read) -> Result<()> {
        let (question, unsure) = (self.question, self.unsure);
        let root = question.root(unsure[end - 1]);
        let rest = unsure[end..].partition_point(|&place| question.root(place) <= root);
        if standing.is_empty() || rest == 0 {
            return Ok(());
        }
        let open = (end..end + rest).filter(|&number| self.found[number].is_none());
        let mut numbers: Vec<(u32, usize)> =
            open.map(|number| (question.images[unsure[number] as usize].node, number)).collect();
        numbers.sort_unstable();
        let number_of = |node: u32| numbers.binary_search_by_key(&node, |&(node, _)| node).ok().map(|at| numbers[at].1);
        let (mut some, mut values) = (Vec::new(), Vec::new());
        let mut compare = |some: &mut Vec<usize>, values: &mut Vec<f32>| {
            let block = HeldImages {
                codes: Codes::new(values, held.d),
                numbers: std::mem::take(some),
                d: held.d,
                values: std::mem::take(values),
            };
            let found = block.near(0..block.numbers.len(), held, standing, question.threshold);
            for (&number, near) in block.numbers.iter().zip(found) {
                self.goes(number, near.map(|(by, similarity)| (unsure[held.numbers[by as usize]], similarity)));
            }
        };
        read(&|node| number_of(node).is_some(), &mut |node, vector| {
            some.extend(number_of(node));
            values.extend(vector);
            if some.len() >= 16 * ROWS {
                compare(&mut some, &mut values);
            }
        })?;
        if !some.is_empty() {
            compare(&mut some, &mut values);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
