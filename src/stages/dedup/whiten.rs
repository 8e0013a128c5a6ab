//! Fitting the whitening on a sample of the vectors.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::stages::dedup::sampling;
use crate::stages::dedup::shards::Member;
use crate::stages::plan::broken;
use crate::stages::table::Part;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_io::centroids::{self, Level};
use lvd_kernels::hash::Draw;
use lvd_ops::whiten::Whitening;

/// Vectors it is fitted on, at most.
pub const SAMPLE: u64 = 65_536;

#[derive(Serialize, Deserialize)]
pub struct WhitenCommon {
    pub members: Vec<Member>,
    pub seed: u64,
}

/// Fits it and writes it down.
pub fn run(common: &WhitenCommon, task: &mut Task) -> Result<()> {
    let (rows, fitted_on, whitening) = fit(&common.members, common.seed, task)?;
    (task.outcome.rows_in, task.outcome.rows_out) = (rows, rows);
    task.outcome.facts.insert("whitened_on".into(), fitted_on.into());
    let d = whitening.dimension();
    let fewest = Whitening::fewest(d);
    if fitted_on < fewest {
        task.outcome.warnings.insert(format!(
            "whitened on {fitted_on} vectors of {d} numbers: so few that copies among them move apart, and some are missed; set \
             `whiten = false` for a pool of fewer than {fewest}"
        ));
    }
    let level = Level { parents: vec![None; d + 1], values: whitening.rows() };
    let written = centroids::write(&task.aside("whitening"), &[level], d)?;
    task.publish(written, "whitening", None)
}

/// The whitening of some vectors, how many there are, and on how many of them it was fitted.
pub fn fit(members: &[Member], seed: u64, task: &Task) -> Result<(u64, usize, Whitening)> {
    let all = |_: &Member| true;
    let (rows, [drawn]) = sampling::lowest(members, [(Draw::new(seed, "dedup/whiten"), SAMPLE, &all)], task)?;
    let [sample] = sampling::draw(members, &|_, id| [drawn.holds(id)], task)?;
    if sample.ids.is_empty() {
        return Err(Error::usage("there is no vector to compare", "look at the reports of the steps before"));
    }
    Ok((rows, sample.ids.len(), Whitening::fit(&sample.values, sample.dimension)))
}

/// The whitening that [`run`] wrote, if it is to be used.
pub fn read(part: Option<&Part>, task: &Task) -> Result<Option<Arc<Whitening>>> {
    let Some(part) = part else { return Ok(None) };
    let level = centroids::read(&task.open(part)?)?.into_iter().next();
    let level = level.ok_or_else(|| broken(format!("{} holds no whitening", part.path)))?;
    let d = level.values.len() / level.parents.len().max(1);
    Ok(Some(Arc::new(Whitening::from_rows(level.values, d))))
}
