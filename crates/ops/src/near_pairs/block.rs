//! A block: rows that are ready to be compared, and what each has found.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::cell::{Cell, Probes, row_number};
use super::crowds::{self, Crowd};
use super::lost::{Losses, Lost};
use super::near::Near;
use super::rows::{Sorted, apart, attach, attach_equals, cells as cells_of, distinct, prepare, union};
use crate::pair::Pair;
use crate::top_k::TopK;
use lvd_base::types::{CellRows, ImageId, Neighbour};
use lvd_kernels::codes::Codes;
use lvd_kernels::dot::WITH_ITSELF;
use lvd_kernels::rotate::Rotation;

/// Rows that are ready to be compared: those of the cells, and after them the members of crowds. Of
/// rows with equal vectors there is one.
pub struct Block {
    pub(super) near: Near,
    pub(super) d: usize,
    pub(super) ids: Vec<ImageId>,
    halves: Vec<f16>,
    pub(super) codes: Codes,
    pub(super) cells: Vec<Cell>,
    /// For each row the index of its cell.
    pub(super) homes: Vec<u32>,
    /// The rows that probe each cell.
    probes: Probes,
    /// The product that each row's neighbours must reach: that of the floor; for hubs of crowds far
    /// less.
    pub(super) floors: Vec<f32>,
    tops: Vec<Mutex<TopK>>,
    /// Where pairs go for which they have no room.
    pub(super) lost: Arc<Lost>,
    /// By hub.
    pub(super) crowds: Vec<Crowd>,
    /// Rows that were left out, with the row they are equal to, or its hub.
    equals: Vec<Pair>,
    /// Members of crowds with their hubs.
    attached: Vec<Pair>,
}

impl Block {
    /// Prepares rows of width `d`, in any number of parts. Without a rotation every pair is found.
    /// With one, cells are compared by sketches of the turned vectors where these are less work:
    /// just at the floor they miss one pair in hundreds. Blocks that are compared with each other
    /// share what is `lost`.
    ///
    /// # Panics
    /// When the columns have different lengths.
    #[must_use]
    pub fn new(parts: &[CellRows], d: usize, near: Near, rotation: Option<&Rotation>, lost: &Arc<Lost>) -> Self {
        let mut rows: Vec<Sorted> = Vec::with_capacity(parts.iter().map(|part| part.ids.len()).sum());
        for part in parts {
            let n = part.ids.len();
            assert!(
                part.cells.len() == n && part.settled.len() == n && part.halves.len() == n * d,
                "columns of one length"
            );
            rows.par_extend((0..n).into_par_iter().map(|row| Sorted::new(part, row, d)));
        }
        rows.par_iter_mut().enumerate().for_each(|(place, row)| row.place = row_number(place));
        let (mut kept, mut equals) = distinct(rows);
        let mut cells = cells_of(&kept);
        let (mut halves, mut codes) = prepare(&kept, d, &cells, rotation);
        let unsettled: Vec<Range<usize>> = cells.iter().map(|cell| cell.rows.start..cell.first_settled).collect();
        let found = if near.crowd > 1.0 { Vec::new() } else { crowds::find(&codes, &halves, &unsettled, near) };
        let mut ordinary = kept.len();
        let (mut crowds, mut attached) = (Vec::new(), Vec::new());
        if !found.is_empty() {
            (kept, ordinary) = apart(&kept, &found);
            cells = cells_of(&kept[..ordinary]);
            (halves, codes) = prepare(&kept, d, &cells, rotation);
            (crowds, attached) = attach(&kept, ordinary, &found);
            attach_equals(&mut equals, &attached);
        }
        let homes = (0u32..).zip(&cells).flat_map(|(home, cell)| cell.rows.clone().map(move |_| home)).collect();
        let unions: Vec<Vec<u32>> = crowds.par_iter().map(|crowd| union(crowd, &kept)).collect();
        let leads = |row| crowds.binary_search_by_key(&row_number(row), |crowd| crowd.hub).ok();
        let targets = |row: usize| leads(row).map_or(kept[row].probes, |crowd| &unions[crowd][..]);
        let probes = Probes::new((0..ordinary).map(targets));
        let mut floors = vec![near.floor.min(WITH_ITSELF); kept.len()];
        for crowd in &crowds {
            // A scan takes the lower of two floors: that of the larger crowd allows for two such
            // crowds.
            floors[crowd.hub as usize] = crowds::reach(near.floor, 2.0 * crowd.radius);
        }
        Self {
            near,
            d,
            ids: kept.iter().map(|row| row.id).collect(),
            codes,
            halves,
            cells,
            homes,
            probes,
            floors,
            tops: kept.iter().map(|_| Mutex::new(TopK::new(near.k))).collect(),
            lost: Arc::clone(lost),
            crowds,
            equals,
            attached,
        }
    }

    /// How many distinct vectors there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// How many rows were left out because an earlier one of their cell is equal to them.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.equals.len() as u64
    }

    /// How many crowds of near copies there are, and how many rows are attached to their hubs.
    #[must_use]
    pub fn crowded(&self) -> (u64, u64) {
        (self.crowds.len() as u64, self.attached.len() as u64)
    }

    /// The pairs that rows of this block keep: both ends of a pair may.
    pub fn into_pairs(self) -> impl Iterator<Item = Pair> {
        let found = self.ids.into_iter().zip(self.tops).flat_map(|(id, top)| {
            let top = top.into_inner().unwrap_or_else(PoisonError::into_inner).into_sorted();
            top.into_iter().map(move |near| Pair {
                id,
                neighbour: near.id,
                similarity: near.similarity,
                attached: false,
            })
        });
        self.equals.into_iter().chain(self.attached).chain(found)
    }

    pub(super) fn vector(&self, row: usize, to: &mut [f32]) {
        self.halves[row * self.d..(row + 1) * self.d].convert_to_f32_slice(to);
    }

    pub(super) fn offer(&self, row: usize, id: ImageId, similarity: f32, losses: &mut Losses) {
        let mut top = self.tops[row].lock().unwrap_or_else(PoisonError::into_inner);
        let out = top.push(Neighbour { similarity, id });
        drop(top);
        if let Some(out) = out {
            losses.add(self.ids[row], out.id, out.similarity);
        }
    }

    /// The crowd that a row leads.
    pub(super) fn crowd(&self, row: u32) -> Option<&Crowd> {
        let found = self.crowds.binary_search_by_key(&row, |crowd| crowd.hub);
        found.ok().map(|place| &self.crowds[place])
    }

    /// The rows that probe the cell `target`, ascending.
    pub(super) fn all_probing(&self, target: u32) -> &[u32] {
        self.probes.of(target)
    }

    /// The same, one by one.
    pub(super) fn probing(&self, target: u32) -> impl Iterator<Item = u32> {
        self.probes.of(target).iter().copied()
    }

    /// Whether a row probes the cell `target`.
    pub(super) fn probes(&self, row: usize, target: u32) -> bool {
        self.probes.of(target).binary_search(&row_number(row)).is_ok()
    }
}
