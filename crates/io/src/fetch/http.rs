//! Fetching URLs: one attempt with its redirects and its body in a fixed time, and attempts until
//! patience is over.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use tokio::time::Instant;

use super::answer::{Answer, Fetched};
use super::hosts::{Hosts, Turn};
use super::limits::FetchLimits;
use super::opt_outs::{self, OptOut};
use super::private::{Door, Private};
use super::resolve::{Resolver, Unresolved, cause};
use super::retry::{Again, Failure, Patience, retry_after};
use super::robots::{self, Robots, Rules};
use crate::secret;
use crate::sources::location::why_unusable;
use lvd_base::error::{Error, Result};
use lvd_base::types::{Dropped, Reason};

/// Lines of an answer's head, at most.
const HEADERS: usize = 1000;

/// Connections and turns; clones share them.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    /// The same, and each request has a connection of its own.
    fresh: Client,
    door: Door,
    hosts: Arc<Hosts>,
    robots: Arc<Robots>,
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
        let client = |idle| {
            let client = Client::builder()
                .user_agent(&limits.user_agent)
                .connect_timeout(limits.connect_timeout())
                .pool_max_idle_per_host(idle)
                .http1_max_headers(HEADERS)
                .dns_resolver(Arc::new(Resolver(door.clone())))
                // Followed here, so that each request takes its turn at its own host.
                .redirect(redirect::Policy::none());
            let client = if direct { client.no_proxy() } else { client };
            client.build().map_err(|error| {
                Error::usage(
                    format!("no HTTP client: {}", chain(&error)),
                    "check `user_agent`, and that the system has CA certificates (package ca-certificates)",
                )
            })
        };
        let (hosts, robots) = (Arc::new(Hosts::new(limits.per_host)), Arc::default());
        let (client, fresh) = (client(limits.per_host)?, client(0)?);
        Ok(Self { client, fresh, door, hosts, robots, limits: Arc::new(limits.clone()) })
    }

    /// Fetches one URL, in as many attempts as it takes and the limits allow.
    pub(super) async fn fetch(&self, location: &str) -> Answer {
        let url = parse(location)?;
        let mut patience = self.patience();
        loop {
            let mut left = self.limits.timeout().min(patience.left());
            let failure = match self.attempt(url.clone(), &mut left, &mut patience).await {
                Ok(fetched) => return Ok(fetched),
                Err(failure) => failure,
            };
            match patience.wait(failure.again) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure.dropped),
            }
        }
    }

    fn patience(&self) -> Patience {
        Patience::new(self.limits.retries, self.limits.deadline())
    }

    /// One attempt: requests along the redirects, in the time that is left. Waiting for a turn costs
    /// no time, or the last in a long queue for a slow host would never be asked at all.
    async fn attempt(&self, mut url: Url, left: &mut Duration, patience: &mut Patience) -> Attempt<Fetched> {
        for _ in 0..=self.limits.max_redirects {
            self.door.check(&url).map_err(|private| refused(&private))?;
            if self.limits.opt_outs.contains(&OptOut::RobotsTxt) {
                let rules = self.robots.rules(&url, self.rules(robots::place(&url))).await;
                rules.check(&url, self.agent()).map_err(Failure::last)?;
            }
            let turn = self.hosts.enter(url.host_str().unwrap_or_default()).await;
            let started = Instant::now();
            let hop = tokio::time::timeout(*left, self.request(url, &turn)).await;
            drop(turn);
            *left = left.saturating_sub(started.elapsed());
            patience.spend(started.elapsed());
            match hop.unwrap_or_else(|_| Err(Failure::passing(self.too_slow())))? {
                Hop::Body(fetched) => return Ok(fetched),
                Hop::Redirect(to) => url = to,
            }
        }
        let detail = format!("more than {} redirects", self.limits.max_redirects);
        Err(Failure::last(Dropped::new(Reason::TooManyRedirects, detail)))
    }

    /// The name by which hosts address this crawler.
    fn agent(&self) -> &str {
        opt_outs::product(&self.limits.user_agent)
    }

    /// The rules that lie at `place`, in as many attempts as a picture has.
    async fn rules(&self, place: Url) -> Rules {
        let mut patience = self.patience();
        loop {
            let failure = match self.attempt_rules(place.clone(), &mut patience).await {
                Ok(rules) => return rules,
                Err(failure) => failure,
            };
            match patience.wait(failure.again) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Rules::of_failure(failure),
            }
        }
    }

    async fn attempt_rules(&self, mut url: Url, patience: &mut Patience) -> Attempt<Rules> {
        let mut left = self.limits.timeout().min(patience.left());
        for _ in 0..=robots::REDIRECTS {
            self.door.check(&url).map_err(|private| refused(&private))?;
            let turn = self.hosts.enter(url.host_str().unwrap_or_default()).await;
            let started = Instant::now();
            let asked = tokio::time::timeout(left, self.request_rules(url, &turn)).await;
            drop(turn);
            left = left.saturating_sub(started.elapsed());
            patience.spend(started.elapsed());
            match asked.unwrap_or_else(|_| Err(Failure::passing(self.too_slow())))? {
                Ok(rules) => return Ok(rules),
                Err(to) => url = to,
            }
        }
        // More redirects are as good as no file (RFC 9309, 2.3.1.2).
        Ok(Rules::All)
    }

    /// A file of rules, or where it is.
    async fn request_rules(&self, url: Url, turn: &Turn) -> Attempt<std::result::Result<Rules, Url>> {
        let mut response = self.send(url, turn).await?;
        if let Some(to) = redirect_of(&response) {
            return to.map(Err).map_err(Failure::last);
        }
        let status = response.status();
        if Rules::is_no_answer(status) {
            return Err(refusal(&response));
        }
        let mut body = Vec::new();
        while body.len() < robots::MAX_BYTES
            && let Some(chunk) = response.chunk().await.map_err(failure)?
        {
            body.extend_from_slice(&chunk);
        }
        body.truncate(robots::MAX_BYTES);
        Ok(Ok(Rules::of(status, &body)))
    }

    async fn request(&self, url: Url, turn: &Turn) -> Attempt<Hop> {
        let response = self.send(url, turn).await?;
        if let Some(to) = redirect_of(&response) {
            return to.map(Hop::Redirect).map_err(Failure::last);
        }
        if !response.status().is_success() {
            return Err(refusal(&response));
        }
        if let Some(signal) = opt_outs::in_headers(response.headers(), &self.limits.opt_outs, self.agent()) {
            let detail = format!("{}: the answer's headers say so", signal.name());
            return Err(Failure::last(Dropped::new(Reason::OptedOut, detail)));
        }
        self.body(response).await.map(Hop::Body)
    }

    /// The head of the answer. A connection that was kept may have been closed by the server
    /// meanwhile: what fails on one before a byte came is sent again at once.
    async fn send(&self, url: Url, turn: &Turn) -> Attempt<Response> {
        let sent = match self.client.get(url.clone()).send().await {
            Err(error) if turn.has_answered() && broke_off(&error) => self.fresh.get(url).send().await,
            sent => sent,
        };
        let response = sent.map_err(failure)?;
        turn.answers();
        Ok(response)
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
    let (again, detail) = match (again, asked) {
        (Again::Later, Some(wait)) => {
            (Again::After(wait), format!("{status}, to be asked again in {} s", wait.as_secs()))
        }
        (again, _) => (again, status.to_string()),
    };
    Failure { dropped: Dropped::new(reason, detail), again }
}

/// Whether a connection ended before the head of an answer was there.
fn broke_off(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind;
    let closed = |error: &hyper::Error| error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    let reset = |error: &std::io::Error| {
        matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe)
    };
    !error.is_connect() && (cause(error).is_some_and(closed) || cause(error).is_some_and(reset))
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
