//! The images as nodes of a graph, and who of them goes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::stages::dedup::components::Common;
use crate::stages::dedup::greedy::{self, Image, Link, Question};
use crate::stages::dedup::rank::Rank;
use crate::stages::dedup::{Edge, Linkage, whiten};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, ShardId};
use lvd_kernels::dot::{to_f16, to_f32};
use lvd_ops::union_find::UnionFind;

/// Node numbers: every shard a range, as long as its highest row.
pub struct Numbering {
    bases: BTreeMap<ShardId, u32>,
    shards: BTreeMap<u32, ShardId>,
    end: u32,
}

impl Numbering {
    /// Gives every node a number below 2^32.
    pub fn new(common: &Common, task: &Task) -> Result<Self> {
        let mut numbering = Self { bases: BTreeMap::new(), shards: BTreeMap::new(), end: 0 };
        for member in common.nodes.all() {
            let rows = member.shard.ids(task)?.last().map_or(0, |id| id.row() + 1);
            if rows > 0 {
                numbering.bases.insert(member.shard.shard(), numbering.end);
                numbering.shards.insert(numbering.end, member.shard.shard());
            }
            numbering.end = numbering.end.checked_add(rows).ok_or_else(|| {
                Error::usage("more than 4,294,967,295 rows in one dedup step", "split the pool into several steps")
            })?;
        }
        Ok(numbering)
    }

    /// The node of an image that takes part.
    pub fn of(&self, id: ImageId) -> Option<u32> {
        Some(self.bases.get(&id.shard())? + id.row())
    }

    /// The nodes of a shard.
    fn of_shard(&self, shard: ShardId) -> Range<u32> {
        let Some(&base) = self.bases.get(&shard) else { return 0..0 };
        base..self.shards.range(base + 1..).next().map_or(self.end, |(&next, _)| next)
    }

    /// The image of a node.
    pub fn image(&self, node: u32) -> ImageId {
        let before = self.shards.range(..=node).next_back();
        before.map_or(ImageId(0), |(base, shard)| shard.image(node - base))
    }
}

/// The components of the pairs over the threshold, and how many pairs were needed for them.
pub fn link(common: &Common, numbering: &Numbering, task: &Task) -> Result<(UnionFind, u64)> {
    let mut links = UnionFind::new(numbering.end);
    let mut linked = 0;
    over_threshold(common, numbering, task, |edge, a, b| {
        if edge.tree && links.find(a) != links.find(b) {
            links.union(a, b);
            linked += 1;
        }
    })?;
    Ok((links, linked))
}

/// Sizes of the components of more than one image, by root.
pub fn sizes(common: &Common, numbering: &Numbering, links: &mut UnionFind, task: &Task) -> Result<HashMap<u32, u32>> {
    let mut sizes = HashMap::new();
    for member in common.nodes.all() {
        for id in member.shard.ids(task)? {
            let Some(node) = numbering.of(id) else { continue };
            let root = links.find(node);
            if root != node {
                *sizes.entry(root).or_insert(1) += 1;
            }
        }
    }
    Ok(sizes)
}

/// In whose place an image goes, and their cosine where it is known.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    pub instead: u32,
    pub similarity: Option<f32>,
}

/// Who goes, by node. `best` is the highest-ranked image of each component; `ranks` has every linked image that may stay.
pub fn decide(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &mut Task,
) -> Result<HashMap<u32, Gone>> {
    match common.linkage {
        Linkage::Component => decide_by_component(common, numbering, links, ranks, task),
        Linkage::Representative | Linkage::Earlier => decide_by_links(common, numbering, links, ranks, task),
    }
}

fn decide_by_component(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &Task,
) -> Result<HashMap<u32, Gone>> {
    let mut best: HashMap<u32, (Rank, u32)> = HashMap::new();
    for (&node, &rank) in ranks {
        let first = best.entry(links.find(node)).or_insert((rank, node));
        *first = (*first).min((rank, node));
    }
    let mut gone = HashMap::new();
    for member in &common.nodes.pool {
        for id in member.shard.ids(task)? {
            let Some(node) = numbering.of(id) else { continue };
            if let Some(&(_, instead)) =
                best.get(&links.find(node)).filter(|(_, best)| *best != node && !member.settled)
            {
                gone.insert(node, Gone { instead, similarity: None });
            }
        }
    }
    each_edge(common, numbering, task, |edge, a, b| {
        for (node, other) in [(a, b), (b, a)] {
            if let Some(gone) = gone.get_mut(&node).filter(|gone| gone.instead == other) {
                gone.similarity = Some(edge.similarity);
            }
        }
    })?;
    Ok(gone)
}

/// An image goes if it is linked to a higher-ranked one: to one that stays, or to any.
fn decide_by_links(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &mut Task,
) -> Result<HashMap<u32, Gone>> {
    let mut order: Vec<(u32, Rank, u32)> = ranks.iter().map(|(&node, &rank)| (links.find(node), rank, node)).collect();
    order.sort_unstable();
    let image = |&(root, rank, node): &(u32, Rank, u32)| Image { node, root, settled: rank.settled() };
    let images: Vec<Image> = order.iter().map(image).collect();
    let places: HashMap<u32, u32> = images.iter().map(|image| image.node).zip(0..).collect();
    let mut known: Vec<Link> = Vec::new();
    over_threshold(common, numbering, task, |edge, from, to| {
        if let (Some(&from), Some(&to)) = (places.get(&from), places.get(&to)) {
            known.push(Link { from, to, similarity: edge.similarity, star: edge.star });
        }
    })?;
    let question = Question {
        images: &images,
        threshold: common.threshold,
        neighbours: common.neighbours,
        by_any: common.linkage == Linkage::Earlier,
        held_rows: usize::try_from(common.held_rows).unwrap_or(usize::MAX),
    };
    let mut read = |wanted: &dyn Fn(u32) -> bool, each: &mut dyn FnMut(u32, &[f32])| {
        read_vectors(common, numbering, wanted, each, task)
    };
    let (gone, compared) = greedy::decide(&question, known, &mut read)?;
    task.count("compared_again", compared);
    let node = |place: u32| images[place as usize].node;
    let gone = images.iter().zip(gone).filter_map(|(image, gone)| Some((image.node, gone?)));
    Ok(gone.map(|(image, gone)| (image, Gone { instead: node(gone.instead), ..gone })).collect())
}

/// Reads the vectors of some nodes of the pool as the join compared them.
pub fn read_vectors(
    common: &Common,
    numbering: &Numbering,
    wanted: &dyn Fn(u32) -> bool,
    each: &mut dyn FnMut(u32, &[f32]),
    task: &Task,
) -> Result<()> {
    let whitening = whiten::read(common.whitening.as_ref(), task)?;
    for member in &common.nodes.pool {
        if !numbering.of_shard(member.shard.shard()).any(wanted) {
            continue;
        }
        for block in member.shard.whitened(whitening.as_ref()).blocks(task)? {
            let block = block?;
            for (row, &id) in block.ids.iter().enumerate() {
                if let Some(node) = numbering.of(id).filter(|&node| wanted(node)) {
                    each(node, &to_f32(&to_f16(block.row(row))));
                }
            }
        }
    }
    Ok(())
}

fn each_edge(common: &Common, numbering: &Numbering, task: &Task, mut each: impl FnMut(&Edge, u32, u32)) -> Result<()> {
    task.for_each::<Edge>(&common.edges, |edge| {
        if let (Some(a), Some(b)) = (numbering.of(edge.id), numbering.of(edge.neighbour)) {
            each(&edge, a, b);
        }
        Ok(())
    })
}

fn over_threshold(
    common: &Common,
    numbering: &Numbering,
    task: &Task,
    mut each: impl FnMut(&Edge, u32, u32),
) -> Result<()> {
    each_edge(common, numbering, task, |edge, a, b| {
        if edge.similarity >= common.threshold {
            each(edge, a, b);
        }
    })
}
