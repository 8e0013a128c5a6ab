//! Crowds: rows of a cell that are near copies of one of them, their *hub*. The hub is compared
//! with other rows in place of its members.
//!
//! One link attaches a member to its hub: their cosine is at least `Near::crowd`. So at any
//! threshold from the floor up to there, one number says how a crowd and a row outside are linked:
//! the cosine of that row and the nearest of the crowd. Angles obey the triangle inequality, so the
//! cosine of the hub says whether a member may be over the floor ([`reach`]).

use std::f32::consts::PI;
use std::ops::Range;

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::cell::row_number;
use super::near::Near;
use lvd_kernels::codes::Codes;
use lvd_kernels::dot::similarity;
use lvd_kernels::hash::Draw;

/// Rows that are tried as hubs at a time.
const TRIED: usize = 16;
/// Members of a crowd, at least. And one in how many of the rows that are left of a cell, at least:
/// so the search ends after some passes.
const LEAST: usize = 64;
const SHARE: usize = 32;
/// Members of a crowd whose hub is a near copy of that of another one, at least.
const PIECE_OF_CROWD: usize = 8;
/// What vectors in half precision may add to a cosine or take from it.
const ROUNDING: f32 = 1e-4;

/// A crowd of a block.
pub(super) struct Crowd {
    /// The row that stands for it.
    pub hub: u32,
    /// Its other rows: they are in no cell.
    pub members: Range<usize>,
    /// No member's angle to the hub is larger.
    pub radius: f32,
}

/// A crowd that was found among rows that are still in their cells.
pub(super) struct FoundCrowd {
    pub hub: usize,
    /// The others, ascending, with their cosines to the hub.
    pub members: Vec<(usize, f32)>,
}

/// Finds crowds in some ranges of rows, each of which is compared with itself. Where there are
/// none, it costs [`TRIED`] products a row.
pub(super) fn find(codes: &Codes, halves: &[f16], ranges: &[Range<usize>], near: Near) -> Vec<FoundCrowd> {
    let search = CrowdSearch { codes, halves, d: halves.len() / codes.rows().max(1), near };
    let each = |of: &(dyn Fn(&Range<usize>) -> Vec<FoundCrowd> + Sync)| -> Vec<FoundCrowd> {
        ranges.par_iter().map(of).collect::<Vec<_>>().into_iter().flatten().collect()
    };
    let mut found = each(&|rows| search.among(rows, rows.clone().map(row_number).collect(), LEAST.max(near.k + 1)));
    if !found.is_empty() {
        // Cells cut crowds into pieces. A small piece near a hub of another cell becomes a crowd
        // too.
        let hubs: Vec<u32> = found.iter().map(|crowd| row_number(crowd.hub)).collect();
        let mut free = vec![true; codes.rows()];
        for crowd in &found {
            free[crowd.hub] = false;
            crowd.members.iter().for_each(|&(row, _)| free[row] = false);
        }
        found.extend(each(&|rows| search.among(rows, search.around(rows, &hubs, &free), PIECE_OF_CROWD)));
    }
    found.sort_unstable_by_key(|crowd| crowd.hub);
    found
}

/// Where crowds are looked for.
struct CrowdSearch<'a> {
    codes: &'a Codes,
    halves: &'a [f16],
    d: usize,
    near: Near,
}

impl CrowdSearch<'_> {
    fn vector(&self, row: usize, to: &mut [f32]) {
        self.halves[row * self.d..][..self.d].convert_to_f32_slice(to);
    }

    /// The rows that are `free` and may be near copies of a hub.
    fn around(&self, rows: &Range<usize>, hubs: &[u32], free: &[bool]) -> Vec<u32> {
        let mut near = vec![false; rows.len()];
        let floors = vec![self.near.crowd; hubs.len()];
        if free[rows.clone()].contains(&true) {
            self.codes.scan_from(self.codes, (hubs, &floors), rows.clone(), &mut |_, row| {
                near[row - rows.start] = free[row];
            });
        }
        rows.clone().filter(|row| near[row - rows.start]).map(row_number).collect()
    }

    /// Crowds among the rows `free`, which are some of `rows`, of `least` members or more.
    fn among(&self, rows: &Range<usize>, mut free: Vec<u32>, least: usize) -> Vec<FoundCrowd> {
        let (mut hub, mut other) = (vec![0.0; self.d], vec![0.0; self.d]);
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
            let floors = vec![self.near.crowd; most];
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
            self.vector(tried[best] as usize, &mut hub);
            let cosine = |&row: &usize| {
                self.vector(row, &mut other);
                Some((row, similarity(&hub, &other))).filter(|&(_, similarity)| similarity >= self.near.crowd)
            };
            let mut members: Vec<(usize, f32)> = around[best].iter().filter_map(cosine).collect();
            if members.len() < least {
                return found;
            }
            members.sort_unstable_by_key(|&(row, _)| row);
            let hub = tried[best] as usize;
            for row in members.iter().map(|&(row, _)| row).chain([hub]) {
                is_free[row - rows.start] = false;
            }
            free.retain(|&row| is_free[row as usize - rows.start]);
            found.push(FoundCrowd { hub, members });
        }
    }
}

/// The largest angle that a cosine may stand for.
pub(super) fn radius(cosine: f32) -> f32 {
    (cosine - ROUNDING).clamp(-1.0, 1.0).acos()
}

/// The cosine of hubs from which somebody may be over the floor, for crowds whose radii have the
/// sum `radius`.
pub(super) fn reach(floor: f32, radius: f32) -> f32 {
    (floor.clamp(-1.0, 1.0).acos() + radius).min(PI).cos() - ROUNDING
}
