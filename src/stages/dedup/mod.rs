//! Dedup: copy detection among the pool, or between the pool and reference sets.
//!
//! A self-join by cells: `train` fits cells on a sample, `tune` measures how far images have to look, `move` writes every vector
//! once into a run sorted by cell, `join` compares the cells that know of each other, `components` joins the pairs over the
//! threshold and chooses who stays (`DINOv2`, arXiv 2304.07193, appendix A). Small pools are one cell.

mod components;
mod doubts;
mod greedy;
mod join;
mod links;
mod moving;
mod rank;
mod train;
mod tune;
mod whiten;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::stages::catalog::{Catalog, Role};
use crate::stages::cost::{Cost, Scale, Work, number, short};
use crate::stages::known::{Known, Table};
use crate::stages::pool::{self, VectorShard};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::{Outcome, Task};
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};
use lvd_base::error::{Error, Result};
use lvd_ops::whiten::Whitening;

pub use components::Group;
pub use join::Edge;

/// The share of all pairs that cells let through on hard data (docs/dedup.md).
const PAIRS_COMPARED: f64 = 0.03;
const PHASES: &[Phase] = &[
    // What is compared again by another threshold is whitened again.
    Phase::helping("whiten"),
    Phase::helping("train").scratch(),
    Phase::helping("tune").scratch().two_at_once(),
    Phase::helping("move").scratch().two_at_once(),
    Phase::helping("join"),
    Phase::counting("components"),
];

/// Vectors a task of `tune` and `move`, about.
const TASK_ROWS: u64 = 262_144;

/// Find copies: images whose vectors are nearer than a threshold, and everything they are linked to.
///
/// Without `references`, one image of each group stays. With `references`, every component that holds a reference image goes,
/// and all others stay whole.
///
/// Memory: `memory_mib` and about 700 MiB. Beyond that, `train` holds 16 vectors a cell, at most a million, and `components`
/// 4 bytes a row of input and about 100 bytes for each image that has a copy. Disk: a second copy of the vectors, while the step runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// The vectors to compare, `STEP/EMBEDDER`. Left out: the only ones above.
    pub vectors: Input,
    /// The ingest step that knows the images' sizes. Left out: the only one above.
    pub images: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole pool.
    pub pool: Input,
    /// The pool sources to compare. Those of the others stay as they are. Left out: all.
    pub sources: Option<Vec<String>>,
    /// An earlier dedup step, over some of the sources. Its survivors stay and are not compared with each other again, only with
    /// images that it did not compare; what it dropped stays out. This is how a pool grows without being joined anew.
    pub settled: Input,
    /// The sources that the step in `settled` compares; none: all.
    #[serde(skip)]
    settled_sources: Option<Vec<String>>,
    /// Reference or seed sources. Given: components that hold one of their images are dropped, and nothing else. With seed sources, images of
    /// the pool go that are copies of seeds, which are in the data set anyway.
    pub references: Vec<String>,
    /// Cosine from which two images are linked, 0 to 1. Raising it keeps more. Left out: 0.6, or 0.45 with `references`, the
    /// published values for SSCD; any other encoder needs its own: see `lvd calibrate`.
    pub threshold: Option<f32>,
    /// Which images of a component go.
    pub linkage: Linkage,
    /// Which image stays.
    pub keep: Keep,
    /// The cluster step whose distances `keep` looks at. Left out: the only one above.
    pub clusters: Input,
    /// Whiten the vectors before they are compared: fitted on 65,536 of them (of fewer, on all), so that directions in which all images vary count no more than those
    /// that tell two of them apart. For encoders that were not made for copies, such as classifiers (docs/dedup.md). Cosines get smaller, so
    /// the threshold has to be chosen anew: `lvd calibrate` whitens as well.
    pub whiten: bool,
    /// Nearest neighbours kept for each image, 1 to 1024. Of a crowd of near copies, more of them than this or pieces of such a crowd, most have
    /// only the one on which they hang (`star` in the edges).
    pub neighbours: u32,
    /// Pairs below this cosine are not looked for. A `threshold` changed above it reruns the components only, not the search, unless it is far
    /// above: at less than a third of the floor's angle, or two thirds with another `linkage` than `component`. Left out: 0.1 below the
    /// threshold.
    pub edge_floor: Option<f32>,
    /// Vectors up to which every pair is compared; beyond, cells are made.
    pub exact_up_to: u64,
    /// The share of the pairs over `edge_floor` that the cells are to find, 0.5 to 1. How far images look follows from it, by
    /// measuring the neighbours of 4,096 of them; the report has the margin and the recall on these.
    pub recall: f64,
    /// Vectors a cell, at least: there are three cells for the square root of the number of vectors, or one for 333 vectors, whichever is
    /// more, but no more than this allows, and 65,536 at most. More make fewer cells, which find more and compare more.
    pub cell_images: u32,
    /// Memory for the vectors that a join task holds, in MiB. Less makes more tasks, and each reads the vectors of others that look at its cells.
    pub memory_mib: u32,
}

/// Which images of a component go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Linkage {
    /// All but one, however long the chain that links them (LVD-142M).
    #[default]
    Component,
    /// Those within the threshold of an image that stays: chains are cut.
    Representative,
    /// Those within the threshold of any image that `keep` ranks higher, whether that stays or not (`SemDeDup`).
    Earlier,
}

/// Which image stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Most pixels, then most bytes, then the lowest id.
    #[default]
    Largest,
    /// The lowest id: sources in the order of the file.
    First,
    /// The farthest from its cluster's centroid (`SemDeDup`).
    Farthest,
    /// The closest to its cluster's centroid.
    Closest,
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            vectors: Input::default(),
            images: Input::default(),
            pool: Input::default(),
            sources: None,
            settled: Input::default(),
            settled_sources: None,
            references: Vec::new(),
            threshold: None,
            linkage: Linkage::default(),
            keep: Keep::default(),
            clusters: Input::default(),
            whiten: false,
            neighbours: 64,
            edge_floor: None,
            exact_up_to: 100_000,
            recall: 0.99,
            cell_images: 128,
            memory_mib: 1536,
        }
    }
}

/// A shard that takes part.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Member {
    shard: VectorShard,
    /// Its images are not compared with each other, and stay.
    settled: bool,
}

/// The shards that a step looks at, each with the part that says which of its images count.
pub struct Shards {
    /// Of the pool, to be compared.
    pub fresh: Vec<VectorShard>,
    /// Of the pool, to be compared with those only.
    pub old: Vec<VectorShard>,
    /// Of the pool, not to be compared.
    pub apart: Vec<VectorShard>,
    /// Of the reference sources.
    pub references: Vec<VectorShard>,
}

/// The images that are linked.
#[derive(Serialize, Deserialize)]
struct Nodes {
    pool: Vec<Member>,
    references: Vec<Member>,
}

impl Nodes {
    fn of(shards: Shards) -> Self {
        let members =
            |shards: Vec<VectorShard>, settled| shards.into_iter().map(move |shard| Member { shard, settled });
        let mut pool: Vec<Member> = members(shards.fresh, false).chain(members(shards.old, true)).collect();
        pool.sort_by_key(|member| member.shard.shard());
        Self { pool, references: members(shards.references, false).collect() }
    }

    fn all(&self) -> impl Iterator<Item = &Member> {
        self.pool.iter().chain(&self.references)
    }

    fn rows_at_most(&self) -> u64 {
        self.all().map(|member| member.shard.rows_at_most()).sum()
    }

    /// Consecutive shards, about [`TASK_ROWS`] rows together.
    fn tasks(&self) -> Vec<Vec<Member>> {
        let mut tasks: Vec<(u64, Vec<Member>)> = Vec::new();
        for member in self.all() {
            let rows = member.shard.rows_at_most();
            match tasks.last_mut().filter(|(held, _)| held + rows <= TASK_ROWS) {
                Some((held, task)) => {
                    *held += rows;
                    task.push(member.clone());
                }
                None => tasks.push((rows, vec![member.clone()])),
            }
        }
        tasks.into_iter().map(|(_, task)| task).collect()
    }
}

impl Dedup {
    /// The cosine from which two images are linked.
    #[must_use]
    pub fn threshold(&self) -> f32 {
        self.threshold.unwrap_or(if self.references.is_empty() { 0.6 } else { 0.45 })
    }

    fn floor(&self) -> f32 {
        self.edge_floor.unwrap_or((self.threshold() - 0.1).max(-1.0))
    }

    /// The cosine from which many images may hang on one of them. A third of the floor's angle, so that such groups reach little beyond what one of
    /// them finds. At least the threshold, so that hanging is being linked; half its angle where only direct links count, for then any
    /// two that hang on one are linked.
    fn clump(&self) -> f32 {
        let part = |cosine: f32, part: f32| {
            let cosine = (cosine.clamp(-1.0, 1.0).acos() * part).cos();
            // Libraries differ in the last digit, and the task's key is not to.
            (cosine * 1e4).ceil() / 1e4
        };
        let linked = match self.linkage {
            Linkage::Component => self.threshold(),
            Linkage::Representative | Linkage::Earlier => part(self.threshold(), 0.5),
        };
        part(self.floor(), 1.0 / 3.0).max(linked)
    }

    fn ranks_by_clusters(&self) -> bool {
        matches!(self.keep, Keep::Farthest | Keep::Closest)
    }

    /// The shards that the step looks at: those to link, and those that it leaves as they are.
    ///
    /// # Errors
    /// When a reference source has no vectors: nothing would be compared with it.
    pub fn shards(&self, catalog: &Catalog, tables: &BTreeMap<String, Table>) -> Result<Shards> {
        let known = |name: &str| {
            tables.get(name).ok_or_else(|| Error::usage(format!("table {name:?} is missing"), "run its step first"))
        };
        let table = |input: &Input| Some(input.name()).filter(|name| !name.is_empty()).map(known).transpose();
        let (vectors, selection, settled) = (known(self.vectors.name())?, table(&self.pool)?, table(&self.settled)?);
        let source = |shard| catalog.source_of(shard).map(|(name, _)| name);
        let among = |sources: &Option<Vec<String>>, shard| {
            sources
                .as_ref()
                .is_none_or(|sources| source(shard).is_some_and(|name| sources.iter().any(|one| one == name)))
        };
        let is_pool = |shard| catalog.role_of(shard) == Some(Role::Pool);
        let is_old =
            |shard| among(&self.settled_sources, shard) && settled.is_some_and(|table| table.of_shard(shard).is_some());
        let mut fresh = pool::shards(vectors, selection, |shard| is_pool(shard) && !is_old(shard));
        let mut old = pool::shards(vectors, settled, |shard| is_pool(shard) && is_old(shard));
        let mut apart: Vec<VectorShard> = Vec::new();
        for shards in [&mut fresh, &mut old] {
            apart.extend(shards.extract_if(.., |shard| !among(&self.sources, shard.shard())));
        }
        apart.sort_by_key(VectorShard::shard);
        let mut references = Vec::new();
        for name in &self.references {
            let of_it = pool::shards(vectors, None, |shard| source(shard) == Some(name.as_str()));
            if of_it.iter().all(|shard| shard.rows_at_most() == 0) {
                let message = format!("reference source {name:?} has no vector in {:?}", self.vectors.name());
                let hint = "`lvd report FILE ingest` says what became of its images; or take it out of `references`";
                return Err(Error::usage(message, hint));
            }
            references.extend(of_it);
        }
        references.sort_by_key(VectorShard::shard);
        Ok(Shards { fresh, old, apart, references })
    }

    fn plan_train(&self, nodes: &Nodes, known: &Known) -> Result<PhasePlan> {
        let common = train::Common {
            members: nodes.all().cloned().collect(),
            whitening: whitening(known),
            exact_up_to: self.exact_up_to,
            cell_images: self.cell_images,
            floor: self.floor(),
            queries: train::QUERIES,
            seed: known.catalog.seed,
        };
        PhasePlan::new(common, [()])
    }

    fn plan_tune(&self, nodes: &Nodes, known: &Known) -> Result<PhasePlan> {
        let part = |table| only(known.made("train", table), table);
        let (cells, queries) = (part("cells")?, part("queries")?);
        let (neighbours, floor, clump) = (self.neighbours as usize, self.floor(), self.clump());
        let common = tune::Common { whitening: whitening(known), cells, queries, neighbours, floor, clump };
        PhasePlan::new(common, nodes.tasks())
    }

    fn plan_move(&self, nodes: &Nodes, known: &Known) -> Result<PhasePlan> {
        let cells = known.made("train", "cells").parts.pop();
        let common = moving::Common {
            whitening: whitening(known),
            regions: regions(known)?,
            cells,
            needs: known.made("tune", "needs"),
            planted: known.made("train", "planted"),
            neighbours: self.neighbours as usize,
            recall: self.recall,
        };
        PhasePlan::new(common, nodes.tasks())
    }

    fn plan_join(&self, known: &Known) -> Result<PhasePlan> {
        let regions = regions(known)?;
        let mut sizes = vec![0u64; regions.len() - 1];
        let mut probes = 0;
        for outcome in known.outcomes("move") {
            let rows: Vec<u64> = note(&outcome.notes, "rows_by_region")?.unwrap_or_default();
            sizes.iter_mut().zip(rows).for_each(|(size, rows)| *size += rows);
            probes += outcome.counters.get("probes").copied().unwrap_or(0);
        }
        // A vector in half precision and twice as codes, its probes, and what else is known of it.
        let a_row = 4 * dimension(known)? + 4 * probes / sizes.iter().sum::<u64>().max(1) + 120;
        let held_rows = self.held_rows(a_row);
        let mut groups: Vec<(u64, std::ops::Range<u32>)> = Vec::new();
        for (region, rows) in (0u32..).zip(sizes) {
            match groups.last_mut().filter(|(held, _)| held + rows <= held_rows) {
                Some((held, group)) => {
                    *held += rows;
                    group.end = region + 1;
                }
                None => groups.push((rows, region..region + 1)),
            }
        }
        let runs = known.made("move", "runs").parts;
        let groups = groups.into_iter().filter(|(rows, _)| *rows > 0).map(|(_, group)| group);
        let (neighbours, floor) = (self.neighbours as usize, self.floor());
        PhasePlan::new(join::Common { runs, regions, neighbours, floor, clump: self.clump(), held_rows }, groups)
    }

    /// As many rows of so many bytes as `memory_mib` holds.
    fn held_rows(&self, a_row: u64) -> u64 {
        u64::from(self.memory_mib) * (1 << 20) / a_row
    }

    fn plan_components(&self, nodes: Nodes, apart: Vec<VectorShard>, known: &Known) -> Result<PhasePlan> {
        let ranked_by = if self.ranks_by_clusters() { self.clusters.name() } else { self.images.name() };
        let common = components::Common {
            nodes,
            apart,
            ranked_by: known.table(ranked_by)?.clone(),
            edges: known.made("join", "edges"),
            relative: !self.references.is_empty(),
            threshold: self.threshold(),
            linkage: self.linkage,
            keep: self.keep,
            neighbours: self.neighbours as usize,
            whitening: whitening(known),
            held_rows: self.held_rows(8 * dimension(known)? + 100),
        };
        PhasePlan::new(common, [()])
    }
}

/// The whitening that a step fits on these shards.
pub fn fit_whitening(shards: &Shards, seed: u64, task: &Task) -> Result<Arc<Whitening>> {
    let all = shards.fresh.iter().chain(&shards.old).chain(&shards.references);
    let members: Vec<Member> = all.map(|shard| Member { shard: shard.clone(), settled: false }).collect();
    whiten::fit(&members, seed, task).map(|(.., whitening)| Arc::new(whitening))
}

/// What `whiten` fitted, if it did.
fn whitening(known: &Known) -> Option<crate::stages::known::Part> {
    known.made("whiten", "whitening").parts.pop()
}

/// The first cells of the regions, as `train` cut them; one cell without it.
fn regions(known: &Known) -> Result<Vec<u32>> {
    let trained = known.outcomes("train").first();
    Ok(trained.map(|outcome| note(&outcome.notes, "regions")).transpose()?.flatten().unwrap_or_else(|| vec![0, 1]))
}

/// Numbers a vector; 0 where there are no vectors.
fn dimension(known: &Known) -> Result<u64> {
    let of = |outcome: &Outcome| note(&outcome.notes, "dimension").transpose();
    known.outcomes("move").iter().find_map(of).transpose().map(Option::unwrap_or_default)
}

fn note<T: serde::de::DeserializeOwned>(
    notes: &std::collections::BTreeMap<String, Value>,
    name: &str,
) -> Result<Option<T>> {
    let read = |value: &Value| serde_json::from_value(value.clone()).map_err(|e| Error::data("a task's notes", e));
    notes.get(name).map(read).transpose()
}

fn only(mut table: Table, name: &str) -> Result<crate::stages::known::Part> {
    table.parts.pop().ok_or_else(|| Error::usage(format!("{name} is missing"), "run the step again"))
}

impl Stage for Dedup {
    fn kind(&self) -> StageKind {
        StageKind::Dedup
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, "vectors");
        scope.wire(&mut self.images, StageKind::Ingest, "images");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        scope.wire_named(&mut self.settled, StageKind::Dedup, "settled");
        if self.ranks_by_clusters() {
            scope.wire(&mut self.clusters, StageKind::Cluster, "clusters");
        }
        scope.require_sources(&self.references, &[Role::Reference, Role::Seed], "references");
        scope.require_sources(self.sources.as_deref().unwrap_or_default(), &[Role::Pool], "sources");
        self.settled_sources = scope.above.get(self.settled.name()).and_then(|above| above.compares.clone());
        let relative = !self.references.is_empty();
        let settles = !self.settled.name().is_empty();
        let message = "survivors of an earlier step stay, and components with a reference go";
        scope.require(!(relative && settles), "settled", message, "use a dedup step for each");
        let message = "components with a reference go whole";
        let plain = self.linkage == Linkage::Component && self.keep == Keep::Largest;
        scope.require(!relative || plain, "linkage", message, "leave `linkage` and `keep` out, or `references`");
        let embedder = self.vectors.name().split_once('/').map_or("", |(_, name)| name);
        if self.threshold.is_none()
            && scope.catalog.embedders.get(embedder).is_some_and(|known| !known.thresholds_known)
        {
            let message = format!("embedder {embedder:?} has no published threshold for copies");
            scope.fault("threshold", message, "set `threshold`: `lvd calibrate` measures it on your own images");
        }
        let (threshold, floor) = (self.threshold(), self.floor());
        scope.within("threshold", "a cosine of", threshold, 0.0..=1.0);
        scope.within("edge_floor", "a cosine of", floor, -1.0..=1.0);
        let message = format!("edges below {floor} are not kept, so {threshold} cannot be applied");
        scope.require(threshold >= floor, "threshold", message, format!("lower `edge_floor` to {threshold} or less"));
        let k = self.neighbours;
        scope.require((1..=1024).contains(&k), "neighbours", format!("{k} neighbours"), "use 1 to 1024");
        scope.within("recall", "a recall of", self.recall, 0.5..=1.0);
        let size = self.cell_images;
        scope.require(size >= 16, "cell_images", format!("{size} images a cell"), "use at least 16");
        let memory = self.memory_mib;
        scope.require(memory >= 64, "memory_mib", format!("{memory} MiB"), "use at least 64");
    }

    fn inputs(&self) -> Vec<String> {
        let clusters = if self.ranks_by_clusters() { self.clusters.name() } else { "" };
        let all = [self.vectors.name(), self.images.name(), self.pool.name(), self.settled.name(), clusters];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn references(&self) -> &[String] {
        &self.references
    }

    fn compares(&self) -> Option<&[String]> {
        self.sources.as_deref()
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let d = scale.dims(self.vectors.name());
        let references: f64 = self
            .references
            .iter()
            .filter_map(|name| scale.references.get(name).or_else(|| scale.seeds.get(name)))
            .sum();
        let (n, shards) = (scale.pool + references, scale.pool / 10_000.0);
        // Pairs of the pool are compared once; those within the references not at all.
        let pairs = if self.references.is_empty() { n * n / 2.0 } else { scale.pool * references };
        let components = Cost {
            moved: n * 60.0,
            kept: n * 12.0,
            memory: 4.0 * n + 2e8,
            ..Cost::new(
                "components",
                Work::Rows { rows: n, a_core_second: 2e6 },
                format!("{} rows, union-find in 4 bytes each", short(n)),
            )
        };
        let codes = |operations: f64, of_sgemm| Work::Products { operations, of_sgemm };
        let fitting = Cost {
            moved: n * 2.0 * d,
            memory: 65_536.0 * d * 4.0 + 2e8,
            ..Cost::new("whiten", codes(2.0 * 65_536.0 * d * d, 0.2), format!("65,536 vectors x 2 x {d} x {d}"))
        };
        let whitening = |phase| {
            let why = format!("{} vectors x {d} x {d} to whiten them, at 0.6 x sgemm", short(n));
            Cost { tasks: shards, ..Cost::new(phase, codes(n * d * d, 0.6), why) }
        };
        let whitened =
            |phases: &[&'static str]| phases.iter().copied().filter(|_| self.whiten).map(whitening).collect();
        let mut costs: Vec<Cost> = self.whiten.then_some(fitting).into_iter().collect();
        if n <= number(self.exact_up_to) {
            let why = format!("{} pairs x 2 x {d}, by codes at 2.5 x sgemm", short(pairs));
            costs.extend::<Vec<Cost>>(whitened(&["move"]));
            costs.extend([
                Cost { moved: n * 2.0 * d, ..Cost::new("join", codes(pairs * 2.0 * d, 2.5), why) },
                components,
            ]);
            return costs;
        }
        let cells = (3.0 * n.sqrt()).max(n / 333.0).min(n / f64::from(self.cell_images)).min(65_536.0);
        let row = 2.0 * d + 500.0;
        let memory = f64::from(self.memory_mib) * f64::from(1 << 20);
        let groups = (n * (4.0 * d + 1200.0) / memory).ceil();
        costs.extend([
            Cost { moved: n * d, ..Cost::new("train", codes(2e6 * cells * d, 1.5), format!("{} cells", short(cells))) },
            Cost {
                moved: n * 2.0 * d,
                tasks: shards,
                ..Cost::new(
                    "tune",
                    codes(4096.0 * n * 2.0 * d, 2.7),
                    format!("4,096 images with {}, x 2 x {d}, by sketches at 2.7 x sgemm", short(n)),
                )
            },
            Cost {
                moved: n * (2.0 * d + row),
                scratch: n * row,
                memory: cells * d * 5.0 + 5e8,
                tasks: shards,
                ..Cost::new(
                    "move",
                    codes(2.0 * n * cells * d, 1.8),
                    format!(
                        "2 x {} vectors x {} cells x {d}, by codes at 1.8 x sgemm; fewer with districts",
                        short(n),
                        short(cells)
                    ),
                )
            },
            Cost {
                // A row is read for its own cell and for the groups of cells that it probes, its probes for each group before it.
                moved: n * (row * groups.min(8.0) + 100.0 * groups),
                kept: n * 24.0,
                memory,
                tasks: groups,
                assumes: "3% of all pairs are compared, as at 1 million vectors with nothing in common; at 10 million with nested clouds it was 0.1%",
                ..Cost::new(
                    "join",
                    codes(pairs * PAIRS_COMPARED * 2.0 * d, 1.6),
                    format!("3% of {} pairs x 2 x {d}, by codes and sketches at 1.6 x sgemm", short(pairs)),
                )
            },
            components,
        ]);
        // The costs of one phase are summed.
        costs.extend::<Vec<Cost>>(whitened(&["tune", "move"]));
        costs
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        let mut shards = self.shards(known.catalog, known.inputs)?;
        let apart = std::mem::take(&mut shards.apart);
        let nodes = Nodes::of(shards);
        let exact = nodes.rows_at_most() <= self.exact_up_to;
        match phase {
            "whiten" if !self.whiten => Ok(PhasePlan::empty()),
            "whiten" => {
                let members = nodes.all().cloned().collect();
                PhasePlan::new(whiten::Common { members, seed: known.catalog.seed }, [()])
            }
            "train" | "tune" if exact => Ok(PhasePlan::empty()),
            "train" => self.plan_train(&nodes, known),
            "tune" => self.plan_tune(&nodes, known),
            "move" => self.plan_move(&nodes, known),
            "join" => self.plan_join(known),
            "components" => self.plan_components(nodes, apart, known),
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    let (common, spec) = (order.common, order.spec);
    match phase {
        "whiten" => whiten::run(&from_value(common)?, task),
        "train" => train::run(&from_value(common)?, task),
        "tune" => tune::run(&from_value::<Vec<Member>>(spec)?, &from_value(common)?, task),
        "move" => moving::run(&from_value::<Vec<Member>>(spec)?, &from_value(common)?, task),
        "join" => join::run(&from_value(spec)?, &from_value(common)?, task),
        "components" => components::run(&from_value(common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}
