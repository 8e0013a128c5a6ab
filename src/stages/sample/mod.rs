//! Sample: which images the data set is made of, and why each.
//!
//! Seed sets as they are, then what was retrieved for them, then a balanced draw from the clusters up to the target size
//! (`DINOv2`, arXiv 2304.07193, section 3; Vo et al. 2024, section 3.3). Memory: about 100 bytes an image chosen, 16 a cluster.

mod choose;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::stages::catalog::Role;
use crate::stages::known::{Known, Part};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};

pub use choose::Sampled;

const PHASES: &[Phase] = &[Phase::counting("choose")];

/// Choose the data set: the seed sets, what was retrieved for them, and a balanced draw from the clusters.
///
/// Memory: about 100 bytes for each image chosen, and 16 a cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// The ingest step. Left out: the only one above.
    pub images: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole pool.
    pub pool: Input,
    /// The retrieve step. Left out: the last one above, if any; `none`: nothing retrieved.
    pub retrieve: Input,
    /// The cluster step to balance over. Left out: the last one above, if any; `none`: a uniform draw.
    pub cluster: Input,
    /// Seed sources that go into the data set as they are. Left out: all.
    pub seeds: Option<Vec<String>>,
    /// Images in the data set, copies counted. Required.
    pub target: u64,
    /// Which images of a cluster are drawn: `random`, or the `closest` to its centroid.
    pub draw: DrawRule,
    /// How often one image may be in the data set, 1 to 1000. More than 1 lets small clusters weigh more; the `copies` column says how
    /// often.
    pub max_copies: u32,
}

/// Which images of a cluster are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DrawRule {
    /// Uniformly at random.
    #[default]
    Random,
    /// Nearest to the centroid first.
    Closest,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            images: Input::default(),
            pool: Input::default(),
            retrieve: Input::default(),
            cluster: Input::default(),
            seeds: None,
            target: 0,
            draw: DrawRule::Random,
            max_copies: 1,
        }
    }
}

/// A shard of images, and the selection that decides which of them can be chosen.
#[derive(Serialize, Deserialize)]
struct Shard {
    seed_set: Option<String>,
    selection: Part,
}

#[derive(Serialize, Deserialize)]
struct Common {
    shards: Vec<Shard>,
    retrieved: Vec<Part>,
    /// Cluster of the pool's images by shard, and the tree.
    assigned: Vec<Part>,
    tree: Vec<Part>,
    target: u64,
    closest: bool,
    max_copies: u32,
    seed: u64,
}

impl Sample {
    fn common(&self, known: &Known) -> Result<Common> {
        let images = known.table(&format!("{}/kept", self.images.name()))?;
        let pool = match self.pool.name() {
            "" => images,
            name => known.table(name)?,
        };
        let seeds = |name: &str| self.seeds.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name));
        let mut shards = Vec::new();
        for (table, role) in [(images, Role::Seed), (pool, Role::Pool)] {
            for selection in &table.parts {
                let source = selection.shard.and_then(|shard| known.catalog.source_of(shard));
                let Some((name, entry)) = source.filter(|(_, entry)| entry.role == role) else { continue };
                let seed_set = (entry.role == Role::Seed).then(|| name.to_owned());
                if seed_set.as_deref().is_none_or(seeds) {
                    shards.push(Shard { seed_set, selection: selection.clone() });
                }
            }
        }
        let parts_of =
            |name: &str| if name.is_empty() { Ok(Vec::new()) } else { known.table(name).map(|t| t.parts.clone()) };
        let mut assigned = parts_of(self.cluster.name())?;
        assigned.retain(|part| part.shard.and_then(|shard| known.catalog.role_of(shard)) == Some(Role::Pool));
        Ok(Common {
            shards,
            retrieved: parts_of(self.retrieve.name())?,
            assigned,
            tree: parts_of(&self.tree())?,
            target: self.target,
            closest: self.draw == DrawRule::Closest,
            max_copies: self.max_copies,
            seed: known.catalog.seed,
        })
    }

    fn tree(&self) -> String {
        if self.cluster.name().is_empty() { String::new() } else { format!("{}/tree", self.cluster.name()) }
    }
}

impl Stage for Sample {
    fn kind(&self) -> StageKind {
        StageKind::Sample
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire(&mut self.images, StageKind::Ingest, "images");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        scope.wire_optional(&mut self.retrieve, StageKind::Retrieve, "retrieve");
        scope.wire_optional(&mut self.cluster, StageKind::Cluster, "cluster");
        scope.require_sources(&self.seeds.clone().unwrap_or_default(), Role::Seed, "seeds");
        scope.require((1..=1000).contains(&self.max_copies), "max_copies", "out of range", "use 1 to 1000");
        let (target, copies) = (self.target, u64::from(self.max_copies));
        scope.require(target > 0, "target", "no size for the data set", "for instance `target = 1000000`");
        let at_most = (scope.images_at_most(Role::Pool) + scope.images_at_most(Role::Seed)) * copies;
        let message = format!("{target} images of {at_most} at most, copies counted");
        scope.require(target <= at_most, "target", message, "lower `target`, add images, or raise `max_copies`");
    }

    fn inputs(&self) -> Vec<String> {
        let kept = format!("{}/kept", self.images.name());
        let all = [&kept, self.pool.name(), self.retrieve.name(), self.cluster.name(), &self.tree()];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        match phase {
            "choose" => PhasePlan::new(self.common(known)?, [()]),
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "choose" => choose::run(&from_value(order.common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}
