//! The page of a retrieve step: each seed beside what was found for it, and sets that found nothing.

use std::collections::BTreeMap;

use crate::look::draws::{Different, Lowest, ascending};
use crate::look::page::{Block, Card, Fate, Page, Shown};
use crate::look::plot::{self, Axes, Bin};
use crate::look::step::Whole;
use crate::look::words::{about, some, thousands};
use crate::stages::retrieve::{Method, Retrieve, Retrieved};
use lvd_base::error::Result;
use lvd_base::types::ImageId;
use lvd_kernels::hash::Draw;
use lvd_ops::histogram::Histogram;

/// Sets that are shown.
const SETS: usize = 8;
/// Random seeds of a set, and images of each.
const SEEDS: usize = 5;
const FOUND: usize = 7;
/// Pairs of a set on the weakest evidence.
const WEAKEST: usize = 10;
/// Images of a set by clusters, and seeds beside them.
const BY_CLUSTER: usize = 16;
const BESIDE: usize = 8;

/// What a seed found: similarity and rank of each image.
type Found = Lowest<(u32, ImageId), (ImageId, f32, Option<u32>)>;

/// What is known of a set.
struct Set {
    images: u64,
    seeds: Different,
    similarities: Histogram,
    drawn: Lowest<u64, ImageId>,
    weakest: Lowest<(u32, ImageId), (ImageId, ImageId, f32)>,
    by_cluster: Lowest<u64, (ImageId, Option<u32>)>,
}

impl Set {
    fn new() -> Self {
        Self {
            images: 0,
            seeds: Different::new(),
            similarities: Histogram::linear(-1.0, 1.0, 200),
            drawn: Lowest::new(SEEDS),
            weakest: Lowest::new(WEAKEST),
            by_cluster: Lowest::new(BY_CLUSTER),
        }
    }

    fn add(&mut self, row: &Retrieved, draw: Draw) {
        self.images += 1;
        let Some((seed, similarity)) = row.seed_id.zip(row.similarity) else {
            self.by_cluster.push(draw.bits(row.id.0), (row.id, row.cluster));
            return;
        };
        self.seeds.add(draw.bits(seed.0));
        self.similarities.add(f64::from(similarity));
        self.drawn.push(draw.bits(seed.0), seed);
        self.weakest.push((ascending(similarity), row.id), (seed, row.id, similarity));
    }
}

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let settings: &Retrieve = step.settings()?;
    let draw = step.draw("seeds");
    let mut sets: BTreeMap<String, Set> = settings.sets.keys().map(|name| (name.clone(), Set::new())).collect();
    step.for_each::<Retrieved>("", |row| {
        if let Some(set) = sets.get_mut(&row.seed_set) {
            set.add(&row, draw);
        }
    })?;
    let mut found: BTreeMap<ImageId, Found> =
        sets.values().flat_map(|set| set.drawn.iter().map(|&seed| (seed, Lowest::new(FOUND)))).collect();
    step.for_each::<Retrieved>("", |row| {
        if let Some((held, similarity)) = row.seed_id.and_then(|seed| found.get_mut(&seed)).zip(row.similarity) {
            // The weakest come first.
            held.push((ascending(similarity), row.id), (row.id, similarity, row.rank));
        }
    })?;
    let text = format!(
        "{} for {}.",
        some(step.summary.rows_out, "image was found", "images were found"),
        sets_in_words(&sets)
    );
    let mut page = Page::new(step.name(), format!("{}: what is like the seeds", step.name()), text);
    overview(step, settings, &sets, &mut page)?;
    for (name, set) in sets.into_iter().take(SETS) {
        match settings.sets.get(&name).map(|rule| rule.method) {
            Some(Method::Cluster) => by_cluster(step, &name, set, &mut page)?,
            _ => by_seed(step, &name, set, &found, &mut page)?,
        }
    }
    Ok(page)
}

fn sets_in_words(sets: &BTreeMap<String, Set>) -> String {
    sets.keys().cloned().collect::<Vec<_>>().join(", ")
}

/// A row a set, and those that found nothing.
fn overview(step: &Whole, settings: &Retrieve, sets: &BTreeMap<String, Set>, page: &mut Page) -> Result<()> {
    let section = page.section("Sets", "");
    let mut rows = Vec::new();
    for (name, set) in sets {
        let by_cluster = settings.sets.get(name).is_some_and(|rule| rule.method == Method::Cluster);
        let seeds = if by_cluster { "-".into() } else { about(set.seeds.count(), "seed", "seeds") };
        let of = thousands(seeds_of(step, name)?);
        let method = if by_cluster { "cluster" } else { "sample" };
        rows.push(vec![name.clone(), method.into(), of, seeds, thousands(set.images)]);
    }
    section.table(&["set", "method", ">seeds", ">found by", ">images"], rows);
    for (name, _) in sets.iter().filter(|(_, set)| set.images == 0) {
        section.blocks.push(Block::Warning(format!("{name} found nothing")));
        section.advice(
            "A set by clusters that finds nothing has too few images in any cluster: lower `more_than`. One by \
             neighbours finds nothing where other sets were served before, or where all is a copy of a seed.",
            step.command("plan", &format!("--set {}.sets.{name}.more_than=1", step.name())),
        );
    }
    Ok(())
}

/// The images that were ingested of a set.
fn seeds_of(step: &Whole, name: &str) -> Result<u64> {
    let number = step.pipeline.catalog.named(name)?.number;
    let parts = step.ingested()?.parts;
    Ok(parts
        .iter()
        .filter(|part| part.shard.is_some_and(|shard| shard.dataset() == number))
        .map(|part| part.rows)
        .sum())
}

fn by_seed(step: &Whole, name: &str, set: Set, found: &BTreeMap<ImageId, Found>, page: &mut Page) -> Result<()> {
    let section = page.section(
        format!("{name}: seeds and their neighbours"),
        "A seed, and beside it what was taken for it, the weakest first. Are the weakest still like the seed? If not, \
         take fewer for each seed.",
    );
    let bins = bins(&set.similarities);
    let least = quarter(&bins);
    let axes = Axes { x: "similarity to the seed (cosine)", y: "images" };
    section.blocks.push(Block::Plot(plot::histogram("What was found, by similarity", &axes, &bins, None)?));
    for &seed in set.drawn.iter() {
        let mut cards = vec![Card::one("seed", Shown::of(seed, Fate::Given))];
        let others = found.get(&seed).into_iter().flat_map(Lowest::iter);
        cards.extend(others.map(|&(id, x, rank)| {
            let rank = rank.map_or(String::new(), |rank| format!(", rank {rank}"));
            Card::one(format!("{x:.3}{rank}"), Shown::of(id, Fate::Kept))
        }));
        section.figure("", cards);
    }
    let pairs = set.weakest.into_sorted().into_iter();
    let cards = pairs.map(|(seed, id, x)| Card {
        head: format!("{x:.3}"),
        shown: vec![Shown::of(seed, Fate::Given), Shown::of(id, Fate::Kept)],
    });
    section.figure("The weakest of all, each beside its seed", cards.collect());
    let sets = format!("--set {}.sets.{name}", step.name());
    section.advice(
        format!(
            "The weakest are not like their seeds? Take fewer for each, or none below a cosine: a quarter of what was \
             found is below {least:.2}."
        ),
        format!(
            "{}\n{}",
            step.command("plan", &format!("{sets}.min_similarity={least:.2}")),
            step.command("plan", &format!("{sets}.k=2"))
        ),
    );
    Ok(())
}

fn by_cluster(step: &Whole, name: &str, set: Set, page: &mut Page) -> Result<()> {
    let number = step.pipeline.catalog.named(name)?.number;
    let draw = step.draw("beside");
    let mut seeds = Lowest::new(BESIDE);
    for part in step.ingested()?.parts.iter().filter(|part| part.shard.is_some_and(|s| s.dataset() == number)) {
        for batch in step.task.read::<crate::stages::pool::Identity>(part)? {
            batch?.into_iter().for_each(|row| seeds.push(draw.bits(row.id.0), row.id));
        }
    }
    let section = page.section(
        format!("{name}: found by clusters"),
        "Some of the seeds, and some of what was drawn from the clusters that hold many of them. Do they show the like?",
    );
    let cards = seeds.into_sorted().into_iter().map(|id| Card::one("", Shown::of(id, Fate::Given)));
    section.figure("Seeds", cards.collect());
    let cards = set.by_cluster.into_sorted().into_iter().map(|(id, cluster)| {
        let head = cluster.map_or(String::new(), |cluster| format!("cluster {cluster}"));
        Card::one(head, Shown::of(id, Fate::Kept))
    });
    section.figure("Found", cards.collect());
    section.advice(
        "Not alike? Ask for more seeds in a cluster before it counts.",
        step.command("plan", &format!("--set {}.sets.{name}.more_than=5", step.name())),
    );
    Ok(())
}

/// The lower edge of the bin below which a quarter of all lies.
fn quarter(bins: &[Bin]) -> f64 {
    let mut left = bins.iter().map(|bin| bin.count).sum::<u64>() / 4;
    let at = bins.iter().find(|bin| {
        let here = left < bin.count;
        left = left.saturating_sub(bin.count);
        here
    });
    at.map_or(0.0, |bin| bin.low)
}

/// The bins from the first to the last that holds something.
fn bins(histogram: &Histogram) -> Vec<Bin> {
    let bins: Vec<Bin> = histogram
        .edges
        .windows(2)
        .zip(&histogram.counts)
        .map(|(edges, &count)| Bin { low: edges[0], high: edges[1], count })
        .collect();
    let first = bins.iter().position(|bin| bin.count > 0).unwrap_or(0);
    let last = bins.iter().rposition(|bin| bin.count > 0).map_or(0, |last| last + 1);
    bins.into_iter().take(last).skip(first).collect()
}
