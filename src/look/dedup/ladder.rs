//! The ladder: pairs by their similarity, from one picture down to below the threshold, so that
//! the eye finds where copies end.

use std::cmp::Reverse;

use crate::look::dedup::{Decisions, Ran, try_threshold};
use crate::look::draws::{Different, Lowest};
use crate::look::page::{Block, Card, Page};
use crate::look::plot::{self, Axes, Bin};
use crate::look::step::Whole;
use crate::look::words::{about, cosine};
use crate::stages::dedup::Edge;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_kernels::hash::Draw;

/// Edges of the rungs, from the threshold up and down: narrow where it matters.
const RUNGS: [f32; 4] = [0.02, 0.05, 0.1, 0.2];
/// Pairs that are shown of the rungs at the threshold, of the next, and of those far from it.
const SHOWN: [usize; 3] = [16, 12, 6];
/// Width of a bin of the histogram.
const BIN: f32 = 0.01;

/// Pairs of similarities in a range.
struct Rung {
    low: f32,
    high: f32,
    drawn: Lowest<u64, (f32, ImageId, ImageId)>,
    different: Different,
}

/// What a pass over the pairs gives; each pair may come several times.
pub struct Ladder {
    /// The most alike first.
    rungs: Vec<Rung>,
    bins: Vec<(f32, Different)>,
    threshold: f32,
    floor: f32,
    /// Whether images are compared with references.
    relative: bool,
    draw: Draw,
}

impl Ladder {
    /// Without a pair yet.
    pub fn new(step: &Whole, &Ran { threshold, floor, relative }: &Ran) -> Self {
        let mut edges: Vec<f32> = RUNGS.iter().map(|step| threshold + step).filter(|&edge| edge < 1.0 - 1e-4).collect();
        edges.extend([threshold, 1.0]);
        edges.extend(RUNGS.iter().map(|step| threshold - step).filter(|&edge| edge > floor + 1e-4));
        edges.push(floor.min(threshold));
        edges.sort_by_key(|&edge| Reverse(crate::look::draws::ascending(edge)));
        edges.dedup();
        let rung = |edges: &[f32]| {
            let (low, high) = (edges[1], edges[0]);
            let distance = (low - threshold).max(threshold - high);
            let near = RUNGS.iter().take(SHOWN.len() - 1).position(|&edge| distance < edge - 1e-4);
            let shown = SHOWN[near.unwrap_or(SHOWN.len() - 1)];
            Rung { low, high, drawn: Lowest::new(shown), different: Different::new() }
        };
        let rungs = edges.windows(2).map(rung).collect();
        let last = ((1.0 - floor) / BIN - 1e-3).ceil();
        let starts = (0u16..200).map(f32::from).take_while(|&at| at < last);
        let bins = starts.map(|at| (floor + at * BIN, Different::new())).collect();
        Self { rungs, bins, threshold, floor, relative, draw: step.draw("pairs") }
    }

    /// Takes a pair in. Against references, only those of an image with a reference count.
    pub fn add(&mut self, step: &Whole, edge: &Edge) {
        if self.relative && step.is_given(edge.id) == step.is_given(edge.neighbour) {
            return;
        }
        let (a, b) = (edge.id.min(edge.neighbour), edge.id.max(edge.neighbour));
        let (similarity, hash) = (edge.similarity, self.draw.within(a.0).bits(b.0));
        if let Some(rung) = self.rungs.iter_mut().find(|rung| similarity >= rung.low) {
            rung.different.add(hash);
            rung.drawn.push(hash, (similarity, a, b));
        }
        let bin = self.bins.partition_point(|&(low, _)| low <= similarity).saturating_sub(1);
        if let Some((_, different)) = self.bins.get_mut(bin) {
            different.add(hash);
        }
    }

    /// The images of the pairs that are shown.
    pub fn images(&self) -> impl Iterator<Item = ImageId> {
        self.rungs.iter().flat_map(|rung| rung.drawn.iter()).flat_map(|&(_, a, b)| [a, b])
    }

    /// Adds the section, and what to change when it looks wrong.
    pub fn show(self, step: &Whole, decisions: &Decisions, page: &mut Page) -> Result<()> {
        let threshold = self.threshold;
        let section = page.section(
            "The ladder: where do copies end?",
            "Pairs drawn at random from each range of similarity, the most alike first. Go down until the two \
             pictures of a pair are no longer copies: there the threshold should be. Click a picture to see a pair large.",
        );
        let bins: Vec<Bin> = self
            .bins
            .iter()
            .map(|(low, different)| {
                let (low, high) = (f64::from(*low), f64::from(low + BIN));
                Bin { low, high, count: different.count().n }
            })
            .collect();
        let axes = Axes { x: "similarity (cosine)", y: "pairs" };
        let words = format!("threshold {}", cosine(threshold));
        let mark = (f64::from(threshold), words.as_str());
        let caption = "Pairs by similarity; copies stand apart where there is a valley";
        section.blocks.push(Block::Plot(plot::histogram(caption, &axes, &bins, Some(mark))?));
        section.advice(
            "Different pictures just above the line? Raise the threshold: fewer images are dropped.",
            try_threshold(step, self.floor, (threshold + RUNGS[0]).min(1.0)),
        );
        section.advice(
            "Copies just below the line? Lower it: more are dropped.",
            try_threshold(step, self.floor, threshold - RUNGS[0]),
        );
        section.advice(
            "No clear end? Measure it on edited copies of your own images.",
            step.command("calibrate", step.name()),
        );
        section.blocks.push(Block::ToLine("Go to the line".into()));
        if self.floor >= threshold {
            section.note("No pair below the threshold was kept: lower `edge_floor` to see what lies there.");
        }
        for rung in self.rungs {
            if (rung.high - threshold).abs() < f32::EPSILON {
                section
                    .blocks
                    .push(Block::Line(format!("threshold {}: copies above, others below", cosine(threshold))));
            }
            let count = rung.different.count();
            let pairs = if count.n == 0 { "no pair".into() } else { about(count, "pair", "pairs") };
            let caption = format!("{} to {}: {pairs}", cosine(rung.low), cosine(rung.high));
            let mut drawn = rung.drawn.into_sorted();
            drawn.sort_by(|a, b| b.0.total_cmp(&a.0));
            let cards: Vec<Card> =
                drawn.into_iter().map(|(x, a, b)| decisions.pair(format!("{x:.3}"), (a, b))).collect();
            if cards.is_empty() {
                section.note(caption);
            } else {
                section.figure(caption, cards);
            }
        }
        Ok(())
    }
}
