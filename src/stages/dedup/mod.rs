//! Dedup: copy detection among the pool, or between the pool and reference sets.
//!
//! `train` fits an inverted file when the pool is large, `join` finds each image's nearest neighbours, `components` joins
//! neighbours over the threshold and chooses who stays (`DINOv2`, arXiv 2304.07193, appendix A). Memory: `join` holds 65,536
//! queries, one shard and k neighbours a query; `components` 4 bytes for each input row, and about 100 bytes for each image that
//! has a copy.

mod components;
mod join;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::stages::catalog::Role;
use crate::stages::known::Known;
use crate::stages::pool::{self, VectorShard};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};

pub use components::Group;
pub use join::Edge;

const PHASES: &[Phase] = &[Phase::helping("train").scratch(), Phase::helping("join"), Phase::counting("components")];

/// Find copies: images whose vectors are nearer than a threshold, and everything they are linked to.
///
/// Without `references`, one image of each component stays. With `references`, every component that holds a reference image goes,
/// and all others stay whole.
///
/// Memory: 65,536 vectors in fp32 with their `neighbours`, one shard, 4 bytes a row of input, and about 100 bytes for each image that has a
/// copy.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// The vectors to compare, `STEP/EMBEDDER`. Left out: the only ones above.
    pub vectors: Input,
    /// The ingest step that knows the images' sizes. Left out: the only one above.
    pub images: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole pool.
    pub pool: Input,
    /// Reference sources. Given: components that hold one of their images are dropped, and nothing else.
    pub references: Vec<String>,
    /// Cosine from which two images are linked, 0 to 1. Raising it keeps more. Left out: 0.6, or 0.45 with `references`, the
    /// published values for SSCD; any other encoder needs its own.
    pub threshold: Option<f32>,
    /// Nearest neighbours looked at for each image, 1 to 1024.
    pub neighbours: u32,
    /// Neighbours below this cosine are not written to the `edges` table. A `threshold` changed above it reruns the components
    /// only, not the search.
    pub edge_floor: f32,
    /// Vectors up to which the search is exact; beyond, an inverted file is searched.
    pub exact_up_to: u64,
    /// Inverted lists. Left out: four times the square root of the number of vectors.
    pub lists: Option<u32>,
    /// Inverted lists searched for each image. Raising it finds more and takes proportionally longer.
    pub probes: u32,
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            vectors: Input::default(),
            images: Input::default(),
            pool: Input::default(),
            references: Vec::new(),
            threshold: None,
            neighbours: 64,
            edge_floor: 0.4,
            exact_up_to: 100_000,
            lists: None,
            probes: 16,
        }
    }
}

impl Dedup {
    fn threshold(&self) -> f32 {
        self.threshold.unwrap_or(if self.references.is_empty() { 0.6 } else { 0.45 })
    }

    /// The shards to link: the pool, and the references.
    fn nodes(&self, known: &Known) -> Result<Nodes> {
        let vectors = known.table(self.vectors.name())?;
        let selection = match self.pool.name() {
            "" => None,
            name => Some(known.table(name)?),
        };
        let pool = pool::shards(vectors, selection, |shard| known.catalog.role_of(shard) == Some(Role::Pool));
        let references = pool::shards(vectors, None, |shard| {
            known.catalog.source_of(shard).is_some_and(|(name, _)| self.references.iter().any(|wanted| wanted == name))
        });
        Ok(Nodes { pool, references })
    }
}

/// The images that are linked.
#[derive(Serialize, Deserialize)]
struct Nodes {
    pool: Vec<VectorShard>,
    references: Vec<VectorShard>,
}

impl Nodes {
    fn all(&self) -> Vec<VectorShard> {
        self.pool.iter().chain(&self.references).cloned().collect()
    }

    fn rows_at_most(&self) -> u64 {
        self.pool.iter().chain(&self.references).map(VectorShard::rows_at_most).sum()
    }
}

impl Stage for Dedup {
    fn kind(&self) -> StageKind {
        StageKind::Dedup
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, "vectors");
        scope.wire(&mut self.images, StageKind::Ingest, "images");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        scope.require_sources(&self.references.clone(), Role::Reference, "references");
        let embedder = self.vectors.name().split_once('/').map_or("", |(_, name)| name);
        if self.threshold.is_none()
            && scope.catalog.embedders.get(embedder).is_some_and(|known| !known.thresholds_known)
        {
            let message = format!("embedder {embedder:?} has no published threshold for copies");
            scope.fault(
                "threshold",
                message,
                "set `threshold`; look at the similarity histogram of a first run, and at pairs",
            );
        }
        let (threshold, floor) = (self.threshold(), self.edge_floor);
        scope.require((0.0..=1.0).contains(&threshold), "threshold", format!("a cosine of {threshold}"), "use 0 to 1");
        scope.require((-1.0..=1.0).contains(&floor), "edge_floor", format!("a cosine of {floor}"), "use -1 to 1");
        let message = format!("edges below {floor} are not kept, so {threshold} cannot be applied");
        scope.require(threshold >= floor, "threshold", message, format!("lower `edge_floor` to {threshold} or less"));
        let k = self.neighbours;
        scope.require((1..=1024).contains(&k), "neighbours", format!("{k} neighbours"), "use 1 to 1024");
        scope.require(self.probes > 0, "probes", "no list is searched", "use at least 1");
        scope.require(self.lists != Some(0), "lists", "no list to search", "use at least 1, or leave it out");
        let (at_most, lists) = (scope.images_at_most(Role::Pool), u64::from(self.lists.unwrap_or(1)));
        let message = format!("{lists} lists for {at_most} images at most");
        scope.require(lists <= at_most, "lists", message, "lower `lists`, or leave it out");
    }

    fn inputs(&self) -> Vec<String> {
        let all = [self.vectors.name(), self.images.name(), self.pool.name()];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        let nodes = self.nodes(known)?;
        match phase {
            "train" if nodes.rows_at_most() > self.exact_up_to => join::plan_train(&nodes, self.lists, known),
            "train" => Ok(PhasePlan::empty()),
            "join" => join::plan_join(&nodes, self, known),
            "components" => {
                let edges = known.made("join", "edges");
                let images = known.table(self.images.name())?.clone();
                let relative = !self.references.is_empty();
                let common = components::Common { nodes, images, edges, relative, threshold: self.threshold() };
                PhasePlan::new(common, [()])
            }
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "train" => join::run_train(&from_value(order.common)?, task),
        "join" => join::run_join(&from_value::<Vec<VectorShard>>(order.spec)?, &from_value(order.common)?, task),
        "components" => components::run(&from_value(order.common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}
