//! Clumps: rows of a cell that are near copies of one of them, their *leader*, which meets others in their place.
//!
//! A member hangs on its leader by one link of at least `Near::clump`. So at any threshold from the floor up to there, components ask
//! of a clump and of somebody outside only how near its nearest row comes. Angles obey the triangle inequality: the leader's cosine says
//! where a member may be over the floor, and only there is the nearest one looked for, by a scan whose floor rises with what it has found.

use std::f32::consts::PI;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::lost::Losses;
use super::{Block, Near, PIECE, row_number};
use lvd_kernels::codes::Codes;
use lvd_kernels::dot::{WITH_ITSELF, similarity};
use lvd_kernels::hash::Draw;

/// Rows that are tried as leaders at a time.
const TRIED: usize = 16;
/// Members of a clump, at least; and of what is left of a cell, one in how many, at least: so the search ends after some passes.
const LEAST: usize = 64;
const SHARE: usize = 32;
/// Members of a clump whose leader is a near copy of that of another one, at least.
const PIECE_OF_CROWD: usize = 8;
/// Members that are looked at first; then twice as many each time, up to the most.
const FIRST: usize = 64;
const MOST: usize = 1024;
/// What vectors in half precision may add to a cosine or take from it.
const ROUNDING: f32 = 1e-4;

/// A clump of a block.
pub(super) struct Clump {
    /// The row that stands for it.
    pub leader: u32,
    /// Its other rows: they are in no cell.
    pub members: Range<usize>,
    /// No member's angle to the leader is larger.
    pub radius: f32,
}

/// A clump that was found among rows that are still in their cells.
pub(super) struct Found {
    pub leader: usize,
    /// The others, ascending, with their cosines to the leader.
    pub members: Vec<(usize, f32)>,
}

/// A leader and somebody who is no near copy of it: a row of the queries and one of the base.
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

/// Finds clumps in some ranges of rows, each of which is compared with itself. Where there are none, it costs [`TRIED`] products a row.
pub(super) fn find(codes: &Codes, halves: &[f16], ranges: &[Range<usize>], near: Near) -> Vec<Found> {
    let search = Search { codes, halves, d: halves.len() / codes.rows().max(1), near };
    let each = |of: &(dyn Fn(&Range<usize>) -> Vec<Found> + Sync)| -> Vec<Found> {
        ranges.par_iter().map(of).collect::<Vec<_>>().into_iter().flatten().collect()
    };
    let mut found = each(&|rows| search.among(rows, rows.clone().map(row_number).collect(), LEAST.max(near.k + 1)));
    if !found.is_empty() {
        // Cells cut crowds into pieces: small ones that are near copies of a leader elsewhere hang on one of theirs too.
        let leaders: Vec<u32> = found.iter().map(|clump| row_number(clump.leader)).collect();
        let mut free = vec![true; codes.rows()];
        for clump in &found {
            free[clump.leader] = false;
            clump.members.iter().for_each(|&(row, _)| free[row] = false);
        }
        found.extend(each(&|rows| search.among(rows, search.around(rows, &leaders, &free), PIECE_OF_CROWD)));
    }
    found.sort_unstable_by_key(|clump| clump.leader);
    found
}

/// Where clumps are looked for.
struct Search<'a> {
    codes: &'a Codes,
    halves: &'a [f16],
    d: usize,
    near: Near,
}

impl Search<'_> {
    fn vector(&self, row: usize, to: &mut [f32]) {
        self.halves[row * self.d..][..self.d].convert_to_f32_slice(to);
    }

    /// The rows that are `free` and may be near copies of a leader.
    fn around(&self, rows: &Range<usize>, leaders: &[u32], free: &[bool]) -> Vec<u32> {
        let mut near = vec![false; rows.len()];
        let floors = vec![self.near.clump; leaders.len()];
        if free[rows.clone()].contains(&true) {
            self.codes.scan_from(self.codes, (leaders, &floors), rows.clone(), &mut |_, row| {
                near[row - rows.start] = free[row];
            });
        }
        rows.clone().filter(|row| near[row - rows.start]).map(row_number).collect()
    }

    /// Clumps among the rows `free`, which are some of `rows`, of `least` members or more.
    fn among(&self, rows: &Range<usize>, mut free: Vec<u32>, least: usize) -> Vec<Found> {
        let (mut leader, mut other) = (vec![0.0; self.d], vec![0.0; self.d]);
        let mut is_free = vec![false; rows.len()];
        for &row in &free {
            is_free[row as usize - rows.start] = true;
        }
        let mut found = Vec::new();
        loop {
            let least = least.max(free.len() / SHARE);
            if free.len() <= least {
                return found;
            }
            let most = TRIED.min(free.len());
            // One of each sixteenth, drawn: every thousandth row may be of one kind.
            let draw = Draw::new(found.len() as u64, "dedup/leaders");
            let pick = |i: usize| {
                let (from, to) = (i * free.len() / most, (i + 1) * free.len() / most);
                #[expect(clippy::cast_possible_truncation, reason = "less than the stretch")]
                let within = (draw.bits(i as u64) % (to - from) as u64) as usize;
                free[from + within]
            };
            let tried: Vec<u32> = (0..most).map(pick).collect();
            let mut around = vec![Vec::new(); most];
            let floors = vec![self.near.clump; most];
            self.codes.scan_from(self.codes, (&tried, &floors), rows.clone(), &mut |place, row| {
                if is_free[row - rows.start] && row != tried[place] as usize {
                    around[place].push(row);
                }
            });
            // The one with the most around it; the first of them.
            let Some(best) = (0..most).rev().max_by_key(|&place| around[place].len()) else { return found };
            if around[best].len() < least {
                return found;
            }
            self.vector(tried[best] as usize, &mut leader);
            let cosine = |&row: &usize| {
                self.vector(row, &mut other);
                Some((row, similarity(&leader, &other))).filter(|&(_, similarity)| similarity >= self.near.clump)
            };
            let mut members: Vec<(usize, f32)> = around[best].iter().filter_map(cosine).collect();
            if members.len() < least {
                return found;
            }
            members.sort_unstable_by_key(|&(row, _)| row);
            let leader = tried[best] as usize;
            for row in members.iter().map(|&(row, _)| row).chain([leader]) {
                is_free[row - rows.start] = false;
            }
            free.retain(|&row| is_free[row as usize - rows.start]);
            found.push(Found { leader, members });
        }
    }
}

/// The largest angle that a cosine may stand for.
pub(super) fn radius(cosine: f32) -> f32 {
    (cosine - ROUNDING).clamp(-1.0, 1.0).acos()
}

/// The cosine of leaders from which somebody may be over the floor, for clumps whose radii have the sum `radius`.
pub(super) fn reach(floor: f32, radius: f32) -> f32 {
    (floor.clamp(-1.0, 1.0).acos() + radius).min(PI).cos() - ROUNDING
}

/// Offers for each meeting the nearest rows of the two sides, if they are over the floor and nearer than the leaders. Returns how many
/// products were computed.
pub(super) fn settle(queries: &Block, base: &Block, meetings: Vec<Meeting>) -> u64 {
    let (mut ours, mut theirs, mut both) = (Vec::new(), Vec::new(), Vec::new());
    let floor = queries.near.floor;
    for meeting in meetings {
        let Meeting { query, row, similarity } = meeting;
        match (queries.clump(query), base.clump(row)) {
            (Some(a), Some(b)) if similarity >= reach(floor, a.radius + b.radius) => both.push((a, b, similarity)),
            (Some(a), None) if similarity >= reach(floor, a.radius) => ours.push((query, row, similarity)),
            (None, Some(b)) if similarity >= reach(floor, b.radius) => theirs.push((row, query, similarity)),
            _ => (),
        }
    }
    let between = |of: &Block, others: &Block, mut met: Vec<(u32, u32, f32)>| -> u64 {
        met.sort_unstable_by_key(|&(leader, other, _)| (leader, other));
        let pieces: Vec<_> = met.chunk_by(|a, b| a.0 == b.0).flat_map(|same| same.chunks(PIECE)).collect();
        pieces.into_par_iter().map(|met| one_sided(of, others, met)).sum()
    };
    between(queries, base, ours)
        + between(base, queries, theirs)
        + both.into_par_iter().map(|(a, b, similarity)| two_sided((queries, a), (base, b), similarity)).sum::<u64>()
}

/// Offers to some rows of `others`, which have met the leader of one clump, its nearest member.
fn one_sided(of: &Block, others: &Block, met: &[(u32, u32, f32)]) -> u64 {
    let Some(clump) = of.clump(met[0].0) else { return 0 };
    let chosen: Vec<u32> = met.iter().map(|&(_, row, _)| row).collect();
    let start =
        |&(_, _, similarity): &(u32, u32, f32)| Nearest { similarity: similarity.max(of.near.floor), row: None };
    let mut nearest: Vec<Nearest> = met.iter().map(start).collect();
    let products = look(of, &clump.members, others, &chosen, &mut nearest);
    let mut losses = Losses::to(&of.lost);
    for (&other, nearest) in chosen.iter().zip(nearest) {
        if let Some(member) = nearest.row {
            of.offer(member, others.ids[other as usize], nearest.similarity, &mut losses);
            others.offer(other as usize, of.ids[member], nearest.similarity, &mut losses);
        }
    }
    products
}

/// Offers the nearest two of two clumps whose leaders have met.
fn two_sided((a, one): (&Block, &Clump), (b, other): (&Block, &Clump), similarity: f32) -> u64 {
    let (mut similarity, mut pair, mut products) = (similarity.max(a.near.floor), None, 0);
    let members: Vec<u32> = one.members.clone().map(row_number).collect();
    // Leaders with members, then members with members.
    let leaders = [(a, &one.members, b, &[other.leader][..], false), (b, &other.members, a, &[one.leader][..], true)];
    let rest = members.chunks(PIECE).map(|some| (b, &other.members, a, some, true));
    for (of, members, others, chosen, forth) in leaders.into_iter().chain(rest) {
        let mut nearest = vec![Nearest { similarity, row: None }; chosen.len()];
        products += look(of, members, others, chosen, &mut nearest);
        for (&query, found) in chosen.iter().zip(nearest) {
            let Some(row) = found.row else { continue };
            let rows = if forth { (query as usize, row) } else { (row, query as usize) };
            let ids = |(x, y): (usize, usize)| (a.ids[x], b.ids[y]);
            let first = pair.is_none_or(|known| ids(rows) < ids(known));
            if found.similarity.total_cmp(&similarity).then(first.cmp(&false)).is_gt() {
                (similarity, pair) = (found.similarity, Some(rows));
            }
        }
        if similarity >= a.near.clump {
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

/// Looks among `members` of `of` for the nearest of each chosen row of `others`: of equals the lowest id. Ends for those to whom
/// a near copy has come: nothing that is nearer would link more.
fn look(of: &Block, members: &Range<usize>, others: &Block, chosen: &[u32], nearest: &mut [Nearest]) -> u64 {
    let (mut query, mut vector) = (vec![0.0; of.d], vec![0.0; of.d]);
    let (mut start, mut step, mut products) = (members.start, FIRST, 0);
    while start < members.end {
        let open: Vec<usize> = (0..chosen.len()).filter(|&place| nearest[place].similarity < of.near.clump).collect();
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

#[cfg(test)]
mod tests;
