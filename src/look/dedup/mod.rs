//! The page of a dedup step: where copies end, and what was called one picture.

mod chains;
mod crowds;
mod groups;
mod ladder;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::look::page::{Card, Fate, Page, Section, Shown};
use crate::look::step::Whole;
use crate::look::words::{cosine, hex, per_cent, some};
use crate::stages::dedup::{Dedup, Edge, Group};
use lvd_base::error::Result;
use lvd_base::types::ImageId;

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let ran = Ran::of(step)?;
    let mut ladder = ladder::Ladder::new(step, &ran);
    let mut middles = crowds::Middles::new(step);
    // There are many pairs: they are read once for both.
    step.for_each::<Edge>("edges", |edge| {
        ladder.add(step, &edge);
        middles.add(&edge);
    })?;
    let groups = groups::Groups::read(step)?;
    let crowds = crowds::Crowds::read(step, middles)?;
    let chains = chains::Chains::read(step, &ran, &groups)?;
    let ids = ladder.images().chain(crowds.images()).chain(chains.images()).chain(groups.images()).collect();
    let decisions = Decisions::read(step, ids)?;
    let summary = &step.summary;
    let (rows, dropped) = (summary.rows_in, summary.rows_in - summary.rows_out);
    let about = format!(
        "{} compared at a threshold of {}; {} dropped ({}).",
        some(rows, "image", "images"),
        cosine(ran.threshold),
        some(dropped, "image", "images"),
        per_cent(dropped, rows)
    );
    let mut page = Page::new(step.name(), format!("{}: what was called a copy", step.name()), about);
    ladder.show(step, &decisions, &mut page)?;
    groups.show(step, &decisions, &mut page);
    chains.show(step, &ran, &decisions, &mut page);
    crowds.show(&decisions, &mut page);
    Ok(page)
}

/// What the step ran with: the file may say something else by now.
pub struct Ran {
    /// Cosine from which images were linked.
    pub threshold: f32,
    /// Cosine from which pairs were kept.
    pub floor: f32,
    /// Whether images were compared with references.
    pub relative: bool,
}

impl Ran {
    fn of(step: &Whole) -> Result<Self> {
        let settings: &Dedup = step.settings()?;
        #[expect(clippy::cast_possible_truncation, reason = "it was an f32")]
        let number = |value: &Value| value.as_f64().map(|x| x as f32);
        let threshold = step.summary.facts.get("threshold").and_then(number).unwrap_or(settings.threshold());
        let mut of_file = settings.clone();
        (of_file.threshold, of_file.edge_floor) = (Some(threshold), None);
        let floor = number(&step.summary.settings["edge_floor"]).unwrap_or(of_file.floor());
        Ok(Self { threshold, floor, relative: !settings.references.is_empty() })
    }
}

/// What was decided about the images of the page.
pub struct Decisions(BTreeMap<ImageId, Option<Group>>);

impl Decisions {
    fn read(step: &Whole, ids: Vec<ImageId>) -> Result<Self> {
        let mut of: BTreeMap<ImageId, Option<Group>> = ids.into_iter().map(|id| (id, None)).collect();
        step.for_each::<Group>("", |row| {
            if let Some(decision) = of.get_mut(&row.id) {
                *decision = Some(row);
            }
        })?;
        Ok(Self(of))
    }

    fn of(&self, id: ImageId) -> Option<&Group> {
        self.0.get(&id)?.as_ref()
    }

    /// An image with its fate, and why.
    fn shown(&self, id: ImageId) -> Shown {
        let Some(row) = self.of(id) else { return Shown::of(id, Fate::Given) };
        let shown = Shown::of(id, if row.kept { Fate::Kept } else { Fate::Dropped });
        match row.representative {
            Some(other) if !row.kept => match row.similarity {
                Some(similarity) => shown.line(format!("{similarity:.3} to {}", hex(other))),
                None => shown.line(format!("no direct pair with {}", hex(other))),
            },
            _ if row.size > 1 => shown.line(format!("of a group of {}", row.size)),
            _ => shown,
        }
    }

    /// Two images side by side.
    fn pair(&self, head: String, (a, b): (ImageId, ImageId)) -> Card {
        let beside = |id: ImageId, other: ImageId| match self.of(id) {
            Some(row) if !row.kept && row.representative == Some(other) => {
                Shown::of(id, Fate::Dropped).line("for the other")
            }
            _ => self.shown(id),
        };
        Card { head, shown: vec![beside(a, b), beside(b, a)] }
    }
}

/// What to type to try another threshold.
fn try_threshold(step: &Whole, floor: f32, threshold: f32) -> String {
    let set = |key: &str| format!("--set {}.{key}={}", step.name(), cosine(threshold));
    // Pairs below the floor were not kept.
    let sets = if threshold < floor { format!("{} {}", set("threshold"), set("edge_floor")) } else { set("threshold") };
    format!("{}\n{}", step.command("plan", &sets), step.command("run", &format!("{sets} --look")))
}

/// Says so where a section has nothing to show.
fn nothing(section: &mut Section, text: &str) {
    if section.blocks.is_empty() {
        section.note(text);
        section.folded = true;
    }
}
