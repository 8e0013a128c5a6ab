//! Retrieve: the pool images that are like the images of the seed sets.
//!
//! Sample-based: the k nearest pool images of every seed image; `search` finds them, within inverted lists that `lists` trains
//! where there is too much to compare. Cluster-based: n images of every cluster with more than m of the set's images. `collect` settles
//! what several seeds found, and caps the sets (`DINOv2`, arXiv 2304.07193, appendix A).

mod collect;
mod lists;
mod next;
mod search;
mod settings;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::Role;
use crate::stages::cost::{Cost, Scale, Work, number, short};
use crate::stages::known::{Known, Part};
use crate::stages::pool::{self, VectorShard};
use crate::stages::scope::{Input, Scope};
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};
use lvd_base::error::{Error, Result};
use lvd_base::types::ShardId;
use lvd_engines::faiss;

use self::search::Lists;

pub use collect::Retrieved;
pub use search::Found;
pub use settings::{CapDraw, Codes, Collisions, Method, Search, SetRule};

const PHASES: &[Phase] =
    &[Phase::helping("lists").scratch(), Phase::helping("search").scratch(), Phase::counting("collect")];

/// Pairs of seed and pool images up to which all are compared: minutes on two cores.
const EXACT_PAIRS: u64 = 100_000_000_000;
/// Images of a cluster-based set, at most.
const MILLION: u64 = 1_000_000;
/// Neighbours a seed that are looked at first for each that it may take, where a taken one gives way to the next.
const NEXT_DEPTH: u32 = 4;

/// Find the pool images that are like the seed images.
///
/// Memory: a shard of seeds and `k` neighbours each; with `search = "exact"` or `collisions = "next"` a shard of the pool, with `ivf` the `codes` of 1,048,576
/// vectors, and 4 bytes for each number of 262,144 while lists are trained; then about 60 bytes a candidate of one set, and 16 an image retrieved.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retrieve {
    /// The vectors to search, `STEP/EMBEDDER`. Left out: the only ones above.
    pub vectors: Input,
    /// The dedup step whose survivors are the pool. Left out: the last one above; `none`: the whole pool.
    pub pool: Input,
    /// The cluster step, for cluster-based sets. Left out: the last one above.
    pub cluster: Input,
    /// `exact` compares every seed with the whole pool, `ivf` looks into the inverted lists nearest to it (FAISS). Left out: `exact` up to 10^11
    /// pairs of a set, and where more than one list in 64 would have to be looked at, which takes longer; else `ivf`.
    pub search: Option<Search>,
    /// The share of the nearest neighbours that `ivf` is to find, 0.5 to 1: how many lists are looked at is measured on a sample.
    pub recall: f64,
    /// What the lists hold of a vector for `ivf`. What they propose is decided by the vectors themselves; how many proposals that takes is
    /// measured, as `proposals` in the report.
    pub codes: Codes,
    /// Pool images from this cosine on are taken for copies of the seed, and their place goes to the next neighbour; 2: take them too.
    pub copy_similarity: f32,
    /// What happens when several seeds find one image.
    pub collisions: Collisions,
    /// For each seed source how its likes are found; sets are served in this order.
    pub sets: IndexMap<String, SetRule>,
}

impl Default for Retrieve {
    fn default() -> Self {
        Self {
            vectors: Input::default(),
            pool: Input::default(),
            cluster: Input::default(),
            search: None,
            recall: 0.99,
            codes: Codes::default(),
            copy_similarity: 0.999,
            collisions: Collisions::default(),
            sets: IndexMap::new(),
        }
    }
}

impl Retrieve {
    fn tree(&self) -> String {
        if self.cluster.name().is_empty() { String::new() } else { format!("{}/tree", self.cluster.name()) }
    }

    fn pool_shards(&self, known: &Known) -> Result<Vec<VectorShard>> {
        let selection = match self.pool.name() {
            "" => None,
            name => Some(known.table(name)?),
        };
        let is_pool = |shard| known.catalog.role_of(shard) == Some(Role::Pool);
        Ok(pool::shards(known.table(self.vectors.name())?, selection, is_pool))
    }

    /// The sample-based sets: data set number, rule, and shards of seeds.
    fn sampled(&self, known: &Known) -> Result<Vec<(u16, &SetRule, Vec<VectorShard>)>> {
        let vectors = known.table(self.vectors.name())?;
        let mut sets = Vec::new();
        for (set, rule) in self.sets.iter().filter(|(_, rule)| rule.method == Method::Sample) {
            let number = known.catalog.sources.get(set).map_or(0, |entry| entry.number);
            sets.push((number, rule, pool::shards(vectors, None, |shard| shard.dataset() == number)));
        }
        Ok(sets)
    }

    /// Whether a set is searched by inverted lists.
    fn is_listed(&self, seeds: &[VectorShard], pool: &[VectorShard]) -> bool {
        let rows = |shards: &[VectorShard]| shards.iter().map(VectorShard::rows_at_most).sum::<u64>();
        let few = !faiss::PRESENT || rows(seeds).saturating_mul(rows(pool)) <= EXACT_PAIRS;
        self.search.unwrap_or(if few { Search::Exact } else { Search::Ivf }) == Search::Ivf
    }

    /// Complains of a set that has nobody to find likes of, and of a pool with nothing to find.
    fn require_vectors(&self, known: &Known) -> Result<()> {
        let hint = "see the reports of the steps before it: lvd report FILE ingest";
        if self.pool_shards(known)?.iter().all(|shard| shard.rows_at_most() == 0) {
            return Err(Error::usage("no image of the pool has a vector: there is nothing to retrieve", hint));
        }
        for (name, rule) in &self.sets {
            let table = if rule.method == Method::Sample { &self.vectors } else { &self.cluster }.name();
            let number = known.catalog.sources.get(name).map(|entry| entry.number);
            let is_of_set = |part: &&Part| part.shard.map(ShardId::dataset) == number;
            if known.table(table)?.parts.iter().filter(is_of_set).all(|part| part.rows == 0) {
                let message =
                    format!("no image of seed set {name:?} is in {table:?}: there is nothing to retrieve for it");
                return Err(Error::usage(message, format!("{hint}; or take {name:?} out of `sets`")));
            }
        }
        Ok(())
    }
}

/// Neighbours looked for at first, for each seed.
fn depth(rule: &SetRule, collisions: Collisions) -> usize {
    (if collisions == Collisions::Next { rule.k.saturating_mul(NEXT_DEPTH) } else { rule.k }) as usize
}

impl Stage for Retrieve {
    fn kind(&self) -> StageKind {
        StageKind::Retrieve
    }

    fn check(&mut self, scope: &mut Scope) {
        scope.wire_vectors(&mut self.vectors, "vectors");
        scope.wire_optional(&mut self.pool, StageKind::Dedup, "pool");
        let by_cluster = self.sets.values().any(|rule| rule.method == Method::Cluster);
        if by_cluster {
            scope.wire(&mut self.cluster, StageKind::Cluster, "cluster");
        }
        let fact = "`ivf` is FAISS's, and this lvd was built without it";
        let cure = "use \"exact\", or build lvd with --features faiss";
        scope.require(faiss::PRESENT || self.search != Some(Search::Ivf), "search", fact, cure);
        scope.within("recall", "a recall of", self.recall, 0.5..=1.0);
        scope.within("copy_similarity", "a cosine of", self.copy_similarity, 0.0..=2.0);
        for rule in self.sets.values_mut() {
            rule.per_cluster = scope.scaled_u32(rule.per_cluster);
            rule.cap = rule.cap.or((rule.method == Method::Cluster).then_some(MILLION)).map(|cap| scope.scaled(cap));
        }
        scope.require(!self.sets.is_empty(), "sets", "no seed set to serve", "add a [steps.NAME.sets.SOURCE] table");
        let names: Vec<String> = self.sets.keys().cloned().collect();
        scope.require_sources(&names, &[Role::Seed], "sets");
        let pool = scope.images_at_most(Role::Pool);
        let levels = scope.above.get(self.cluster.name()).map_or(0, |above| above.levels);
        for (name, rule) in &self.sets {
            rule.check(&format!("sets.{name}"), self.copy_similarity, (pool, levels), scope);
        }
    }

    fn inputs(&self) -> Vec<String> {
        let all = [self.vectors.name(), self.pool.name(), self.cluster.name(), &self.tree()];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let (d, n) = (scale.dims(self.vectors.name()), scale.pool);
        let seeds_of = |(name, rule): (&String, &SetRule)| {
            if rule.method == Method::Sample { scale.seeds.get(name).copied() } else { None }
        };
        let seeds: f64 = self.sets.iter().filter_map(seeds_of).sum();
        let exact = self.search == Some(Search::Exact) || seeds * n <= number(EXACT_PAIRS);
        let found: f64 = self.sets.iter().filter_map(|set| Some(seeds_of(set)? * f64::from(set.1.k))).sum();
        let (share, of_sgemm) = if exact { (1.0, 2.5) } else { (1.0 / 64.0, 0.05) };
        let why = if exact {
            format!("{} seeds x {} images x 2 x {d}, by codes at 2.5 x sgemm", short(seeds), short(n))
        } else {
            format!("{} seeds x {} images x 2 x {d} / 64, by inverted lists at 0.05 x sgemm", short(seeds), short(n))
        };
        vec![
            Cost {
                moved: n * 2.0 * d,
                tasks: (n / 10_000.0).max(1.0),
                assumes: if exact {
                    ""
                } else {
                    "one list in 64 holds enough of the neighbours; where not, everything is compared, in a quarter more time"
                },
                memory: 2e9,
                ..Cost::new("search", Work::Products { operations: seeds * n * share * 2.0 * d, of_sgemm }, why)
            },
            Cost {
                kept: found * 24.0,
                memory: found * 16.0 + 2e8,
                ..Cost::new(
                    "collect",
                    Work::Rows { rows: found, a_core_second: 2e6 },
                    format!("{} neighbours", short(found)),
                )
            },
        ]
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        match phase {
            "lists" => {
                self.require_vectors(known)?;
                let sets: Vec<(u16, &SetRule, Vec<VectorShard>)> = self.sampled(known)?;
                let pool = self.pool_shards(known)?;
                let listed: Vec<_> = sets.iter().filter(|(_, _, seeds)| self.is_listed(seeds, &pool)).collect();
                let Some(k) = listed.iter().map(|(_, rule, _)| depth(rule, self.collisions)).max() else {
                    return Ok(PhasePlan::empty());
                };
                let seeds = listed.iter().flat_map(|(_, _, seeds)| seeds).cloned().collect();
                let (recall, codes) = (self.recall, self.codes);
                PhasePlan::new(lists::Common { pool, seeds, k, recall, codes, seed: known.catalog.seed }, [()])
            }
            "search" => {
                let pool = self.pool_shards(known)?;
                let trained = known.outcomes("lists").first().and_then(|outcome| {
                    let fact = |name: &str| {
                        let fact = outcome.facts.get(name).and_then(serde_json::Value::as_u64);
                        fact.and_then(|fact| usize::try_from(fact).ok())
                    };
                    let (lists, probes, proposals) = (fact("lists")?, fact("probes")?, fact("proposals")?);
                    let pays = self.search == Some(Search::Ivf) || lists::pays(probes, lists);
                    pays.then(|| Some(Lists { index: outcome.parts.first()?.clone(), probes, proposals }))?
                });
                let mut tasks = Vec::new();
                for (set, rule, seeds) in self.sampled(known)? {
                    let wanted = rule.wanted(depth(rule, self.collisions), self.copy_similarity);
                    let lists = trained.as_ref().filter(|_| self.is_listed(&seeds, &pool));
                    tasks.extend(search::tasks(set, &seeds, &pool, wanted, lists));
                }
                PhasePlan::new((), tasks)
            }
            "collect" => {
                let mut sets = Vec::new();
                let may_look = self.collisions == Collisions::Next;
                let sampled = if may_look { self.sampled(known)? } else { Vec::new() };
                for (name, rule) in &self.sets {
                    let dataset = known.catalog.sources.get(name).map_or(0, |entry| entry.number);
                    let found = known.made("search", &search::table_of(dataset));
                    let seeds = sampled.iter().find(|(set, ..)| *set == dataset);
                    let seeds = seeds.map(|(.., seeds)| seeds.clone()).unwrap_or_default();
                    sets.push(collect::Set { name: name.clone(), dataset, rule: rule.clone(), found, seeds });
                }
                let pool = if may_look { self.pool_shards(known)? } else { Vec::new() };
                let ceiling = may_look.then_some(self.copy_similarity);
                let (mut assigned, mut tree) = (None, None);
                if !self.cluster.name().is_empty() {
                    assigned = Some(known.table(self.cluster.name())?.clone());
                    tree = Some(known.table(&self.tree())?.clone());
                }
                let pool_sources: Vec<u16> = known
                    .catalog
                    .sources
                    .values()
                    .filter(|entry| entry.role == Role::Pool)
                    .map(|entry| entry.number)
                    .collect();
                let (collisions, seed) = (self.collisions, known.catalog.seed);
                PhasePlan::new(
                    collect::Common { sets, assigned, tree, pool_sources, collisions, pool, ceiling, seed },
                    [()],
                )
            }
            _ => Err(no_such_phase(phase)),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "lists" => lists::run(&from_value(order.common)?, task),
        "search" => search::run(&from_value(order.spec)?, task),
        "collect" => collect::run(&from_value(order.common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}
