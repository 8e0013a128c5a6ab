//! What `/robots.txt` of each host allows (RFC 9309), by a port of the parser that the standard was
//! written from. A file is fetched once for all URLs of a host and port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{StatusCode, Url};
use robotstxt::DefaultMatcher;
use tokio::sync::OnceCell;

use super::retry::Failure;
use crate::decode::panic_guard;
use lvd_base::types::{Dropped, Reason};

/// Bytes of a file that count: what lies behind is ignored (RFC 9309, 2.5).
pub(super) const MAX_BYTES: usize = 500 << 10;
/// Bytes of a line that count.
const LINE: usize = 4096;
/// Redirects that are followed to a file (RFC 9309, 2.3.1.2).
pub(super) const REDIRECTS: usize = 5;
/// Bytes of files that are remembered, about, before those that nobody looks at are forgotten.
const REMEMBERED: usize = 64 << 20;
/// Hosts that are remembered.
const HOSTS: usize = 1 << 16;
/// How long a host that gave no answer is left alone.
const LEFT_ALONE: Duration = Duration::from_mins(1);

/// What a host allows.
#[derive(Clone, Debug)]
pub(super) enum Rules {
    /// Everything: it has no such file.
    All,
    /// What its file says.
    Text(Arc<str>),
    /// Nothing, for it gave no answer: what its URLs become, since when.
    Nothing(Dropped, Instant),
}

/// The rules of a host, once they are fetched.
type Host = Arc<OnceCell<Rules>>;

/// The rules of the hosts being asked.
#[derive(Default)]
pub(super) struct Robots {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    hosts: HashMap<String, Host>,
    bytes: usize,
}

impl Robots {
    /// The rules of the host of `url`; `fetch` gets them where they are not known. Of many who ask
    /// at a time one fetches, and the others wait.
    pub(super) async fn rules(&self, url: &Url, fetch: impl Future<Output = Rules>) -> Rules {
        let host = self.host(url);
        let fetch = async {
            let rules = fetch.await;
            self.lock().bytes += length(&rules);
            rules
        };
        host.get_or_init(|| fetch).await.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn host(&self, url: &Url) -> Host {
        let origin = url.origin().ascii_serialization();
        let mut known = self.lock();
        if let Some(host) = known.hosts.get(&origin) {
            let over = matches!(host.get(), Some(Rules::Nothing(_, since)) if since.elapsed() > LEFT_ALONE);
            if !over {
                return host.clone();
            }
        }
        if known.bytes > REMEMBERED || known.hosts.len() >= HOSTS {
            known.hosts.retain(|_, host| Arc::strong_count(host) > 1);
            known.bytes = known.hosts.values().filter_map(|host| host.get()).map(length).sum();
        }
        let fresh = Host::default();
        known.hosts.insert(origin, fresh.clone());
        fresh
    }
}

fn length(rules: &Rules) -> usize {
    if let Rules::Text(text) = rules { text.len() } else { 0 }
}

/// A file as the parser can take it: without a byte order mark, and of each line the beginning.
fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let lines = text.trim_start_matches('\u{feff}').split(['\r', '\n']);
    lines.flat_map(|line| [&line[..line.floor_char_boundary(LINE)], "\n"]).collect()
}

/// Where the rules of a URL's host are.
pub(super) fn place(url: &Url) -> Url {
    let mut place = url.clone();
    place.set_path("/robots.txt");
    place.set_query(None);
    place.set_fragment(None);
    place
}

impl Rules {
    /// Whether a status says nothing of the rules (RFC 9309, 2.3.1.4); nor is who asks too often let
    /// in by that.
    pub(super) fn is_no_answer(status: StatusCode) -> bool {
        status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
    }

    /// What any other answer means: its status, and the beginning of its body.
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Self {
        if status.is_success() { Self::Text(text(body).into()) } else { Self::All }
    }

    /// The host gave no answer.
    pub(super) fn of_failure(failure: Failure) -> Self {
        let Dropped { reason, detail } = failure.dropped;
        Self::Nothing(Dropped::new(reason, format!("robots.txt: {detail}")), Instant::now())
    }

    /// Whether the crawler `agent` may take `url`; what becomes of it, where not.
    pub(super) fn check(&self, url: &Url, agent: &str) -> Result<(), Dropped> {
        match self {
            Self::All => Ok(()),
            Self::Nothing(dropped, _) => Err(dropped.clone()),
            Self::Text(text) => {
                let asked = || Ok(DefaultMatcher::default().one_agent_allowed_by_robots(text, agent, url.as_str()));
                // A file that the parser cannot take forbids nothing.
                let allowed = panic_guard::catch(asked).unwrap_or(true);
                let detail = || format!("robots_txt: {} of {}", url.path(), url.host_str().unwrap_or_default());
                if allowed { Ok(()) } else { Err(Dropped::new(Reason::OptedOut, detail())) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(text: &str, path: &str) -> bool {
        let url = Url::parse(&format!("https://example.org{path}")).expect("a URL");
        Rules::of(StatusCode::OK, text.as_bytes()).check(&url, "lvd").is_ok()
    }

    #[test]
    fn the_longest_rule_of_the_own_group_decides() {
        let text = "User-agent: *\nDisallow: /\n\nUser-agent: LVD\nDisallow: /photos/\nAllow: /photos/free/\n";
        assert!(allows(text, "/a.jpg") && allows(text, "/photos/free/a.jpg") && !allows(text, "/photos/a.jpg"));
        assert!(!allows("User-agent: *\nDisallow: /*.jpg$\n", "/a/b.jpg"));
        assert!(allows("User-agent: *\nDisallow: /*.jpg$\n", "/a/b.jpg?x=1"));
        assert!(allows("User-agent: other\nDisallow: /\n", "/a.jpg"));
        assert!(allows("", "/a.jpg") && allows("User-agent: *\nDisallow:\n", "/a.jpg"));
        // A byte order mark, other ends of lines, no file at all but a page.
        assert!(!allows("\u{feff}user-agent: lvd\r\ndisallow: /\r", "/a.jpg"));
        assert!(allows("<html><body>Disallow: /</body></html>", "/a.jpg"));
    }

    #[test]
    fn what_is_no_file_of_rules_stops_nobody() {
        let url = Url::parse("https://example.org/a.jpg").expect("a URL");
        let long = "é".repeat(20_000);
        let hostile: [&[u8]; 7] = [
            b"\xff\xfe\x00U\x00s",
            b"User-agent: *\nDisallow: %\nDisallow: %e\nAllow: /%zz\xe2\x82",
            &[b'*'; 5000],
            b"Disallow: /\nDisallow\n:::\n: :\n",
            b"User-agent: *\nDisallow: ****************************************************b",
            b"User-agent\tlvd\nDisallow\t/\xc3\xa9\xf0\x9f\x98\x80%f0%9f",
            long.as_bytes(),
        ];
        for text in hostile {
            assert!(Rules::of(StatusCode::OK, text).check(&url, "lvd").is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_status_says_what_may_be_taken() {
        let url = Url::parse("https://example.org/a.jpg").expect("a URL");
        let reason = |status: u16| {
            let rules = Rules::of(StatusCode::from_u16(status).expect("a status"), b"User-agent: *\nDisallow: /");
            rules.check(&url, "lvd").err().map(|dropped| dropped.reason)
        };
        assert_eq!([200, 404, 403, 410].map(reason), [Some(Reason::OptedOut), None, None, None]);
        let no_answer = |status: u16| StatusCode::from_u16(status).is_ok_and(Rules::is_no_answer);
        assert_eq!([500, 503, 429, 404, 200].map(no_answer), [true, true, true, false, false]);
    }

    #[test]
    fn rules_lie_at_the_root_of_host_and_port() {
        let url = Url::parse("https://me:pw@example.org:8443/a/b.jpg?x=1#y").expect("a URL");
        assert_eq!(place(&url).as_str(), "https://me:pw@example.org:8443/robots.txt");
    }
}
