//! The phases of a retrieve step.

use crate::stages::phase::{Phase, phases};

phases! {
    /// What a retrieve step does, in order.
    pub enum RetrievePhase {
        /// Trains inverted lists, where there is too much to compare.
        Lists = Phase::helping("lists").scratch(),
        /// Finds the nearest pool images of every seed image.
        Search = Phase::helping("search").scratch(),
        /// Settles what several seeds found, and caps the sets.
        Collect = Phase::counting("collect"),
    }
}
