//! A balanced draw: how many images each cluster gives, and which.

use std::collections::BinaryHeap;

use crate::stages::sample::candidates::{Candidate, Candidates};
use crate::stages::sample::settings::DrawRule;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_kernels::hash::Draw;
use lvd_ops::allocate::share_tree;

/// What is to be drawn.
pub struct DrawPlan<'a> {
    /// Images in all, copies counted.
    pub total: u64,
    /// Those of some sources, by data set number, drawn by themselves.
    pub quotas: &'a [(u16, u64)],
    /// How often an image may be drawn.
    pub max_copies: u32,
    /// The most that a level-1 cluster may give.
    pub per_cluster: u64,
    pub rule: DrawRule,
    pub draw: Draw,
}

/// Which images are drawn, and how often.
pub struct Drawn {
    rule: DrawRule,
    draw: Draw,
    clusters: usize,
    quotas: Vec<u16>,
    /// For each group of sources and cluster: how often every image goes in, and the last key that
    /// goes in once more.
    copies: Vec<u32>,
    last: Vec<Option<(u64, ImageId)>>,
}

impl Drawn {
    /// Shares `wanted.total` over the tree, whose `parents` are those of [`share_tree`], and finds
    /// which images that means.
    pub fn new(wanted: &DrawPlan, parents: &[Vec<u32>], clusters: usize, from: &Candidates) -> Result<Self> {
        let quotas: Vec<u16> = wanted.quotas.iter().map(|&(source, _)| source).collect();
        let groups = quotas.len() + 1;
        let (rule, draw) = (wanted.rule, wanted.draw.within(3));
        let mut drawn = Self {
            rule,
            draw,
            clusters,
            quotas,
            copies: vec![0; groups * clusters],
            last: vec![None; groups * clusters],
        };
        let mut sizes = vec![0u64; groups * clusters];
        from.for_each(&mut |candidate| sizes[drawn.slot(&candidate)] += 1)?;
        // Sources with a quota first, each by itself; the others share what is left.
        let mut shares = vec![0u64; groups * clusters];
        let mut room = vec![wanted.per_cluster; clusters];
        let mut left = wanted.total;
        let totals = wanted.quotas.iter().map(|&(_, quota)| quota).chain([u64::MAX]);
        for (group, quota) in totals.enumerate() {
            let slots = group * clusters..(group + 1) * clusters;
            let capacity: Vec<u64> = sizes[slots.clone()]
                .iter()
                .zip(&room)
                .map(|(&size, &room)| (size * u64::from(wanted.max_copies)).min(room))
                .collect();
            let given = share_tree(&capacity, parents, quota.min(left), wanted.draw.within(2).within(group as u64));
            left -= given.iter().sum::<u64>();
            room.iter_mut().zip(&given).for_each(|(room, given)| *room -= given);
            shares[slots].copy_from_slice(&given);
        }
        // Every image of a cluster goes in `share / size` times; what is left of the share is
        // drawn, lowest key first.
        let mut heaps: Vec<BinaryHeap<(u64, ImageId)>> = vec![BinaryHeap::new(); groups * clusters];
        for (slot, (&share, &size)) in shares.iter().zip(&sizes).enumerate() {
            drawn.copies[slot] = u32::try_from(share.checked_div(size).unwrap_or(0)).unwrap_or(u32::MAX);
        }
        from.for_each(&mut |candidate| {
            let slot = drawn.slot(&candidate);
            let wanted = shares[slot] % sizes[slot];
            let heap = &mut heaps[slot];
            let entry = (candidate.key(rule, draw), candidate.id);
            if (heap.len() as u64) < wanted {
                heap.push(entry);
            } else if let Some(mut highest) = heap.peek_mut().filter(|highest| entry < **highest) {
                *highest = entry;
            }
        })?;
        drawn.last = heaps.iter().map(|heap| heap.peek().copied()).collect();
        Ok(drawn)
    }

    /// How often an image is drawn.
    pub fn copies(&self, candidate: &Candidate) -> u32 {
        let slot = self.slot(candidate);
        let key = (candidate.key(self.rule, self.draw), candidate.id);
        self.copies[slot] + u32::from(self.last[slot].is_some_and(|last| key <= last))
    }

    fn slot(&self, candidate: &Candidate) -> usize {
        let source = candidate.id.shard().dataset();
        let group = self.quotas.iter().position(|&with| with == source).unwrap_or(self.quotas.len());
        group * self.clusters + candidate.cluster as usize
    }
}
