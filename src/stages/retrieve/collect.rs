//! Which pool images each seed set gets: merged neighbours, drawn cluster members, and nothing counted twice.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ops::hash::Draw;
use crate::ops::histogram::Histogram;
use crate::ops::top_k::TopK;
use crate::stages::cluster::Assigned;
use crate::stages::known::{Part, Table};
use crate::stages::retrieve::search::Found;
use crate::stages::retrieve::{Method, SetRule};
use crate::stages::task::Task;
use crate::table;
use crate::types::{ImageId, Neighbour, Reason};

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
        /// Its rank among that seed's neighbours, 1 for the nearest, for `sample`.
        pub rank: Option<u32>,
        /// Cosine to that seed image, for `sample`.
        pub similarity: Option<f32>,
        /// The cluster it was drawn from, for `cluster`.
        pub cluster: Option<u32>,
    }
}

#[derive(Serialize, Deserialize)]
pub struct Set {
    pub name: String,
    pub dataset: u16,
    pub rule: SetRule,
}

#[derive(Serialize, Deserialize)]
pub struct Common {
    pub sets: Vec<Set>,
    pub found: Table,
    pub assigned: Option<Table>,
    pub pool_sources: Vec<u16>,
    pub seed: u64,
}

/// Serves the sets in order.
pub fn run(common: &Common, task: &mut Task) -> Result<()> {
    let mut taken: HashSet<ImageId> = HashSet::new();
    let mut similarities = Histogram::linear(-1.0, 1.0, 80);
    let mut writer = task.rows("retrieved")?;
    for set in &common.sets {
        let draw = Draw::new(common.seed, "retrieve").within(u64::from(set.dataset));
        let candidates = match set.rule.method {
            Method::Sample => sampled(set, &common.found, task)?,
            Method::Cluster => clustered(set, common, draw, task)?,
        };
        let all = candidates.len() as u64;
        // One row an image: the first in the order of the candidates stands.
        let mut fresh: BTreeMap<ImageId, Retrieved> = BTreeMap::new();
        for candidate in candidates.into_iter().filter(|candidate| !taken.contains(&candidate.id)) {
            fresh.entry(candidate.id).or_insert(candidate);
        }
        let new = fresh.len() as u64;
        let mut order: Vec<ImageId> = fresh.keys().copied().collect();
        order.sort_unstable_by_key(|id| (draw.bits(id.0), *id));
        for id in order.split_off(order.len().min(usize::try_from(set.rule.cap).unwrap_or(usize::MAX))) {
            fresh.remove(&id);
        }
        task.outcome.rows_in += all;
        task.outcome.rows_out += fresh.len() as u64;
        task.drop(Reason::AlreadyTaken, all - new);
        task.drop(Reason::OverCap, new - fresh.len() as u64);
        task.count(&format!("retrieved_for_{}", set.name), fresh.len() as u64);
        (task.progress)(all);
        for (id, row) in fresh {
            taken.insert(id);
            row.similarity.into_iter().for_each(|similarity| similarities.add(f64::from(similarity)));
            writer.push(row)?;
        }
    }
    task.outcome.histograms.insert("seed_similarity".into(), similarities);
    let written = writer.finish()?;
    task.publish(written, "", None)
}

/// The k nearest of every seed image, nearest first.
fn sampled(set: &Set, found: &Table, task: &Task) -> Result<Vec<Retrieved>> {
    let mut tops: BTreeMap<ImageId, TopK> = BTreeMap::new();
    task.for_each::<Found>(found, |row| {
        if row.set == u32::from(set.dataset) {
            let top = tops.entry(row.seed_id).or_insert_with(|| TopK::new(set.rule.k as usize));
            top.push(Neighbour { similarity: row.similarity, id: row.id });
        }
        Ok(())
    })?;
    let mut candidates: Vec<(Neighbour, ImageId, u32)> = Vec::new();
    for (seed_id, top) in tops {
        candidates.extend(top.into_sorted().into_iter().zip(1..).map(|(neighbour, rank)| (neighbour, seed_id, rank)));
    }
    candidates.sort_unstable();
    let row = |(neighbour, seed_id, rank): (Neighbour, ImageId, u32)| Retrieved {
        id: neighbour.id,
        seed_set: set.name.clone(),
        method: set.rule.method.name().into(),
        seed_id: Some(seed_id),
        rank: Some(rank),
        similarity: Some(neighbour.similarity),
        cluster: None,
    };
    Ok(candidates.into_iter().map(row).collect())
}

/// `per_cluster` images of every cluster with more than `more_than` of the set's, drawn by the hash of their ids.
fn clustered(set: &Set, common: &Common, draw: Draw, task: &mut Task) -> Result<Vec<Retrieved>> {
    let (mut pool, mut seeds): (Vec<Part>, Vec<Part>) = (Vec::new(), Vec::new());
    for part in common.assigned.iter().flat_map(|table| &table.parts) {
        let dataset = part.shard.map(crate::types::ShardId::dataset);
        if dataset == Some(set.dataset) {
            seeds.push(part.clone());
        } else if dataset.is_some_and(|dataset| common.pool_sources.contains(&dataset)) {
            pool.push(part.clone());
        }
    }
    let mut counts: HashMap<u32, u32> = HashMap::new();
    task.for_each::<Assigned>(&Table { parts: seeds }, |row| {
        *counts.entry(row.cluster).or_default() += 1;
        Ok(())
    })?;
    counts.retain(|_, count| *count > set.rule.more_than);
    task.count(&format!("clusters_of_{}", set.name), counts.len() as u64);
    let mut drawn: BTreeMap<u32, BinaryHeap<(u64, ImageId)>> = BTreeMap::new();
    task.for_each::<Assigned>(&Table { parts: pool }, |row| {
        if counts.contains_key(&row.cluster) {
            let heap = drawn.entry(row.cluster).or_default();
            heap.push((draw.bits(row.id.0), row.id));
            if heap.len() > set.rule.per_cluster as usize {
                heap.pop();
            }
        }
        Ok(())
    })?;
    let row = |cluster: u32, id: ImageId| Retrieved {
        id,
        seed_set: set.name.clone(),
        method: set.rule.method.name().into(),
        seed_id: None,
        rank: None,
        similarity: None,
        cluster: Some(cluster),
    };
    let rows = drawn
        .into_iter()
        .flat_map(|(cluster, heap)| heap.into_sorted_vec().into_iter().map(move |(_, id)| (cluster, id)));
    Ok(rows.map(|(cluster, id)| row(cluster, id)).collect())
}
