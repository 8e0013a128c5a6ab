//! Look: a page for every step, so that a person can judge what was chosen and why.
//!
//! A page is one HTML file in `look/` of the work folder: no server, no network. What it shows is
//! drawn from the step's tables in one pass or two, by rank or by hash, so that memory hangs on the
//! page and not on the pool. The same tables give the same bytes.
//!
//! [`page`] is what a page says, [`html`] writes it, [`pictures`] finds its pictures, [`plot`] draws
//! for it; a file or folder for each kind of step fills it in.

mod cluster;
mod dedup;
mod draws;
mod embed;
mod export;
mod found;
pub mod html;
mod index;
mod ingest;
pub mod page;
mod patches;
pub mod pictures;
pub mod plot;
mod retrieve;
mod sample;
mod step;
mod words;

use crate::look::html::Link;
use crate::look::page::{Block, Page};
use crate::look::pictures::Album;
use crate::look::step::Whole;
use crate::pipeline::check::names::TAKEN;
use crate::pipeline::standing;
use crate::pipeline::steps::Pipeline;
use crate::search::find::Answer;
use crate::stages::StageKind;
use lvd_base::error::{Error, Result};

/// The folder of the pages.
pub const FOLDER: &str = TAKEN[0];
/// The page that leads to all others.
const INDEX: &str = TAKEN[1];
/// The page of what `lvd find` found.
const FOUND: &str = TAKEN[2];

/// A page that was written.
pub struct Written {
    /// What it is about: a step, or `index`.
    pub name: String,
    /// Its path in the work folder.
    pub path: String,
    /// Pictures on it.
    pub pictures: usize,
    /// Its size.
    pub bytes: usize,
}

/// Writes the pages of some steps, those that are whole, and the index; `tell` hears of each.
pub fn write(pipeline: &Pipeline, steps: &[usize], threads: usize, tell: &dyn Fn(&Written)) -> Result<Written> {
    let album = Album::open(pipeline)?;
    let mut whole = Vec::new();
    for step in &pipeline.steps {
        whole.extend(Whole::open(pipeline, step, threads)?);
    }
    let wanted = |step: &Whole| steps.iter().any(|&at| pipeline.steps[at].name == step.name());
    let links = links(pipeline, &whole, &wanted)?;
    for step in whole.iter().filter(|step| wanted(step)) {
        let mut page = page_of(step)?;
        warn(step, &mut page)?;
        tell(&publish(pipeline, &page, &album, &links)?);
    }
    let index = publish(pipeline, &index::page(pipeline, &whole, &links), &album, &links)?;
    tell(&index);
    Ok(index)
}

/// Writes the page of what was found near pictures.
pub fn write_found(pipeline: &Pipeline, answer: &Answer, threads: usize) -> Result<Written> {
    let mut whole = Vec::new();
    for step in &pipeline.steps {
        whole.extend(Whole::open(pipeline, step, threads)?);
    }
    let mut links = links(pipeline, &whole, &|_| false)?;
    if pipeline.store.work.size(&format!("{FOLDER}/{INDEX}.html"))?.is_none() {
        links.clear();
    }
    publish(pipeline, &found::page(pipeline, answer), &Album::open(pipeline)?, &links)
}

/// The page of a step.
fn page_of(step: &Whole) -> Result<Page> {
    match step.step.stage.kind() {
        StageKind::Ingest => ingest::page(step),
        StageKind::Embed => embed::page(step),
        StageKind::Dedup => dedup::page(step),
        StageKind::Cluster => cluster::page(step),
        StageKind::Retrieve => retrieve::page(step),
        StageKind::Sample => sample::page(step),
        StageKind::Export => export::page(step),
    }
}

/// Says first what the step itself warned of, and whether the file says something else by now.
fn warn(step: &Whole, page: &mut Page) -> Result<()> {
    let now = serde_json::to_value(&step.step.settings).map_err(|e| Error::data("the settings", e))?;
    let changed = standing::changed(&step.summary.settings, &now).join(", ");
    let stale = (!changed.is_empty()).then(|| format!("It ran before the file was changed: {changed}"));
    let warnings = stale.into_iter().chain(step.summary.warnings.iter().cloned()).map(Block::Warning);
    if let Some(first) = page.sections.first_mut() {
        first.blocks.splice(0..0, warnings);
    }
    Ok(())
}

/// The index, and the steps that have a page, from now on or from an earlier time.
fn links(pipeline: &Pipeline, whole: &[Whole], wanted: &dyn Fn(&Whole) -> bool) -> Result<Vec<Link>> {
    let mut links = vec![Link { file: format!("{INDEX}.html"), name: "all steps".into() }];
    for step in whole {
        let file = format!("{}.html", step.name());
        if wanted(step) || pipeline.store.work.size(&format!("{FOLDER}/{file}"))?.is_some() {
            links.push(Link { file, name: step.name().to_owned() });
        }
    }
    Ok(links)
}

/// Finds the pictures of a page and writes it: readers see the old page or the new one.
fn publish(pipeline: &Pipeline, page: &Page, album: &Album, links: &[Link]) -> Result<Written> {
    let mut pictures = album.pictures(&page.images())?;
    pictures.add_all(&page.own);
    let text = html::html(page, &pictures, links);
    let path = format!("{FOLDER}/{}.html", page.name);
    let written = Written { name: page.name.clone(), pictures: pictures.len(), bytes: text.len(), path };
    pipeline.store.work.replace(&written.path, text.into_bytes())?;
    Ok(written)
}
