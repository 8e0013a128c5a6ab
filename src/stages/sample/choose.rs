//! The choice itself: seeds, then retrieved, then balanced, each image for one reason.

use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::error::{Error, Result};
use crate::ops::allocate::share_tree;
use crate::ops::hash::Draw;
use crate::stages::cluster::{Assigned, Node};
use crate::stages::known::{Part, Table};
use crate::stages::pool::kept_ids;
use crate::stages::retrieve::Retrieved;
use crate::stages::sample::{Common, Shard};
use crate::stages::task::Task;
use crate::table;
use crate::types::{ImageId, Reason, ShardId};

table! {
    /// An image of the data set, and why it is in it.
    pub struct Sampled {
        /// Which image.
        pub id: ImageId,
        /// How often it is to be used.
        pub copies: u32,
        /// `seed`, `retrieved` or `balanced`.
        pub why: String,
        /// The seed source it belongs to or was retrieved for.
        pub seed_set: Option<String>,
        /// The seed image it is most like, where it was retrieved by similarity.
        pub seed_id: Option<ImageId>,
        /// Cosine to that seed image.
        pub similarity: Option<f32>,
        /// Its level-1 cluster, where it was drawn from one.
        pub cluster: Option<u32>,
    }
}

/// The chosen images so far.
type Chosen = HashMap<ImageId, Sampled>;

/// Chooses the data set.
pub fn run(common: &Common, task: &mut Task) -> Result<()> {
    let draw = Draw::new(common.seed, "sample");
    let mut chosen = Chosen::new();
    for shard in &common.shards {
        let Some(set) = &shard.seed_set else { continue };
        for id in kept_ids(task, &shard.selection)? {
            chosen.insert(id, Sampled { seed_set: Some(set.clone()), ..plain(id, "seed") });
        }
    }
    let seeds = chosen.len() as u64;
    let room = common.target.checked_sub(seeds).ok_or_else(|| {
        let message = format!("the seed sets hold {seeds} images, more than the target of {}", common.target);
        Error::usage(message, "raise `target`, or name fewer sets in `seeds`")
    })?;
    let over_target = take_retrieved(common, room, draw, &mut chosen, task)?;
    let retrieved = chosen.len() as u64 - seeds;
    let over_target = over_target.len() as u64;
    let drawn = take_balanced(common, room - retrieved, draw, &mut chosen, task)?;
    let size: u64 = chosen.values().map(|row| u64::from(row.copies)).sum();
    for (counter, n) in [("seed", seeds), ("retrieved", retrieved), ("balanced", drawn), ("size", size)] {
        task.count(counter, n);
    }
    task.count("shortfall", common.target - size.min(common.target));
    write(common, &chosen, task)?;
    let dropped = task.outcome.rows_in - task.outcome.rows_out;
    task.drop(Reason::OverTarget, over_target.min(dropped));
    task.drop(Reason::NotDrawn, dropped - over_target.min(dropped));
    Ok(())
}

fn plain(id: ImageId, why: &str) -> Sampled {
    Sampled { id, copies: 1, why: why.into(), seed_set: None, seed_id: None, similarity: None, cluster: None }
}

/// Takes what was retrieved, or as much as there is room for, drawn by hash. Returns what there was no room for.
fn take_retrieved(
    common: &Common,
    room: u64,
    draw: Draw,
    chosen: &mut Chosen,
    task: &mut Task,
) -> Result<Vec<ImageId>> {
    let mut rows: Vec<Retrieved> = Vec::new();
    for part in &common.retrieved {
        rows.extend(task.read_all::<Retrieved>(part)?);
    }
    rows.retain(|row| !chosen.contains_key(&row.id));
    let retrieved: HashSet<ImageId> = rows.iter().map(|row| row.id).collect();
    let mut in_pool = HashSet::new();
    for shard in common.shards.iter().filter(|shard| shard.seed_set.is_none()) {
        in_pool.extend(kept_ids(task, &shard.selection)?.into_iter().filter(|id| retrieved.contains(id)));
    }
    task.count("retrieved_outside_the_pool", (retrieved.len() - in_pool.len()) as u64);
    rows.retain(|row| in_pool.contains(&row.id));
    let draw = draw.within(1);
    rows.sort_unstable_by_key(|row| (draw.bits(row.id.0), row.id));
    let left_out = rows.split_off(rows.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
    for row in rows {
        let Retrieved { id, seed_set, seed_id, similarity, cluster, .. } = row;
        chosen.insert(id, Sampled { seed_set: Some(seed_set), seed_id, similarity, cluster, ..plain(id, "retrieved") });
    }
    Ok(left_out.into_iter().map(|row| row.id).collect())
}

/// Fills the room that is left from the clusters, evenly. Returns how many images that took.
fn take_balanced(common: &Common, room: u64, draw: Draw, chosen: &mut Chosen, task: &Task) -> Result<u64> {
    let before = chosen.len();
    let copies = u64::from(common.max_copies);
    let parents = parents(&common.tree, task)?;
    let mut sizes: Vec<u64> = vec![0; parents.first().map_or(1, Vec::len)];
    for_each_candidate(common, chosen, task, &mut |_, cluster, _| sizes[cluster as usize] += 1)?;
    let capacity: Vec<u64> = sizes.iter().map(|&size| size * copies).collect();
    let shares = share_tree(&capacity, &parents[..parents.len().saturating_sub(1)], room, draw.within(2));
    // Every image of a cluster goes in `share / size` times; what is left of the share is drawn, best key first.
    let draw = draw.within(3);
    let mut heaps: Vec<BinaryHeap<(u64, ImageId)>> = vec![BinaryHeap::new(); sizes.len()];
    let mut whole: Vec<Sampled> = Vec::new();
    let clustered = !common.assigned.is_empty();
    for_each_candidate(common, chosen, task, &mut |id, cluster, distance| {
        let (share, size) = (shares[cluster as usize], sizes[cluster as usize]);
        if share >= size {
            let copies = u32::try_from(share / size).unwrap_or(u32::MAX);
            whole.push(Sampled { copies, cluster: clustered.then_some(cluster), ..plain(id, "balanced") });
        }
        let heap = &mut heaps[cluster as usize];
        let key = if common.closest { u64::from(distance.to_bits()) } else { draw.bits(id.0) };
        heap.push((key, id));
        if heap.len() as u64 > share % size {
            heap.pop();
        }
    })?;
    chosen.extend(whole.into_iter().map(|row| (row.id, row)));
    for (heap, cluster) in heaps.into_iter().zip(0u32..) {
        for (_, id) in heap {
            let fresh = || Sampled { copies: 0, cluster: clustered.then_some(cluster), ..plain(id, "balanced") };
            chosen.entry(id).or_insert_with(fresh).copies += 1;
        }
    }
    Ok((chosen.len() - before) as u64)
}

/// The parents of each level's clusters, the finest level first; empty at the top.
fn parents(tree: &[Part], task: &Task) -> Result<Vec<Vec<u32>>> {
    let mut levels: Vec<Vec<u32>> = Vec::new();
    task.for_each::<Node>(&Table { parts: tree.to_vec() }, |node| {
        levels.resize_with(levels.len().max(node.level as usize), Vec::new);
        levels[node.level as usize - 1].push(node.parent.unwrap_or(0));
        Ok(())
    })?;
    Ok(levels)
}

/// Calls `each` with id, cluster and distance of every pool image that is not chosen yet.
fn for_each_candidate(
    common: &Common,
    chosen: &Chosen,
    task: &Task,
    each: &mut dyn FnMut(ImageId, u32, f32),
) -> Result<()> {
    for shard in common.shards.iter().filter(|shard| shard.seed_set.is_none()) {
        let pool = kept_ids(task, &shard.selection)?;
        let free = |id: &ImageId| !chosen.contains_key(id);
        if common.assigned.is_empty() {
            pool.iter().filter(|id| free(id)).for_each(|&id| each(id, 0, 0.0));
            continue;
        }
        for part in common.assigned.iter().filter(|part| part.shard == shard.selection.shard) {
            for batch in task.read::<Assigned>(part)? {
                let rows = batch?;
                let rows = rows.iter().filter(|row| free(&row.id) && pool.binary_search(&row.id).is_ok());
                rows.for_each(|row| each(row.id, row.cluster, row.distance));
            }
        }
    }
    Ok(())
}

/// Writes the choice shard by shard.
fn write(common: &Common, chosen: &Chosen, task: &mut Task) -> Result<()> {
    for Shard { selection, .. } in &common.shards {
        let mut writer = task.rows::<Sampled>("sampled")?;
        let ids = kept_ids(task, selection)?;
        task.outcome.rows_in += ids.len() as u64;
        for row in ids.iter().filter_map(|id| chosen.get(id)) {
            task.outcome.rows_out += 1;
            writer.push(row.clone())?;
        }
        (task.progress)(ids.len() as u64);
        let shard: Option<ShardId> = selection.shard;
        let written = writer.finish()?;
        task.publish(written, "", shard)?;
    }
    Ok(())
}
