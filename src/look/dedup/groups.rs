//! Groups of images that were called one, and single decisions: the largest, random ones, those
//! dropped on the weakest evidence.

use std::collections::BTreeMap;

use crate::look::dedup::{Decisions, nothing};
use crate::look::draws::{Lowest, ascending};
use crate::look::page::{Card, Page};
use crate::look::step::Whole;
use crate::look::words::{hex, some};
use crate::stages::dedup::{Dedup, Group};
use lvd_base::error::Result;
use lvd_base::types::ImageId;

/// Groups that are shown, and images of each.
const LARGEST: usize = 8;
const RANDOM: usize = 8;
const MEMBERS: usize = 16;
/// Dropped images that are shown with what they were dropped for.
const WEAKEST: usize = 16;
/// Images that only a chain links to the one that stays: candidates for the chains.
const CHAINED: usize = 128;

/// Some members of a group; the least alike last.
type Members = Lowest<(u32, u64), ImageId>;

/// What passes over the decisions give.
pub struct Groups {
    largest: Vec<(u32, ImageId)>,
    random: Vec<(u32, ImageId)>,
    members: BTreeMap<ImageId, Members>,
    weakest: Vec<Group>,
    /// Dropped without a direct pair, drawn at random.
    pub chained: Vec<Group>,
    relative: bool,
}

impl Groups {
    /// Reads the decisions twice: groups are chosen, then their members gathered.
    pub fn read(step: &Whole) -> Result<Self> {
        let relative = !step.settings::<Dedup>()?.references.is_empty();
        let draw = step.draw("groups");
        let mut largest = Lowest::new(LARGEST);
        let mut random = Lowest::new(RANDOM);
        let (mut weakest, mut chained) = (Lowest::new(WEAKEST), Lowest::new(CHAINED));
        step.for_each::<Group>("", |row| {
            if row.size > 1 {
                largest.push((u32::MAX - row.size, row.component), (row.size, row.component));
                random.push(draw.bits(row.component.0), (row.size, row.component));
            }
            if !row.kept {
                match row.similarity {
                    Some(similarity) => weakest.push((ascending(similarity), row.id), row),
                    None => chained.push(draw.bits(row.id.0), row),
                }
            }
        })?;
        let (largest, random) = (largest.into_sorted(), random.into_sorted());
        let chosen = largest.iter().chain(&random);
        let mut members: BTreeMap<ImageId, Members> =
            chosen.map(|&(_, component)| (component, Lowest::new(MEMBERS))).collect();
        step.for_each::<Group>("", |row| {
            if let Some(held) = members.get_mut(&row.component) {
                // Who stays comes first; the others are drawn.
                held.push((u32::from(!row.kept), draw.bits(row.id.0)), row.id);
            }
        })?;
        let (weakest, chained) = (weakest.into_sorted(), chained.into_sorted());
        Ok(Self { largest, random, members, weakest, chained, relative })
    }

    /// The images that are shown.
    pub fn images(&self) -> impl Iterator<Item = ImageId> {
        let weakest = self.weakest.iter().flat_map(|row| [Some(row.id), row.representative]).flatten();
        self.members.values().flat_map(|members| members.iter().copied()).chain(weakest)
    }

    /// Adds the sections.
    pub fn show(self, step: &Whole, decisions: &Decisions, page: &mut Page) {
        let what = if self.relative { "the reference image" } else { "the one that stays" };
        let section = page.section(
            if self.relative { "What a reference image dropped" } else { "Dropped on the weakest evidence" },
            format!(
                "Dropped images, each beside {what}: those that are least alike to it. If these are copies, all \
                 others are."
            ),
        );
        let cards: Vec<Card> = self
            .weakest
            .iter()
            .filter_map(|row| Some(decisions.pair(format!("{:.3}", row.similarity?), (row.id, row.representative?))))
            .collect();
        section.figure("The least alike first", cards);
        nothing(section, "No image was dropped for a direct pair.");

        let section = page.section(
            "The largest groups",
            "A group is all that pairs over the threshold link. Is each one picture so many times, or are they \
             pictures of one kind? Who stays comes first; of a large group some are drawn.",
        );
        for group in &self.largest {
            section.figure(caption(group), self.members(group, decisions));
        }
        nothing(section, "There is no group of two or more.");
        let whitens = step.settings::<Dedup>().is_ok_and(|dedup: &Dedup| dedup.whiten);
        if !self.largest.is_empty() && !whitens {
            let whiten = format!("--set {}.whiten=true", step.name());
            section.advice(
                "One kind of pictures, and not one picture? Raise the threshold as above, or whiten the vectors: what \
                 all your images have in common then counts less. Whitened vectors need a threshold of their own.",
                step.command("calibrate", &format!("{} {whiten}", step.name())),
            );
        }

        let section = page.section("Random groups", "What a group is like that nobody chose.");
        for group in &self.random {
            section.figure(caption(group), self.members(group, decisions));
        }
        nothing(section, "There is no group of two or more.");
        section.folded = true;
    }

    fn members(&self, (_, component): &(u32, ImageId), decisions: &Decisions) -> Vec<Card> {
        let Some(drawn) = self.members.get(component) else { return Vec::new() };
        let mut ids: Vec<ImageId> = drawn.iter().copied().collect();
        // Who stays first, then the most alike to it; those without a direct pair last.
        let rank = |id: &ImageId| {
            let row = decisions.of(*id);
            let similarity = row.and_then(|row| row.similarity).map_or(0, ascending);
            (row.is_some_and(|row| !row.kept), u32::MAX - similarity, *id)
        };
        ids.sort_by_key(rank);
        let head = |id: ImageId| match decisions.of(id) {
            Some(Group { kept: true, .. }) | None => String::new(),
            Some(row) => row.similarity.map_or_else(|| "by a chain".into(), |x| format!("{x:.3}")),
        };
        ids.into_iter().map(|id| Card::one(head(id), decisions.shown(id))).collect()
    }
}

fn caption((size, component): &(u32, ImageId)) -> String {
    format!("Group {} of {}", hex(*component), some((*size).into(), "image", "images"))
}
