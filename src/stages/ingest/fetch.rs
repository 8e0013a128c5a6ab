//! Fetching one shard: bytes from the source, a full decode of each to see that it is whole, and
//! the images that pass.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::stages::ingest::list::{Listed, source_named};
use crate::stages::table::Part;
use crate::stages::task::{Headway, Task};
use lvd_base::error::Result;
use lvd_base::types::{Dropped, Reason};
use lvd_io::decode::{self, Facts, ImageLimits};
use lvd_io::fetch::{FetchLimits, Fetcher, OptOut};
use lvd_io::images::{Failed, ImageFacts, ImageMeta, ImageWriter};
use lvd_io::part;
use lvd_io::row::RowWriter;
use lvd_io::secret;
use lvd_io::sources::{InputRow, Source};

/// Files checked together: enough to keep every core busy.
const BATCH_FILES: usize = 256;
/// Bytes checked together, at most one file more.
const BATCH_BYTES: usize = 64 << 20;

/// A shard to fetch.
#[derive(Serialize, Deserialize)]
pub struct FetchTask {
    pub source: String,
    /// On what terms its rows are fetched.
    pub terms: String,
    /// Its rows. Each has the version of its file, so that a changed file is another row.
    pub listed: Part,
}

/// What the planning of `list` needs to know: which rows need not be fetched again.
#[derive(Serialize, Deserialize)]
pub struct FetchTold {
    pub terms: String,
    pub listed: Part,
}

/// What decides which rows of a shard are stored.
#[derive(Serialize, Deserialize)]
pub struct FetchCommon {
    #[serde(flatten)]
    pub limits: ImageLimits,
    /// Left out where it is false, as in plans of the time before it was a setting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private_addresses: bool,
    #[serde(default)]
    pub opt_outs: Vec<OptOut>,
}

/// A row and the file or the fault that came for it.
type Arrived = (Listed, std::result::Result<Vec<u8>, Dropped>);
/// A row and its file checked.
type Checked = (Listed, std::result::Result<(Facts, String, Vec<u8>), Dropped>);

/// Fetches the rows that were listed.
pub fn run(spec: &FetchTask, common: &FetchCommon, fetch: FetchLimits, task: &mut Task) -> Result<()> {
    let FetchTask { source: source_name, listed, .. } = spec;
    let fetch = FetchLimits { private_addresses: common.private_addresses, opt_outs: common.opt_outs.clone(), ..fetch };
    let rows: Vec<Listed> = task.read_all(listed)?;
    task.outcome.rows_in = rows.len() as u64;
    task.outcome.shard = listed.shard;
    let inputs: Vec<InputRow> = rows.iter().map(|row| InputRow::new(row.location.clone(), None)).collect();
    let source = source_named(task, source_name)?.clone();
    let mut sink = Sink {
        source: source_name,
        images: task.images("images")?,
        facts: task.rows("facts")?,
        failed: task.rows("failed")?,
        pending: Vec::new(),
        pending_bytes: 0,
        limits: &common.limits,
    };
    let mut rows = rows.into_iter().map(|row| without_secrets(&source, row));
    Fetcher::new(fetch)?.fetch_all(&source, &inputs, &mut |_, answer| {
        if let Some(row) = rows.next() {
            sink.take((row, answer.map(|fetched| fetched.bytes)), task)?;
        }
        Ok(())
    })?;
    sink.flush(task)?;
    if task.outcome.drops.contains_key(&Reason::PrivateAddress) {
        task.outcome.warnings.insert(format!(
            "URLs that lead to private addresses were not fetched (`private_address`): if the servers are yours, \
             set `private_addresses = true` under [steps.{}.http] and run again with --replace",
            task.step()
        ));
    }
    task.tell(FetchTold { terms: spec.terms.clone(), listed: listed.clone() })?;
    let (images, facts, failed) = (sink.images.finish()?, sink.facts.finish()?, sink.failed.finish()?);
    task.outcome.rows_out = images.rows;
    task.publish(images, "", listed.shard)?;
    task.publish(facts, "facts", listed.shard)?;
    task.publish(failed, "failed", listed.shard)
}

/// A row as it may be stored: users, passwords and signatures of a list's URLs stay in the list.
fn without_secrets(source: &Source, row: Listed) -> Listed {
    if source.is_of_urls() { Listed { location: secret::redacted(&row.location), ..row } } else { row }
}

/// Where fetched rows go.
struct Sink<'a> {
    source: &'a str,
    images: ImageWriter,
    facts: RowWriter<ImageFacts>,
    failed: RowWriter<Failed>,
    pending: Vec<Arrived>,
    pending_bytes: usize,
    limits: &'a ImageLimits,
}

impl Sink<'_> {
    fn take(&mut self, arrived: Arrived, task: &mut Task) -> Result<()> {
        self.pending_bytes += arrived.1.as_ref().map_or(0, Vec::len);
        self.pending.push(arrived);
        if self.pending.len() >= BATCH_FILES || self.pending_bytes >= BATCH_BYTES { self.flush(task) } else { Ok(()) }
    }

    fn flush(&mut self, task: &mut Task) -> Result<()> {
        self.pending_bytes = 0;
        let arrived = std::mem::take(&mut self.pending);
        (task.progress)(Headway::Done(arrived.len() as u64));
        let checked: Vec<Checked> = arrived
            .into_par_iter()
            .map(|(row, answer)| (row, answer.and_then(|bytes| check(bytes, self.limits))))
            .collect();
        for (row, result) in checked {
            match result {
                Ok((facts, sha256, bytes)) => {
                    let meta = meta(row, self.source, facts, sha256, bytes.len());
                    let texts = meta.url.len() + meta.caption.as_ref().map_or(0, String::len);
                    self.facts.push_long(ImageFacts::from(&meta), texts)?;
                    self.images.push(meta, bytes)?;
                }
                Err(dropped) => {
                    task.drop(dropped.reason, 1);
                    if dropped.reason == Reason::OptedOut {
                        // Its detail begins with the signal.
                        let signal = dropped.detail.split(':').next().unwrap_or_default();
                        task.count(&format!("opted_out/{signal}"), 1);
                    }
                    self.failed.push(failure(row, self.source, dropped))?;
                }
            }
        }
        Ok(())
    }
}

/// Looks at a file: what it holds and its SHA-256, or why it is no usable picture.
pub fn check(bytes: Vec<u8>, limits: &ImageLimits) -> std::result::Result<(Facts, String, Vec<u8>), Dropped> {
    let facts = decode::inspect(&bytes, limits)?;
    let sha256 = part::sha256(&bytes);
    Ok((facts, sha256, bytes))
}

fn meta(row: Listed, source: &str, facts: Facts, sha256: String, size: usize) -> ImageMeta {
    ImageMeta {
        id: row.id,
        source: source.into(),
        key: format!("{:016x}", row.id.0),
        url: row.location,
        caption: row.caption,
        extra: row.extra,
        status: "success".into(),
        error_message: None,
        width: facts.width,
        height: facts.height,
        original_width: facts.original_width,
        original_height: facts.original_height,
        orientation: u32::from(facts.orientation),
        exif: facts.exif,
        format: facts.format.name().into(),
        size_bytes: size as u64,
        sha256,
    }
}

fn failure(row: Listed, source: &str, dropped: Dropped) -> Failed {
    let status = if dropped.reason.is_of_the_picture() { "failed_to_decode" } else { "failed_to_download" };
    Failed {
        id: row.id,
        source: source.into(),
        url: row.location,
        caption: row.caption,
        extra: row.extra,
        status: status.into(),
        reason: dropped.reason,
        error_message: dropped.detail,
    }
}
