//! The phases of a dedup step.

use crate::stages::phase::{Phase, phases};

phases! {
    /// What a dedup step does, in order.
    pub enum DedupPhase {
        /// Fits the whitening, where one is asked for. It is kept, for a changed threshold.
        Whiten = Phase::helping("whiten"),
        /// Fits cells on a sample. Small pools are one cell, without this phase and the next.
        Train = Phase::helping("train").scratch(),
        /// Measures how far images have to look.
        Tune = Phase::helping("tune").scratch().two_at_once(),
        /// Writes every vector once, into a run sorted by cell.
        Move = Phase::helping("move").scratch().two_at_once(),
        /// Compares the cells that know of each other.
        Join = Phase::helping("join"),
        /// Joins the pairs over the threshold, and chooses who stays.
        Components = Phase::counting("components"),
    }
}
