//! Crowds: images to which many others are attached, since they are nearly equal.

use std::collections::BTreeMap;

use crate::look::dedup::{Decisions, nothing};
use crate::look::draws::{Lowest, Tallies};
use crate::look::page::{Card, Page};
use crate::look::step::Whole;
use crate::look::words::{about, hex, some};
use crate::stages::dedup::Edge;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_kernels::hash::Draw;

/// Images that are counted for what is attached to them.
const COUNTED: usize = 4096;
/// Crowds that are shown, and images of each.
const SHOWN: usize = 4;
const MEMBERS: usize = 11;

/// An image, and those that are attached to it.
struct Crowd {
    middle: ImageId,
    attached: u64,
    drawn: Lowest<u64, (ImageId, f32)>,
}

/// The largest crowds, of those that were counted.
pub struct Crowds {
    crowds: Vec<Crowd>,
    different: String,
}

/// What a pass over the pairs gives: how many are attached to each image.
pub struct Middles {
    tallies: Tallies<ImageId>,
    draw: Draw,
}

impl Middles {
    /// Without a pair yet.
    pub fn new(step: &Whole) -> Self {
        Self { tallies: Tallies::new(COUNTED), draw: step.draw("crowds") }
    }

    /// Takes a pair in.
    pub fn add(&mut self, edge: &Edge) {
        if edge.star {
            self.tallies.add(self.draw.bits(edge.neighbour.0), edge.neighbour);
        }
    }
}

impl Crowds {
    /// Reads the pairs again, and draws some of the images of the largest.
    pub fn read(step: &Whole, Middles { tallies, draw }: Middles) -> Result<Self> {
        let different = about(tallies.different(), "crowd", "crowds");
        let chosen = tallies.most(SHOWN);
        let mut crowds: BTreeMap<ImageId, Crowd> = BTreeMap::new();
        for &(middle, attached) in &chosen {
            crowds.insert(middle, Crowd { middle, attached, drawn: Lowest::new(MEMBERS) });
        }
        if !crowds.is_empty() {
            step.for_each::<Edge>("edges", |edge| {
                if let Some(crowd) = crowds.get_mut(&edge.neighbour).filter(|_| edge.star) {
                    crowd.drawn.push(draw.bits(edge.id.0), (edge.id, edge.similarity));
                }
            })?;
        }
        let mut crowds: Vec<Crowd> = crowds.into_values().collect();
        crowds.sort_by_key(|crowd| (std::cmp::Reverse(crowd.attached), crowd.middle));
        Ok(Self { crowds, different })
    }

    /// The images that are shown.
    pub fn images(&self) -> impl Iterator<Item = ImageId> {
        let attached = |crowd: &Crowd| crowd.drawn.iter().map(|&(id, _)| id).collect::<Vec<_>>();
        self.crowds.iter().flat_map(move |crowd| [vec![crowd.middle], attached(crowd)].concat())
    }

    /// Adds the section.
    pub fn show(self, decisions: &Decisions, page: &mut Page) {
        let section = page.section(
            "Crowds",
            format!(
                "An image with others that are nearly equal to it: blank pages, placeholders, logos. There are {}; \
                 here are the largest.",
                self.different
            ),
        );
        for crowd in self.crowds {
            let caption =
                format!("{} attached to {}", some(crowd.attached, "image is", "images are"), hex(crowd.middle));
            let mut cards = vec![Card::one("the middle", decisions.shown(crowd.middle))];
            let mut drawn = crowd.drawn.into_sorted();
            drawn.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            cards.extend(drawn.into_iter().map(|(id, x)| Card::one(format!("{x:.3}"), decisions.shown(id))));
            section.figure(caption, cards);
        }
        nothing(section, "No image has a crowd.");
        section.folded = true;
    }
}
