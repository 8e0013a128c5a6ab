//! The page of an export step: what the data set is made of.

use crate::look::draws::Lowest;
use crate::look::page::{Card, Fate, Page, Shown};
use crate::look::step::Whole;
use crate::look::words::{some, thousands};
use crate::stages::export::CompositionRow;
use crate::stages::pool::Identity;
use lvd_base::error::Result;

/// Pictures that are shown.
const SHOWN: usize = 48;

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let text = format!(
        "{} in {}.",
        some(step.summary.rows_out, "image", "images"),
        some(step.table("data").parts.len() as u64, "file", "files")
    );
    let mut page = Page::new(step.name(), format!("{}: the data set", step.name()), text);
    let section =
        page.section("What it is made of", "Images by the seed set they are of or for, the reason, and the source.");
    let mut rows = Vec::new();
    step.for_each::<CompositionRow>("composition", |row| {
        let set = row.seed_set.unwrap_or_else(|| "-".into());
        rows.push(vec![set, row.why, row.source, thousands(row.images), thousands(row.copies)]);
    })?;
    section.table(&["seed set", "why", "source", ">images", ">copies counted"], rows);
    let draw = step.draw("data");
    let mut drawn = Lowest::new(SHOWN);
    step.for_each::<Identity>("data", |row| drawn.push(draw.bits(row.id.0), row.id))?;
    let section = page.section("At random", "What a training run will see.");
    let cards = drawn
        .into_sorted()
        .into_iter()
        .map(|id| Card::one("", Shown::of(id, if step.is_given(id) { Fate::Given } else { Fate::Kept })));
    section.figure("", cards.collect());
    Ok(page)
}
