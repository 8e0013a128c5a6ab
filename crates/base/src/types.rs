//! The few words every room shares: image ids, neighbours, rows of cells, and the reasons for which
//! a row is dropped.
//!
//! No behaviour beyond packing and naming lives here.

use half::f16;
use serde::de::IntoDeserializer;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

/// The identity of an image in a work folder: data set (16 bits), shard (24 bits) and row of the
/// *input* (24 bits), fixed when the sources are listed, before anything is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageId(pub u64);

impl ImageId {
    /// Packs an id; `shard` and `row` are below 2^24.
    #[must_use]
    pub fn new(dataset: u16, shard: u32, row: u32) -> Self {
        debug_assert!(shard < 1 << 24 && row < 1 << 24, "shard {shard} or row {row} does not fit 24 bits");
        Self(u64::from(dataset) << 48 | u64::from(shard) << 24 | u64::from(row))
    }

    /// The shard this image belongs to.
    #[must_use]
    pub fn shard(self) -> ShardId {
        ShardId(self.0 >> 24)
    }

    /// Its row in the listed input of that shard.
    #[must_use]
    pub fn row(self) -> u32 {
        (self.0 & 0xff_ffff) as u32
    }
}

/// Data set and shard: the upper 40 bits of an [`ImageId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u64);

impl ShardId {
    /// Packs a shard id.
    #[must_use]
    pub fn new(dataset: u16, shard: u32) -> Self {
        Self(u64::from(dataset) << 24 | u64::from(shard))
    }

    /// The data set's number.
    #[must_use]
    pub fn dataset(self) -> u16 {
        (self.0 >> 24 & 0xffff) as u16
    }

    /// Its number in the data set.
    #[must_use]
    pub fn number(self) -> u32 {
        (self.0 & 0xff_ffff) as u32
    }

    /// The id of the image in `row` of this shard's input.
    #[must_use]
    pub fn image(self, row: u32) -> ImageId {
        debug_assert!(row < 1 << 24, "row {row} does not fit 24 bits");
        ImageId(self.0 << 24 | u64::from(row))
    }
}

/// A neighbour of a query: its id and its cosine similarity.
///
/// Ordered best first: higher similarity, then lower id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Cosine similarity, in [-1, 1].
    pub similarity: f32,
    /// Which image.
    pub id: ImageId,
}

impl Eq for Neighbour {}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.similarity.total_cmp(&self.similarity).then(self.id.cmp(&other.id))
    }
}

/// Rows of some cells, as they come from storage.
#[derive(Clone, Debug, Default)]
pub struct CellRows {
    /// Which image each row belongs to.
    pub ids: Vec<ImageId>,
    /// The cell of each row; ascending where they were read.
    pub cells: Vec<u32>,
    /// Whether a row is compared only with rows that are not settled.
    pub settled: Vec<bool>,
    /// The vectors, n x d.
    pub halves: Vec<f16>,
    /// Where each row's probes begin, and the end of the last.
    pub probe_starts: Vec<usize>,
    /// The cells that each row probes beside its own.
    pub probes: Vec<u32>,
}

/// Why a row did not go on. The names are what reports and the `failed` table show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The file or answer holds no bytes.
    Empty,
    /// The file could not be read (gone, no permission, not a file).
    Unreadable,
    /// More bytes than `max_bytes`.
    TooManyBytes,
    /// Not one of the supported image formats.
    UnsupportedFormat,
    /// The decoder gave up.
    Broken,
    /// A side is shorter than `min_side`.
    TooSmall,
    /// More pixels than `max_pixels`.
    TooManyPixels,
    /// The URL cannot be parsed or its scheme is not http or https.
    BadUrl,
    /// The URL, or where it redirects, leads to a private address, and `private_addresses` is not
    /// set.
    PrivateAddress,
    /// The host name could not be resolved.
    Dns,
    /// The connection failed or broke.
    Connect,
    /// No complete answer in the time allowed.
    Timeout,
    /// The server answered 404 or 410.
    NotFound,
    /// The server answered another 4xx.
    HttpClientError,
    /// The server answered 5xx, or anything else that is no success.
    HttpServerError,
    /// More redirects than allowed.
    TooManyRedirects,
    /// Its owner does not want it taken: robots.txt or a header of the answer says so.
    OptedOut,
    /// The same bytes (SHA-256) as an image with a lower id.
    ExactDuplicate,
    /// The source listed it when it was fetched, and lists it no longer.
    NoLongerListed,
    /// The encoder failed on it, and not on others.
    ModelFailed,
    /// The encoder's answer holds a NaN or an infinity.
    NanVector,
    /// The encoder's answer is all zeros.
    ZeroVector,
    /// A near-duplicate that does not represent its component.
    NearDuplicate,
    /// In a component with a reference image.
    NearReference,
    /// Retrieved before, by another seed image or seed set.
    AlreadyTaken,
    /// Over the cap of its seed set.
    OverCap,
    /// Not among the seed sets, and not drawn.
    NotDrawn,
    /// A seed or retrieved, but the target size was met.
    OverTarget,
}

impl Reason {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Unreadable => "unreadable",
            Self::TooManyBytes => "too_many_bytes",
            Self::UnsupportedFormat => "unsupported_format",
            Self::Broken => "broken",
            Self::TooSmall => "too_small",
            Self::TooManyPixels => "too_many_pixels",
            Self::BadUrl => "bad_url",
            Self::PrivateAddress => "private_address",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::NotFound => "not_found",
            Self::HttpClientError => "http_client_error",
            Self::HttpServerError => "http_server_error",
            Self::TooManyRedirects => "too_many_redirects",
            Self::OptedOut => "opted_out",
            Self::ExactDuplicate => "exact_duplicate",
            Self::NoLongerListed => "no_longer_listed",
            Self::ModelFailed => "model_failed",
            Self::NanVector => "nan_vector",
            Self::ZeroVector => "zero_vector",
            Self::NearDuplicate => "near_duplicate",
            Self::NearReference => "near_reference",
            Self::AlreadyTaken => "already_taken",
            Self::OverCap => "over_cap",
            Self::NotDrawn => "not_drawn",
            Self::OverTarget => "over_target",
        }
    }

    /// Whether the bytes came and are no usable picture; else they did not come.
    #[must_use]
    pub fn is_of_the_picture(self) -> bool {
        matches!(self, Self::UnsupportedFormat | Self::Broken | Self::TooSmall | Self::TooManyPixels)
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::deserialize(name.into_deserializer() as StrDeserializer<serde::de::value::Error>).ok()
    }
}

/// Why a row gave no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// As counted in reports.
    pub reason: Reason,
    /// What was found, for the person who looks into it.
    pub detail: String,
}

impl Dropped {
    /// A drop with its detail.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_named_as_serde_names_it() {
        let mut names = 0;
        for name in
            include_str!("types.rs").lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split('"').nth(1))
        {
            let reason = Reason::from_name(name).expect("a name that serde knows");
            assert_eq!((reason.name(), serde_json::to_value(reason).ok()), (name, Some(name.into())));
            names += 1;
        }
        assert!(names > 20, "{names} names");
        assert_eq!(Reason::from_name("nothing"), None);
    }

    #[test]
    fn an_id_gives_back_its_parts() {
        let id = ImageId::new(0xfffe, 0x00ab_cdef, 0x0012_3456);
        assert_eq!(
            (id.shard().dataset(), id.shard(), id.row()),
            (0xfffe, ShardId::new(0xfffe, 0x00ab_cdef), 0x0012_3456)
        );
        assert_eq!(id.shard().image(0x0012_3456), id);
    }

    #[test]
    fn neighbours_sort_best_first_and_ties_by_id() {
        let at = |similarity, id| Neighbour { similarity, id: ImageId(id) };
        let mut all = [at(0.5, 1), at(0.9, 7), at(0.9, 3)];
        all.sort();
        assert_eq!(all.map(|n| n.id.0), [3, 7, 1]);
    }
}
