//! What becomes of a row that is fetched.

use lvd_base::types::Dropped;

/// The bytes of an image, as its source has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// At least one byte, at most `max_bytes`.
    pub bytes: Vec<u8>,
}

/// One row's outcome.
pub(super) type Answer = std::result::Result<Fetched, Dropped>;
