//! The phases of a sample step.

use crate::stages::phase::{Phase, phases};

phases! {
    /// What a sample step does, in order.
    pub enum SamplePhase {
        /// Chooses the images.
        Choose = Phase::counting("choose"),
        /// Measures how even the draw is.
        Balance = Phase::helping("balance"),
    }
}
