//! Chains: images that only others link to the one that stays for them, and that have little in
//! common with it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::look::dedup::groups::Groups;
use crate::look::dedup::{Decisions, Ran, nothing};
use crate::look::page::{Card, Page};
use crate::look::step::Whole;
use crate::look::words::cosine;
use crate::pipeline::status;
use crate::stages::dedup::{self, Dedup, Edge, Group};
use crate::stages::pool::VectorShard;
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_kernels::dot::similarity;

/// Chains that are shown.
const SHOWN: usize = 8;
/// Pictures of a chain that are shown: those at its ends, of a longer one.
const LINKS: usize = 12;
/// Images of a group whose chains are followed, and pairs that are held for it.
const MEMBERS: usize = 20_000;
const PAIRS: usize = 200_000;

/// An image, the one that stays for it, and the way from one to the other.
struct Chain {
    ends: (ImageId, ImageId),
    cosine: f32,
    /// The images on the way with their similarities to the one before; none where it was not
    /// followed.
    way: Vec<(ImageId, Option<f32>)>,
}

/// The chains whose ends are least alike, of some that were drawn.
pub struct Chains {
    chains: Vec<Chain>,
    looked_at: usize,
}

impl Chains {
    /// Compares the ends, and follows the ways between the least alike.
    pub fn read(step: &Whole, ran: &Ran, groups: &Groups) -> Result<Self> {
        let ends: Vec<(ImageId, ImageId, ImageId)> =
            groups.chained.iter().filter_map(|row| Some((row.id, row.representative?, row.component))).collect();
        let vectors = vectors(step, &ends.iter().flat_map(|&(a, b, _)| [a, b]).collect())?;
        let cosine = |&(a, b, _): &(ImageId, ImageId, ImageId)| Some(similarity(vectors.get(&a)?, vectors.get(&b)?));
        let mut far: Vec<(f32, (ImageId, ImageId, ImageId))> =
            ends.iter().filter_map(|ends| Some((cosine(ends)?, *ends))).collect();
        // Those that are attached to one image have no direct pair either, and are near.
        far.retain(|&(cosine, _)| cosine < ran.threshold);
        far.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // One a group: the others look the same.
        let mut seen = BTreeSet::new();
        far.retain(|&(_, (.., component))| seen.insert(component));
        far.truncate(SHOWN);
        let links = Links::read(step, ran.threshold, &far.iter().map(|&(_, (.., component))| component).collect())?;
        let chain = |(cosine, (a, b, _))| Chain { ends: (a, b), cosine, way: links.way(a, b) };
        Ok(Self { chains: far.into_iter().map(chain).collect(), looked_at: ends.len() })
    }

    /// The images that are shown.
    pub fn images(&self) -> impl Iterator<Item = ImageId> {
        self.chains.iter().flat_map(|chain| chain.pictures().into_iter().map(|(id, _)| id))
    }

    /// Adds the section.
    pub fn show(self, step: &Whole, ran: &Ran, decisions: &Decisions, page: &mut Page) {
        let section = page.section(
            "Chains",
            format!(
                "Dropped images that are linked to the one that stays by others alone, of {} that were compared: the \
                 least alike first. Each picture is a copy of the one before it. Is the last still a copy of the first?",
                self.looked_at
            ),
        );
        for chain in &self.chains {
            let head = |at: usize, similarity: Option<f32>| match similarity {
                Some(similarity) => format!("{similarity:.3} to the one before"),
                None if at == 0 => "dropped".into(),
                None => "…".into(),
            };
            let cards = chain.pictures().into_iter().enumerate();
            let cards: Vec<Card> = cards.map(|(at, (id, x))| Card::one(head(at, x), decisions.shown(id))).collect();
            let between = chain.way.len().saturating_sub(LINKS);
            let more = if between > 0 { format!("; {between} more between") } else { String::new() };
            section.figure(format!("The ends have a cosine of {}{more}", cosine(chain.cosine)), cards);
        }
        if !self.chains.is_empty() && !ran.relative {
            let cut = format!("--set '{}.linkage=\"representative\"'", step.name());
            section.advice(
                "The ends are different pictures? Cut the chains: only what is within the threshold of an image that \
                 stays is then dropped.",
                step.command("plan", &cut),
            );
        }
        nothing(section, "No chain has ends that are less alike than the threshold.");
    }
}

impl Chain {
    /// The pictures to show: the way, or its ends.
    fn pictures(&self) -> Vec<(ImageId, Option<f32>)> {
        match self.way.len() {
            0 => vec![(self.ends.0, None), (self.ends.1, None)],
            1..=LINKS => self.way.clone(),
            n => {
                let (first, last) = (&self.way[..LINKS / 2], &self.way[n - LINKS / 2..]);
                let mut all = [first, last].concat();
                all[LINKS / 2].1 = None;
                all
            }
        }
    }
}

/// The vectors of some images as the step compared them. Memory: these, and a shard.
fn vectors(step: &Whole, wanted: &BTreeSet<ImageId>) -> Result<BTreeMap<ImageId, Vec<f32>>> {
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let tables = status::inputs(step.pipeline, step.step)?;
    let gone = |table| Error::usage(format!("table {table:?} is not there any more"), "lvd run FILE");
    let shards = step.settings::<Dedup>()?.shards(&step.pipeline.catalog, &tables.map_err(gone)?)?;
    let whitening = dedup::read_whitening(&step.table("whitening"), &step.task)?;
    let all = shards.unsettled.iter().chain(&shards.settled).chain(&shards.references);
    let holds = |shard: &&VectorShard| {
        let first = shard.shard().image(0);
        wanted.range(first..).next().is_some_and(|id| id.shard() == shard.shard())
    };
    for shard in all.filter(holds) {
        for block in shard.whitened(whitening.as_ref()).blocks(&step.task)? {
            let block = block?;
            let rows = block.ids.iter().enumerate().filter(|(_, id)| wanted.contains(id));
            found.extend(rows.map(|(row, &id)| (id, block.row(row).to_vec())));
        }
    }
    Ok(found)
}

/// The pairs that hold some groups together.
struct Links(BTreeMap<ImageId, Vec<(ImageId, f32)>>);

impl Links {
    fn read(step: &Whole, threshold: f32, components: &BTreeSet<ImageId>) -> Result<Self> {
        let mut members: BTreeSet<ImageId> = BTreeSet::new();
        if components.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        step.for_each::<Group>("", |row| {
            if components.contains(&row.component) && members.len() < MEMBERS {
                members.insert(row.id);
            }
        })?;
        let mut links: BTreeMap<ImageId, Vec<(ImageId, f32)>> = BTreeMap::new();
        let mut held = 0;
        // References are no rows of the decisions, and may be what links.
        let takes_part = |id: ImageId| members.contains(&id) || step.is_given(id);
        step.for_each::<Edge>("edges", |edge| {
            let Edge { id, neighbour, similarity, tree, star } = edge;
            let links_them = similarity >= threshold && (tree || star) && held < PAIRS;
            if links_them && takes_part(id) && takes_part(neighbour) {
                held += 1;
                links.entry(id).or_default().push((neighbour, similarity));
                links.entry(neighbour).or_default().push((id, similarity));
            }
        })?;
        for others in links.values_mut() {
            others.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        }
        Ok(Self(links))
    }

    /// The shortest way from one image to another; nothing where it was not found.
    fn way(&self, from: ImageId, to: ImageId) -> Vec<(ImageId, Option<f32>)> {
        let mut before: BTreeMap<ImageId, (ImageId, f32)> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(id) = open.pop_front().filter(|_| !before.contains_key(&to)) {
            for &(other, similarity) in self.0.get(&id).into_iter().flatten() {
                if other != from && !before.contains_key(&other) {
                    before.insert(other, (id, similarity));
                    open.push_back(other);
                }
            }
        }
        let mut way = Vec::new();
        let mut at = to;
        while let Some(&(id, similarity)) = before.get(&at) {
            way.push((at, Some(similarity)));
            at = id;
        }
        if at != from || way.is_empty() {
            return Vec::new();
        }
        way.push((from, None));
        way.reverse();
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_goes_over_the_links_there_are() {
        let id = |n: u64| ImageId(n);
        let mut links: BTreeMap<ImageId, Vec<(ImageId, f32)>> = BTreeMap::new();
        for (a, b, x) in [(1, 2, 0.9), (2, 3, 0.8), (3, 4, 0.7), (1, 5, 0.6)] {
            links.entry(id(a)).or_default().push((id(b), x));
            links.entry(id(b)).or_default().push((id(a), x));
        }
        let links = Links(links);
        let way = [(id(1), None), (id(2), Some(0.9)), (id(3), Some(0.8)), (id(4), Some(0.7))];
        assert_eq!(links.way(id(1), id(4)), way);
        assert!(links.way(id(1), id(9)).is_empty() && links.way(id(1), id(1)).is_empty());
    }
}
