//! The phases of an ingest step.

use crate::stages::phase::{Phase, phases};

phases! {
    /// What an ingest step does, in order.
    pub enum IngestPhase {
        /// Numbers the rows of the sources.
        List = Phase::helping("list"),
        /// Stores what can be decoded.
        Fetch = Phase::counting("fetch").unrepeatable().costly(),
        /// Sorts the hashes, and cuts them into slices.
        Scatter = Phase::helping("scatter").scratch(),
        /// Finds equal hashes.
        Match = Phase::helping("match").scratch(),
        /// Says shard by shard what goes on.
        Mark = Phase::counting("mark"),
    }
}
