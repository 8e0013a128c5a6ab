//! The phases of a cluster step. With `spread`, the rounds of level 1 are phases.

use std::sync::LazyLock;

use crate::stages::phase::{Phase, PhaseId};

/// The most rounds that may be phases.
pub const MOST_ROUNDS: u32 = 50;

/// The names of the rounds' phases, `sum-01` and `mean-01` first.
static NAMES: LazyLock<Vec<[&'static str; 2]>> = LazyLock::new(|| {
    let name = |kind: &str, round: u32| -> &'static str { String::leak(format!("{kind}-{round:02}")) };
    (1..=MOST_ROUNDS).map(|round| [name("sum", round), name("mean", round)]).collect()
});

/// What a cluster step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterPhase {
    /// Fits level 1, a task a split.
    Train,
    /// With `spread`, in place of `train`: chooses the first centroids.
    First,
    /// Then for each round, from 1: assigns the vectors, and adds up those of each cluster.
    Sum(u32),
    /// And takes the means.
    Mean(u32),
    /// Fits each further level on the centroids below it.
    Levels,
    /// Gives every image its level-1 cluster.
    Assign,
    /// Counts the images of every cluster.
    Sizes,
}

impl ClusterPhase {
    /// The phases of a step, or of one whose level 1 takes so many rounds, at most, that are
    /// phases.
    pub fn of(rounds: Option<u32>) -> Vec<Self> {
        let level_1 = match rounds {
            None => vec![Self::Train],
            Some(rounds) => {
                let round = |round| [Self::Sum(round), Self::Mean(round)];
                std::iter::once(Self::First).chain((1..=rounds.min(MOST_ROUNDS)).flat_map(round)).collect()
            }
        };
        [level_1, vec![Self::Levels, Self::Assign, Self::Sizes]].concat()
    }
}

impl PhaseId for ClusterPhase {
    fn all() -> Vec<Self> {
        [vec![Self::Train], Self::of(Some(MOST_ROUNDS))].concat()
    }

    fn phase(self) -> Phase {
        match self {
            Self::Train => Phase::helping("train"),
            Self::First => Phase::helping("first").scratch(),
            Self::Sum(round) => Phase::helping(NAMES[round as usize - 1][0]).scratch(),
            Self::Mean(round) => Phase::helping(NAMES[round as usize - 1][1]).scratch(),
            Self::Levels => Phase::helping("levels"),
            Self::Assign => Phase::counting("assign"),
            Self::Sizes => Phase::helping("sizes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_found_by_its_name() -> lvd_base::error::Result<()> {
        let names = |rounds| ClusterPhase::of(rounds).into_iter().map(PhaseId::name).collect::<Vec<_>>();
        assert_eq!(names(None), ["train", "levels", "assign", "sizes"]);
        let with_two = ["first", "sum-01", "mean-01", "sum-02", "mean-02", "levels", "assign", "sizes"];
        assert_eq!(names(Some(2)), with_two);
        for phase in ClusterPhase::all() {
            assert_eq!(ClusterPhase::named(phase.name())?, phase);
        }
        assert!(ClusterPhase::named("sum-51").is_err() && ClusterPhase::named("sum-1").is_err());
        Ok(())
    }
}
