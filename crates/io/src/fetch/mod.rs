//! Fetching the bytes of listed rows: from a folder, over HTTP, or out of Parquet files or tars.
//!
//! Answers come in the order of the rows, every row once. In memory are at most `concurrency` rows
//! that are being fetched and, of URLs, about `ahead_bytes` that wait for an earlier row. A row
//! that cannot be had is a [`Dropped`], never an error. Nothing is decoded or stored here.

mod answer;
mod folder;
mod hosts;
mod http;
mod limits;
mod opt_outs;
pub(crate) mod private;
pub(crate) mod resolve;
mod retry;
mod robots;
mod table;
mod tar;
mod window;

use std::sync::Mutex;
use std::thread::available_parallelism;

use tokio::runtime::Runtime;

use crate::runtime;
use crate::sources::{InputRow, Source};
use lvd_base::error::Result;
pub use lvd_base::types::Dropped;

use answer::Answer;
pub use answer::Fetched;
use http::Http;
pub use limits::FetchLimits;
pub use opt_outs::OptOut;
use window::Room;

/// The most threads that drive connections; they wait much and compute little.
const MAX_NETWORK_THREADS: usize = 4;

/// The most rows between the first whose server is silent and the last that is fetched: many, for
/// failures hold no bytes.
const AHEAD_ROWS: usize = 16_384;

/// Fetches rows within limits; connections are kept between calls.
pub struct Fetcher {
    limits: FetchLimits,
    /// `None` only while the fetcher is dropped.
    runtime: Option<Runtime>,
    /// Made when the first URL is fetched: a folder needs no certificates.
    http: Mutex<Option<Http>>,
    /// Ignore the proxies that the environment names, as tests on this machine must.
    direct: bool,
}

impl Fetcher {
    /// Checks the limits and starts the threads.
    ///
    /// # Errors
    /// A limit that makes no sense, or a system that gives no threads.
    pub fn new(limits: FetchLimits) -> Result<Self> {
        limits.check()?;
        let threads = available_parallelism().map_or(1, usize::from).min(MAX_NETWORK_THREADS);
        let runtime = runtime::start("lvd-fetch", threads)?;
        Ok(Self { limits, runtime: Some(runtime), http: Mutex::new(None), direct: false })
    }

    /// Fetches `rows` of `source` and calls `each` with every row's index in `rows`, in order.
    ///
    /// Must not be called from within an asynchronous task.
    ///
    /// # Errors
    /// What `each` returns, which stops everything at once; a Parquet file that is broken.
    pub fn fetch_all(
        &self,
        source: &Source,
        rows: &[InputRow],
        each: &mut dyn FnMut(usize, Answer) -> Result<()>,
    ) -> Result<()> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        match source {
            Source::Folder { path, .. } => folder::fetch(runtime, &self.limits, path, rows, each),
            Source::Urls { .. } | Source::Archives { .. } => {
                let http = self.http()?;
                let running = self.limits.concurrency;
                let room = Room { running, rows: AHEAD_ROWS.max(running), bytes: self.limits.ahead_bytes };
                window::in_order(runtime, room, rows, each, |row| {
                    let (http, url) = (http.clone(), row.location.clone());
                    runtime.spawn(async move { http.fetch(&url).await })
                })
            }
            Source::Tar { .. } => tar::fetch(runtime, &self.limits, &source.files()?, rows, each),
            Source::Parquet { image_column, .. } => {
                table::fetch(&self.limits, &source.files()?, image_column, rows, each)
            }
        }
    }

    fn http(&self) -> Result<Http> {
        let mut http = self.http.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(http) = &*http {
            return Ok(http.clone());
        }
        // A connection that finds no room would look like a host that does not answer.
        lvd_base::limits::allow_connections(self.limits.concurrency)?;
        Ok(http.insert(Http::new(&self.limits, self.direct)?).clone())
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // A name look-up that hangs must not hold up the end.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
