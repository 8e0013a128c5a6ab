//! What a data set will be made of, by the arithmetic of its settings alone: no image has to be there.

use std::any::Any;

use serde::Serialize;

use crate::pipeline::check::Pipeline;
use crate::stages::catalog::Role;
use crate::stages::cluster::Cluster;
use crate::stages::retrieve::{Method, Retrieve, SetRule};
use crate::stages::sample::Sample;

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
pub fn composition(pipeline: &Pipeline) -> Vec<Portion> {
    let Some(sample) = last::<Sample>(pipeline, None) else { return Vec::new() };
    let is_seed = |name: &str| pipeline.catalog.sources.get(name).is_some_and(|entry| entry.role == Role::Seed);
    let size = |name: &str| pipeline.sizes.get(name).copied().unwrap_or(0);
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
            let found = found(rule, size(name), cluster);
            portions.push(Portion {
                seed_set: Some(name.clone()),
                how: rule.method.name(),
                seeds: size(name),
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
    portions
}

fn found(rule: &SetRule, seeds: u64, cluster: Option<&Cluster>) -> u64 {
    match rule.method {
        Method::Sample => seeds.saturating_mul(u64::from(rule.k)),
        Method::Cluster => {
            // No more clusters can qualify than there are, nor than hold enough seeds.
            let clusters =
                cluster.and_then(|cluster| cluster.clusters.get(rule.level as usize - 1)).copied().unwrap_or(0);
            let clusters = u64::from(clusters).min(seeds / (u64::from(rule.more_than) + 1));
            clusters.saturating_mul(u64::from(rule.per_cluster))
        }
    }
}

/// The settings of the last step of a kind, or of the named one.
fn last<'a, T: 'static>(pipeline: &'a Pipeline, name: Option<&str>) -> Option<&'a T> {
    let mut steps = pipeline.steps.iter().rev().filter(|step| name.is_none_or(|name| step.name == name));
    steps.find_map(|step| (step.stage.as_ref() as &dyn Any).downcast_ref::<T>())
}
