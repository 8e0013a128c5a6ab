//! The page of `lvd find`: each picture beside the nearest of the pool.

use std::fs::File;
use std::io::Read as _;

use crate::look::page::{Card, Fate, Page, Shown};
use crate::look::pictures::{MOST, small};
use crate::look::{FOUND, words::thousands};
use crate::pipeline::steps::Pipeline;
use crate::search::Became;
use crate::search::find::{Answer, Found, Near};

/// Bytes of a file that is shown, at most.
const BYTES: u64 = 1 << 28;

/// Makes the page.
pub fn page(pipeline: &Pipeline, answer: &Answer) -> Page {
    let whitened = if answer.whitened { ", whitened" } else { "" };
    let about = format!(
        "Compared with {} images of {}{whitened}. The number above a picture is its rank, then the cosine.",
        thousands(answer.compared),
        answer.vectors
    );
    let mut page = Page::new(FOUND, "find: the nearest of the pool", about);
    let mut room = MOST;
    for found in &answer.pictures {
        let near = found.nearest.len().min(room.saturating_sub(1));
        if near == 0 {
            break;
        }
        room -= near + 1;
        section(pipeline, answer, found, near, &mut page);
    }
    let left = answer.pictures.len() - page.sections.len();
    if let Some(first) = page.sections.first_mut().filter(|_| left > 0) {
        first.note(format!("{} pictures more have no room on this page.", thousands(left as u64)));
    }
    page
}

fn section(pipeline: &Pipeline, answer: &Answer, found: &Found, near: usize, page: &mut Page) {
    let Found { path, width, height, .. } = found;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES).read_to_end(&mut bytes));
    let jpeg = read.map_or(Vec::new(), |_| small(&bytes, *width, *height));
    let asked = page.bring(path.clone(), (*width, *height), jpeg);
    let mut cards = vec![Card::one("your picture", asked)];
    cards.extend(found.nearest.iter().take(near).map(card));
    let mut verdict = answer.verdict(found, &pipeline.typed);
    verdict.get_mut(..1).into_iter().for_each(str::make_ascii_uppercase);
    let section = page.section(path.clone(), format!("{verdict}."));
    section.figure("", cards);
    if near < found.nearest.len() {
        section.note(format!("{} are shown of {}.", thousands(near as u64), thousands(found.nearest.len() as u64)));
    }
}

fn card(near: &Near) -> Card {
    let fate = match near.became {
        Became::InDataSet { .. } | Became::Kept { .. } => Fate::Kept,
        Became::CopyOf { .. } => Fate::Dropped,
        Became::NotTaken { .. } => Fate::Open,
        Became::HeldOut => Fate::Given,
    };
    let kin = if near.kin().is_empty() { String::new() } else { format!(" · {}", near.kin()) };
    let head = format!("{} · {:.4}{kin}", near.rank, near.cosine);
    Card::one(head, Shown::of(near.image.id, fate).line(near.became.to_string()))
}
