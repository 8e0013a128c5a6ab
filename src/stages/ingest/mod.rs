//! Ingest: list the sources, fetch and check every row, find exact copies.
//!
//! `list` numbers the rows, `fetch` stores what can be decoded, `scatter` sorts the hashes of some
//! shards, `match` finds equal ones slice by slice, `mark` says shard by shard what goes on. A row
//! that was fetched keeps its id for as long as it is listed, wherever it stands. Each row is read
//! and written a fixed number of times. Memory: 100 MB where a list has changed; `concurrency`
//! files in flight, `ahead_bytes` of files that wait, 64 MiB of files being checked and a row group
//! of 128 MiB; `scatter` and `match` hold 40 bytes for each of `held_hashes`; `scatter` and `mark` 32
//! bytes at most for each copy in a group of shards.

mod compare;
mod exact;
mod fetch;
mod gone;
mod groups;
mod list;
mod mark;
mod phases;
mod scatter;
mod settings;

use std::collections::BTreeMap;

use serde_json::Value;

use self::fetch::{FetchCommon, FetchTask, FetchTold};
use self::groups::{GROUP_IMAGES, Grouping};
use self::list::ListTask;
use crate::stages::catalog::SourceEntry;
use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Scale, Work, number, short, tasks};
use crate::stages::former::{Done, Former};
use crate::stages::kind::StageKind;
use crate::stages::plan::{PhasePlan, TaskInput, broken, fingerprint, from_value};
use crate::stages::scope::Scope;
use crate::stages::stage::{Phased, StageSettings};
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_base::types::Dropped;
use lvd_io::decode::{Facts, ImageLimits};
use lvd_io::fetch::Fetcher;

pub use exact::in_pool_counter;
pub use gone::Gone;
pub use list::{ListTold, Listed};
pub use mark::Kept;
pub use phases::IngestPhase;
pub use scatter::Hashed;
pub use settings::{Http, Ingest};

/// Bytes of what is known of an image beside its file, about: half is its address and caption.
const FACTS_BYTES: f64 = 150.0;
/// Bytes of an image and its hash, in a file.
const HASH_BYTES: f64 = 40.0;

impl Ingest {
    /// What fetches rows as the step does.
    pub fn fetcher(&self) -> Result<Fetcher> {
        Fetcher::new(self.fetch_limits())
    }

    /// Looks at a file that is no row of the step as if it were one, however small its picture: what
    /// it holds, its SHA-256 and its bytes, or why it is no usable picture.
    pub fn look_at(&self, bytes: Vec<u8>) -> std::result::Result<(Facts, String, Vec<u8>), Dropped> {
        fetch::check(bytes, &ImageLimits { min_side: 0, ..self.image_limits() })
    }

    fn plan_list(&self, context: &PlanContext) -> Result<PhasePlan> {
        let taken = |name: &String| self.sources.as_ref().is_none_or(|names| names.contains(name));
        let sources = context.catalog.sources.iter().filter(|(name, _)| taken(name));
        let tasks = sources.map(|(name, entry)| {
            let (fingerprint, terms) = (entry.fingerprint()?, self.terms(name, entry)?);
            Ok(ListTask { source: name.clone(), dataset: entry.number, fingerprint, terms })
        });
        PhasePlan::new(self.shard_rows, tasks.collect::<Result<Vec<_>>>()?)
    }

    fn plan_fetch(&self, context: &PlanContext) -> Result<PhasePlan> {
        let mut tasks = Vec::new();
        for listed in context.made(IngestPhase::List, "listed").parts {
            let shard = listed.shard.ok_or_else(|| broken(format!("{} is of no shard", listed.path)))?;
            let (source, entry) = context.catalog.source(shard)?;
            tasks.push(FetchTask { source: source.into(), terms: self.terms(source, entry)?, listed });
        }
        let rows = tasks.iter().map(|task| task.listed.rows).collect();
        Ok(PhasePlan::new(self.fetch_common(), tasks)?.with_unhashed(self.fetch_limits())?.with_rows(Some(rows)))
    }

    fn fetch_common(&self) -> FetchCommon {
        let mut opt_outs = self.http.opt_outs.clone();
        opt_outs.sort_unstable();
        opt_outs.dedup();
        FetchCommon { limits: self.image_limits(), private_addresses: self.http.private_addresses, opt_outs }
    }

    /// What it costs to find exact copies: each row is read and written once a phase.
    fn costs_of_copies(&self, scale: &Scale) -> [Cost; 3] {
        let images = scale.all();
        let cost = |phase, a_core_second, what: &str| {
            let work = Work::Rows { rows: images, a_core_second };
            let why = format!("{} {what} at {} a core-second", short(images), short(a_core_second));
            Cost { tasks: tasks(images, GROUP_IMAGES), ..Cost::new(phase, work, why) }
        };
        let memory = number(self.held_hashes).min(images) * 40.0 + 1e8;
        let hashes = images * HASH_BYTES;
        let sorted = cost(IngestPhase::Scatter, 1.5e5, "hashes sorted");
        let matched = cost(IngestPhase::Match, 6e5, "hashes");
        [
            Cost { moved: 2.0 * hashes, scratch: hashes, memory, ..sorted },
            Cost { moved: hashes, memory, tasks: tasks(images, self.held_hashes), ..matched },
            Cost { moved: 2.0 * hashes, kept: hashes, ..cost(IngestPhase::Mark, 3e5, "rows") },
        ]
    }

    fn grouping(&self) -> Grouping {
        Grouping::of_shards(self.shard_rows)
    }

    /// On what terms rows of a source are numbered and fetched. On others, all begins anew.
    fn terms(&self, source: &str, entry: &SourceEntry) -> Result<String> {
        fingerprint(&(self.shard_rows, self.fetch_common(), source, entry.source.reads()))
    }
}

/// What the task of `list` with this spec would find, after those that gave `former`.
pub fn look(spec: &Value, former: &Table, task: &Task) -> Result<ListTold> {
    list::look(&from_value(spec)?, former, task)
}

/// The listed rows of shards that were fetched on the terms of a task.
fn fetched(spec: &ListTask, done: &[(Done, FetchTold)]) -> Result<Option<Former>> {
    let mut shards = BTreeMap::new();
    // Of two that are of one shard, others may have built on the one in the manifest.
    for whole in [false, true] {
        for (done, told) in done.iter().filter(|(done, told)| done.whole == whole && told.terms == spec.terms) {
            shards.insert(told.listed.shard, (&done.key, &told.listed));
        }
    }
    if shards.is_empty() {
        return Ok(None);
    }
    let (keys, parts) = shards.into_values().map(|(key, part)| (key.clone(), part.clone())).unzip();
    Former::new(keys, Table { parts }).map(Some)
}

impl StageSettings for Ingest {
    fn kind(&self) -> StageKind {
        StageKind::Ingest
    }

    fn check(&mut self, scope: &mut Scope) {
        self.find_faults(scope);
    }

    fn max_failed_share(&self) -> Option<f64> {
        Some(self.max_failed_share)
    }

    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let (images, shards) = (scale.all(), tasks(scale.all(), self.shard_rows.into()));
        let bytes = images * scale.image_bytes;
        let rows = |rows, a_core_second| Work::Rows { rows, a_core_second };
        vec![
            Cost {
                tasks: number((scale.seeds.len() + scale.references.len() + 1) as u64),
                kept: images * 60.0,
                ..Cost::new(
                    IngestPhase::List,
                    rows(images, 1e6),
                    format!("{} rows at 1 M a core-second", short(images)),
                )
            },
            Cost {
                assumes: "50 images a core-second are fetched and checked",
                tasks: shards,
                moved: bytes,
                kept: bytes + images * FACTS_BYTES,
                ..Cost::new(
                    IngestPhase::Fetch,
                    rows(images, 50.0),
                    format!("{} images at 50 a core-second", short(images)),
                )
            },
        ]
        .into_iter()
        .chain(self.costs_of_copies(scale))
        .collect()
    }
}

impl Phased for Ingest {
    type Phase = IngestPhase;

    fn plan(&self, phase: IngestPhase, context: &PlanContext) -> Result<PhasePlan> {
        match phase {
            IngestPhase::List => self.plan_list(context),
            IngestPhase::Fetch => self.plan_fetch(context),
            IngestPhase::Scatter | IngestPhase::Match if !self.drop_exact_duplicates => Ok(PhasePlan::empty()),
            IngestPhase::Scatter => scatter::plan(self.grouping(), self.held_hashes, context),
            IngestPhase::Match => exact::plan(self.grouping(), context),
            IngestPhase::Mark => mark::plan(self.grouping(), context),
        }
    }

    fn former(
        &self,
        phase: IngestPhase,
        plan: &PhasePlan,
        missing: &[usize],
        done: &dyn Fn(IngestPhase) -> Result<Vec<Done>>,
    ) -> Result<BTreeMap<usize, Former>> {
        let mut former = BTreeMap::new();
        if phase != IngestPhase::List {
            return Ok(former);
        }
        let mut known = Vec::new();
        for done in done(IngestPhase::Fetch)? {
            if let Some(told) = done.outcome.told::<FetchTold>()? {
                known.push((done, told));
            }
        }
        for &number in missing {
            former.extend(fetched(&from_value(&plan.tasks[number])?, &known)?.map(|former| (number, former)));
        }
        Ok(former)
    }

    fn run(phase: IngestPhase, input: TaskInput, task: &mut Task) -> Result<()> {
        match phase {
            IngestPhase::List => {
                let former: Option<Table> = input.former()?;
                list::run(&input.spec()?, input.common()?, &former.unwrap_or_default(), task)
            }
            IngestPhase::Fetch => fetch::run(&input.spec()?, &input.common()?, input.unhashed()?, task),
            IngestPhase::Scatter => scatter::run(&input.spec()?, input.common()?, task),
            IngestPhase::Match => exact::run(&input.spec()?, input.common()?, task),
            IngestPhase::Mark => mark::run(&input.spec()?, task),
        }
    }
}

#[cfg(test)]
mod tests;
