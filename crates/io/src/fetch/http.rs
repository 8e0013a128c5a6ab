//! Fetching URLs: one attempt with its redirects and its body in a fixed time, and attempts until
//! patience is over.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::Instant;

use super::answer::{Answer, Fetched};
use super::hosts::Hosts;
use super::limits::FetchLimits;
use super::private::{Door, Private};
use super::resolve::{Resolver, Unresolved, cause};
use super::retry::{Again, Failure, Patience, retry_after};
use crate::secret;
use crate::sources::location::why_unusable;
use lvd_base::error::{Error, Result};
use lvd_base::types::{Dropped, Reason};

/// Connections and turns; clones share them.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    door: Door,
    hosts: Arc<Hosts>,
    limits: Arc<FetchLimits>,
}

/// Where one request led.
enum Hop {
    Body(Fetched),
    Redirect(Url),
}

type Attempt<T> = std::result::Result<T, Failure>;

impl Http {
    /// `direct` ignores the proxies that the environment names.
    pub(super) fn new(limits: &FetchLimits, direct: bool) -> Result<Self> {
        let door = Door::new(limits.private_addresses, direct);
        let mut client = Client::builder()
            .user_agent(&limits.user_agent)
            .connect_timeout(limits.connect_timeout())
            .pool_max_idle_per_host(limits.per_host)
            .dns_resolver(Arc::new(Resolver(door.clone())))
            // Followed here, so that each request takes its turn at its own host.
            .redirect(redirect::Policy::none());
        if direct {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| {
            Error::usage(
                format!("no HTTP client: {}", chain(&error)),
                "check `user_agent`, and that the system has CA certificates (package ca-certificates)",
            )
        })?;
        let hosts = Arc::new(Hosts::new(limits.per_host));
        Ok(Self { client, door, hosts, limits: Arc::new(limits.clone()) })
    }

    /// Fetches one URL, in as many attempts as it takes and the limits allow.
    pub(super) async fn fetch(&self, location: &str) -> Answer {
        let url = parse(location)?;
        let mut patience = Patience::new(self.limits.retries);
        loop {
            let failure = match self.attempt(url.clone()).await {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => failure,
            };
            match patience.wait(failure.again) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure.dropped),
            }
        }
    }

    /// One attempt: requests along the redirects. Waiting for a turn costs it no time, or the last
    /// in a long queue for a slow host would never be asked at all.
    async fn attempt(&self, mut url: Url) -> Attempt<Fetched> {
        let mut left = self.limits.timeout();
        for _ in 0..=self.limits.max_redirects {
            self.door.check(&url).map_err(|private| refused(&private))?;
            let turn = self.hosts.enter(url.host_str().unwrap_or_default()).await;
            let started = Instant::now();
            let hop = tokio::time::timeout(left, self.request(url)).await;
            drop(turn);
            match hop {
                Ok(Ok(Hop::Body(fetched))) => return Ok(fetched),
                Ok(Ok(Hop::Redirect(to))) => url = to,
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Err(Failure::passing(self.too_slow())),
            }
            left = left.saturating_sub(started.elapsed());
        }
        let detail = format!("more than {} redirects", self.limits.max_redirects);
        Err(Failure::last(Dropped::new(Reason::TooManyRedirects, detail)))
    }

    async fn request(&self, url: Url) -> Attempt<Hop> {
        let response = self.client.get(url).send().await.map_err(failure)?;
        if let Some(to) = redirect_of(&response) {
            return to.map(Hop::Redirect).map_err(Failure::last);
        }
        if !response.status().is_success() {
            return Err(refusal(&response));
        }
        self.body(response).await.map(Hop::Body)
    }

    /// The body, once its content encoding is undone; never more than `max_bytes` and one chunk in
    /// memory.
    async fn body(&self, mut response: Response) -> Attempt<Fetched> {
        let max_bytes = self.limits.max_bytes;
        let too_many = |bytes: u64| {
            let detail = format!("{bytes} bytes or more are over max_bytes = {max_bytes}");
            Failure::last(Dropped::new(Reason::TooManyBytes, detail))
        };
        if let Some(bytes) = response.content_length().filter(|&bytes| bytes > max_bytes) {
            return Err(too_many(bytes));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failure)? {
            let total = (bytes.len() + chunk.len()) as u64;
            if total > max_bytes {
                return Err(too_many(total));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.is_empty() {
            let detail = format!("{} without a body", response.status());
            return Err(Failure::last(Dropped::new(Reason::Empty, detail)));
        }
        Ok(Fetched { bytes })
    }

    fn too_slow(&self) -> Dropped {
        Dropped::new(Reason::Timeout, format!("no complete answer in {} s", self.limits.timeout_s))
    }
}

fn parse(location: &str) -> std::result::Result<Url, Dropped> {
    let bad =
        |why: &dyn std::fmt::Display| Dropped::new(Reason::BadUrl, format!("{:?}: {why}", secret::shown(location)));
    if location.is_empty() {
        return Err(Dropped::new(Reason::BadUrl, "no URL"));
    }
    if let Some(why) = why_unusable(location) {
        return Err(Dropped::new(Reason::BadUrl, why));
    }
    let url = Url::parse(location).map_err(|error| bad(&error))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        scheme => Err(bad(&format!("the scheme {scheme} is not http or https"))),
    }
}

/// Where a response redirects to; `None` where it does not.
fn redirect_of(response: &Response) -> Option<std::result::Result<Url, Dropped>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let to = String::from_utf8_lossy(response.headers().get(LOCATION)?.as_bytes()).into_owned();
    Some(match response.url().join(&to) {
        Ok(url) => parse(url.as_str()),
        Err(error) => Err(Dropped::new(Reason::BadUrl, format!("redirected to {:?}: {error}", secret::shown(&to)))),
    })
}

/// What a status other than success means.
fn refusal(response: &Response) -> Failure {
    let status = response.status();
    let (reason, again) = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => (Reason::NotFound, Again::Never),
        StatusCode::TOO_MANY_REQUESTS => (Reason::HttpClientError, Again::Later),
        status if status.is_client_error() => (Reason::HttpClientError, Again::Never),
        status if status.is_server_error() => (Reason::HttpServerError, Again::Later),
        _ => (Reason::HttpServerError, Again::Never),
    };
    let header = response.headers().get(RETRY_AFTER).and_then(|header| header.to_str().ok());
    let asked: Option<Duration> = header.and_then(|header| retry_after(header, SystemTime::now()));
    let again = match (again, asked) {
        (Again::Later, Some(wait)) => Again::After(wait),
        (again, _) => again,
    };
    Failure { dropped: Dropped::new(reason, status.to_string()), again }
}

/// What an error on the way means.
fn failure(error: reqwest::Error) -> Failure {
    // The row has the URL; this one may hold a secret.
    let error = error.without_url();
    if let Some(private) = cause(&error) {
        return refused(private);
    }
    let detail = chain(&error);
    if let Some(found) = cause::<Unresolved>(&error) {
        let dropped = Dropped::new(Reason::Dns, detail);
        return if found.passing() { Failure::passing(dropped) } else { Failure::last(dropped) };
    }
    if error.is_builder() {
        return Failure::last(Dropped::new(Reason::BadUrl, detail));
    }
    let reason = if error.is_timeout() { Reason::Timeout } else { Reason::Connect };
    Failure::passing(Dropped::new(reason, detail))
}

/// What a closed door means.
fn refused(private: &Private) -> Failure {
    Failure::last(Dropped::new(Reason::PrivateAddress, private.to_string()))
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
