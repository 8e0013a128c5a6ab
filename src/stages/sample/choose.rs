//! The choice itself: seeds, then retrieved, then balanced, each image for one reason.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::stages::cluster::Node;
use crate::stages::plan::broken;
use crate::stages::pool::kept_ids;
use crate::stages::retrieve::Retrieved;
use crate::stages::sample::candidates::{Candidates, some_at_once};
use crate::stages::sample::draw::{DrawPlan, Drawn};
use crate::stages::sample::inputs::{ChooseCommon, SeedShard};
use crate::stages::table::{Part, Table};
use crate::stages::task::{Headway, Task};
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Reason, ShardId};
use lvd_io::part::Written;
use lvd_io::table;
use lvd_kernels::hash::{Draw, Lowest};

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
        /// Its level-1 cluster, where it was drawn from one; the cluster it was retrieved from.
        pub cluster: Option<u32>,
    }
}

/// A retrieved image that is taken.
struct Taken {
    id: ImageId,
    times: u32,
    /// Of the names of the sets.
    set: usize,
    seed_id: Option<ImageId>,
    similarity: Option<f32>,
    cluster: Option<u32>,
}

/// Chooses the data set.
pub fn run(common: &ChooseCommon, task: &mut Task) -> Result<()> {
    let draw = Draw::new(common.seed, "sample");
    let (of_seeds, offered_seeds) = seeds(common, draw, task)?;
    let seeds = offered_seeds.min(common.target);
    let room = common.target - seeds;
    let mut names = Vec::new();
    let (taken, over_target) = retrieved(common, room, draw, &mut names, task)?;
    let retrieved: u64 = taken.iter().map(|row| u64::from(row.times)).sum();
    let ids: Vec<ImageId> = taken.iter().map(|row| row.id).collect();
    let (parents, clusters) = tree(common, task)?;
    let candidates = Candidates { pool: &common.pool, taken: &ids, task };
    let wanted = DrawPlan {
        total: if common.fill { room - retrieved } else { 0 },
        quotas: &common.quotas,
        max_copies: common.max_copies,
        per_cluster: common.per_cluster.unwrap_or(u64::MAX),
        rule: common.draw,
        draw,
    };
    let drawn = Drawn::new(&wanted, &parents, clusters, &candidates)?;

    let mut chosen = Chosen { seeds: Count { images: seeds, size: seeds }, ..Chosen::default() };
    chosen.retrieved = Count { images: taken.len() as u64, size: retrieved };
    let mut parts: Vec<(Written, Option<ShardId>)> = Vec::new();
    for SeedShard { set, selection } in &common.seeds {
        let mut writer = task.rows::<Sampled>(&format!("seed-{}", parts.len()))?;
        for id in kept_ids(task, selection)?.into_iter().filter(|id| of_seeds.has(id.0)) {
            writer.push(Sampled { seed_set: Some(set.clone()), ..plain(id, "seed") })?;
        }
        parts.push((writer.finish()?, selection.shard));
    }
    let mut pool_images = 0;
    let mut drawn_of: BTreeMap<u16, u64> = BTreeMap::new();
    for shards in some_at_once(common.pool.shards.len()) {
        let written: Vec<Result<_>> = shards
            .clone()
            .into_par_iter()
            .map(|shard| write(shard, &candidates, &drawn, &taken, &names, !common.pool.assigned.is_empty()))
            .collect();
        for (written, shard) in written.into_iter().zip(shards) {
            let (written, balanced, images) = written?;
            (task.progress)(Headway::Done(images));
            pool_images += images;
            chosen.balanced =
                Count { images: chosen.balanced.images + balanced.images, size: chosen.balanced.size + balanced.size };
            let of = common.pool.shards[shard].shard;
            if let Some(of) = of {
                *drawn_of.entry(of.dataset()).or_default() += balanced.size;
            }
            parts.push((written, of));
        }
    }
    for (written, shard) in parts {
        task.publish(written, "", shard)?;
    }
    let offered = Offered { seeds: offered_seeds, pool: pool_images, over_target: over_target + offered_seeds - seeds };
    account(common, &chosen, &offered, task);
    let unmet = common.quotas.iter().filter_map(|(number, quota)| {
        let drawn = drawn_of.get(number).copied().unwrap_or(0);
        (drawn < *quota).then(|| unmet(*number, *quota, drawn, task))
    });
    let unmet: Vec<String> = unmet.collect();
    task.outcome.warnings.extend(unmet);
    Ok(())
}

/// What is said of a quota that was not met.
fn unmet(number: u16, quota: u64, drawn: u64, task: &Task) -> String {
    let source = task.catalog.sources.iter().find(|(_, entry)| entry.number == number);
    let name = source.map_or("?", |(name, _)| name);
    format!(
        "quota of {name:?}: {drawn} images of {quota}; the steps before left no more of them that clusters and copies allow \
         (lvd report FILE ingest, and of each dedup step, by source)"
    )
}

/// Images, and what they count with their copies.
#[derive(Clone, Copy, Default)]
struct Count {
    images: u64,
    size: u64,
}

#[derive(Default)]
struct Chosen {
    seeds: Count,
    retrieved: Count,
    balanced: Count,
}

/// Images there were.
struct Offered {
    seeds: u64,
    pool: u64,
    /// Those that the target had no room for.
    over_target: u64,
}

/// Which seed images go in, and how many there are: all, but no more than the target of a data set
/// that is not filled up.
fn seeds(common: &ChooseCommon, draw: Draw, task: &mut Task) -> Result<(Lowest, u64)> {
    let room = if common.fill { u64::MAX } else { common.target };
    let (drawn, seeds) = draw.within(4).lowest(room, &|each| {
        for shard in &common.seeds {
            kept_ids(task, &shard.selection)?.into_iter().for_each(|id| each(id.0));
        }
        Ok(())
    })?;
    let target = common.target;
    if seeds > target {
        let message = format!("the seed sets hold {seeds} images, more than the target of {target}");
        let cure = "raise `target`, or name fewer sets in `seeds`";
        if common.fill {
            return Err(Error::usage(message, cure));
        }
        task.outcome.warnings.insert(format!("{message}: {target} of them were drawn at random; {cure}"));
    }
    Ok((drawn, seeds))
}

/// Says what became of every image, and why the target was missed, if it was.
fn account(common: &ChooseCommon, chosen: &Chosen, offered: &Offered, task: &mut Task) {
    let Offered { seeds: offered_seeds, pool, over_target } = *offered;
    let Chosen { seeds, retrieved, balanced } = chosen;
    let size = seeds.size + retrieved.size + balanced.size;
    let shortfall = if common.fill { common.target - size.min(common.target) } else { 0 };
    for (counter, n) in [("seed", seeds), ("retrieved", retrieved), ("balanced", balanced)] {
        task.count(counter, n.images);
    }
    task.count("size", size);
    task.count("shortfall", shortfall);
    let outcome = &mut task.outcome;
    outcome.rows_in = offered_seeds + pool;
    outcome.rows_out = seeds.images + retrieved.images + balanced.images;
    let dropped = outcome.rows_in - outcome.rows_out;
    if shortfall > 0 {
        let free = pool - retrieved.images;
        let mut limits =
            vec![format!("{free} pool images are not retrieved, and each may be used {} times", common.max_copies)];
        limits.extend(common.per_cluster.map(|most| format!("no cluster may give more than {most}")));
        limits.extend((!common.quotas.is_empty()).then(|| "some sources have quotas".to_owned()));
        outcome.warnings.insert(format!(
            "the data set has {size} images, {shortfall} fewer than the target of {}: {}",
            common.target,
            limits.join("; ")
        ));
    }
    task.drop(Reason::OverTarget, over_target.min(dropped));
    task.drop(Reason::NotDrawn, dropped - over_target.min(dropped));
}

fn plain(id: ImageId, why: &str) -> Sampled {
    Sampled { id, copies: 1, why: why.into(), seed_set: None, seed_id: None, similarity: None, cluster: None }
}

/// What was retrieved, by id, or as much as there is room for, drawn by hash; and how many images
/// there was no room for.
fn retrieved(
    common: &ChooseCommon,
    room: u64,
    draw: Draw,
    names: &mut Vec<String>,
    task: &mut Task,
) -> Result<(Vec<Taken>, u64)> {
    let mut rows: Vec<Taken> = Vec::new();
    task.for_each::<Retrieved>(&Table { parts: common.retrieved.clone() }, |row| {
        let Retrieved { id, seed_set, seed_id, similarity, cluster, times, .. } = row;
        let set = names.iter().position(|name| *name == seed_set).unwrap_or_else(|| {
            names.push(seed_set);
            names.len() - 1
        });
        rows.push(Taken { id, times, set, seed_id, similarity, cluster });
        Ok(())
    })?;
    // Found for several sets, an image counts for each; the first is named.
    rows.sort_by_key(|row| row.id);
    rows.dedup_by(|again, first| {
        let same = again.id == first.id;
        first.times += if same { again.times } else { 0 };
        same
    });
    let before = rows.len();
    let mut in_pool = vec![false; rows.len()];
    for selection in &common.pool.shards {
        let kept = kept_ids(task, selection)?;
        let (Some(&first), Some(&last)) = (kept.first(), kept.last()) else { continue };
        let range = rows.partition_point(|row| row.id < first)..rows.partition_point(|row| row.id <= last);
        for row in range {
            in_pool[row] = kept.binary_search(&rows[row].id).is_ok();
        }
    }
    let mut is_in = in_pool.into_iter();
    rows.retain(|_| is_in.next() == Some(true));
    task.count("retrieved_outside_the_pool", (before - rows.len()) as u64);
    let draw = draw.within(1);
    let offered = rows.len();
    if rows.iter().map(|row| u64::from(row.times)).sum::<u64>() > room {
        rows.sort_unstable_by_key(|row| (draw.bits(row.id.0), row.id));
        let mut left = room;
        rows.retain_mut(|row| {
            row.times = row.times.min(u32::try_from(left).unwrap_or(u32::MAX));
            left -= u64::from(row.times);
            row.times > 0
        });
        rows.sort_unstable_by_key(|row| row.id);
    }
    let over_target = (offered - rows.len()) as u64;
    Ok((rows, over_target))
}

/// The parents of each level's clusters, the finest level first, and the number of level-1
/// clusters. Without a tree there is one.
pub fn tree(common: &ChooseCommon, task: &Task) -> Result<(Vec<Vec<u32>>, usize)> {
    let mut levels: Vec<Vec<Option<u32>>> = Vec::new();
    task.for_each::<Node>(&Table { parts: common.tree.clone() }, |node| {
        levels.resize_with(levels.len().max(node.level as usize), Vec::new);
        levels[node.level as usize - 1].push(node.parent);
        Ok(())
    })?;
    let clusters = levels.first().map_or(1, Vec::len);
    // The top has no parents; a flat draw looks at no parents at all.
    levels.truncate(if common.flat { 0 } else { levels.len().saturating_sub(1) });
    let parents = levels.into_iter().map(|level| level.into_iter().collect::<Option<Vec<u32>>>());
    let parents = parents.collect::<Option<Vec<_>>>();
    Ok((parents.ok_or_else(|| broken("a cluster below the top of the tree has no parent"))?, clusters))
}

/// Writes what is chosen of one shard of the pool: the part, the count of the balanced draw, and
/// the shard's images.
fn write(
    shard: usize,
    candidates: &Candidates,
    drawn: &Drawn,
    taken: &[Taken],
    names: &[String],
    clustered: bool,
) -> Result<(Written, Count, u64)> {
    let (all, images) = candidates.of_shard(shard)?;
    let selection: &Part = &candidates.pool.shards[shard];
    let of = |id: ImageId| selection.shard.map(|shard| id.shard().cmp(&shard));
    let first = taken.partition_point(|row| of(row.id) == Some(std::cmp::Ordering::Less));
    let mut retrieved =
        taken[first..].iter().take_while(|row| of(row.id) == Some(std::cmp::Ordering::Equal)).peekable();
    let mut writer = candidates.task.rows::<Sampled>(&format!("pool-{shard}"))?;
    let mut push_retrieved = |below: Option<ImageId>, writer: &mut lvd_io::row::RowWriter<Sampled>| {
        while let Some(row) = retrieved.next_if(|row| below.is_none_or(|below| row.id < below)) {
            let Taken { id, times, set, seed_id, similarity, cluster } = *row;
            let seed_set = names.get(set).cloned();
            writer.push(Sampled { copies: times, seed_set, seed_id, similarity, cluster, ..plain(id, "retrieved") })?;
        }
        Ok::<(), Error>(())
    };
    let mut balanced = Count::default();
    for candidate in all {
        let copies = drawn.copies(&candidate);
        if copies > 0 {
            push_retrieved(Some(candidate.id), &mut writer)?;
            balanced = Count { images: balanced.images + 1, size: balanced.size + u64::from(copies) };
            let cluster = clustered.then_some(candidate.cluster);
            writer.push(Sampled { copies, cluster, ..plain(candidate.id, "balanced") })?;
        }
    }
    push_retrieved(None, &mut writer)?;
    Ok((writer.finish()?, balanced, images))
}
