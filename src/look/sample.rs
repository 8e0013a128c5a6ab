//! The page of a sample step: balance before and after, what came in and what stayed out.

use std::collections::{BTreeMap, BTreeSet};

use crate::look::draws::Lowest;
use crate::look::page::{Bar, Block, Card, Fate, Page, Section, Shown};
use crate::look::plot::{self, Axes, Line, real};
use crate::look::step::Whole;
use crate::look::words::{per_cent, some, thousands};
use crate::stages::catalog::Role;
use crate::stages::cluster::Node;
use crate::stages::pool::Decision;
use crate::stages::sample::{Balance, Sample, Sampled};
use lvd_base::error::Result;
use lvd_base::types::ImageId;

/// Pictures that are shown of each reason to be in.
const IN: usize = 24;
/// Pictures that stayed out, and images among which they are looked for.
const OUT: usize = 32;
const CANDIDATES: usize = 4096;

/// What passes over the data set give.
#[derive(Default)]
struct Chosen {
    /// Images by reason.
    why: BTreeMap<String, u64>,
    /// Images by source.
    sources: BTreeMap<String, u64>,
    /// Images of the balanced draw by cluster, copies counted.
    clusters: Vec<u64>,
    drawn: BTreeMap<String, Vec<(ImageId, String)>>,
}

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let settings: &Sample = step.settings()?;
    let chosen = chosen(step)?;
    let (pool, out) = pool(step, settings)?;
    let all: u64 = chosen.why.values().sum();
    let mut page = Page::new(
        step.name(),
        format!("{}: what the data set is made of", step.name()),
        format!("{}, of a pool of {}.", some(all, "image", "images"), thousands(pool.values().sum())),
    );
    balance(step, settings, &chosen, &mut page)?;
    sources(&pool, &chosen, &mut page);
    let section = page.section("What came in", "Drawn at random from the data set, by the reason why it is there.");
    for (why, drawn) in chosen.drawn {
        let cards = drawn.into_iter().map(|(id, line)| {
            let fate = if step.is_given(id) { Fate::Given } else { Fate::Kept };
            Card::one(line, Shown::of(id, fate))
        });
        let n = chosen.why.get(&why).copied().unwrap_or(0);
        section.figure(format!("{why}: {}", some(n, "image", "images")), cards.collect());
    }
    let section = page.section(
        "What stayed out",
        "Drawn at random from the pool's images that are not in the data set. Is something missing that you care \
         about? Give pictures of it as a seed set.",
    );
    let cards = out.into_iter().map(|id| Card::one("", Shown::of(id, Fate::Dropped)));
    section.figure("", cards.collect());
    Ok(page)
}

fn chosen(step: &Whole) -> Result<Chosen> {
    let mut chosen = Chosen::default();
    let draw = step.draw("in");
    let mut drawn: BTreeMap<String, Lowest<u64, (ImageId, String)>> = BTreeMap::new();
    step.for_each::<Sampled>("", |row| {
        *chosen.why.entry(row.why.clone()).or_default() += 1;
        *chosen.sources.entry(step.source(row.id).to_owned()).or_default() += 1;
        if let Some(cluster) = row.cluster.filter(|_| row.why == "balanced") {
            let cluster = cluster as usize;
            chosen.clusters.resize(chosen.clusters.len().max(cluster + 1), 0);
            chosen.clusters[cluster] += u64::from(row.copies);
        }
        let line = match (&row.seed_set, row.cluster) {
            (Some(set), _) => set.clone(),
            (None, Some(cluster)) => format!("cluster {cluster}"),
            (None, None) => String::new(),
        };
        drawn.entry(row.why).or_insert_with(|| Lowest::new(IN)).push(draw.bits(row.id.0), (row.id, line));
    })?;
    chosen.drawn = drawn.into_iter().map(|(why, drawn)| (why, drawn.into_sorted())).collect();
    Ok(chosen)
}

/// The pool by source, and some of its images that are not in the data set.
fn pool(step: &Whole, settings: &Sample) -> Result<(BTreeMap<String, u64>, Vec<ImageId>)> {
    let table = match settings.pool.name() {
        "" => step.other(&format!("{}/kept", settings.images.name()))?,
        name => step.other(name)?,
    };
    let draw = step.draw("out");
    let mut sources: BTreeMap<String, u64> = BTreeMap::new();
    let mut candidates = Lowest::new(CANDIDATES);
    for part in &table.parts {
        let source = part.shard.and_then(|shard| step.pipeline.catalog.source_of(shard));
        let Some((source, _)) = source.filter(|(_, entry)| entry.role == Role::Pool) else { continue };
        let mut kept = 0;
        for batch in step.task.read::<Decision>(part)? {
            for row in batch?.into_iter().filter(|row| row.kept) {
                kept += 1;
                candidates.push(draw.bits(row.id.0), row.id);
            }
        }
        *sources.entry(source.to_owned()).or_default() += kept;
    }
    let candidates = candidates.into_sorted();
    let mut left: BTreeSet<ImageId> = candidates.iter().copied().collect();
    step.for_each::<Sampled>("", |row| _ = left.remove(&row.id))?;
    Ok((sources, candidates.into_iter().filter(|id| left.contains(id)).take(OUT).collect()))
}

fn balance(step: &Whole, settings: &Sample, chosen: &Chosen, page: &mut Page) -> Result<()> {
    let section = page.section(
        "Balance",
        "How even the draw is over clusters, beside the pool and beside a uniform draw of the same size. The flatter \
         the line, and the higher the entropy, the more even.",
    );
    if !settings.cluster.name().is_empty() {
        let mut pool: Vec<u64> = Vec::new();
        step.task.for_each::<Node>(&step.other(&format!("{}/tree", settings.cluster.name()))?, |node| {
            if node.level == 1 {
                pool.resize(pool.len().max(node.cluster as usize + 1), 0);
                pool[node.cluster as usize] = node.images;
            }
            Ok(())
        })?;
        let share = real(chosen.clusters.iter().sum()) / real(pool.iter().sum::<u64>().max(1));
        let uniform: Vec<(f64, f64)> = plot::ranked(pool.clone()).into_iter().map(|(x, y)| (x, y * share)).collect();
        let lines = [
            Line { name: "pool".into(), points: plot::ranked(pool) },
            Line { name: "this draw".into(), points: plot::ranked(chosen.clusters.clone()) },
            Line { name: "a uniform draw, on average".into(), points: uniform },
        ];
        let axes = Axes { x: "rank of the cluster (level 1)", y: "images" };
        section.blocks.push(Block::Plot(plot::by_rank("Images of a cluster, by rank", &axes, &lines)?));
    }
    let (mut rows, mut over_labels) = (Vec::new(), BTreeMap::new());
    step.for_each::<Balance>("balance", |row| {
        if row.over == "labels" {
            over_labels.insert(row.draw.clone(), row.entropy);
        }
        rows.push(vec![
            row.over,
            row.draw,
            thousands(row.images),
            thousands(row.groups),
            format!("{:.3}", row.entropy),
            format!("{:.3}", row.kl_to_uniform),
            format!("{:.3}", row.tail_covered),
        ]);
    })?;
    section
        .table(&["even over", "draw", ">images", ">groups", ">entropy, bits", ">KL to uniform", ">tail covered"], rows);
    uneven(step, &over_labels, section);
    section.advice(
        "Still mostly of a few things? Draw fewer images, or set `per_cluster`, the most of one cluster.",
        step.command("plan", &format!("--set {}.target={}", step.name(), settings.target / 2)),
    );
    section.advice(
        "Clusters that mean nothing to you? Look at them first: balance is over clusters, whatever they are of.",
        step.command("look", settings.cluster.name()),
    );
    Ok(())
}

/// Warns of a draw that is less even over the labels than if nobody had balanced it.
fn uneven(step: &Whole, over_labels: &BTreeMap<String, f64>, section: &mut Section) {
    let entropy = |draw: &str| over_labels.get(draw).copied();
    let Some((ours, uniform)) = entropy("balanced").zip(entropy("uniform")).filter(|(ours, uniform)| ours < uniform)
    else {
        return;
    };
    section.blocks.push(Block::Warning(format!(
        "Over the labels this draw is less even ({ours:.2} bits) than a uniform one ({uniform:.2} bits): its clusters, or \
         their upper levels, are not of what the labels are of"
    )));
    if let Some(flat) = entropy("flat").filter(|&flat| flat > ours) {
        section.advice(
            format!("Balanced over level-1 clusters alone, it would have {flat:.2} bits."),
            step.command("plan", &format!("--set '{}.balance=\"flat\"'", step.name())),
        );
    }
}

/// The pool and the data set by source, side by side.
fn sources(pool: &BTreeMap<String, u64>, chosen: &Chosen, page: &mut Page) {
    let section = page.section("Sources", "The share of each source: of the pool above, of the data set below it.");
    let (of_pool, of_set): (u64, u64) = (pool.values().sum(), chosen.sources.values().sum());
    let names: BTreeSet<&String> = pool.keys().chain(chosen.sources.keys()).collect();
    let bar = |name: &String| {
        let count = |of: &BTreeMap<String, u64>| of.get(name).copied().unwrap_or(0);
        let (before, after) = (count(pool), count(&chosen.sources));
        let text = format!(
            "{} ({}) to {} ({})",
            thousands(before),
            per_cent(before, of_pool),
            thousands(after),
            per_cent(after, of_set)
        );
        let shares = vec![real(before) / real(of_pool.max(1)), real(after) / real(of_set.max(1))];
        Bar { name: name.clone(), shares, text }
    };
    section.blocks.push(Block::Bars(names.into_iter().map(bar).collect()));
}
