//! The settings of a sample step, and what follows from them.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::{Role, SourceEntry};
use crate::stages::kind::StageKind;
use crate::stages::scope::{Above, Input, Scope, UNCOUNTED};

/// Choose the data set: the seed sets, what was retrieved for them, and a balanced draw from the
/// clusters.
///
/// Memory: 16 bytes for each image that is drawn, 56 for each that was retrieved, 80 for each
/// level-1 cluster, and 16 shards of ids and clusters; to measure the balance, 32 for each image
/// that is drawn, and the different labels.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// The ingest step. Left out: the only one above.
    pub images: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole
    /// pool.
    pub pool: Input,
    /// The retrieve step. Left out: the last one above, if any; `none`: nothing retrieved.
    pub retrieve: Input,
    /// The cluster step to balance over. Left out: the last one above, if any; `none`: a uniform
    /// draw.
    pub cluster: Input,
    /// Over what the draw is even: the whole `tree` of clusters, from the top down, or the level-1
    /// clusters alone, `flat`.
    pub balance: BalanceOver,
    /// At most this many images of a level-1 cluster. Left out: no such limit.
    pub per_cluster: Option<u64>,
    /// For some pool sources, how many of their images are drawn; each is drawn from by itself,
    /// evenly. What is left of the target is drawn from all other sources together. What was
    /// retrieved does not count.
    pub quotas: IndexMap<String, u64>,
    /// Seed sources that go into the data set, whole. Left out: all.
    pub seeds: Option<Vec<String>>,
    /// Images in the data set, copies counted. Required.
    pub target: u64,
    /// Whether what seeds and retrieved images leave of the target is drawn from the clusters. If
    /// not, the data set is seeds and retrieved images, `target` of them at most (LVD-142M): seeds
    /// before retrieved images, and where even the seeds are more, as many of them as that, drawn
    /// at random, with a warning. With `fill`, more seeds than the target are an error.
    pub fill: bool,
    /// Which images of a cluster are drawn: `random`, or the `closest` to its centroid.
    pub draw: DrawRule,
    /// How often one image may be in the data set, 1 to 1000. More than 1 lets small clusters weigh
    /// more; the `copies` column says how often.
    pub max_copies: u32,
    /// Where images have labels, the report says how even the draw is over these, and how even
    /// others would be: `caption`, or `folder`, the folder that the file was in. Labels never
    /// decide what is drawn.
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

impl Sample {
    /// The table of the tree of clusters; empty without a cluster step.
    pub(super) fn tree(&self) -> String {
        if self.cluster.name().is_empty() { String::new() } else { format!("{}/tree", self.cluster.name()) }
    }

    /// The images of the seed sets that are in files. Of URLs, nobody knows how many answer.
    fn local_seeds(&self, scope: &Scope) -> u64 {
        let named = |name: &String| self.seeds.as_ref().is_none_or(|names| names.contains(name));
        let is_local = |entry: &SourceEntry| entry.role == Role::Seed && !entry.source.is_of_urls();
        let sets = scope.catalog.sources.iter().filter(|(name, entry)| named(name) && is_local(entry));
        sets.map(|(name, _)| scope.images_of(name)).sum()
    }

    /// Finds what is wrong with the settings.
    pub(super) fn find_faults(&mut self, scope: &mut Scope) {
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
        let message = format!("a data set of {target}, and the seed sets alone have {seeds} images");
        let hint = "raise `target`, name fewer sets in `seeds`, or set `fill = false`";
        scope.require(!self.fill || seeds <= target || seeds >= UNCOUNTED, "target", message, hint);
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
}

/// Reference sources that no step above compares the pool with.
fn unused_references(scope: &Scope) -> Vec<String> {
    let is_broken = |(name, above): (&String, &Above)| above.kind == StageKind::Dedup && scope.broken.contains(name);
    if scope.is_hollow || scope.above.iter().any(is_broken) {
        return Vec::new();
    }
    let used = |name: &String| scope.above.values().any(|above| above.references.contains(name));
    let references = scope.catalog.sources.iter().filter(|(_, entry)| entry.role == Role::Reference);
    references.map(|(name, _)| name.clone()).filter(|name| !used(name)).collect()
}
