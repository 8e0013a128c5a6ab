//! The settings of an ingest step, and what follows from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::pool::SHARD_ROWS;
use crate::stages::scope::Scope;
use lvd_io::decode::ImageLimits;
use lvd_io::fetch::{FetchLimits, OptOut};
use lvd_io::images::MAX_FILE_BYTES;

/// Fetch the images of the sources, check that they decode, and store them in Parquet shards.
///
/// Memory: `http.concurrency` files in flight (of a folder or a tar 16 at most), `http.ahead_bytes`
/// that wait, 64 MiB of files being checked and one more, a row group of 128 MiB or one longer
/// file, twice while it is written, and one decoded picture a thread. Then 40 bytes for each of
/// `held_hashes` (160 MiB), and up to 32 for each exact copy among 4 million images (128 MiB).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Names of the sources to take. Left out: all.
    pub sources: Option<Vec<String>>,
    /// Rows of input a shard, and so at most images a Parquet file; up to 16,777,216. It is part of
    /// every id: changing it numbers and fetches all rows anew, with `--replace`. Rows that are added
    /// to a source later get shards of their own.
    pub shard_rows: u32,
    /// Images with a side shorter than this, in pixels, are dropped as `too_small`.
    pub min_side: u32,
    /// Images with more pixels than this are dropped as `too_many_pixels`, before a pixel is
    /// decoded.
    pub max_pixels: u64,
    /// Files longer than this, in bytes, are dropped as `too_many_bytes`, before they are read to
    /// the end. At most 2,000,000,000.
    pub max_bytes: u64,
    /// Whether pool images with the same bytes (SHA-256) are dropped but for the one with the
    /// lowest id. Seed and reference sets are never touched.
    pub drop_exact_duplicates: bool,
    /// Hashes that are held in memory at a time to find these copies, 1 or more: 40 bytes each.
    /// Fewer make more tasks, with more and smaller files between them: their number is that of
    /// the images over `held_hashes`, squared. No decision depends on it.
    pub held_hashes: u64,
    /// Share of the rows, 0 to 1, that may fail: of each source, and of all together. Beyond it,
    /// the step is reported and the command ends with exit code 3. So it does where no image of a
    /// seed or reference set is usable, whatever the share.
    pub max_failed_share: f64,
    /// How URLs are fetched. These settings change how long it takes and what fails, so changing
    /// them does not by itself fetch again what is there; `private_addresses` does.
    pub http: Http,
}

/// How URLs are fetched.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Seconds one attempt at a URL may take, from first to last byte, redirects included.
    pub timeout_s: f64,
    /// Seconds a URL may take: all attempts and the waits between them. Waiting for its turn at a
    /// host does not count.
    pub deadline_s: f64,
    /// Seconds to connect.
    pub connect_timeout_s: f64,
    /// How often a URL is tried again after a time-out, a broken connection, 429 or 5xx. A 404 is
    /// never tried again, nor who asks by `Retry-After` for a wait of over 30 seconds.
    pub retries: u32,
    /// Requests in flight at once.
    pub concurrency: u32,
    /// Bytes that may wait in memory for the answer of an earlier URL, 1 or more. While a server is
    /// silent, the URLs after its own are fetched until this is full; raise it where many servers
    /// are silent and memory is at hand.
    pub ahead_bytes: u64,
    /// Requests in flight at once to one host.
    pub per_host: u32,
    /// Redirects followed.
    pub max_redirects: u32,
    /// Whether to connect to private addresses: this machine, its network, link-local and other
    /// addresses that no public server has (IANA's special-purpose registries). Where this is
    /// false, a URL that leads to one, at once, by its name or by a redirect, is dropped as
    /// `private_address`: a list that strangers wrote could otherwise store what only this machine
    /// may see. Set it to true if the servers are yours. A proxy that the environment names
    /// (`HTTP_PROXY`) looks names up itself; there, only addresses that URLs and redirects spell
    /// out are refused, and the proxy must refuse the others. Changing this fetches everything
    /// again, with `--replace`.
    pub private_addresses: bool,
    /// Ways in which owners say that a picture is not to be taken; such a one is dropped as
    /// `opted_out`, and counted by signal. `robots_txt`: the host's `/robots.txt` disallows it (RFC
    /// 9309); it is asked for once a host, and a host that gives no answer to that is left alone for
    /// a minute. `noai`, `noimageai`, `noindex`, `noimageindex`: the answer has this directive in
    /// `X-Robots-Tag`, for everybody or for the product of `user_agent`. `tdm_reservation`: it has
    /// `TDM-Reservation: 1`. Headers are heard before the body is read. Left out: all of them.
    /// Changing this fetches everything again, with `--replace`.
    pub opt_outs: Vec<OptOut>,
    /// The `User-Agent` that servers see. Name yourself and a way to reach you. Its product, what
    /// stands before `/`, is the name by which `robots.txt` and headers address this crawler.
    pub user_agent: String,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            timeout_s: 30.0,
            deadline_s: 120.0,
            connect_timeout_s: 10.0,
            retries: 2,
            concurrency: 64,
            ahead_bytes: 256 << 20,
            per_host: 8,
            max_redirects: 5,
            private_addresses: false,
            opt_outs: OptOut::ALL.into(),
            user_agent: concat!("lvd/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            sources: None,
            shard_rows: SHARD_ROWS,
            min_side: 32,
            max_pixels: 100_000_000,
            max_bytes: 32 << 20,
            drop_exact_duplicates: true,
            held_hashes: 1 << 22,
            max_failed_share: 0.5,
            http: Http::default(),
        }
    }
}

impl Ingest {
    /// Which pictures are taken.
    pub(super) fn image_limits(&self) -> ImageLimits {
        let Self { max_bytes, max_pixels, min_side, .. } = *self;
        ImageLimits { max_bytes, max_pixels, min_side }
    }

    /// How URLs are fetched.
    pub(super) fn fetch_limits(&self) -> FetchLimits {
        let http = &self.http;
        FetchLimits {
            max_bytes: self.max_bytes,
            timeout_s: http.timeout_s,
            deadline_s: http.deadline_s,
            connect_timeout_s: http.connect_timeout_s,
            retries: http.retries,
            concurrency: http.concurrency as usize,
            ahead_bytes: http.ahead_bytes,
            per_host: http.per_host as usize,
            max_redirects: http.max_redirects as usize,
            private_addresses: http.private_addresses,
            opt_outs: http.opt_outs.clone(),
            user_agent: http.user_agent.clone(),
        }
    }

    /// Finds what is wrong with the settings.
    pub(super) fn find_faults(&mut self, scope: &mut Scope) {
        for name in self.sources.clone().unwrap_or_default() {
            if !scope.catalog.sources.contains_key(&name) {
                scope.unknown_source("sources", &name);
            }
        }
        let rows = self.shard_rows;
        scope.require((1..=1 << 24).contains(&rows), "shard_rows", format!("{rows} rows a shard"), "use 1 to 16777216");
        scope.require(self.held_hashes > 0, "held_hashes", "no hash at a time", "use at least 1");
        let bytes = self.max_bytes;
        let hint = format!("use 1 to {MAX_FILE_BYTES}: a row of Parquet holds no more");
        scope.require((1..=MAX_FILE_BYTES).contains(&bytes), "max_bytes", format!("files of {bytes} bytes"), hint);
        let smallest = u64::from(self.min_side).pow(2);
        scope.require(
            smallest <= self.max_pixels,
            "max_pixels",
            format!("{} pixels are fewer than `min_side` {} squared", self.max_pixels, self.min_side),
            "raise `max_pixels` or lower `min_side`",
        );
        scope.within("max_failed_share", "a share of", self.max_failed_share, 0.0..=1.0);
        let http = &self.http;
        scope.within("http.timeout_s", "a number of seconds of", http.timeout_s, 0.001..=1e6);
        scope.within("http.deadline_s", "a number of seconds of", http.deadline_s, 0.001..=1e6);
        scope.within("http.connect_timeout_s", "a number of seconds of", http.connect_timeout_s, 0.001..=1e6);
        for (key, fine) in [
            ("http.concurrency", (1..=4096).contains(&http.concurrency)),
            ("http.ahead_bytes", http.ahead_bytes > 0),
            ("http.per_host", http.per_host > 0),
            ("http.retries", http.retries <= 20),
        ] {
            scope.require(fine, key, "out of range", "docs/config.md gives the range");
        }
    }
}
