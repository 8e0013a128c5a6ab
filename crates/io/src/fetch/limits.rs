//! The limits of fetching, and what is wrong with those that make no sense.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::opt_outs::OptOut;
use lvd_base::error::{Error, Result};

/// How much, how long and how often. Nothing has a default here: the user's settings decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FetchLimits {
    /// The most bytes of an image, after any content encoding is undone; at least 1.
    pub max_bytes: u64,
    /// The most seconds for one attempt at a URL: connection, redirects and body together. Waiting
    /// for one's turn at a host does not count.
    pub timeout_s: f64,
    /// The most seconds for a URL: all attempts and the waits between them. Waiting for one's turn
    /// at a host does not count.
    pub deadline_s: f64,
    /// The most seconds for a connection.
    pub connect_timeout_s: f64,
    /// How often a URL is asked again after 429, 5xx, a failed or broken connection, or a timeout.
    pub retries: u32,
    /// The most rows being fetched; at least 1.
    pub concurrency: usize,
    /// The most bytes that wait for an earlier row's answer before no further row is begun.
    pub ahead_bytes: u64,
    /// The most requests to one host at a time; at least 1.
    pub per_host: usize,
    /// The most redirects followed from one URL.
    pub max_redirects: usize,
    /// Whether private addresses are connected to; not a matter of speed, so it does not travel
    /// with the others.
    #[serde(skip)]
    pub private_addresses: bool,
    /// What keeps a URL from being taken; as private addresses, no matter of speed.
    #[serde(skip)]
    pub opt_outs: Vec<OptOut>,
    /// What to say that one is.
    pub user_agent: String,
}

impl FetchLimits {
    /// The time for one attempt.
    pub(super) fn timeout(&self) -> Duration {
        seconds(self.timeout_s).unwrap_or(Duration::MAX)
    }

    /// The time for a URL.
    pub(super) fn deadline(&self) -> Duration {
        seconds(self.deadline_s).unwrap_or(Duration::MAX)
    }

    /// The time for a connection.
    pub(super) fn connect_timeout(&self) -> Duration {
        seconds(self.connect_timeout_s).unwrap_or(Duration::MAX)
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [
            ("timeout_s", self.timeout_s),
            ("deadline_s", self.deadline_s),
            ("connect_timeout_s", self.connect_timeout_s),
        ] {
            if seconds(value).is_none() {
                return Err(Error::usage(
                    format!("`{name}` is {value}"),
                    format!("set `{name}` to a number of seconds above 0 and up to {MAX_TIMEOUT_S}"),
                ));
            }
        }
        for (name, value) in [
            ("max_bytes", self.max_bytes),
            ("concurrency", self.concurrency as u64),
            ("ahead_bytes", self.ahead_bytes),
            ("per_host", self.per_host as u64),
        ] {
            if value == 0 {
                return Err(Error::usage(format!("`{name}` is 0"), format!("set `{name}` to at least 1")));
            }
        }
        Ok(())
    }
}

/// A day: a longer wait for one image is a mistake.
const MAX_TIMEOUT_S: f64 = 86_400.0;

fn seconds(value: f64) -> Option<Duration> {
    if value > 0.0 && value <= MAX_TIMEOUT_S { Duration::try_from_secs_f64(value).ok() } else { None }
}
