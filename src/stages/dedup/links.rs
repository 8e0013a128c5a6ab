//! The images as nodes of a graph, and who of them goes.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::{Error, Result};
use crate::ops::union_find::UnionFind;
use crate::stages::dedup::components::Common;
use crate::stages::dedup::rank::Rank;
use crate::stages::dedup::{Edge, Linkage};
use crate::stages::task::Task;
use crate::types::{ImageId, ShardId};

/// Node numbers: every shard a range, as long as its highest row.
pub struct Numbering {
    bases: BTreeMap<ShardId, u32>,
    shards: BTreeMap<u32, ShardId>,
    end: u32,
}

impl Numbering {
    /// Gives every node a number below 2^32.
    pub fn new(common: &Common, task: &Task) -> Result<Self> {
        let mut numbering = Self { bases: BTreeMap::new(), shards: BTreeMap::new(), end: 0 };
        for member in common.nodes.all() {
            let rows = member.shard.ids(task)?.last().map_or(0, |id| id.row() + 1);
            if rows > 0 {
                numbering.bases.insert(member.shard.shard(), numbering.end);
                numbering.shards.insert(numbering.end, member.shard.shard());
            }
            numbering.end = numbering.end.checked_add(rows).ok_or_else(|| {
                Error::usage("more than 4,294,967,295 rows in one dedup step", "split the pool into several steps")
            })?;
        }
        Ok(numbering)
    }

    /// The node of an image that takes part.
    pub fn of(&self, id: ImageId) -> Option<u32> {
        Some(self.bases.get(&id.shard())? + id.row())
    }

    /// The image of a node.
    pub fn image(&self, node: u32) -> ImageId {
        let before = self.shards.range(..=node).next_back();
        before.map_or(ImageId(0), |(base, shard)| shard.image(node - base))
    }
}

/// The components of the pairs over the threshold, and how many pairs were needed for them.
pub fn link(common: &Common, numbering: &Numbering, task: &Task) -> Result<(UnionFind, u64)> {
    let mut links = UnionFind::new(numbering.end);
    let mut linked = 0;
    over_threshold(common, numbering, task, |edge, a, b| {
        if edge.tree && links.find(a) != links.find(b) {
            links.union(a, b);
            linked += 1;
        }
    })?;
    Ok((links, linked))
}

/// Sizes of the components of more than one image, by root.
pub fn sizes(common: &Common, numbering: &Numbering, links: &mut UnionFind, task: &Task) -> Result<HashMap<u32, u32>> {
    let mut sizes = HashMap::new();
    for member in common.nodes.all() {
        for id in member.shard.ids(task)? {
            let Some(node) = numbering.of(id) else { continue };
            let root = links.find(node);
            if root != node {
                *sizes.entry(root).or_insert(1) += 1;
            }
        }
    }
    Ok(sizes)
}

/// In whose place an image goes, and their cosine where it is known.
#[derive(Clone, Copy, Debug)]
pub struct Gone {
    pub instead: u32,
    pub similarity: Option<f32>,
}

/// Who goes, by node. `best` is the highest-ranked image of each component; `ranks` has every linked image that may stay.
pub fn decide(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &Task,
) -> Result<HashMap<u32, Gone>> {
    match common.linkage {
        Linkage::Component => decide_by_component(common, numbering, links, ranks, task),
        Linkage::Representative | Linkage::Earlier => decide_by_links(common, numbering, ranks, task),
    }
}

fn decide_by_component(
    common: &Common,
    numbering: &Numbering,
    links: &mut UnionFind,
    ranks: &HashMap<u32, Rank>,
    task: &Task,
) -> Result<HashMap<u32, Gone>> {
    let mut best: HashMap<u32, (Rank, u32)> = HashMap::new();
    for (&node, &rank) in ranks {
        let first = best.entry(links.find(node)).or_insert((rank, node));
        *first = (*first).min((rank, node));
    }
    let mut gone = HashMap::new();
    for member in &common.nodes.pool {
        for id in member.shard.ids(task)? {
            let Some(node) = numbering.of(id) else { continue };
            if let Some(&(_, instead)) =
                best.get(&links.find(node)).filter(|(_, best)| *best != node && !member.settled)
            {
                gone.insert(node, Gone { instead, similarity: None });
            }
        }
    }
    each_edge(common, numbering, task, |edge, a, b| {
        for (node, other) in [(a, b), (b, a)] {
            if let Some(gone) = gone.get_mut(&node).filter(|gone| gone.instead == other) {
                gone.similarity = Some(edge.similarity);
            }
        }
    })?;
    Ok(gone)
}

/// An image goes if it is linked to a higher-ranked one: to one that stays, or to any.
fn decide_by_links(
    common: &Common,
    numbering: &Numbering,
    ranks: &HashMap<u32, Rank>,
    task: &Task,
) -> Result<HashMap<u32, Gone>> {
    let mut order: Vec<u32> = ranks.keys().copied().collect();
    order.sort_unstable_by_key(|node| ranks[node]);
    let places: HashMap<u32, u32> = order.iter().copied().zip(0..).collect();
    let mut links: Vec<Link> = Vec::new();
    over_threshold(common, numbering, task, |edge, a, b| {
        if let (Some(&a), Some(&b)) = (places.get(&a), places.get(&b)) {
            let hub = edge.star.then_some(b);
            links.push(Link { lower: a.max(b), higher: a.min(b), similarity: edge.similarity, hub });
        }
    })?;
    let settled = order.iter().take_while(|node| ranks[node].settled()).count();
    let gone = stand_ins(links, common.threshold, common.linkage == Linkage::Earlier, settled);
    let node = |place: u32| order[place as usize];
    Ok(gone.into_iter().map(|(place, gone)| (node(place), Gone { instead: node(gone.instead), ..gone })).collect())
}

/// A pair over the threshold, by the places of the images in the order of their ranks.
#[derive(Clone, Copy, Debug)]
struct Link {
    lower: u32,
    higher: u32,
    similarity: f32,
    /// The one of the two on which the other hangs, as many may: no links among these were looked for.
    hub: Option<u32>,
}

/// Who goes, in whose place, all by places. Those that are `settled`, the first ones, stay. Images that have links to one hub, or to two that are
/// linked, are linked as well if the angles together are no more than the threshold's: of those that may stand for others, a hub has to know
/// only the nearest.
fn stand_ins(mut links: Vec<Link>, threshold: f32, by_any: bool, settled: usize) -> HashMap<u32, Gone> {
    let angle = |cosine: f32| f64::from(cosine).clamp(-1.0, 1.0).acos();
    let hubs: HashSet<u32> = links.iter().filter_map(|link| link.hub).collect();
    // (image, hub, their angle)
    let mut ties: Vec<(u32, u32, f64)> = hubs.iter().map(|&hub| (hub, hub, 0.0)).collect();
    for link in &links {
        let ends = [(link.lower, link.higher), (link.higher, link.lower)].into_iter();
        ties.extend(ends.filter(|(_, hub)| hubs.contains(hub)).map(|(end, hub)| (end, hub, angle(link.similarity))));
    }
    ties.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    links.sort_unstable_by(|a, b| {
        a.lower.cmp(&b.lower).then(b.similarity.total_cmp(&a.similarity)).then(a.higher.cmp(&b.higher))
    });
    let mut images: Vec<u32> = links.iter().map(|link| link.lower).chain(ties.iter().map(|tie| tie.0)).collect();
    images.sort_unstable();
    images.dedup();
    let all_ties = &ties[..];
    // From a hub to the hubs that it has links to.
    let roads = |hub: u32| {
        let from = all_ties.partition_point(|tie| tie.0 < hub);
        all_ties[from..].iter().take_while(move |tie| tie.0 == hub)
    };
    // The nearest to each hub that counts so far, and its angle.
    let mut nearest: HashMap<u32, (f64, u32)> = HashMap::new();
    let mut gone: HashMap<u32, Gone> = HashMap::new();
    let (mut links, mut ties) = (&links[..], all_ties);
    for image in images {
        let (own, later) = links.split_at(links.partition_point(|link| link.lower <= image));
        let (at_hubs, rest) = ties.split_at(ties.partition_point(|tie| tie.0 <= image));
        (links, ties) = (later, rest);
        if image as usize >= settled {
            let direct = own.iter().find(|link| by_any || !gone.contains_key(&link.higher));
            let direct = direct.map(|link| Gone { instead: link.higher, similarity: Some(link.similarity) });
            let known = at_hubs.iter().filter_map(|(_, hub, own)| nearest.get(hub).map(|&(its, at)| (own + its, at)));
            let by_hub = || {
                let (angles, instead) = known.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
                (angles <= angle(threshold)).then_some(Gone { instead, similarity: None })
            };
            if let Some(goes) = direct.or_else(by_hub) {
                gone.insert(image, goes);
            }
        }
        if by_any || !gone.contains_key(&image) {
            for &(_, hub, angle) in at_hubs {
                if note(&mut nearest, hub, (angle, image)) {
                    for (_, other, between) in roads(hub) {
                        note(&mut nearest, *other, (angle + between, image));
                    }
                }
            }
        }
    }
    gone
}

/// Remembers who is near a hub, if nobody known is as near.
fn note(nearest: &mut HashMap<u32, (f64, u32)>, hub: u32, (angle, image): (f64, u32)) -> bool {
    let known = nearest.get(&hub).is_some_and(|known| known.0 <= angle);
    if !known {
        nearest.insert(hub, (angle, image));
    }
    !known
}

fn each_edge(common: &Common, numbering: &Numbering, task: &Task, mut each: impl FnMut(&Edge, u32, u32)) -> Result<()> {
    task.for_each::<Edge>(&common.edges, |edge| {
        if let (Some(a), Some(b)) = (numbering.of(edge.id), numbering.of(edge.neighbour)) {
            each(&edge, a, b);
        }
        Ok(())
    })
}

fn over_threshold(
    common: &Common,
    numbering: &Numbering,
    task: &Task,
    mut each: impl FnMut(&Edge, u32, u32),
) -> Result<()> {
    each_edge(common, numbering, task, |edge, a, b| {
        if edge.similarity >= common.threshold {
            each(edge, a, b);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::hash::Draw;

    /// Hangs `members` on `hub`, by angles in degrees.
    fn star(hub: u32, members: &[(u32, f32)]) -> Vec<Link> {
        let link = |&(member, degrees): &(u32, f32)| Link {
            lower: hub.max(member),
            higher: hub.min(member),
            similarity: degrees.to_radians().cos(),
            hub: Some(hub),
        };
        members.iter().map(link).collect()
    }

    #[test]
    fn one_of_those_that_hang_on_an_image_stays_whatever_its_rank() {
        let draw = Draw::new(1, "stars");
        #[expect(clippy::cast_possible_truncation, reason = "random numbers")]
        let degrees = |i: u32| 22.0 * draw.unit(u64::from(i)) as f32;
        for hub in [0, 7, 499] {
            // Near copies, and vectors that are equal to the hub.
            let members: Vec<(u32, f32)> = (0..500).filter(|&i| i != hub).map(|i| (i, degrees(i))).collect();
            let equal: Vec<(u32, f32)> = members.iter().map(|&(i, _)| (i, 0.0)).collect();
            for (members, by_any) in [(&members, false), (&members, true), (&equal, false), (&equal, true)] {
                let gone = stand_ins(star(hub, members), 0.7, by_any, 0);
                assert!((1..500).all(|image| gone.contains_key(&image)) && !gone.contains_key(&0), "{hub} {by_any}");
                assert!(by_any || gone.values().all(|gone| gone.instead == 0));
                assert!(gone.iter().all(|(&image, gone)| gone.instead < image));
                assert_eq!(gone[&9].similarity.is_some(), hub == 0 || (by_any && hub == 7), "{hub} {by_any}");
            }
        }
    }

    #[test]
    fn what_is_too_far_from_those_that_stay_stays_too() {
        // All hang on 2; 45.6 degrees are a cosine of 0.7.
        let links = star(2, &[(0, 20.0), (1, 30.0), (3, 24.0), (4, 40.0)]);
        let gone = stand_ins(links.clone(), 0.7, false, 0);
        let mut who: Vec<(u32, u32)> = gone.iter().map(|(&image, gone)| (image, gone.instead)).collect();
        who.sort_unstable();
        assert_eq!(who, [(2, 0), (3, 0)], "1 and 4 may be far from 0");
        // 4 is linked to 2, which goes.
        assert!(stand_ins(links.clone(), 0.7, true, 0).contains_key(&4));
        // A settled image stays, near or not.
        assert!(!stand_ins(links, 0.7, false, 4).contains_key(&3));
    }

    #[test]
    fn one_of_two_stars_whose_hubs_are_linked_stays() {
        let mut links = star(5, &[(0, 10.0), (4, 12.0)]);
        links.extend(star(6, &[(1, 12.0), (2, 12.0), (3, 30.0)]));
        links.push(Link { lower: 6, higher: 5, similarity: 10.0f32.to_radians().cos(), hub: None });
        for by_any in [false, true] {
            let gone = stand_ins(links.clone(), 0.7, by_any, 0);
            let stays: Vec<u32> = (0..7).filter(|image| !gone.contains_key(image)).collect();
            assert_eq!(stays, if by_any { vec![0] } else { vec![0, 3] }, "{by_any}");
        }
    }

    #[test]
    fn an_image_outside_goes_for_one_that_hangs_if_it_is_certainly_near() {
        let outside = |degrees: f32| {
            let mut links = star(1, &[(0, 10.0), (2, 10.0)]);
            links.push(Link { lower: 3, higher: 1, similarity: degrees.to_radians().cos(), hub: None });
            stand_ins(links, 0.7, false, 0).get(&3).map(|gone| gone.instead)
        };
        assert_eq!((outside(35.0), outside(36.0)), (Some(0), None));
    }
}
