//! The page of a dedup step: where copies end, and what was called one picture.

mod chains;
mod crowds;
mod groups;
mod ladder;

use std::collections::BTreeMap;

use crate::look::page::{Block, Card, Fate, Page, Section, Shown};
use crate::look::step::Whole;
use crate::look::words::{cosine, hex, per_cent, some};
use crate::stages::dedup::{Dedup, Edge, Group};
use lvd_base::error::Result;
use lvd_base::types::ImageId;

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let settings: &Dedup = step.settings()?;
    let mut ladder = ladder::Ladder::new(step, settings);
    let mut middles = crowds::Middles::new(step);
    // There are many pairs: they are read once for both.
    step.for_each::<Edge>("edges", |edge| {
        ladder.add(step, &edge);
        middles.add(&edge);
    })?;
    let groups = groups::Groups::read(step)?;
    let crowds = crowds::Crowds::read(step, middles)?;
    let chains = chains::Chains::read(step, settings, &groups)?;
    let ids = ladder.images().chain(crowds.images()).chain(chains.images()).chain(groups.images()).collect();
    let decisions = Decisions::read(step, ids)?;
    let summary = &step.summary;
    let (rows, dropped) = (summary.rows_in, summary.rows_in - summary.rows_out);
    let about = format!(
        "{} compared at a threshold of {}; {} dropped ({}).",
        some(rows, "image", "images"),
        cosine(settings.threshold()),
        some(dropped, "image", "images"),
        per_cent(dropped, rows)
    );
    let mut page = Page::new(step.name(), format!("{}: what was called a copy", step.name()), about);
    ladder.show(step, settings, &decisions, &mut page)?;
    warnings(step, &mut page);
    groups.show(step, &decisions, &mut page);
    chains.show(step, settings, &decisions, &mut page);
    crowds.show(&decisions, &mut page);
    Ok(page)
}

fn warnings(step: &Whole, page: &mut Page) {
    if let Some(first) = page.sections.first_mut() {
        let warnings = step.summary.warnings.iter().map(|warning| Block::Warning(warning.clone()));
        first.blocks.splice(0..0, warnings);
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
fn try_threshold(step: &Whole, settings: &Dedup, threshold: f32) -> String {
    let set = format!("--set {}.threshold={}", step.name(), cosine(threshold));
    let deeper = settings.edge_floor.filter(|&floor| threshold < floor);
    let floor = deeper.map_or(String::new(), |_| format!(" --set {}.edge_floor={}", step.name(), cosine(threshold)));
    format!(
        "{}\n{}",
        step.command("plan", &format!("{set}{floor}")),
        step.command("run", &format!("{set}{floor} --look"))
    )
}

/// Says so where a section has nothing to show.
fn nothing(section: &mut Section, text: &str) {
    if section.blocks.is_empty() {
        section.note(text);
        section.folded = true;
    }
}
