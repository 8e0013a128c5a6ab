//! The page of an ingest step: what failed, what the pictures are like, what came twice.

use std::collections::BTreeMap;

use crate::look::draws::{Lowest, Tallies};
use crate::look::page::{Bar, Block, Card, Fate, Page, Shown};
use crate::look::plot::real;
use crate::look::step::Whole;
use crate::look::words::{about, per_cent, some, thousands};
use lvd_base::error::Result;
use lvd_base::types::{ImageId, Reason};
use lvd_io::images::Failed;
use lvd_io::table;
use lvd_kernels::hash::Draw;

/// Rows that are shown of each reason to fail.
const EXAMPLES: usize = 4;
/// Hosts that are counted, and those that are shown.
const COUNTED: usize = 4096;
const HOSTS: usize = 15;
/// Sources of which pictures are shown, and how many.
const SOURCES: usize = 12;
const PICTURES: usize = 12;
/// Pictures of odd shape, and pictures that came often.
const ODD: usize = 12;
const OFTEN: usize = 12;
/// Upper ends of the ranges of the shorter side, in pixels.
const SIDES: [u32; 6] = [64, 128, 256, 512, 1024, 2048];

table! {
    /// What the page tells of an image.
    pub struct Seen {
        /// Which image.
        pub id: ImageId,
        /// Name of the source.
        pub source: String,
        /// Pixels, upright.
        pub width: u32,
        /// Pixels, upright.
        pub height: u32,
        /// Its format.
        pub format: String,
    }
}

table! {
    /// Which image goes on in place of one with the same bytes.
    pub struct Twin {
        /// Which image.
        pub id: ImageId,
        /// The image with the same bytes that goes on in its place.
        pub duplicate_of: Option<ImageId>,
    }
}

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let summary = &step.summary;
    let text = format!(
        "{} listed, {} go on.",
        some(summary.rows_in, "row was", "rows were"),
        some(summary.rows_out, "image", "images")
    );
    let mut page = Page::new(step.name(), format!("{}: what came in, and what failed", step.name()), text);
    failures(step, &mut page)?;
    pictures(step, &mut page)?;
    twins(step, &mut page)?;
    Ok(page)
}

/// Failures by source, reason and host, with examples.
fn failures(step: &Whole, page: &mut Page) -> Result<()> {
    let summary = &step.summary;
    let draw = step.draw("failed");
    let mut hosts = Tallies::new(COUNTED);
    let mut examples: BTreeMap<&'static str, Lowest<u64, Failed>> = BTreeMap::new();
    step.for_each::<Failed>("failed", |row| {
        let reason = row.reason.name();
        if let Some(host) = host(&row.url) {
            let key = Draw::new(summary.seed, &format!("look/{reason}/{host}")).bits(0);
            hosts.add(key, (host.to_owned(), reason));
        }
        examples.entry(reason).or_insert_with(|| Lowest::new(EXAMPLES)).push(draw.bits(row.id.0), row);
    })?;
    let section = page.section(
        "What did not go on",
        "A reason that takes a large share of one source is the first thing to mend: see its examples.",
    );
    let sources = summary.sources.iter().map(|(name, count)| {
        let reasons: Vec<String> =
            count.drops.iter().map(|(reason, rows)| format!("{} {}", reason.name(), thousands(*rows))).collect();
        let failed = per_cent(count.failed(), count.rows_in);
        vec![name.clone(), thousands(count.rows_in), thousands(count.rows_out), failed, reasons.join(", ")]
    });
    section.table(&["source", ">rows", ">images", ">failed", "why"], sources.collect());
    let drops = summary
        .drops
        .iter()
        .map(|(reason, rows)| vec![reason.clone(), thousands(*rows), per_cent(*rows, summary.rows_in)]);
    section.table(&["reason", ">rows", ">share"], drops.collect());
    let hosts = hosts.most(HOSTS).into_iter().map(|((host, reason), rows)| vec![host, reason.into(), thousands(rows)]);
    section.table(&["host", "reason", ">failed"], hosts.collect());
    let rows = examples.into_iter().flat_map(|(reason, rows)| {
        rows.into_sorted().into_iter().map(move |row| vec![reason.to_owned(), row.url, row.error_message])
    });
    section.table(&["reason", "for instance", "what was said"], rows.collect());
    let of_size = [Reason::TooSmall, Reason::TooManyPixels, Reason::TooManyBytes];
    if summary.drops.is_empty() {
        section.note("Nothing: every row gave an image.");
    } else if of_size.iter().any(|reason| summary.drops.contains_key(reason.name())) {
        section.advice(
            "Too many too small or too large? `min_side`, `max_pixels` and `max_bytes` set the limits; a change fetches \
             again.",
            step.command("plan", &format!("--set {}.min_side=16", step.name())),
        );
    }
    Ok(())
}

/// The host of an http address.
fn host(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    scheme.starts_with("http").then_some(host)
}

/// Sizes and formats, and some pictures of each source.
fn pictures(step: &Whole, page: &mut Page) -> Result<()> {
    let draw = step.draw("pictures");
    let mut sides = [0u64; SIDES.len() + 1];
    let mut formats: BTreeMap<String, u64> = BTreeMap::new();
    let mut drawn: BTreeMap<String, Lowest<u64, ImageId>> = BTreeMap::new();
    let mut odd = Lowest::new(ODD);
    let mut images = 0u64;
    step.for_each::<Seen>("facts", |row| {
        images += 1;
        let (short, long) = (row.width.min(row.height), row.width.max(row.height));
        sides[SIDES.partition_point(|&side| side <= short)] += 1;
        *formats.entry(row.format).or_default() += 1;
        let shape = u64::from(long) * 1000 / u64::from(short.max(1));
        odd.push((u64::MAX - shape, row.id), (row.id, shape));
        if drawn.len() < SOURCES || drawn.contains_key(&row.source) {
            drawn.entry(row.source).or_insert_with(|| Lowest::new(PICTURES)).push(draw.bits(row.id.0), row.id);
        }
    })?;
    let section = page.section("Sizes and formats", "Small pictures teach little.");
    section.note("Images by their shorter side, in pixels:");
    let names = |at: usize| match at {
        0 => format!("under {}", SIDES[0]),
        at if at == SIDES.len() => format!("{} and more", SIDES[at - 1]),
        at => format!("{} to {}", SIDES[at - 1], SIDES[at] - 1),
    };
    section.blocks.push(bars(sides.iter().enumerate().map(|(at, &n)| (names(at), n)), images));
    section.note("Images by format:");
    section.blocks.push(bars(formats.into_iter(), images));
    let section = page.section("Pictures of each source", "Drawn at random, before copies are taken out.");
    for (source, ids) in drawn {
        let cards = ids.into_sorted().into_iter().map(|id| Card::one("", Shown::of(id, Fate::Open)));
        section.figure(source, cards.collect());
    }
    let section = page.section("The longest and thinnest", "Banners, strips and borders are found here.");
    let cards = odd.into_sorted().into_iter().map(|(id, shape)| {
        Card::one(format!("1 : {}.{}", shape / 1000, shape % 1000 / 100), Shown::of(id, Fate::Open))
    });
    section.figure("", cards.collect());
    section.folded = true;
    Ok(())
}

fn bars(amounts: impl Iterator<Item = (String, u64)>, all: u64) -> Block {
    let bar = |(name, n): (String, u64)| {
        let text = format!("{} ({})", thousands(n), per_cent(n, all));
        Bar { name, shares: vec![real(n) / real(all.max(1))], text }
    };
    Block::Bars(amounts.map(bar).collect())
}

/// What came with the same bytes.
fn twins(step: &Whole, page: &mut Page) -> Result<()> {
    let draw = step.draw("twins");
    let mut of = Tallies::new(COUNTED);
    step.for_each::<Twin>("kept", |row| {
        if let Some(original) = row.duplicate_of {
            of.add(draw.bits(original.0), original);
        }
    })?;
    let different = about(of.different(), "image", "images");
    let section = page.section(
        "The same bytes",
        format!("Files that came more than once, by SHA-256; one of each goes on. There are {different} with copies."),
    );
    let cards = of
        .most(OFTEN)
        .into_iter()
        .map(|(id, copies)| Card::one(some(copies, "copy dropped", "copies dropped"), Shown::of(id, Fate::Kept)));
    section.figure("Those that came most often", cards.collect());
    section.folded = section.blocks.is_empty();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_that_of_an_http_address() {
        assert_eq!(host("https://a.example:80/b?c"), Some("a.example:80"));
        assert_eq!(host("http://a.example?c"), Some("a.example"));
        assert_eq!([host("photos/1.jpg"), host("0:part.parquet#7"), host("s3://b/c")], [None; 3]);
    }
}
