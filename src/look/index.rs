//! The index: a row a step, and the way to its page.

use crate::look::html::Link;
use crate::look::page::{Block, Cell, Grid, Page};
use crate::look::step::Whole;
use crate::look::words::thousands;
use crate::pipeline::steps::Pipeline;

/// Makes the page.
pub fn page(pipeline: &Pipeline, whole: &[Whole], links: &[Link]) -> Page {
    let file = pipeline.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut page = Page::new(
        super::INDEX,
        format!("{file}: what each step chose"),
        "Start with the step that drops most. Each page says how to read it, and what to change when it looks wrong.",
    );
    let section = page.section("Steps", "");
    let head = ["step", "stage", ">in", ">out", "dropped", "warnings"];
    let rows = pipeline.steps.iter().map(|step| {
        let link = links.iter().find(|link| link.name == step.name);
        let name = match link {
            Some(link) => Cell::Link(step.name.clone(), link.file.clone()),
            None => Cell::Text(step.name.clone()),
        };
        let mut cells = vec![name, Cell::Text(step.stage.kind().name().into())];
        match whole.iter().find(|known| known.name() == step.name) {
            Some(known) => {
                let summary = &known.summary;
                let drops = summary.drops.iter().map(|(reason, rows)| format!("{reason} {}", thousands(*rows)));
                let warnings = summary.warnings.len() as u64;
                let texts = [
                    thousands(summary.rows_in),
                    thousands(summary.rows_out),
                    drops.collect::<Vec<_>>().join(", "),
                    if warnings == 0 { String::new() } else { thousands(warnings) },
                ];
                cells.extend(texts.map(Cell::Text));
            }
            None => cells.extend(["", "", "not run yet", ""].map(|text| Cell::Text(text.into()))),
        }
        cells
    });
    let grid = Grid { head: head.map(str::to_owned).to_vec(), rows: rows.collect() };
    section.blocks.push(Block::Table(grid));
    let warnings = whole.iter().flat_map(|step| {
        step.summary.warnings.iter().map(move |warning| Block::Warning(format!("{}: {warning}", step.name())))
    });
    let warnings: Vec<Block> = warnings.collect();
    if !warnings.is_empty() {
        page.section("Warnings", "What the steps said themselves.").blocks.extend(warnings);
    }
    page
}
