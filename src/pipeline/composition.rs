//! What a data set will be made of, by the arithmetic of its settings alone: no image has to be
//! there.

use std::any::Any;

use serde::Serialize;

use crate::pipeline::steps::Pipeline;
use crate::stages::catalog::Role;
use crate::stages::cluster::Cluster;
use crate::stages::retrieve::{Method, Retrieve, SetRule};
use crate::stages::sample::Sample;
use lvd_base::error::{Error, Result};

/// A part of a data set, as in the `DINOv2` paper's Table 15.
#[derive(Debug, Serialize)]
pub struct Portion {
    /// The seed set; none for the balanced draw.
    pub seed_set: Option<String>,
    /// `as is`, `sample`, `cluster` or `balanced`.
    pub how: &'static str,
    /// Images of the seed set.
    pub seeds: u64,
    /// What is looked for, at most: `k` a seed image, `per_cluster` a cluster.
    pub found: Option<u64>,
    /// Images that go into the data set, at most.
    pub images: u64,
}

/// The portions of the last sample step's data set; none without such a step.
pub fn composition(pipeline: &Pipeline) -> Result<Vec<Portion>> {
    let Some(sample) = last::<Sample>(pipeline, None) else { return Ok(Vec::new()) };
    let is_seed = |name: &str| pipeline.catalog.sources.get(name).is_some_and(|entry| entry.role == Role::Seed);
    let wanted = |name: &str| sample.seeds.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name));
    let mut portions: Vec<Portion> = pipeline
        .sizes
        .iter()
        .filter(|(name, _)| is_seed(name) && wanted(name))
        .map(|(name, &images)| Portion {
            seed_set: Some(name.clone()),
            how: "as is",
            seeds: images,
            found: None,
            images,
        })
        .collect();
    if let Some(retrieve) = last::<Retrieve>(pipeline, Some(sample.retrieve.name())) {
        let cluster = last::<Cluster>(pipeline, Some(retrieve.cluster.name()));
        for (name, rule) in &retrieve.sets {
            let seeds = pipeline.size(name)?;
            let found = found(rule, seeds, cluster)?;
            portions.push(Portion {
                seed_set: Some(name.clone()),
                how: rule.method.name(),
                seeds,
                found: Some(found),
                images: found.min(rule.cap.unwrap_or(u64::MAX)),
            });
        }
    }
    let so_far: u64 = portions.iter().map(|portion| portion.images).sum();
    if sample.fill {
        let images = sample.target.saturating_sub(so_far);
        portions.push(Portion { seed_set: None, how: "balanced", seeds: 0, found: None, images });
    }
    Ok(portions)
}

fn found(rule: &SetRule, seeds: u64, cluster: Option<&Cluster>) -> Result<u64> {
    Ok(match rule.method {
        Method::Sample => seeds.saturating_mul(u64::from(rule.k)),
        Method::Cluster => {
            // No more clusters can qualify than there are, nor than hold enough seeds.
            let level = |cluster: &Cluster| cluster.clusters.get((rule.level as usize).checked_sub(1)?).copied();
            let clusters = cluster.and_then(level).ok_or_else(|| {
                let fact = format!("the cluster step has no level {}", rule.level);
                Error::usage(fact, "lvd check FILE says which levels there are")
            })?;
            let clusters = u64::from(clusters).min(seeds / (u64::from(rule.more_than) + 1));
            clusters.saturating_mul(u64::from(rule.per_cluster))
        }
    })
}

/// The settings of the last step of a kind, or of the named one.
fn last<'a, T: 'static>(pipeline: &'a Pipeline, name: Option<&str>) -> Option<&'a T> {
    let mut steps = pipeline.steps.iter().rev().filter(|step| name.is_none_or(|name| step.name == name));
    steps.find_map(|step| (step.stage.as_ref() as &dyn Any).downcast_ref::<T>())
}
