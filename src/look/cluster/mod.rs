//! The page of a cluster step: what the clusters are of, the tree to open, odd ones out.

mod tree;

use std::collections::BTreeMap;

use self::tree::Tree;
use crate::look::draws::{Lowest, ascending, descending};
use crate::look::page::{Block, Card, Fate, Page, Shown};
use crate::look::plot::{self, Axes, Line};
use crate::look::step::Whole;
use crate::look::words::{some, thousands};
use crate::stages::cluster::Assigned;
use lvd_base::error::Result;
use lvd_base::types::ImageId;

/// Clusters that are shown of the largest, the middle and the smallest.
const CLUSTERS: usize = 6;
/// Pictures of each: the nearest to the centroid, and the farthest from it.
const NEAR: usize = 8;
const FAR: usize = 4;
/// Images that fit no cluster.
const ODD: usize = 24;

/// The images of a cluster that are shown, with their distances.
struct Montage {
    near: Lowest<(u32, ImageId), (ImageId, f32)>,
    far: Lowest<(u32, ImageId), (ImageId, f32)>,
}

impl Montage {
    fn new() -> Self {
        Self { near: Lowest::new(NEAR), far: Lowest::new(FAR) }
    }

    fn add(&mut self, row: &Assigned) {
        self.near.push((ascending(row.distance), row.id), (row.id, row.distance));
        self.far.push((descending(row.distance), row.id), (row.id, row.distance));
    }

    /// The nearest, then the farthest that are not among them.
    fn cards(&self) -> Vec<Card> {
        let card = |head: &str, (id, distance): (ImageId, f32)| {
            Card::one(format!("{head} {distance:.2}"), Shown::of(id, Fate::Open))
        };
        let near: Vec<(ImageId, f32)> = self.near.iter().copied().collect();
        let mut far: Vec<(ImageId, f32)> = self.far.iter().copied().filter(|one| !near.contains(one)).collect();
        far.reverse();
        let near = near.into_iter().map(|one| card("near", one));
        near.chain(far.into_iter().map(|one| card("far", one))).collect()
    }
}

/// Makes the page.
pub fn page(step: &Whole) -> Result<Page> {
    let tree = Tree::read(step)?;
    let sizes =
        [("largest", tree.largest(CLUSTERS)), ("middle", tree.middle(CLUSTERS)), ("smallest", tree.smallest(CLUSTERS))];
    let branches = tree.branches();
    let chosen = sizes.iter().flat_map(|(_, clusters)| clusters.iter().copied()).chain(tree::leaves(&branches));
    let mut montages: BTreeMap<u32, Montage> = chosen.map(|cluster| (cluster, Montage::new())).collect();
    let mut odd = Lowest::new(ODD);
    step.for_each::<Assigned>("", |row| {
        odd.push((descending(row.distance), row.id), (row.id, row.cluster, row.distance));
        if let Some(montage) = montages.get_mut(&row.cluster) {
            montage.add(&row);
        }
    })?;
    let text = format!("{} in {}.", some(step.summary.rows_out, "image", "images"), tree.levels_in_words());
    let mut page = Page::new(step.name(), format!("{}: what the clusters are of", step.name()), text);

    let section = page.section(
        "Sizes",
        "The images of each cluster, the largest cluster first, on logarithmic axes. A steep line is a pool that is \
         mostly of a few things: an even draw over clusters changes it most.",
    );
    let lines: Vec<Line> = tree
        .levels()
        .map(|(level, sizes)| Line { name: format!("level {level}"), points: plot::ranked(sizes.to_vec()) })
        .collect();
    let axes = Axes { x: "rank of the cluster", y: "images" };
    section.blocks.push(Block::Plot(plot::by_rank("Sizes by rank", &axes, &lines)?));
    section.table(&["level", ">clusters", ">empty", ">largest", ">middle", ">smallest"], tree.table());

    for (which, clusters) in sizes {
        let title = match which {
            "largest" => "The largest clusters",
            "middle" => "Clusters of middle size",
            _ => "The smallest clusters",
        };
        let section = page.section(
            title,
            "The pictures nearest to the centroid say what a cluster is of; the farthest say how sharp it is.",
        );
        for cluster in clusters {
            let cards = montages.get(&cluster).map(Montage::cards).unwrap_or_default();
            section.figure(format!("Cluster {cluster}: {}", some(tree.size(cluster), "image", "images")), cards);
        }
        section.folded = which == "middle";
        if which == "largest" {
            section.advice(
                "Clusters of several things? Make more of them. Many that show the same? Make fewer.",
                step.command("plan", &format!("--set '{}.clusters=[{}]'", step.name(), tree.more())),
            );
        }
    }

    let section = page.section("Odd ones out", "The images farthest from any centroid: broken pictures, rare things.");
    let cards = odd.into_sorted().into_iter().map(|(id, cluster, distance)| {
        Card::one(format!("{distance:.2}"), Shown::of(id, Fate::Open).line(format!("cluster {cluster}")))
    });
    section.figure("", cards.collect());

    if tree.has_levels() {
        let section = page.section(
            "The tree",
            "The largest clusters of the top level, and the largest in each of them, down to the picture nearest to \
             the centroid. Does each line show one kind of thing?",
        );
        for branch in branches {
            let picture = |cluster: u32| montages.get(&cluster).and_then(|montage| montage.near.iter().next().copied());
            branch.show(&picture, section);
        }
        section.folded = true;
    }
    Ok(page)
}

/// A cluster's number with its size.
fn named(level: u32, cluster: u32, images: u64) -> String {
    format!("level {level}, cluster {cluster}: {}", thousands(images))
}
