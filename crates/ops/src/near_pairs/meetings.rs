//! Crowds that meet other rows. Where the hub's cosine says that a member may be over the floor,
//! the nearest member is looked for, by a scan whose floor rises with what it has found.

use std::ops::Range;

use rayon::prelude::*;

use super::block::Block;
use super::cell::row_number;
use super::crowds::{Crowd, reach};
use super::lost::Losses;
use lvd_kernels::dot::{WITH_ITSELF, similarity};

/// Rows that a hub has met and that look for its members together.
const PIECE: usize = 64;
/// Members that are looked at first; then twice as many each time, up to the most.
const FIRST: usize = 64;
const MOST: usize = 1024;

/// A hub and somebody who is no near copy of it: a row of the queries and one of the base.
pub(super) struct Meeting {
    pub query: u32,
    pub row: u32,
    pub similarity: f32,
}

/// The nearest that is known to a row, or how near it has to come.
#[derive(Clone, Copy)]
struct Nearest {
    similarity: f32,
    row: Option<usize>,
}

/// Offers for each meeting the nearest rows of the two sides, if they are over the floor and nearer
/// than the hubs. Returns how many products were computed.
pub(super) fn settle(queries: &Block, base: &Block, meetings: Vec<Meeting>) -> u64 {
    let (mut ours, mut theirs, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let floor = queries.near.floor;
    for meeting in meetings {
        let Meeting { query, row, similarity } = meeting;
        match (queries.crowd(query), base.crowd(row)) {
            (Some(a), Some(b)) if similarity >= reach(floor, a.radius + b.radius) => both.push((a, b, similarity)),
            (Some(a), None) if similarity >= reach(floor, a.radius) => ours.push((query, row, similarity)),
            (None, Some(b)) if similarity >= reach(floor, b.radius) => theirs.push((row, query, similarity)),
            _ => (),
        }
    }
    let between = |of: &Block, others: &Block, mut met: Vec<(u32, u32, f32)>| -> u64 {
        met.sort_unstable_by_key(|&(hub, other, _)| (hub, other));
        let pieces: Vec<_> = met.chunk_by(|a, b| a.0 == b.0).flat_map(|same| same.chunks(PIECE)).collect();
        pieces.into_par_iter().map(|met| one_sided(of, others, met)).sum()
    };
    between(queries, base, ours)
        + between(base, queries, theirs)
        + both.into_par_iter().map(|(a, b, similarity)| two_sided((queries, a), (base, b), similarity)).sum::<u64>()
}

/// Offers to some rows of `others`, which have met the hub of one crowd, its nearest member.
fn one_sided(of: &Block, others: &Block, met: &[(u32, u32, f32)]) -> u64 {
    let Some(crowd) = of.crowd(met[0].0) else { return 0 };
    let chosen: Vec<u32> = met.iter().map(|&(_, row, _)| row).collect();
    let start =
        |&(_, _, similarity): &(u32, u32, f32)| Nearest { similarity: similarity.max(of.near.floor), row: None };
    let mut nearest: Vec<Nearest> = met.iter().map(start).collect();
    let products = nearest_members(of, &crowd.members, others, &chosen, &mut nearest);
    let mut losses = Losses::to(&of.lost);
    for (&other, nearest) in chosen.iter().zip(nearest) {
        if let Some(member) = nearest.row {
            of.offer(member, others.ids[other as usize], nearest.similarity, &mut losses);
            others.offer(other as usize, of.ids[member], nearest.similarity, &mut losses);
        }
    }
    products
}

/// Offers the nearest two of two crowds whose hubs have met.
fn two_sided((a, one): (&Block, &Crowd), (b, other): (&Block, &Crowd), similarity: f32) -> u64 {
    let (mut similarity, mut pair, mut products) = (similarity.max(a.near.floor), None, 0);
    let members: Vec<u32> = one.members.clone().map(row_number).collect();
    // Hubs with members, then members with members.
    let hubs = [(a, &one.members, b, &[other.hub][..], false), (b, &other.members, a, &[one.hub][..], true)];
    let rest = members.chunks(PIECE).map(|some| (b, &other.members, a, some, true));
    for (of, members, others, chosen, forth) in hubs.into_iter().chain(rest) {
        let mut nearest = vec![Nearest { similarity, row: None }; chosen.len()];
        products += nearest_members(of, members, others, chosen, &mut nearest);
        for (&query, found) in chosen.iter().zip(nearest) {
            let Some(row) = found.row else { continue };
            let rows = if forth { (query as usize, row) } else { (row, query as usize) };
            let ids = |(x, y): (usize, usize)| (a.ids[x], b.ids[y]);
            let first = pair.is_none_or(|known| ids(rows) < ids(known));
            if found.similarity.total_cmp(&similarity).then(first.cmp(&false)).is_gt() {
                (similarity, pair) = (found.similarity, Some(rows));
            }
        }
        if similarity >= a.near.crowd {
            break;
        }
    }
    if let Some((x, y)) = pair {
        let mut losses = Losses::to(&a.lost);
        a.offer(x, b.ids[y], similarity, &mut losses);
        b.offer(y, a.ids[x], similarity, &mut losses);
    }
    products
}

/// Looks among `members` of `of` for the nearest of each chosen row of `others`: of equals the
/// lowest id. Once a row has found a near copy its search ends: a nearer one would link no more.
fn nearest_members(of: &Block, members: &Range<usize>, others: &Block, chosen: &[u32], nearest: &mut [Nearest]) -> u64 {
    let (mut query, mut vector) = (vec![0.0; of.d], vec![0.0; of.d]);
    let (mut start, mut step, mut products) = (members.start, FIRST, 0);
    while start < members.end {
        let open: Vec<usize> = (0..chosen.len()).filter(|&place| nearest[place].similarity < of.near.crowd).collect();
        if open.is_empty() {
            break;
        }
        let rows = start..members.end.min(start + step);
        let some: Vec<u32> = open.iter().map(|&place| chosen[place]).collect();
        let floors: Vec<f32> = open.iter().map(|&place| nearest[place].similarity.min(WITH_ITSELF)).collect();
        let mut current = usize::MAX;
        of.codes.scan_from(&others.codes, (&some, &floors), rows.clone(), &mut |place, row| {
            if current != place {
                others.vector(some[place] as usize, &mut query);
                current = place;
            }
            of.vector(row, &mut vector);
            let (similarity, known) = (similarity(&query, &vector), &mut nearest[open[place]]);
            let first = known.row.is_none_or(|known| of.ids[row] < of.ids[known]);
            if similarity.total_cmp(&known.similarity).then(first.cmp(&false)).is_gt() {
                *known = Nearest { similarity, row: Some(row) };
            }
        });
        products += (some.len() * rows.len()) as u64;
        (start, step) = (rows.end, MOST.min(2 * step));
    }
    products
}
