//! Sample: which images the data set is made of, and why each.
//!
//! Seed sets as they are, then what was retrieved for them, then a balanced draw from the clusters up to the target size
//! (`DINOv2`, arXiv 2304.07193, section 3; Vo et al. 2024, section 3.3). `balance` measures how even the draw is.

mod balance;
mod candidates;
mod choose;
mod draw;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::{Role, SourceEntry};
use crate::stages::cost::{Cost, Scale, Work, number, short};
use crate::stages::known::{Known, Part};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};
use lvd_base::error::{Error, Result};
use lvd_base::types::ShardId;
use lvd_io::sources::Source;

use self::balance::{BalanceCommon, Labelled};

pub use balance::Balance;
pub use choose::Sampled;

const PHASES: &[Phase] = &[Phase::counting("choose"), Phase::helping("balance")];

/// Choose the data set: the seed sets, what was retrieved for them, and a balanced draw from the clusters.
///
/// Memory: 16 bytes for each image that is drawn, 56 for each that was retrieved, 80 for each level-1 cluster, and 16 shards of ids and
/// clusters; to measure the balance, 32 for each image that is drawn, and the different labels.
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
    /// Over what the draw is even: the whole `tree` of clusters, from the top down, or the level-1 clusters alone, `flat`.
    pub balance: BalanceOver,
    /// At most this many images of a level-1 cluster. Left out: no such limit.
    pub per_cluster: Option<u64>,
    /// For some pool sources, how many of their images are drawn; each is drawn from by itself, evenly. What is left of the target is drawn from
    /// all other sources together. What was retrieved does not count.
    pub quotas: IndexMap<String, u64>,
    /// Seed sources that go into the data set, whole. Left out: all.
    pub seeds: Option<Vec<String>>,
    /// Images in the data set, copies counted. Required.
    pub target: u64,
    /// Whether what seeds and retrieved images leave of the target is drawn from the clusters. If not, the data set is seeds and
    /// retrieved images, `target` of them at most (LVD-142M): seeds before retrieved images, and where even the seeds are more, as many of
    /// them as that, drawn at random, with a warning. With `fill`, more seeds than the target are an error.
    pub fill: bool,
    /// Which images of a cluster are drawn: `random`, or the `closest` to its centroid.
    pub draw: DrawRule,
    /// How often one image may be in the data set, 1 to 1000. More than 1 lets small clusters weigh more; the `copies` column says how
    /// often.
    pub max_copies: u32,
    /// Where images have labels, the report says how even the draw is over these, and how even others would be: `caption`, or `folder`, the
    /// folder that the file was in. Labels never decide what is drawn.
    pub labels: Option<Labels>,
}

/// Over what the draw is even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BalanceOver {
    /// All levels of clusters, the coarsest first.
    #[default]
    Tree,
    /// The level-1 clusters.
    Flat,
}

/// Where labels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Labels {
    /// The caption.
    Caption,
    /// The name of the folder that the file was in.
    Folder,
}

impl Labels {
    /// The label of an image; empty for none.
    fn of(self, row: &Labelled) -> String {
        match self {
            Self::Caption => row.caption.clone().unwrap_or_default(),
            Self::Folder => row.url.rsplit('/').nth(1).unwrap_or_default().to_owned(),
        }
    }
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
            fill: true,
            draw: DrawRule::Random,
            max_copies: 1,
            balance: BalanceOver::default(),
            per_cluster: None,
            quotas: IndexMap::new(),
            labels: None,
        }
    }
}

/// A shard of a seed set, and the selection that says which of its images are there.
#[derive(Clone, Serialize, Deserialize)]
struct SeedShard {
    set: String,
    selection: Part,
}

/// The pool: selections by shard, and the clusters of what they keep.
#[derive(Clone, Serialize, Deserialize)]
struct Pool {
    shards: Vec<Part>,
    /// Nothing, for a uniform draw.
    assigned: Vec<Part>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Common {
    seeds: Vec<SeedShard>,
    pool: Pool,
    retrieved: Vec<Part>,
    tree: Vec<Part>,
    flat: bool,
    per_cluster: Option<u64>,
    /// By data set number.
    quotas: Vec<(u16, u64)>,
    target: u64,
    fill: bool,
    draw: DrawRule,
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
        let named = |name: &str| self.seeds.iter().flatten().any(|wanted| wanted == name);
        let wanted = |name: &str| self.seeds.is_none() || named(name);
        for (name, entry) in known.catalog.sources.iter().filter(|(name, _)| wanted(name)) {
            let mut parts = images.parts.iter().filter(|part| part.shard.map(ShardId::dataset) == Some(entry.number));
            // Left out of ingest and not asked for, it is not missed.
            let missed = parts.clone().next().is_some() || named(name);
            if entry.role == Role::Seed && missed && parts.all(|part| part.rows == 0) {
                let message = format!("seed set {name:?} has no usable image");
                return Err(Error::usage(message, "lvd report FILE ingest says why; or leave it out of `seeds`"));
            }
        }
        let (mut seeds, mut shards) = (Vec::new(), Vec::new());
        for (table, role) in [(images, Role::Seed), (pool, Role::Pool)] {
            for selection in &table.parts {
                let source = selection.shard.and_then(|shard| known.catalog.source_of(shard));
                let Some((name, _)) = source.filter(|(_, entry)| entry.role == role) else { continue };
                if role == Role::Pool {
                    shards.push(selection.clone());
                } else if wanted(name) {
                    seeds.push(SeedShard { set: name.to_owned(), selection: selection.clone() });
                }
            }
        }
        let parts_of =
            |name: &str| if name.is_empty() { Ok(Vec::new()) } else { known.table(name).map(|t| t.parts.clone()) };
        let mut assigned = parts_of(self.cluster.name())?;
        assigned.retain(|part| part.shard.and_then(|shard| known.catalog.role_of(shard)) == Some(Role::Pool));
        let number = |name: &String| known.catalog.sources.get(name).map_or(0, |entry| entry.number);
        Ok(Common {
            seeds,
            pool: Pool { shards, assigned },
            retrieved: parts_of(self.retrieve.name())?,
            tree: parts_of(&self.tree())?,
            flat: self.balance == BalanceOver::Flat,
            per_cluster: self.per_cluster,
            quotas: self.quotas.iter().map(|(name, &quota)| (number(name), quota)).collect(),
            target: self.target,
            fill: self.fill,
            draw: self.draw,
            max_copies: self.max_copies,
            seed: known.catalog.seed,
        })
    }

    /// The images of the seed sets that are in files. Of URLs, nobody knows how many answer.
    fn local_seeds(&self, scope: &Scope) -> u64 {
        let named = |name: &String| self.seeds.as_ref().is_none_or(|names| names.contains(name));
        let is_local = |entry: &SourceEntry| entry.role == Role::Seed && !matches!(entry.source, Source::Urls { .. });
        let sets = scope.catalog.sources.iter().filter(|(name, entry)| named(name) && is_local(entry));
        sets.map(|(name, _)| scope.images_of(name)).sum()
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
        scope.require_sources(&self.seeds.clone().unwrap_or_default(), &[Role::Seed], "seeds");
        let with_quotas: Vec<String> = self.quotas.keys().cloned().collect();
        scope.require_sources(&with_quotas, &[Role::Pool], "quotas");
        scope.require(self.per_cluster != Some(0), "per_cluster", "no image a cluster", "use at least 1");
        let quotas = self.quotas.values().fold(0u64, |sum, &quota| sum.saturating_add(quota));
        let message = format!("{quotas} images together, more than the target of {}", self.target);
        scope.require(quotas <= self.target, "quotas", message, "lower them, or raise `target`");
        self.target = scope.scaled(self.target);
        self.per_cluster = self.per_cluster.map(|most| scope.scaled(most));
        self.quotas.values_mut().for_each(|quota| *quota = scope.scaled(*quota));
        scope.require((1..=1000).contains(&self.max_copies), "max_copies", "out of range", "use 1 to 1000");
        let (target, copies) = (self.target, u64::from(self.max_copies));
        scope.require(target > 0, "target", "no size for the data set", "for instance `target = 1000000`");
        for (source, &quota) in &self.quotas {
            let at_most = scope.images_of(source) * copies;
            let message = format!("{quota} images of {at_most} at most, copies counted");
            scope.require(quota <= at_most, &format!("quotas.{source}"), message, "lower it, or add images");
        }
        for name in unused_references(scope) {
            let message = format!("reference source {name:?} keeps nothing out: no dedup step has it in `references`");
            let hint =
                "add a step with stage = \"dedup\" and references = [...] above, or take the source out of the file";
            scope.fault("", message, hint);
        }
        let seeds = self.local_seeds(scope);
        let message = format!("{target} images, and the seed sets alone have {seeds}");
        let hint = "raise `target`, name fewer sets in `seeds`, or set `fill = false`";
        scope.require(!self.fill || seeds <= target, "target", message, hint);
        let at_most = scope.images_at_most(Role::Pool) * copies + scope.images_at_most(Role::Seed);
        let message = format!("{target} images of {at_most} at most, copies counted");
        // Retrieved images may count more than once.
        scope.require(
            target <= at_most || !self.fill,
            "target",
            message,
            "lower `target`, add images, or raise `max_copies`",
        );
    }

    fn inputs(&self) -> Vec<String> {
        let kept = format!("{}/kept", self.images.name());
        let images = if self.labels.is_some() { self.images.name() } else { "" };
        let all = [&kept, self.pool.name(), self.retrieve.name(), self.cluster.name(), &self.tree(), images];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let n = scale.pool;
        let work = Work::Rows { rows: n, a_core_second: 2e6 };
        vec![Cost {
            moved: n * 40.0,
            kept: number(self.target) * 20.0,
            ..Cost::new("choose", work, format!("{} rows at 2 M a core-second", short(n)))
        }]
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        match phase {
            "choose" => PhasePlan::new(self.common(known)?, [()]),
            "balance" => {
                let chosen = self.common(known)?;
                let images = match self.labels {
                    Some(_) => known.table(self.images.name())?.parts.clone(),
                    None => Vec::new(),
                };
                if chosen.pool.assigned.is_empty() && self.labels.is_none() {
                    return Ok(PhasePlan::empty());
                }
                let sampled = known.made("choose", "");
                PhasePlan::new(BalanceCommon { chosen, sampled, labels: self.labels, images }, [()])
            }
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Reference sources that no step above compares the pool with.
fn unused_references(scope: &Scope) -> Vec<String> {
    let used = |name: &String| scope.above.values().any(|above| above.references.contains(name));
    let references = scope.catalog.sources.iter().filter(|(_, entry)| entry.role == Role::Reference);
    references.map(|(name, _)| name.clone()).filter(|name| !used(name)).collect()
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "choose" => choose::run(&from_value(order.common)?, task),
        "balance" => balance::run(&from_value(order.common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}
