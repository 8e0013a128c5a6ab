//! When to ask again, and how long to wait before: exponential back-off, or what the server says
//! itself.

use std::time::{Duration, SystemTime};

use lvd_base::types::Dropped;

/// The wait before the first retry; it doubles from one to the next.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest single wait; who asks for a longer one is not asked again.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The longest that all waits for one URL may take together.
const WAIT_BUDGET: Duration = Duration::from_mins(1);

/// A failed attempt.
pub(super) struct Failure {
    pub(super) dropped: Dropped,
    pub(super) again: Again,
}

/// Whether another attempt may do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The answer will be the same.
    Never,
    /// After a growing wait.
    Later,
    /// After as long as the server asked for.
    After(Duration),
}

impl Failure {
    pub(super) fn last(dropped: Dropped) -> Self {
        Self { dropped, again: Again::Never }
    }

    pub(super) fn passing(dropped: Dropped) -> Self {
        Self { dropped, again: Again::Later }
    }
}

/// What is left of a URL's patience.
pub(super) struct Patience {
    retries: u32,
    tried: u32,
    waited: Duration,
    /// Time for all attempts and waits.
    left: Duration,
}

impl Patience {
    pub(super) fn new(retries: u32, left: Duration) -> Self {
        Self { retries, tried: 0, waited: Duration::ZERO, left }
    }

    /// The time that is left for an attempt.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Takes the time of an attempt.
    pub(super) fn spend(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// How long to wait before asking again; `None` where that is over.
    pub(super) fn wait(&mut self, again: Again) -> Option<Duration> {
        let wait = match again {
            Again::Never => return None,
            Again::Later => FIRST_WAIT.saturating_mul(1_u32.checked_shl(self.tried).unwrap_or(u32::MAX)).min(MAX_WAIT),
            Again::After(wait) => wait,
        };
        let over = wait > MAX_WAIT || self.waited + wait > WAIT_BUDGET || wait >= self.left;
        if self.tried >= self.retries || over {
            return None;
        }
        self.tried += 1;
        self.waited += wait;
        self.spend(wait);
        Some(wait)
    }
}

/// A `Retry-After` header (RFC 9110, 10.2.3): seconds, or a date in any of the forms of HTTP, taken
/// from `now`. A date that is over asks for no wait.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a long time, too.
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn waits_double_up_to_the_retries() {
        let new = |retries| Patience::new(retries, Duration::MAX);
        let mut patience = new(3);
        let waits: Vec<_> = std::iter::from_fn(|| patience.wait(Again::Later)).collect();
        assert_eq!(waits, [1, 2, 4].map(|times| FIRST_WAIT * times));
        assert_eq!(new(3).wait(Again::Never), None);
        assert_eq!(new(0).wait(Again::Later), None);
    }

    #[test]
    fn a_server_cannot_make_one_wait_for_long() {
        let new = |retries| Patience::new(retries, Duration::MAX);
        assert_eq!(new(100).wait(Again::After(Duration::MAX)), None);
        assert_eq!(new(100).wait(Again::After(MAX_WAIT + Duration::from_millis(1))), None);
        let mut patience = new(100);
        let waits: Vec<_> = std::iter::from_fn(|| patience.wait(Again::After(MAX_WAIT))).collect();
        assert_eq!(waits, [MAX_WAIT, MAX_WAIT]);
        let mut patience = new(u32::MAX);
        let waited: Duration = std::iter::from_fn(|| patience.wait(Again::Later)).sum();
        assert!(waited <= WAIT_BUDGET, "{waited:?}");
    }

    #[test]
    fn attempts_and_waits_share_the_deadline() {
        let mut patience = Patience::new(100, Duration::from_secs(10));
        patience.spend(Duration::from_secs(9));
        assert_eq!(patience.left(), Duration::from_secs(1));
        assert_eq!(patience.wait(Again::Later), Some(FIRST_WAIT));
        assert_eq!(patience.left() + FIRST_WAIT, Duration::from_secs(1));
        // No time would be left to ask.
        assert_eq!(patience.wait(Again::After(Duration::from_secs(1))), None);
        patience.spend(Duration::from_secs(5));
        assert_eq!((patience.left(), patience.wait(Again::Later)), (Duration::ZERO, None));
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let check = |header, now, expect: Option<u64>| {
            assert_eq!(retry_after(header, at(now)), expect.map(Duration::from_secs), "{header}");
        };
        check("120", 0, Some(120));
        check("Thu, 01 Jan 1970 00:00:07 GMT", 0, Some(7));
        check("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_700, Some(77));
        check("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_000, Some(199));
        check("Sun, 06 Nov 1994 08:49:37 GMT", 900_000_000, Some(0));
        // The two forms that old servers still send.
        check("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_700, Some(77));
        check("Sun Nov  6 08:49:37 1994", 784_111_700, Some(77));
        check("99999999999999999999999", 0, Some(u64::MAX));
        check("", 0, None);
        check("soon", 0, None);
        check("-1", 0, None);
        check("Sun, 99 Foo 1994 08:49:37 GMT", 0, None);
        check("Sun, 99999999999999999999 Nov 1994 08:49:37 GMT", 0, None);
        check("Sun, 06 Nov 1994 08:49:18446744073709551615 GMT", 0, None);
    }
}
