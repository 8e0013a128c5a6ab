//! Retrieve: the pool images that are like the images of the seed sets.
//!
//! Sample-based: the k nearest pool images of every seed image; `search` finds them, within
//! inverted lists that `lists` trains where there is too much to compare. Cluster-based: n images
//! of every cluster with more than m of the set's images. `collect` settles what several seeds
//! found, and caps the sets (`DINOv2`, arXiv 2304.07193, appendix A).

mod collect;
mod lists;
mod next;
mod phases;
mod rules;
mod search;
mod settings;

use self::collect::{CollectCommon, Set};
use self::lists::{ListsCommon, ListsTold};
use self::phases::RetrievePhase;
use self::search::Lists;
use self::settings::EXACT_PAIRS;
use crate::stages::catalog::Role;
use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Scale, Work, number, short, tasks};
use crate::stages::kind::StageKind;
use crate::stages::plan::{PhasePlan, TaskInput, broken};
use crate::stages::pool::{self, SHARD_ROWS, VectorShard};
use crate::stages::scope::Scope;
use crate::stages::stage::{Phased, StageSettings};
use crate::stages::table::Part;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::ShardId;

pub use collect::Retrieved;
pub use rules::{CapDraw, Codes, Collisions, Method, Search, SetRule};
pub use search::SeedNeighbour;
pub use settings::Retrieve;

impl Retrieve {
    fn pool_shards(&self, context: &PlanContext) -> Result<Vec<VectorShard>> {
        let selection = match self.pool.name() {
            "" => None,
            name => Some(context.table(name)?),
        };
        let is_pool = |shard| context.catalog.role_of(shard) == Some(Role::Pool);
        Ok(pool::shards(context.table(self.vectors.name())?, selection, is_pool))
    }

    /// The sample-based sets: data set number, rule, and shards of seeds.
    fn sampled(&self, context: &PlanContext) -> Result<Vec<(u16, &SetRule, Vec<VectorShard>)>> {
        let vectors = context.table(self.vectors.name())?;
        let mut sets = Vec::new();
        for (set, rule) in self.sets.iter().filter(|(_, rule)| rule.method == Method::Sample) {
            let number = context.catalog.named(set)?.number;
            sets.push((number, rule, pool::shards(vectors, None, |shard| shard.dataset() == number)));
        }
        Ok(sets)
    }

    /// Complains of a set that has nobody to find likes of, and of a pool with nothing to find.
    fn require_vectors(&self, context: &PlanContext) -> Result<()> {
        let hint = "see the reports of the steps before it: lvd report FILE ingest";
        if self.pool_shards(context)?.iter().all(|shard| shard.rows_at_most() == 0) {
            return Err(Error::usage("no image of the pool has a vector: there is nothing to retrieve", hint));
        }
        for (name, rule) in &self.sets {
            let table = if rule.method == Method::Sample { &self.vectors } else { &self.cluster }.name();
            let number = context.catalog.named(name)?.number;
            let is_of_set = |part: &&Part| part.shard.map(ShardId::dataset) == Some(number);
            if context.table(table)?.parts.iter().filter(is_of_set).all(|part| part.rows == 0) {
                let message =
                    format!("no image of seed set {name:?} is in {table:?}: there is nothing to retrieve for it");
                return Err(Error::usage(message, format!("{hint}; or take {name:?} out of `sets`")));
            }
        }
        Ok(())
    }

    fn plan_lists(&self, context: &PlanContext) -> Result<PhasePlan> {
        self.require_vectors(context)?;
        let (sets, pool) = (self.sampled(context)?, self.pool_shards(context)?);
        let listed: Vec<_> = sets.iter().filter(|(_, _, seeds)| self.is_listed(seeds, &pool)).collect();
        let Some(k) = listed.iter().map(|(_, rule, _)| rule.depth(self.collisions)).max() else {
            return Ok(PhasePlan::empty());
        };
        let seeds = listed.iter().flat_map(|(_, _, seeds)| seeds).cloned().collect();
        let (recall, codes) = (self.recall, self.codes);
        PhasePlan::new(ListsCommon { pool, seeds, k, recall, codes, seed: context.catalog.seed }, [()])
    }

    /// The lists to search by, where they were trained and pay.
    fn trained(&self, context: &PlanContext) -> Result<Option<Lists>> {
        let Some(ListsTold { lists, probes, proposals }) = context.told(RetrievePhase::Lists)?.pop() else {
            return Ok(None);
        };
        if self.search != Some(Search::Ivf) && !lists::pays(probes, lists) {
            return Ok(None);
        }
        let index = context.made(RetrievePhase::Lists, lists::TABLE).parts.pop();
        let index = index.ok_or_else(|| broken("the phase `lists` left no lists"))?;
        Ok(Some(Lists { index, probes, proposals }))
    }

    fn plan_search(&self, context: &PlanContext) -> Result<PhasePlan> {
        let (pool, trained) = (self.pool_shards(context)?, self.trained(context)?);
        let mut tasks = Vec::new();
        for (set, rule, seeds) in self.sampled(context)? {
            let wanted = rule.wanted(rule.depth(self.collisions), self.copy_similarity);
            let lists = trained.as_ref().filter(|_| self.is_listed(&seeds, &pool));
            tasks.extend(search::tasks(set, &seeds, &pool, wanted, lists));
        }
        PhasePlan::new((), tasks)
    }

    fn plan_collect(&self, context: &PlanContext) -> Result<PhasePlan> {
        let may_look = self.collisions == Collisions::Next;
        let sampled = if may_look { self.sampled(context)? } else { Vec::new() };
        let mut sets = Vec::new();
        for (name, rule) in &self.sets {
            let dataset = context.catalog.named(name)?.number;
            let found = context.made(RetrievePhase::Search, &search::table_of(dataset));
            // Sets by clusters, and those that need not look further, have none.
            let of_set = sampled.iter().filter(|(set, ..)| *set == dataset);
            let seeds = of_set.flat_map(|(.., seeds)| seeds).cloned().collect();
            sets.push(Set { name: name.clone(), dataset, rule: rule.clone(), found, seeds });
        }
        let (mut assigned, mut tree) = (None, None);
        if !self.cluster.name().is_empty() {
            assigned = Some(context.table(self.cluster.name())?.clone());
            tree = Some(context.table(&self.tree())?.clone());
        }
        let sources = context.catalog.sources.values();
        let common = CollectCommon {
            sets,
            assigned,
            tree,
            pool_sources: sources.filter(|entry| entry.role == Role::Pool).map(|entry| entry.number).collect(),
            collisions: self.collisions,
            pool: if may_look { self.pool_shards(context)? } else { Vec::new() },
            ceiling: may_look.then_some(self.copy_similarity),
            seed: context.catalog.seed,
        };
        PhasePlan::new(common, [()])
    }
}

impl StageSettings for Retrieve {
    fn kind(&self) -> StageKind {
        StageKind::Retrieve
    }

    fn check(&mut self, scope: &mut Scope) {
        self.find_faults(scope);
    }

    fn inputs(&self) -> Vec<String> {
        let all = [self.vectors.name(), self.pool.name(), self.cluster.name(), &self.tree()];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let (d, n) = (scale.dims(self.vectors.name()), scale.pool);
        let seeds_of = |(name, rule): (&String, &SetRule)| {
            if rule.method == Method::Sample { scale.seeds.get(name).copied() } else { None }
        };
        let seeds: f64 = self.sets.iter().filter_map(seeds_of).sum();
        let exact = self.search == Some(Search::Exact) || seeds * n <= number(EXACT_PAIRS);
        let found: f64 = self.sets.iter().filter_map(|set| Some(seeds_of(set)? * f64::from(set.1.k))).sum();
        let one_in = number(lists::ONE_IN as u64);
        let a_task = if exact { search::GROUP_SHARDS as u64 * u64::from(SHARD_ROWS) } else { search::LISTED_ROWS };
        let (share, of_sgemm) = if exact { (1.0, 2.5) } else { (1.0 / one_in, 0.05) };
        let why = if exact {
            format!("{} seeds x {} images x 2 x {d}, by codes at 2.5 x sgemm", short(seeds), short(n))
        } else {
            format!(
                "{} seeds x {} images x 2 x {d} / {one_in}, by inverted lists at 0.05 x sgemm",
                short(seeds),
                short(n)
            )
        };
        vec![
            Cost {
                moved: n * 2.0 * d,
                tasks: tasks(n, a_task),
                assumes: if exact {
                    ""
                } else {
                    "one list in 64 holds enough of the neighbours; where not, everything is compared, in a quarter more time"
                },
                memory: 2e9,
                ..Cost::new(
                    RetrievePhase::Search,
                    Work::Products { operations: seeds * n * share * 2.0 * d, of_sgemm },
                    why,
                )
            },
            Cost {
                kept: found * 24.0,
                memory: found * 16.0 + 2e8,
                ..Cost::new(
                    RetrievePhase::Collect,
                    Work::Rows { rows: found, a_core_second: 2e6 },
                    format!("{} neighbours", short(found)),
                )
            },
        ]
    }
}

impl Phased for Retrieve {
    type Phase = RetrievePhase;

    fn plan(&self, phase: RetrievePhase, context: &PlanContext) -> Result<PhasePlan> {
        match phase {
            RetrievePhase::Lists => self.plan_lists(context),
            RetrievePhase::Search => self.plan_search(context),
            RetrievePhase::Collect => self.plan_collect(context),
        }
    }

    fn run(phase: RetrievePhase, input: TaskInput, task: &mut Task) -> Result<()> {
        match phase {
            RetrievePhase::Lists => lists::run(&input.common()?, task),
            RetrievePhase::Search => search::run(&input.spec()?, task),
            RetrievePhase::Collect => collect::run(&input.common()?, task),
        }
    }
}
