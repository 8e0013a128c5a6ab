//! Measuring how far images have to look: the neighbours of some images among all, and the margin
//! that would find each.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::dedup::needs::Need;
use crate::stages::dedup::shards::Member;
use crate::stages::dedup::{join, train, whiten};
use crate::stages::table::Part;
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Neighbour};
use lvd_io::vectors::{self, Vectors};
use lvd_kernels::codes::{Codes, ScanMode};
use lvd_kernels::dot::dot;
use lvd_kernels::rotate::Rotation;
use lvd_ops::cells::{self, Places};
use lvd_ops::top_k::TopK;

/// Rows that are scanned before what the queries still look for is raised.
const SCANNED_ROWS: usize = 1024;
/// Exact products for each neighbour wanted, after which a query stops looking in a block: what is
/// left is as near as what it has.
const RESCORED: usize = 16;

#[derive(Serialize, Deserialize)]
pub struct TuneCommon {
    /// How the vectors are whitened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whitening: Option<Part>,
    pub cells: Part,
    pub queries: Part,
    pub neighbours: usize,
    pub floor: f32,
    /// Neighbours from this cosine on are left out: no margin misses them, and a crowd of near
    /// copies has no others.
    #[serde(rename = "clump")]
    pub crowd: f32,
}

/// Finds the queries' neighbours in some shards.
pub fn run(members: &[Member], common: &TuneCommon, task: &mut Task) -> Result<()> {
    let cells = train::read(&common.cells, task)?;
    let whitening = whiten::read(common.whitening.as_ref(), task)?;
    let mut queries = Vectors::default();
    for block in vectors::read(&task.open(&common.queries)?)? {
        queries.extend(block?);
    }
    let d = queries.dimension.max(1);
    // Sketches miss one pair in 700 just at the floor, which is nothing to what a sample leaves open.
    let mode = ScanMode::cheapest(d, common.floor, mean_cosine(&queries.values, d), 1.0);
    let rotation = (mode != ScanMode::Full).then(|| Rotation::new(d, join::ROTATION));
    let codes = |values: &[f32]| match &rotation {
        Some(rotation) => {
            let mut turned = values.to_vec();
            rotation.apply_to_all(&mut turned);
            Codes::new(&turned, d)
        }
        None => Codes::new(values, d),
    };
    let looking = codes(&queries.values);
    let chosen: Vec<u32> = (0..).take(queries.ids.len()).collect();
    // Only where a query has a neighbour does it matter where the query lies, and most have none in
    // a task.
    let (mut homes, mut home_of) = (Places::default(), vec![None; queries.ids.len()]);
    // The nearest so far of each query, with what each needs, and what a nearer one has to reach.
    let mut nearest: Vec<Vec<(Neighbour, cells::Need)>> = vec![Vec::new(); chosen.len()];
    let mut floors = vec![common.floor; chosen.len()];
    for member in members {
        let mut blocks = member.shard.whitened(whitening.as_ref()).blocks(task)?;
        let mut next = blocks.next();
        while let Some(block) = next.take() {
            let block = block?;
            let rows = block.ids.len();
            let (base, row_floors) = (codes(&block.values), vec![f32::INFINITY; rows]);
            let rescore = |chosen: &[u32]| -> Vec<(u32, Neighbour)> {
                let mut tops: Vec<TopK> = chosen.iter().map(|_| TopK::new(common.neighbours)).collect();
                let (mut floors, mut rescored) = (floors.clone(), vec![0; chosen.len()]);
                for start in (0..rows).step_by(SCANNED_ROWS) {
                    let some = start..rows.min(start + SCANNED_ROWS);
                    base.scan(&looking, (chosen, &floors), (some, &row_floors), mode, &mut |query, row| {
                        let (q, id, place) = (query as usize, block.ids[row], (query - chosen[0]) as usize);
                        rescored[place] += 1;
                        let similarity = dot(queries.row(q), block.row(row));
                        if similarity >= floors[q] && similarity < common.crowd && id != queries.ids[q] {
                            tops[place].push(Neighbour { similarity, id });
                        }
                    });
                    for ((&query, top), &rescored) in chosen.iter().zip(&tops).zip(&rescored) {
                        let floor = &mut floors[query as usize];
                        *floor = top.least().map_or(*floor, |least| floor.max(least));
                        if rescored > RESCORED * common.neighbours {
                            *floor = f32::INFINITY;
                        }
                    }
                }
                let found = chosen.iter().zip(tops);
                found.flat_map(|(&query, top)| top.into_sorted().into_iter().map(move |near| (query, near))).collect()
            };
            // The next block is read meanwhile.
            let (near, read): (Vec<Vec<(u32, Neighbour)>>, _) =
                rayon::join(|| chosen.par_chunks(64).map(rescore).collect(), || blocks.next());
            next = read;
            let near: Vec<(u32, Neighbour)> = near.into_iter().flatten().collect();
            let row_of = |id: ImageId| block.ids.binary_search(&id).expect("a row of this block, in order of ids");
            let found: Vec<f32> = near.iter().flat_map(|(_, near)| block.row(row_of(near.id))).copied().collect();
            let theirs = cells.places(&found);
            let (held, mut unplaced) = (homes.len(), Vec::new());
            for &(query, _) in &near {
                home_of[query as usize].get_or_insert_with(|| {
                    unplaced.extend(queries.row(query as usize));
                    held + unplaced.len() / d - 1
                });
            }
            homes.extend(&cells.places(&unplaced));
            for (row, (query, near)) in near.into_iter().enumerate() {
                let q = query as usize;
                let home = home_of[q].expect("it was just found");
                nearest[q].push((near, cells.need((&homes, home), (&theirs, row))));
            }
            for (nearest, floor) in nearest.iter_mut().zip(&mut floors) {
                nearest.sort_by_key(|&(near, _)| near);
                nearest.truncate(common.neighbours);
                if let Some((kth, _)) = nearest.get(common.neighbours - 1) {
                    *floor = kth.similarity;
                }
            }
            task.outcome.rows_in += rows as u64;
            (task.progress)(Headway::Done(rows as u64));
        }
    }
    let mut writer = task.rows("needs")?;
    for (&id, nearest) in queries.ids.iter().zip(&nearest) {
        for &(Neighbour { similarity, id: neighbour }, need) in nearest {
            writer.push(Need { id, neighbour, similarity, need: need.cells, districts: need.districts })?;
        }
    }
    task.outcome.rows_out = task.outcome.rows_in;
    let written = writer.finish()?;
    task.publish(written, "needs", None)
}

/// The mean cosine of some unit vectors with each other: the square of the norm of their mean.
fn mean_cosine(vectors: &[f32], d: usize) -> f32 {
    let mut sum = vec![0.0f32; d];
    vectors.chunks(d).for_each(|vector| sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x));
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let n = (vectors.len() / d).max(1) as f32;
    dot(&sum, &sum) / (n * n)
}
