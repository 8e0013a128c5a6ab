//! Dedup: copy detection among the pool, or between the pool and reference sets.
//!
//! A self-join by cells (`DINOv2`, arXiv 2304.07193, appendix A). `train` fits cells on a sample,
//! `tune` measures how far images have to look, `move` writes every vector once into a run sorted
//! by cell, `join` compares the cells that know of each other, `components` joins the pairs over
//! the threshold and chooses who stays. Small pools are one cell.

mod assign_cells;
mod components;
mod costs;
mod doubts;
mod graph;
mod greedy;
mod join;
mod links;
mod needs;
mod phases;
mod rank;
mod sampling;
mod settings;
mod shards;
mod train;
mod tune;
mod whiten;

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use self::graph::ComponentsCommon;
use self::join::JoinCommon;
use self::phases::DedupPhase;
use self::shards::{Member, Nodes};
use crate::stages::context::PlanContext;
use crate::stages::cost::{Cost, Scale};
use crate::stages::kind::StageKind;
use crate::stages::plan::{PhasePlan, TaskInput, broken};
use crate::stages::pool::VectorShard;
use crate::stages::scope::Scope;
use crate::stages::stage::{Phased, StageSettings};
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::Result;
use lvd_ops::whiten::Whitening;

pub use components::Group;
pub use join::Edge;
pub use settings::{Dedup, Keep, Linkage};
pub use shards::Shards;

impl Dedup {
    fn plan_train(&self, nodes: &Nodes, context: &PlanContext) -> Result<PhasePlan> {
        let common = train::TrainCommon {
            members: nodes.all().cloned().collect(),
            whitening: whitening(context),
            exact_up_to: self.exact_up_to,
            cell_images: self.cell_images,
            floor: self.floor(),
            queries: train::QUERIES,
            seed: context.catalog.seed,
        };
        PhasePlan::new(common, [()])
    }

    fn plan_tune(&self, nodes: &Nodes, context: &PlanContext) -> Result<PhasePlan> {
        let (cells, queries) = (trained(context, "cells")?, trained(context, "queries")?);
        let (neighbours, floor, crowd) = (self.neighbours as usize, self.floor(), self.crowd());
        let common = tune::TuneCommon { whitening: whitening(context), cells, queries, neighbours, floor, crowd };
        planned(common, nodes)
    }

    fn plan_move(&self, nodes: &Nodes, context: &PlanContext) -> Result<PhasePlan> {
        let cells = context.made(DedupPhase::Train, "cells").parts.pop();
        let common = assign_cells::MoveCommon {
            whitening: whitening(context),
            regions: regions(context)?,
            cells,
            needs: context.made(DedupPhase::Tune, "needs"),
            planted: context.made(DedupPhase::Train, "planted"),
            neighbours: self.neighbours as usize,
            recall: self.recall,
        };
        planned(common, nodes)
    }

    fn plan_join(&self, context: &PlanContext) -> Result<PhasePlan> {
        let regions = regions(context)?;
        let moved: Vec<assign_cells::MoveTold> = context.told(DedupPhase::Move)?;
        let mut sizes = vec![0u64; regions.len() - 1];
        for told in &moved {
            sizes.iter_mut().zip(&told.rows_by_region).for_each(|(size, rows)| *size += rows);
        }
        let probes: u64 = moved.iter().map(|told| told.probes).sum();
        let of_a_row = 4 * probes / sizes.iter().sum::<u64>().max(1);
        let held_rows = self.held_rows(join::row_bytes(dimension(&moved), of_a_row));
        let mut groups: Vec<(u64, Range<u32>)> = Vec::new();
        for (region, rows) in (0u32..).zip(sizes) {
            match groups.last_mut().filter(|(held, _)| held + rows <= held_rows) {
                Some((held, group)) => {
                    *held += rows;
                    group.end = region + 1;
                }
                None => groups.push((rows, region..region + 1)),
            }
        }
        let runs = context.made(DedupPhase::Move, "runs").parts;
        let (rows, groups): (Vec<u64>, Vec<Range<u32>>) = groups.into_iter().filter(|(rows, _)| *rows > 0).unzip();
        let (neighbours, floor) = (self.neighbours as usize, self.floor());
        let common = JoinCommon { runs, regions, neighbours, floor, crowd: self.crowd(), held_rows };
        Ok(PhasePlan::new(common, groups)?.with_rows(Some(rows)))
    }

    fn plan_components(&self, nodes: Nodes, apart: Vec<VectorShard>, context: &PlanContext) -> Result<PhasePlan> {
        let moved: Vec<assign_cells::MoveTold> = context.told(DedupPhase::Move)?;
        let facts = self.facts();
        let ranked_by = if self.ranks_by_clusters() { self.clusters.name() } else { &facts };
        let common = ComponentsCommon {
            nodes,
            apart,
            ranked_by: context.table(ranked_by)?.clone(),
            edges: context.made(DedupPhase::Join, "edges"),
            relative: !self.references.is_empty(),
            threshold: self.threshold(),
            linkage: self.linkage,
            keep: self.keep,
            neighbours: self.neighbours as usize,
            whitening: whitening(context),
            held_rows: self.held_rows(8 * dimension(&moved) + 100),
        };
        PhasePlan::new(common, [()])
    }
}

/// The whitening that a step fits on these shards, and on how many of their vectors.
pub fn fit_whitening(shards: &Shards, seed: u64, task: &Task) -> Result<(usize, Arc<Whitening>)> {
    let all = shards.unsettled.iter().chain(&shards.settled).chain(&shards.references);
    let members: Vec<Member> = all.map(|shard| Member { shard: shard.clone(), settled: false }).collect();
    whiten::fit(&members, seed, task).map(|(_, fitted_on, whitening)| (fitted_on, Arc::new(whitening)))
}

/// The whitening that a step which is whole compared its vectors by; `table` is its `whitening`.
pub fn read_whitening(table: &Table, task: &Task) -> Result<Option<Arc<Whitening>>> {
    whiten::read(table.parts.first(), task)
}

/// The plan of a phase that reads all vectors, some shards a task.
fn planned(common: impl Serialize, nodes: &Nodes) -> Result<PhasePlan> {
    let tasks = nodes.tasks();
    let rows = tasks.iter().map(|members| members.iter().map(|member| member.shard.rows()).sum()).collect();
    Ok(PhasePlan::new(common, tasks)?.with_rows(rows))
}

/// What `whiten` fitted, if it did.
fn whitening(context: &PlanContext) -> Option<Part> {
    context.made(DedupPhase::Whiten, "whitening").parts.pop()
}

/// The first cells of the regions, as `train` cut them; one cell without it.
fn regions(context: &PlanContext) -> Result<Vec<u32>> {
    let trained: Option<train::TrainTold> = context.told(DedupPhase::Train)?.pop();
    Ok(trained.map_or_else(|| vec![0, 1], |told| told.regions))
}

/// Numbers a vector; 0 where there are no vectors.
fn dimension(moved: &[assign_cells::MoveTold]) -> u64 {
    moved.first().map_or(0, |told| told.dimension)
}

/// The part of a table that `train` wrote.
fn trained(context: &PlanContext, table: &str) -> Result<Part> {
    let part = context.made(DedupPhase::Train, table).parts.pop();
    part.ok_or_else(|| broken(format!("the phase `train` left no {table}")))
}

impl StageSettings for Dedup {
    fn kind(&self) -> StageKind {
        StageKind::Dedup
    }

    fn check(&mut self, scope: &mut Scope) {
        self.find_faults(scope);
    }

    fn inputs(&self) -> Vec<String> {
        let clusters = if self.ranks_by_clusters() { self.clusters.name() } else { "" };
        let all = [self.vectors.name(), &self.facts(), self.pool.name(), self.settled.name(), clusters];
        all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn references(&self) -> &[String] {
        &self.references
    }

    fn compares(&self) -> Option<&[String]> {
        self.sources.as_deref()
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        self.estimate(scale)
    }
}

impl Phased for Dedup {
    type Phase = DedupPhase;

    fn plan(&self, phase: DedupPhase, context: &PlanContext) -> Result<PhasePlan> {
        let mut shards = self.shards(context.catalog, context.inputs)?;
        let apart = std::mem::take(&mut shards.apart);
        let nodes = Nodes::of(shards);
        let exact = nodes.rows_at_most() <= self.exact_up_to;
        match phase {
            DedupPhase::Whiten if !self.whiten => Ok(PhasePlan::empty()),
            DedupPhase::Whiten => {
                let members = nodes.all().cloned().collect();
                PhasePlan::new(whiten::WhitenCommon { members, seed: context.catalog.seed }, [()])
            }
            DedupPhase::Train | DedupPhase::Tune if exact => Ok(PhasePlan::empty()),
            DedupPhase::Train => self.plan_train(&nodes, context),
            DedupPhase::Tune => self.plan_tune(&nodes, context),
            DedupPhase::Move => self.plan_move(&nodes, context),
            DedupPhase::Join => self.plan_join(context),
            DedupPhase::Components => self.plan_components(nodes, apart, context),
        }
    }

    fn run(phase: DedupPhase, input: TaskInput, task: &mut Task) -> Result<()> {
        match phase {
            DedupPhase::Whiten => whiten::run(&input.common()?, task),
            DedupPhase::Train => train::run(&input.common()?, task),
            DedupPhase::Tune => tune::run(&input.spec::<Vec<Member>>()?, &input.common()?, task),
            DedupPhase::Move => assign_cells::run(&input.spec::<Vec<Member>>()?, &input.common()?, task),
            DedupPhase::Join => join::run(&input.spec()?, &input.common()?, task),
            DedupPhase::Components => components::run(&input.common()?, task),
        }
    }
}
