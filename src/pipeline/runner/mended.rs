//! Damaged parts that tasks came across and set aside: their steps make them again, each part once.

use std::collections::HashSet;

use crate::pipeline::runner::options::Options;
use crate::pipeline::steps::Pipeline;
use lvd_base::error::{Error, Result};

/// The parts that were set aside.
pub struct Mended {
    /// All that were ever set aside, as they are called now.
    seen: HashSet<String>,
    /// What this run makes again.
    parts: HashSet<String>,
}

impl Mended {
    /// What was set aside before this run.
    pub fn new(pipeline: &Pipeline) -> Result<Self> {
        let mut seen = HashSet::new();
        for step in &pipeline.steps {
            seen.extend(pipeline.store.work.damaged(&step.name)?.into_iter().map(|(_, aside)| aside));
        }
        Ok(Self { seen, parts: HashSet::new() })
    }

    /// The place in `steps` from which to go on after `error`; `error` itself where no damage
    /// explains it.
    pub fn first_to_run_again(
        &mut self,
        pipeline: &Pipeline,
        steps: &[usize],
        error: Error,
        options: &Options,
    ) -> Result<usize> {
        let mut first: Option<usize> = None;
        for (index, step) in pipeline.steps.iter().enumerate() {
            for (part, aside) in pipeline.store.work.damaged(&step.name)? {
                if !self.seen.insert(aside.clone()) {
                    continue;
                }
                let place = steps.iter().position(|&known| known == index);
                if place.is_none() || !self.parts.insert(part.clone()) {
                    return Err(error);
                }
                let work = &pipeline.store.work;
                let (part, aside) = (work.named(&part), work.named(&aside));
                options.warn(format!(
                    "{} was damaged: it is made again, and lies in {} for you to look at and remove",
                    part.display(),
                    aside.display()
                ));
                first = first.min(place).or(place);
            }
        }
        first.ok_or(error)
    }
}
