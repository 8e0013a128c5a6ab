//! Which pool images each seed set gets: merged neighbours, drawn cluster members, collisions
//! settled, and the cap.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::stages::cluster::{Assigned, Node};
use crate::stages::plan::broken;
use crate::stages::pool::VectorShard;
use crate::stages::retrieve::next::{Further, Got, Matching};
use crate::stages::retrieve::rules::{CapDraw, Collisions, Method, SetRule};
use crate::stages::retrieve::search::SeedNeighbour;
use crate::stages::table::{Part, Table};
use crate::stages::task::{Headway, Task};
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Neighbour, Reason};
use lvd_io::table;
use lvd_kernels::hash::Draw;
use lvd_ops::histogram::Histogram;
use lvd_ops::top_k::TopK;

table! {
    /// A pool image retrieved for a seed set.
    pub struct Retrieved {
        /// The pool image.
        pub id: ImageId,
        /// The seed source it was retrieved for.
        pub seed_set: String,
        /// `sample` or `cluster`.
        pub method: String,
        /// The seed image it is most like, for `sample`.
        pub seed_id: Option<ImageId>,
        /// Its rank among that seed's neighbours, 1 for the nearest, for `sample`; null where
        /// `collisions = "next"` looked further than four times `k`.
        pub rank: Option<u32>,
        /// Cosine to that seed image, for `sample`.
        pub similarity: Option<f32>,
        /// The cluster it was drawn from, of the set's `level`, for `cluster`.
        pub cluster: Option<u32>,
        /// How often it counts: 1, or with `collisions = "twice"` the number of the set's seeds
        /// that found it.
        pub times: u32,
    }
}

#[derive(Serialize, Deserialize)]
pub struct Set {
    pub name: String,
    pub dataset: u16,
    pub rule: SetRule,
    pub found: Table,
    /// Its images, where they may have to look further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<VectorShard>,
}

#[derive(Serialize, Deserialize)]
pub struct CollectCommon {
    pub sets: Vec<Set>,
    pub assigned: Option<Table>,
    pub tree: Option<Table>,
    pub pool_sources: Vec<u16>,
    pub collisions: Collisions,
    /// What there is to find, where seeds may have to look further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pool: Vec<VectorShard>,
    /// Cosine from which an image is a copy of the seed, for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f32>,
    pub seed: u64,
}

/// Cosine with its seed under which an image has little to do with it, for the encoders that are
/// known here.
const FAR: f32 = 0.5;

/// An image that a set may get.
struct Candidate {
    row: Retrieved,
    /// Its place among those of its seed or cluster.
    place: u64,
    /// How far it is from its seed or centroid.
    distance: f32,
}

/// What a set was offered, an image at most once.
#[derive(Default)]
struct Offer {
    candidates: BTreeMap<ImageId, Candidate>,
    /// Images that were found again, by another seed or set, and do not count for it.
    collided: u64,
}

/// Serves the sets in order.
pub fn run(common: &CollectCommon, task: &mut Task) -> Result<()> {
    let mut taken: HashSet<ImageId> = HashSet::new();
    let mut similarities = Histogram::linear(-1.0, 1.0, 80);
    let mut writer = task.rows("retrieved")?;
    for set in &common.sets {
        let draw = Draw::new(common.seed, "retrieve").within(u64::from(set.dataset));
        let Offer { candidates, collided } = match set.rule.method {
            Method::Sample if common.collisions == Collisions::Next => matched(set, common, &taken, task)?,
            Method::Sample => sampled(set, common.collisions, &taken, task)?,
            Method::Cluster => clustered(set, common, draw, &taken, task)?,
        };
        let offered = candidates.len() as u64;
        let kept = capped(candidates, &set.rule, draw);
        task.outcome.rows_in += offered + collided;
        task.outcome.rows_out += kept.len() as u64;
        task.drop(Reason::AlreadyTaken, collided);
        task.drop(Reason::OverCap, offered - kept.len() as u64);
        if offered == 0 {
            let warning = format!("nothing was retrieved for seed set {:?}", set.name);
            task.outcome.warnings.insert(warning);
        }
        let nearest = kept.values().filter_map(|row| row.similarity).max_by(f32::total_cmp);
        if let Some(nearest) = nearest.filter(|&nearest| nearest < FAR) {
            task.outcome.warnings.insert(format!(
                "no image found for seed set {:?} has a cosine over {nearest:.2} with its seed: does the pool hold anything \
                 like it? look at them, and set `min_similarity`",
                set.name
            ));
        }
        let times: u64 = kept.values().map(|row| u64::from(row.times)).sum();
        task.count(&format!("retrieved_for_{}", set.name), times);
        (task.progress)(Headway::Done(offered + collided));
        for (id, row) in kept {
            if common.collisions != Collisions::Twice {
                taken.insert(id);
            }
            row.similarity.into_iter().for_each(|similarity| similarities.add(f64::from(similarity)));
            writer.push(row)?;
        }
    }
    task.outcome.histograms.insert("seed_similarity".into(), similarities);
    let written = writer.finish()?;
    task.publish(written, "", None)
}

/// As many images as the cap allows, counted as often as they count.
fn capped(candidates: BTreeMap<ImageId, Candidate>, rule: &SetRule, draw: Draw) -> BTreeMap<ImageId, Retrieved> {
    let total: u64 = candidates.values().map(|candidate| u64::from(candidate.row.times)).sum();
    let mut order: Vec<(u64, u64, ImageId)> = Vec::new();
    let cap = rule.cap.unwrap_or(u64::MAX);
    if total > cap {
        order.extend(candidates.iter().map(|(&id, candidate)| {
            let first = match rule.cap_draw {
                CapDraw::Random => 0,
                CapDraw::Even => candidate.place,
                // Not negative: the bits are in the order of the numbers.
                CapDraw::Nearest => u64::from(candidate.distance.max(0.0).to_bits()),
            };
            (first, draw.bits(id.0), id)
        }));
        order.sort_unstable();
    } else {
        order.extend(candidates.keys().map(|&id| (0, 0, id)));
    }
    let mut candidates = candidates;
    let (mut left, mut kept) = (cap, BTreeMap::new());
    for (_, _, id) in order {
        let Some(Candidate { mut row, .. }) = candidates.remove(&id).filter(|_| left > 0) else { continue };
        row.times = row.times.min(u32::try_from(left).unwrap_or(u32::MAX));
        left -= u64::from(row.times);
        kept.insert(id, row);
    }
    kept
}

/// The nearest of every seed image that has any.
fn nearest(set: &Set, depth: usize, task: &Task) -> Result<BTreeMap<ImageId, TopK>> {
    let mut tops: BTreeMap<ImageId, TopK> = BTreeMap::new();
    task.for_each::<SeedNeighbour>(&set.found, |row| {
        let top = tops.entry(row.seed_id).or_insert_with(|| TopK::new(depth));
        top.push(Neighbour { similarity: row.similarity, id: row.id });
        Ok(())
    })?;
    Ok(tops)
}

impl Set {
    fn row(&self, neighbour: Neighbour, seed_id: ImageId, rank: Option<u32>) -> Retrieved {
        Retrieved {
            id: neighbour.id,
            seed_set: self.name.clone(),
            method: self.rule.method.name().into(),
            seed_id: Some(seed_id),
            rank,
            similarity: Some(neighbour.similarity),
            cluster: None,
            times: 1,
        }
    }
}

/// The k nearest of every seed image that no other has, however far away they are.
fn matched(set: &Set, common: &CollectCommon, taken: &HashSet<ImageId>, task: &mut Task) -> Result<Offer> {
    let k = set.rule.k as usize;
    let depth = set.rule.depth(common.collisions);
    let mut matching = Matching::new(k, depth, nearest(set, depth, task)?, taken);
    let wanted = set.rule.wanted(depth, common.ceiling.unwrap_or(f32::INFINITY));
    matching.settle(&Further { seeds: &set.seeds, pool: &common.pool, wanted }, task)?;
    let seeds: u64 = set.seeds.iter().map(VectorShard::rows_at_most).sum();
    let unserved = seeds.saturating_sub(matching.seeds.len() as u64);
    let (wanted, missing) = (seeds * k as u64, matching.missing() + unserved * k as u64);
    task.count(&format!("missing_for_{}", set.name), missing);
    if missing > 0 {
        task.outcome.warnings.insert(format!(
            "seed set {:?} got {} images, {missing} fewer than {k} for each of its {seeds}: the pool has no others{}",
            set.name,
            wanted - missing,
            if set.rule.min_similarity.is_some() { " from `min_similarity` on" } else { "" },
        ));
    }
    let mut offer = Offer { collided: matching.lost, ..Offer::default() };
    let mut got: Vec<(Neighbour, Got)> = Vec::with_capacity(matching.got.len());
    got.extend(matching.got.iter().map(|(&id, &got)| (Neighbour { similarity: got.similarity, id }, got)));
    got.sort_unstable_by_key(|(neighbour, _)| *neighbour);
    let mut places: HashMap<usize, u64> = HashMap::new();
    for (neighbour, Got { seed, rank, .. }) in got {
        let place = places.entry(seed).or_default();
        let (row, distance) = (set.row(neighbour, matching.seeds[seed].id, rank), 1.0 - neighbour.similarity);
        offer.candidates.insert(neighbour.id, Candidate { row, place: *place, distance });
        *place += 1;
    }
    Ok(offer)
}

/// The k nearest of every seed image, those that several have once or for each.
fn sampled(set: &Set, collisions: Collisions, taken: &HashSet<ImageId>, task: &mut Task) -> Result<Offer> {
    let k = set.rule.k as usize;
    let tops = nearest(set, k, task)?;
    let mut pairs: Vec<(Neighbour, ImageId, u32)> = Vec::new();
    for (seed_id, top) in &tops {
        pairs.extend(top.best().iter().copied().zip(1..).map(|(neighbour, rank)| (neighbour, *seed_id, rank)));
    }
    // The most similar pair comes first, whichever seed it is of.
    pairs.sort_unstable();
    let mut offer = Offer::default();
    let mut served: HashMap<ImageId, u64> = HashMap::new();
    for (neighbour, seed_id, rank) in pairs {
        let has = served.entry(seed_id).or_default();
        let row = set.row(neighbour, seed_id, Some(rank));
        let again = offer.candidates.get_mut(&neighbour.id);
        match (collisions, again) {
            (Collisions::Twice, Some(candidate)) => candidate.row.times += 1,
            (_, Some(_)) => offer.collided += 1,
            (_, None) if taken.contains(&neighbour.id) => offer.collided += 1,
            (_, None) => {
                let (place, distance) = (*has, 1.0 - neighbour.similarity);
                offer.candidates.insert(neighbour.id, Candidate { row, place, distance });
            }
        }
        // A place that was lost is a place.
        *has += 1;
    }
    Ok(offer)
}

/// `per_cluster` images of every cluster with more than `more_than` of the set's, drawn by the hash
/// of their ids.
fn clustered(
    set: &Set,
    common: &CollectCommon,
    draw: Draw,
    taken: &HashSet<ImageId>,
    task: &mut Task,
) -> Result<Offer> {
    let (mut pool, mut seeds): (Vec<Part>, Vec<Part>) = (Vec::new(), Vec::new());
    for part in common.assigned.iter().flat_map(|table| &table.parts) {
        let dataset = part.shard.map(lvd_base::types::ShardId::dataset);
        if dataset == Some(set.dataset) {
            seeds.push(part.clone());
        } else if dataset.is_some_and(|dataset| common.pool_sources.contains(&dataset)) {
            pool.push(part.clone());
        }
    }
    let above = above(set, common.tree.as_ref(), task)?;
    let cluster_of = |row: &Assigned| above.as_ref().map_or(row.cluster, |above| above[row.cluster as usize]);
    let mut counts: HashMap<u32, u32> = HashMap::new();
    task.for_each::<Assigned>(&Table { parts: seeds }, |row| {
        *counts.entry(cluster_of(&row)).or_default() += 1;
        Ok(())
    })?;
    counts.retain(|_, count| *count > set.rule.more_than);
    task.count(&format!("clusters_of_{}", set.name), counts.len() as u64);
    let mut drawn: BTreeMap<u32, BinaryHeap<(u64, ImageId, u32)>> = BTreeMap::new();
    task.for_each::<Assigned>(&Table { parts: pool }, |row| {
        let cluster = cluster_of(&row);
        let free = common.collisions != Collisions::Next || !taken.contains(&row.id);
        if counts.contains_key(&cluster) && free {
            let heap = drawn.entry(cluster).or_default();
            heap.push((draw.bits(row.id.0), row.id, row.distance.to_bits()));
            if heap.len() > set.rule.per_cluster as usize {
                heap.pop();
            }
        }
        Ok(())
    })?;
    let mut offer = Offer::default();
    for (cluster, heap) in drawn {
        for ((_, id, distance), place) in heap.into_sorted_vec().into_iter().zip(0..) {
            if taken.contains(&id) {
                offer.collided += 1;
                continue;
            }
            let row = Retrieved {
                id,
                seed_set: set.name.clone(),
                method: set.rule.method.name().into(),
                seed_id: None,
                rank: None,
                similarity: None,
                cluster: Some(cluster),
                times: 1,
            };
            let distance = f32::from_bits(distance);
            offer.candidates.insert(id, Candidate { row, place, distance });
        }
    }
    Ok(offer)
}

/// For every level-1 cluster the cluster of the set's level that holds it; `None` for level 1
/// itself.
fn above(set: &Set, tree: Option<&Table>, task: &Task) -> Result<Option<Vec<u32>>> {
    let (Some(tree), true) = (tree, set.rule.level > 1) else { return Ok(None) };
    let mut parents: Vec<Vec<Option<u32>>> = Vec::new();
    task.for_each::<Node>(tree, |node| {
        parents.resize_with(parents.len().max(node.level as usize), Vec::new);
        parents[node.level as usize - 1].push(node.parent);
        Ok(())
    })?;
    if set.rule.level as usize > parents.len() {
        let message = format!(
            "set {:?} wants clusters of level {}, there are {} levels",
            set.name,
            set.rule.level,
            parents.len()
        );
        return Err(Error::usage(message, "lower `level`, or add a level to `clusters` of the cluster step"));
    }
    let mut above: Vec<u32> = (0..).take(parents[0].len()).collect();
    for level in &parents[..set.rule.level as usize - 1] {
        for cluster in &mut above {
            let parent = level.get(*cluster as usize).copied().flatten();
            *cluster = parent.ok_or_else(|| broken(format!("cluster {cluster} of the tree has no parent")))?;
        }
    }
    Ok(Some(above))
}
