//! k-means by Lloyd's iterations (Lloyd 1982), started from random points, by greedy k-means++
//! (Arthur and Vassilvitskii 2007, section 2.2 and the remark on several candidates in its section
//! 7) or by k-means|| (Bahmani et al. 2012), once or several times, and resampled (Vo et al. 2024,
//! section 3.2).
//!
//! Equal to the bit on any number of threads, and whether points are held or read anew for each
//! pass: points are assigned one by one, and each cluster's sum is taken in f64 in the order of its
//! points. What was reached can be kept after every round, and gone on from ([`State`]).

mod init;
mod lloyd;
mod params;
mod points;
mod resample;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use lvd_base::error::{Error, Result};
use lvd_kernels::dot::normalise;
use lvd_kernels::hash::Draw;

pub use lloyd::{Sums, means, repair, sums};
pub use params::{Init, KMeans};
pub use points::{HeldPoints, PointBlock, Points, gather};
pub use resample::nearest_members;

/// Points a centroid that first centroids are chosen from, where there are more; fewer will do for
/// random ones.
const START_POINTS: usize = 64;
const RANDOM_POINTS: usize = 4;

/// How far training is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Runs that are over, of the first and the resampled ones.
    pub runs: usize,
    /// Starts of this run that are over.
    pub starts: usize,
    /// Rounds of this start that are over.
    pub rounds: usize,
    /// Whether nothing is to be gained by further rounds of this start.
    pub settled: bool,
    /// The sum of squared distances before the update of each round, of this start.
    pub potentials: Vec<f64>,
    /// The last potential of the best start of this run, and of the run before where none is over.
    pub best_potential: f64,
    /// How often an empty cluster was given half of another one.
    pub empty_repairs: u64,
    /// Centroids of the last run that is over, of the best start, and of this start: `k` rows of
    /// `d` numbers each, or nothing yet.
    #[serde(skip)]
    pub centroids: [Vec<f32>; 3],
}

/// What training found.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// `k` rows of `d` numbers.
    pub centroids: Vec<f32>,
    /// The sum of squared distances before the update of each round of the last start.
    pub potentials: Vec<f64>,
    /// The last potential of the start that counts, over the points of the last run.
    pub potential: f64,
    /// How often an empty cluster was given half of another one.
    pub empty_repairs: u64,
}

/// Trains on points in memory, row-major, `d` wide. See [`fit`].
pub fn train(points: &[f32], d: usize, params: &KMeans) -> Result<Trained> {
    fit(&HeldPoints::new(points, d), params, State::default(), &mut |_| Ok(()))
}

/// Trains from `state` on: from the start, or where it was when `keep` last saw it, which is after
/// every round.
///
/// An empty cluster takes the centroid of another one, drawn with a chance in proportion to its
/// points less one (FAISS's rule); the two are pushed apart by 1/1024 of every coordinate, with
/// alternating signs. Cost a round: 2 n k d operations.
///
/// # Errors
/// When there are fewer points than clusters, a point holds a NaN or an infinity, or `keep` fails.
pub fn fit(
    points: &dyn Points,
    params: &KMeans,
    mut state: State,
    keep: &mut dyn FnMut(&State) -> Result<()>,
) -> Result<Trained> {
    let (n, k) = (points.count(), params.k);
    if k == 0 || n < k {
        return Err(Error::usage(
            format!("{n} points are too few for {k} clusters"),
            "lower the number of clusters to between 1 and the number of points",
        ));
    }
    let seeds = Draw::new(params.seed, "kmeans/runs");
    while state.runs <= params.resamplings {
        // The very first start has the seed itself.
        let run = state.runs;
        let seed = |start: usize| match (run, start) {
            (0, 0) => params.seed,
            _ => seeds.within(run as u64).bits(start as u64),
        };
        let of_start = |start| KMeans { seed: seed(start), ..*params };
        let fewer;
        let points = if run == 0 {
            points
        } else {
            fewer = nearest_members(points, &state.centroids[0], params.nearest)?;
            &fewer
        };
        if points.count() < k {
            // Too many clusters are nearly empty to be trained on their nearest members: what was
            // found stands.
            break;
        }
        while state.starts < params.starts.max(1) {
            lloyd(points, &of_start(state.starts), &mut state, keep)?;
            let potential = state.potentials.last().copied().unwrap_or(0.0);
            let [_, best, this] = &mut state.centroids;
            if best.is_empty() || potential < state.best_potential {
                state.best_potential = potential;
                *best = std::mem::take(this);
            }
            this.clear();
            (state.starts, state.rounds, state.settled) = (state.starts + 1, 0, false);
        }
        (state.runs, state.starts) = (state.runs + 1, 0);
        state.centroids[0] = std::mem::take(&mut state.centroids[1]);
        keep(&state)?;
    }
    let State { potentials, best_potential, empty_repairs, centroids: [centroids, ..], .. } = state;
    Ok(Trained { centroids, potentials, potential: best_potential, empty_repairs })
}

/// The rounds of one start, from where `state` is.
fn lloyd(
    points: &dyn Points,
    params: &KMeans,
    state: &mut State,
    keep: &mut dyn FnMut(&State) -> Result<()>,
) -> Result<()> {
    let d = points.dimension();
    if state.rounds == 0 {
        state.potentials.clear();
        state.centroids[2] = first_centroids(points, params)?;
    }
    while state.rounds < params.iterations && !state.settled {
        let lloyd::Round { potential, mut means, mut sizes } = lloyd::round(points, &state.centroids[2])?;
        let before = state.potentials.last().copied();
        state.rounds += 1;
        state.potentials.push(potential);
        state.empty_repairs += lloyd::repair(&mut means, d, &mut sizes, params.seed, state.rounds);
        if params.spherical {
            // A mean of zero stays as it is: its points lie opposite to each other, and no
            // direction is theirs.
            means.par_chunks_mut(d).for_each(|centroid| _ = normalise(centroid));
        }
        let gain = |before: f64| before - potential <= params.tolerance * before;
        state.settled = means == state.centroids[2] || params.tolerance > 0.0 && before.is_some_and(gain);
        state.centroids[2] = means;
        keep(state)?;
    }
    Ok(())
}

/// The first centroids, chosen among all points, or among some of them a centroid where there are
/// more.
///
/// # Errors
/// When the points cannot be read.
pub fn first_centroids(points: &dyn Points, params: &KMeans) -> Result<Vec<f32>> {
    let (n, d) = (points.count(), points.dimension());
    let each = if params.init == Init::Random { RANDOM_POINTS } else { START_POINTS };
    let wanted = params.k.saturating_mul(each) as u64;
    let every = |each: &mut dyn FnMut(u64)| {
        (0..n as u64).for_each(each);
        Ok(())
    };
    // Exactly as many: by chance there would be fewer than centroids now and then.
    let (some, _) = Draw::new(params.seed, "kmeans/start").lowest(wanted, &every)?;
    let some = points::gather(points, |row| some.has(row as u64))?;
    Ok(init::start(&some, d, params))
}

#[cfg(test)]
mod tests;
