//! The page of an embed step: a map of what each encoder sees, and what it takes for alike.

use crate::look::draws::Lowest;
use crate::look::page::{Block, Card, Dot, Fate, Page, Section, Shown};
use crate::look::patches;
use crate::look::step::Whole;
use crate::look::words::{some, thousands};
use crate::stages::pool::VectorShard;
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_io::vectors::Vectors;
use lvd_kernels::exact::knn_ip;
use lvd_ops::principal::principal;

/// Shards that are read, and vectors that are drawn from them.
const SHARDS: usize = 32;
const VECTORS: usize = 2048;
/// Pictures on a map.
const DOTS: usize = 150;
/// Images whose nearest are shown, and how many of these.
const QUERIES: usize = 6;
const NEAREST: usize = 7;

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let embedders: Vec<String> = step.tables().filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let text = format!("{} embedded by {}.", some(step.summary.rows_out, "image", "images"), embedders.join(", "));
    let mut page = Page::new(step.name(), format!("{}: what the encoders see", step.name()), text);
    // As many as a page has room for.
    for embedder in embedders.iter().take(2) {
        let (vectors, of) = drawn(step, embedder)?;
        if vectors.ids.is_empty() {
            continue;
        }
        let section = page.section(
            format!("{embedder}: a map"),
            format!(
                "{} of {} vectors in the plane in which they vary most (principal components); some of them as dots, \
                 coloured by source. Point at a dot, or step through them with the tab key. What lies together \
                 should belong together; a source that lies apart may differ by its looks, not by what it shows.",
                thousands(vectors.ids.len() as u64),
                thousands(of)
            ),
        );
        map(step, &vectors, section);
        let section = page.section(
            format!("{embedder}: the nearest"),
            "Random images, each with the nearest of those that were drawn. If these have nothing in common, the \
             encoder is the wrong one for your images, and no threshold will help.",
        );
        nearest(&vectors, section);
        if let Err(error) = patches::section(step, embedder, &vectors, &mut page) {
            let section = page.section(format!("{embedder}: what it tells apart"), "");
            section.note(format!("There is no picture of its patches: {error}."));
        }
    }
    Ok(page)
}

/// Some vectors of some shards, and how many there are in all.
fn drawn(step: &Whole, embedder: &str) -> Result<(Vectors, u64)> {
    let table = step.table(embedder);
    let draw = step.draw("vectors");
    let mut shards = Lowest::new(SHARDS);
    for part in table.parts.iter().filter(|part| part.rows > 0) {
        let shard = VectorShard::new(part.clone(), None)?;
        shards.push((draw.bits(shard.shard().0), shard.shard()), shard);
    }
    let mut lowest: Lowest<u64, (ImageId, Vec<f32>)> = Lowest::new(VECTORS);
    let mut dimension = 0;
    for shard in shards.into_sorted() {
        for block in shard.blocks(&step.task)? {
            let block = block?;
            dimension = block.dimension;
            for (row, &id) in block.ids.iter().enumerate() {
                let key = draw.bits(id.0);
                if lowest.takes(key) {
                    lowest.push(key, (id, block.row(row).to_vec()));
                }
            }
        }
    }
    let mut all = Vectors { dimension, ..Vectors::default() };
    for (id, vector) in lowest.into_sorted() {
        all.ids.push(id);
        all.values.extend(vector);
    }
    Ok((all, table.rows()))
}

fn map(step: &Whole, vectors: &Vectors, section: &mut Section) {
    let places = principal::<2>(&vectors.values, vectors.dimension);
    let range = |axis: usize| {
        let all = || places.iter().map(|place| place[axis]);
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max))
    };
    let (across, up) = (range(0), range(1));
    // A margin, so that no dot is cut off.
    let within = |x: f64, (low, high): (f64, f64)| 0.02 + 0.96 * (x - low) / (high - low).max(1e-9);
    let sources: Vec<&str> = step.pipeline.catalog.sources.keys().map(String::as_str).collect();
    let colour = |id: ImageId| sources.iter().position(|name| *name == step.source(id)).unwrap_or(0);
    let drawn = vectors.ids.iter().zip(&places).take(DOTS);
    let dots: Vec<Dot> = drawn
        .map(|(&id, place)| Dot { id, x: within(place[0], across), y: within(place[1], up), colour: colour(id) })
        .collect();
    let shown = |at: &usize| dots.iter().any(|dot| dot.colour == *at);
    let names = (0..sources.len()).filter(shown).map(|at| (at, sources[at].to_owned()));
    section.blocks.push(Block::Key(names.collect()));
    section.blocks.push(Block::Map(dots));
}

fn nearest(vectors: &Vectors, section: &mut Section) {
    let d = vectors.dimension;
    let queries = QUERIES.min(vectors.ids.len());
    let k = NEAREST.min(vectors.ids.len() - 1) + 1;
    let found = knn_ip(&vectors.values[..queries * d], &vectors.values, d, k);
    for query in 0..queries {
        let id = vectors.ids[query];
        let mut cards = vec![Card::one("drawn", Shown::of(id, Fate::Open))];
        let others = found.of(query).map(|(row, cosine)| (vectors.ids[row as usize], cosine));
        let others = others.filter(|&(other, _)| other != id).take(NEAREST);
        cards.extend(others.map(|(other, x)| Card::one(format!("{x:.3}"), Shown::of(other, Fate::Open))));
        section.figure("", cards);
    }
}
