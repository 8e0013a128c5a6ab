//! Which shards of images a step compares with each other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stages::catalog::{Catalog, Role};
use crate::stages::dedup::settings::Dedup;
use crate::stages::pool::{self, VectorShard};
use crate::stages::scope::Input;
use crate::stages::table::Table;
use lvd_base::error::{Error, Result};

/// Vectors a task of `tune` and `move`, about.
pub const TASK_ROWS: u64 = 262_144;

/// A shard that takes part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    pub shard: VectorShard,
    /// Its images are not compared with each other, and stay.
    pub settled: bool,
}

/// The shards that a step looks at, each with the part that says which of its images count.
pub struct Shards {
    /// Of the pool, to be compared.
    pub unsettled: Vec<VectorShard>,
    /// Of the pool, to be compared with those only.
    pub settled: Vec<VectorShard>,
    /// Of the pool, not to be compared.
    pub apart: Vec<VectorShard>,
    /// Of the reference sources.
    pub references: Vec<VectorShard>,
}

/// The images that are linked.
#[derive(Serialize, Deserialize)]
pub struct Nodes {
    pub pool: Vec<Member>,
    pub references: Vec<Member>,
}

impl Nodes {
    /// The pool by shard, and the references.
    pub fn of(shards: Shards) -> Self {
        let members =
            |shards: Vec<VectorShard>, settled| shards.into_iter().map(move |shard| Member { shard, settled });
        let mut pool: Vec<Member> = members(shards.unsettled, false).chain(members(shards.settled, true)).collect();
        pool.sort_by_key(|member| member.shard.shard());
        Self { pool, references: members(shards.references, false).collect() }
    }

    /// Every shard that takes part.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.pool.iter().chain(&self.references)
    }

    /// An upper bound of the images.
    pub fn rows_at_most(&self) -> u64 {
        self.all().map(|member| member.shard.rows_at_most()).sum()
    }

    /// Consecutive shards, about [`TASK_ROWS`] rows together.
    pub fn tasks(&self) -> Vec<Vec<Member>> {
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
        let mut unsettled = pool::shards(vectors, selection, |shard| is_pool(shard) && !is_old(shard));
        let mut old = pool::shards(vectors, settled, |shard| is_pool(shard) && is_old(shard));
        let mut apart: Vec<VectorShard> = Vec::new();
        for shards in [&mut unsettled, &mut old] {
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
        Ok(Shards { unsettled, settled: old, apart, references })
    }
}
