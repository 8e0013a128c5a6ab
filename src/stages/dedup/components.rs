//! Components of the neighbour graph over the threshold, and who stays of each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::histogram::Histogram;
use crate::ops::union_find::UnionFind;
use crate::stages::dedup::{Edge, Nodes};
use crate::stages::known::Table;
use crate::stages::task::Task;
use crate::table;
use crate::types::{ImageId, Reason, ShardId};

table! {
    /// What copy detection decided about a pool image.
    pub struct Group {
        /// Which image.
        pub id: ImageId,
        /// The lowest id of its component.
        pub component: ImageId,
        /// Images in the component, references included.
        pub size: u32,
        /// The image that stays in its place: most pixels, then most bytes, then lowest id. Against references: the lowest reference id.
        pub representative: Option<ImageId>,
        /// Cosine to the representative, where the two are near neighbours; null where only a chain links them.
        pub similarity: Option<f32>,
        /// Whether it goes on.
        pub kept: bool,
    }
}

table! {
    /// What decides who represents a component.
    pub struct Size {
        /// Which image.
        pub id: ImageId,
        /// Pixels.
        pub width: u32,
        /// Pixels.
        pub height: u32,
        /// Bytes of the file.
        pub size_bytes: u64,
    }
}

#[derive(Serialize, Deserialize)]
pub struct Common {
    pub nodes: Nodes,
    pub images: Table,
    pub edges: Table,
    pub relative: bool,
    pub threshold: f32,
}

/// A component of more than one image.
struct Component {
    size: u32,
    representative: Option<(Rank, ImageId)>,
}

/// How good an image is as a representative: lower is better.
type Rank = (Reverse<u64>, Reverse<u64>, ImageId);

/// Node numbers: every shard a range, as long as its highest row.
struct Numbering {
    bases: BTreeMap<ShardId, u32>,
    end: u32,
}

impl Numbering {
    fn of(&self, id: ImageId) -> Option<u32> {
        Some(self.bases.get(&id.shard())? + id.row())
    }
}

/// Decides about every pool image.
pub fn run(common: &Common, task: &mut Task) -> Result<()> {
    let numbering = number(common, task)?;
    let (mut links, linked) = link(common, &numbering, task)?;
    let mut components = found(common, &numbering, &mut links, task)?;
    choose(common, &numbering, &mut links, &mut components, task)?;
    let similarities = similarities(common, &numbering, &mut links, &components, task)?;
    let mut sizes = Histogram::powers_of_two(24);
    for component in components.values() {
        sizes.add(f64::from(component.size));
    }
    task.outcome.histograms.insert("component_size".into(), sizes);
    task.count("components", components.len() as u64);
    task.count("links", linked);
    task.outcome.facts.insert("threshold".into(), common.threshold.into());
    let reason = if common.relative { Reason::NearReference } else { Reason::NearDuplicate };
    for shard in &common.nodes.pool {
        let mut writer = task.rows("groups")?;
        for id in shard.ids(task)? {
            let root = numbering.of(id).map_or(0, |node| links.find(node));
            let group = match components.get(&root) {
                None => Group { id, component: id, size: 1, representative: None, similarity: None, kept: true },
                Some(component) => {
                    let representative = component.representative.map(|(_, id)| id);
                    let kept = if common.relative { representative.is_none() } else { representative == Some(id) };
                    let similarity = similarities.get(&id).copied();
                    Group {
                        id,
                        component: lowest(&numbering, root),
                        size: component.size,
                        representative,
                        similarity,
                        kept,
                    }
                }
            };
            task.outcome.rows_in += 1;
            if group.kept {
                task.outcome.rows_out += 1;
            } else {
                task.drop(reason, 1);
            }
            writer.push(group)?;
        }
        (task.progress)(shard.rows_at_most());
        let written = writer.finish()?;
        task.publish(written, "", Some(shard.shard()))?;
    }
    Ok(())
}

/// Gives every node a number below 2^32.
fn number(common: &Common, task: &Task) -> Result<Numbering> {
    let mut numbering = Numbering { bases: BTreeMap::new(), end: 0 };
    for shard in common.nodes.all() {
        let rows = shard.ids(task)?.iter().map(|id| id.row() + 1).max().unwrap_or(0);
        if rows > 0 {
            numbering.bases.insert(shard.shard(), numbering.end);
        }
        numbering.end = numbering.end.checked_add(rows).ok_or_else(|| {
            Error::usage("more than 4,294,967,295 rows in one dedup step", "split the pool into several steps")
        })?;
    }
    Ok(numbering)
}

/// Joins the ends of every edge over the threshold.
fn link(common: &Common, numbering: &Numbering, task: &Task) -> Result<(UnionFind, u64)> {
    let mut links = UnionFind::new(numbering.end);
    let mut linked = 0;
    task.for_each::<Edge>(&common.edges, |edge| {
        if edge.similarity >= common.threshold
            && let (Some(a), Some(b)) = (numbering.of(edge.id), numbering.of(edge.neighbour))
        {
            links.union(a, b);
            linked += 1;
        }
        Ok(())
    })?;
    Ok((links, linked))
}

/// The components of more than one image, by root.
fn found(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    task: &Task,
) -> Result<HashMap<u32, Component>> {
    let mut components = HashMap::new();
    for shard in common.nodes.all() {
        for id in shard.ids(task)? {
            let Some(node) = numbering.of(id) else { continue };
            let root = links.find(node);
            if root != node {
                components.entry(root).or_insert(Component { size: 1, representative: None }).size += 1;
            }
        }
    }
    Ok(components)
}

/// Chooses each component's representative: the best image, or its first reference.
fn choose(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    components: &mut HashMap<u32, Component>,
    task: &Task,
) -> Result<()> {
    let candidates = if common.relative { &common.nodes.references } else { &common.nodes.pool };
    for shard in candidates {
        let members = shard.ids(task)?;
        let Some(images) = common.images.of_shard(shard.shard()) else { continue };
        for batch in task.read::<Size>(images)? {
            for image in batch? {
                let Some(node) = numbering.of(image.id).filter(|_| members.binary_search(&image.id).is_ok()) else {
                    continue;
                };
                let Some(component) = components.get_mut(&links.find(node)) else { continue };
                let pixels = if common.relative { 0 } else { u64::from(image.width) * u64::from(image.height) };
                let bytes = if common.relative { 0 } else { image.size_bytes };
                let rank = (Reverse(pixels), Reverse(bytes), image.id);
                if component.representative.is_none_or(|(best, _)| rank < best) {
                    component.representative = Some((rank, image.id));
                }
            }
        }
    }
    Ok(())
}

/// The cosine of each image to its representative, where an edge says it.
fn similarities(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    components: &HashMap<u32, Component>,
    task: &Task,
) -> Result<HashMap<ImageId, f32>> {
    let mut similarities = HashMap::new();
    task.for_each::<Edge>(&common.edges, |edge| {
        let Some(node) = numbering.of(edge.id) else { return Ok(()) };
        let root = links.find(node);
        let representative = components.get(&root).and_then(|component| component.representative);
        if let Some((_, representative)) = representative {
            let same = numbering.of(edge.neighbour).is_some_and(|node| links.find(node) == root);
            for (member, other) in [(edge.id, edge.neighbour), (edge.neighbour, edge.id)] {
                if same && other == representative {
                    similarities.insert(member, edge.similarity);
                }
            }
        }
        Ok(())
    })?;
    Ok(similarities)
}

/// The id of a node.
fn lowest(numbering: &Numbering, node: u32) -> ImageId {
    let before = numbering.bases.iter().filter(|(_, base)| **base <= node).max_by_key(|(_, base)| **base);
    before.map_or(ImageId(0), |(shard, base)| shard.image(node - base))
}
