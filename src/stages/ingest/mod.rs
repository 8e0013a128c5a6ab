//! Ingest: list the sources, fetch and check every row, find exact copies.
//!
//! `list` numbers the rows, `fetch` stores what can be decoded, `match` finds equal hashes, `mark` says shard by shard what
//! goes on. Memory: `concurrency` files in flight, `ahead_bytes` of files that wait, 64 MiB of files being checked and a row group of 128
//! MiB; `match` holds about 100 bytes for
//! each image of its slice of the hashes, a million images a slice.

mod exact;
mod fetch;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::Role;
use crate::stages::cost::{Cost, Scale, Work, number, short};
use crate::stages::known::{Known, Part};
use crate::stages::scope::Scope;
use crate::stages::task::Task;
use crate::stages::{Order, Phase, PhasePlan, Stage, StageKind, from_value, no_such_phase};
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, ShardId};
use lvd_io::decode::ImageLimits;
use lvd_io::fetch::FetchLimits;
use lvd_io::images::MAX_FILE_BYTES;
use lvd_io::secret::{owner_only, redacted};
use lvd_io::sources::Source;
use lvd_io::table;

pub use exact::{Kept, in_pool_counter};

const PHASES: &[Phase] = &[
    Phase::helping("list"),
    Phase::counting("fetch").unrepeatable().costly(),
    Phase::helping("match").scratch(),
    Phase::counting("mark"),
];

/// Fetch the images of the sources, check that they decode, and store them in Parquet shards.
///
/// Memory: `http.concurrency` files in flight (of a folder or a tar 16 at most), `http.ahead_bytes` that wait, 64 MiB of files being checked and
/// one more, a row group of 128 MiB or one longer file, twice while it is written, one decoded picture a thread, and about 100 bytes for each of
/// a million hashes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Names of the sources to take. Left out: all.
    pub sources: Option<Vec<String>>,
    /// Rows of input a shard, and so at most images a Parquet file; up to 16,777,216. It is part of every id: changing it
    /// renumbers everything.
    pub shard_rows: u32,
    /// Images with a side shorter than this, in pixels, are dropped as `too_small`.
    pub min_side: u32,
    /// Images with more pixels than this are dropped as `too_many_pixels`, before a pixel is decoded.
    pub max_pixels: u64,
    /// Files longer than this, in bytes, are dropped as `too_many_bytes`, before they are read to the end. At most 2,000,000,000.
    pub max_bytes: u64,
    /// Whether pool images with the same bytes (SHA-256) are dropped but for the one with the lowest id. Seed and reference
    /// sets are never touched.
    pub drop_exact_duplicates: bool,
    /// Share of the rows, 0 to 1, that may fail: of each source, and of all together. Beyond it, the step is reported and the command ends
    /// with exit code 3. So it does where no image of a seed or reference set is usable, whatever the share.
    pub max_failed_share: f64,
    /// How URLs are fetched. These settings change how long it takes and what fails, so changing them does not by itself
    /// fetch again what is there; `private_addresses` does.
    pub http: Http,
}

/// How URLs are fetched.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Seconds one attempt at a URL may take, from first to last byte, redirects included.
    pub timeout_s: f64,
    /// Seconds to connect.
    pub connect_timeout_s: f64,
    /// How often a URL is tried again after a time-out, a broken connection, 429 or 5xx. A 404 is never tried again.
    pub retries: u32,
    /// Requests in flight at once.
    pub concurrency: u32,
    /// Bytes that may wait in memory for the answer of an earlier URL, 1 or more. While a server is silent, the URLs after its own are
    /// fetched until this is full; raise it where many servers are silent and memory is at hand.
    pub ahead_bytes: u64,
    /// Requests in flight at once to one host.
    pub per_host: u32,
    /// Redirects followed.
    pub max_redirects: u32,
    /// Whether to connect to private addresses: this machine, its network, link-local and other addresses that no public
    /// server has (IANA's special-purpose registries). Where this is false, a URL that leads to one, at once, by its name or
    /// by a redirect, is dropped as `private_address`: a list that strangers wrote could otherwise store what only this machine
    /// may see. Set it to true if the servers are yours. A proxy that the environment names (`HTTP_PROXY`) looks names up
    /// itself; there, only addresses that URLs and redirects spell out are refused, and the proxy must refuse the others. Changing this fetches
    /// everything again, with `--replace`.
    pub private_addresses: bool,
    /// The `User-Agent` that servers see. Name yourself and a way to reach you.
    pub user_agent: String,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            timeout_s: 30.0,
            connect_timeout_s: 10.0,
            retries: 2,
            concurrency: 64,
            ahead_bytes: 256 << 20,
            per_host: 8,
            max_redirects: 5,
            private_addresses: false,
            user_agent: concat!("lvd/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            sources: None,
            shard_rows: 10_000,
            min_side: 32,
            max_pixels: 100_000_000,
            max_bytes: 32 << 20,
            drop_exact_duplicates: true,
            max_failed_share: 0.5,
            http: Http::default(),
        }
    }
}

table! {
    /// A row of a source, numbered: what `fetch` is going to get. Only the owner may read a part with a URL that holds a password or a
    /// signature, since `fetch` needs them; no other table holds them.
    pub struct Listed {
        /// The id the row keeps, whatever becomes of it.
        pub id: ImageId,
        /// Where it is: a URL, a path in the source's folder, or `0:file.parquet#row`.
        pub location: String,
        /// The caption that came with it.
        pub caption: Option<String>,
    }
}

#[derive(Serialize, Deserialize)]
struct ListTask {
    source: String,
    dataset: u16,
    fingerprint: String,
}

#[derive(Serialize, Deserialize)]
struct FetchTask {
    source: String,
    /// Of the source's content, so that changed files are fetched again.
    fingerprint: String,
    listed: Part,
}

/// What decides which rows of a shard are stored.
#[derive(Serialize, Deserialize)]
struct FetchCommon {
    #[serde(flatten)]
    limits: ImageLimits,
    /// Left out where it is false, as in plans of the time before it was a setting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    private_addresses: bool,
}

impl Stage for Ingest {
    fn kind(&self) -> StageKind {
        StageKind::Ingest
    }

    fn check(&mut self, scope: &mut Scope) {
        for name in self.sources.clone().unwrap_or_default() {
            if !scope.catalog.sources.contains_key(&name) {
                scope.unknown_source("sources", &name);
            }
        }
        let rows = self.shard_rows;
        scope.require((1..=1 << 24).contains(&rows), "shard_rows", format!("{rows} rows a shard"), "use 1 to 16777216");
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

    fn max_failed_share(&self) -> Option<f64> {
        Some(self.max_failed_share)
    }

    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn phases(&self) -> &'static [Phase] {
        PHASES
    }

    fn costs(&self, scale: &Scale) -> Vec<Cost> {
        let (images, shards) = (scale.all(), scale.all() / f64::from(self.shard_rows));
        let bytes = images * scale.image_bytes;
        let rows = |rows, a_core_second| Work::Rows { rows, a_core_second };
        vec![
            Cost {
                tasks: number((scale.seeds.len() + scale.references.len() + 1) as u64),
                kept: images * 60.0,
                ..Cost::new("list", rows(images, 1e6), format!("{} rows at 1 M a core-second", short(images)))
            },
            Cost {
                assumes: "50 images a core-second are fetched and checked",
                tasks: shards,
                moved: bytes,
                kept: bytes,
                ..Cost::new("fetch", rows(images, 50.0), format!("{} images at 50 a core-second", short(images)))
            },
            Cost {
                tasks: (images / 1e6).ceil(),
                ..Cost::new("match", rows(images, 1e6), format!("{} hashes at 1 M a core-second", short(images)))
            },
            Cost {
                tasks: shards,
                ..Cost::new("mark", rows(images, 1e6), format!("{} rows at 1 M a core-second", short(images)))
            },
        ]
    }

    fn plan(&self, phase: &str, known: &Known) -> Result<PhasePlan> {
        match phase {
            "list" => {
                let taken = |name: &String| self.sources.as_ref().is_none_or(|names| names.contains(name));
                let sources = known.catalog.sources.iter().filter(|(name, _)| taken(name));
                let tasks = sources.map(|(name, entry)| {
                    let fingerprint = entry.fingerprint()?;
                    Ok(ListTask { source: name.clone(), dataset: entry.number, fingerprint })
                });
                PhasePlan::new(self.shard_rows, tasks.collect::<Result<Vec<_>>>()?)
            }
            "fetch" => {
                let mut tasks = Vec::new();
                for listed in known.made("list", "listed").parts {
                    let shard = listed.shard.unwrap_or(ShardId(0));
                    let Some((source, entry)) = known.catalog.source_of(shard) else { continue };
                    tasks.push(FetchTask { source: source.into(), fingerprint: entry.fingerprint()?, listed });
                }
                let mut plan = PhasePlan::new(self.fetch_common(), tasks)?;
                plan.knobs = super::to_value(self.fetch_limits())?;
                Ok(plan)
            }
            "match" if self.drop_exact_duplicates => exact::plan_match(known),
            "match" => Ok(PhasePlan::empty()),
            "mark" => exact::plan_mark(known),
            _ => Err(no_such_phase(phase)),
        }
    }
}

impl Ingest {
    fn fetch_common(&self) -> FetchCommon {
        let Self { max_bytes, max_pixels, min_side, .. } = *self;
        let limits = ImageLimits { max_bytes, max_pixels, min_side };
        FetchCommon { limits, private_addresses: self.http.private_addresses }
    }

    fn fetch_limits(&self) -> FetchLimits {
        let http = &self.http;
        FetchLimits {
            max_bytes: self.max_bytes,
            timeout_s: http.timeout_s,
            connect_timeout_s: http.connect_timeout_s,
            retries: http.retries,
            concurrency: http.concurrency as usize,
            ahead_bytes: http.ahead_bytes,
            per_host: http.per_host as usize,
            max_redirects: http.max_redirects as usize,
            private_addresses: http.private_addresses,
            user_agent: http.user_agent.clone(),
        }
    }
}

/// Runs one task.
pub fn run(phase: &str, order: Order, task: &mut Task) -> Result<()> {
    match phase {
        "list" => list(&from_value(order.spec)?, from_value(order.common)?, task),
        "fetch" => {
            let FetchTask { source, listed, .. } = from_value(order.spec)?;
            let FetchCommon { limits, private_addresses } = from_value(order.common)?;
            let fetch = FetchLimits { private_addresses, ..from_value(order.knobs)? };
            fetch::run(&source, &listed, &limits, fetch, task)
        }
        "match" => exact::run_match(from_value(order.spec)?, &from_value(order.common)?, task),
        "mark" => exact::run_mark(&from_value(order.spec)?, &from_value(order.common)?, task),
        _ => Err(no_such_phase(phase)),
    }
}

/// Whether a row's place holds a password or a signature, which only a URL may.
fn secret_in(source: &Source, location: &str) -> bool {
    matches!(source, Source::Urls { .. }) && redacted(location) != location
}

/// Numbers the rows of one source.
fn list(spec: &ListTask, shard_rows: u32, task: &mut Task) -> Result<()> {
    let source = source_named(task, &spec.source)?.clone();
    let (mut shard, mut row, mut captions) = (0, 0, 0_u64);
    let (mut writer, mut secret) = (None, false);
    let notes = source.list(&mut |input| {
        if row == shard_rows {
            close(&mut writer, ShardId::new(spec.dataset, shard), task)?;
            (shard, row) = (shard + 1, 0);
        }
        if writer.is_none() {
            writer = Some(task.rows::<Listed>("listed")?);
            secret = false;
        }
        if !secret && secret_in(&source, &input.location) {
            owner_only(&task.aside("listed"))?;
            secret = true;
        }
        captions += u64::from(input.caption.is_some());
        if let Some(writer) = &mut writer {
            let id = ImageId::new(spec.dataset, shard, row);
            let bytes = input.location.len() + input.caption.as_ref().map_or(0, String::len);
            writer.push_long(Listed { id, location: input.location, caption: input.caption }, bytes)?;
        }
        row += 1;
        task.outcome.rows_in += 1;
        task.outcome.rows_out += 1;
        Ok(())
    })?;
    close(&mut writer, ShardId::new(spec.dataset, shard), task)?;
    if task.outcome.rows_in == 0 {
        let hint = "put images there, or take the source out of the pipeline file";
        return Err(Error::usage(format!("source {:?} has no rows", spec.source), hint));
    }
    for (counter, n) in [
        ("captions_cut", notes.captions_cut),
        ("captions_lost", notes.captions_lost),
        ("captions_not_utf8", notes.captions_not_utf8),
    ] {
        if n > 0 {
            task.count(counter, n);
        }
    }
    let mut warnings: Vec<String> = notes.warnings().collect();
    if notes.captions_not_utf8 > 0 {
        warnings.push(format!(
            "{} captions are no UTF-8, and letters in them are lost: convert the list first (iconv -f latin1 -t utf-8)",
            notes.captions_not_utf8
        ));
    }
    if let (Some(column), 0) = (source.caption_column(), captions) {
        warnings.push(format!("no row has a caption: is {column:?} where the captions are?"));
    }
    task.outcome.warnings.extend(warnings.into_iter().map(|text| format!("source {:?}: {text}", spec.source)));
    Ok(())
}

fn close(writer: &mut Option<lvd_io::row::RowWriter<Listed>>, shard: ShardId, task: &mut Task) -> Result<()> {
    match writer.take() {
        Some(writer) => task.publish(writer.finish()?, "listed", Some(shard)),
        None => Ok(()),
    }
}

fn source_named<'a>(task: &'a Task, name: &str) -> Result<&'a Source> {
    let entry = task.catalog.sources.get(name).map(|entry| &entry.source);
    entry.ok_or_else(|| {
        Error::usage(format!("source {name:?} is no longer in the pipeline file"), "put it back, or run again")
    })
}

/// Whether a shard's exact copies are looked for.
fn is_pool(known: &Known, shard: Option<ShardId>) -> bool {
    shard.and_then(|shard| known.catalog.role_of(shard)) == Some(Role::Pool)
}
