//! What the owner of a picture says in the headers of the answer: whether it may be taken.
//!
//! `X-Robots-Tag` has directives, for everybody or for the crawlers that it names. `TDM-Reservation`
//! is of the TDM Reservation Protocol (W3C community group, 2024).

use reqwest::header::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A way to say that a picture is not to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptOut {
    /// `/robots.txt` of the host disallows it (RFC 9309).
    RobotsTxt,
    /// `X-Robots-Tag: noai`.
    Noai,
    /// `X-Robots-Tag: noimageai`.
    Noimageai,
    /// `X-Robots-Tag: noindex`, or `none`.
    Noindex,
    /// `X-Robots-Tag: noimageindex`.
    Noimageindex,
    /// `TDM-Reservation: 1`.
    TdmReservation,
}

/// Directives whose value follows a colon, and who are no names of crawlers.
const WITH_VALUE: [&str; 4] = ["max-snippet", "max-image-preview", "max-video-preview", "unavailable_after"];

impl OptOut {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::RobotsTxt, Self::Noai, Self::Noimageai, Self::Noindex, Self::Noimageindex, Self::TdmReservation];

    /// Its name in settings and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RobotsTxt => "robots_txt",
            Self::Noai => "noai",
            Self::Noimageai => "noimageai",
            Self::Noindex => "noindex",
            Self::Noimageindex => "noimageindex",
            Self::TdmReservation => "tdm_reservation",
        }
    }

    /// What a directive of `X-Robots-Tag` says.
    fn of_directive(directive: &str) -> Option<Self> {
        let same = |name: &str| directive.eq_ignore_ascii_case(name);
        match () {
            () if same("noai") => Some(Self::Noai),
            () if same("noimageai") => Some(Self::Noimageai),
            () if same("noindex") || same("none") => Some(Self::Noindex),
            () if same("noimageindex") => Some(Self::Noimageindex),
            () => None,
        }
    }
}

/// The first of the signals `honoured` that the headers of an answer give to the crawler `agent`.
pub(super) fn in_headers(headers: &HeaderMap, honoured: &[OptOut], agent: &str) -> Option<OptOut> {
    let values =
        |name: &'static str| headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let reserved = values("tdm-reservation").any(|value| value.trim() == "1");
    let said = values("x-robots-tag")
        .flat_map(|value| directives(&value, agent))
        .filter_map(|text| OptOut::of_directive(&text));
    let all = reserved.then_some(OptOut::TdmReservation).into_iter().chain(said);
    all.filter(|signal| honoured.contains(signal)).min()
}

/// The directives of one `X-Robots-Tag` that are meant for `agent`: those before any name, and those
/// after its own.
fn directives(value: &str, agent: &str) -> Vec<String> {
    let mut for_us = true;
    let mut all = Vec::new();
    for piece in value.split(',').map(str::trim) {
        let directive = match piece.split_once(':') {
            Some((name, rest)) if !WITH_VALUE.iter().any(|known| known.eq_ignore_ascii_case(name.trim())) => {
                let name = name.trim();
                for_us = name == "*" || name.eq_ignore_ascii_case(agent);
                rest.trim()
            }
            _ => piece,
        };
        if for_us {
            all.push(directive.to_owned());
        }
    }
    all
}

/// The name by which a crawler is addressed: its product, without a version.
pub(super) fn product(user_agent: &str) -> &str {
    let end = user_agent.find(|c: char| !(c.is_ascii_alphabetic() || c == '-' || c == '_'));
    &user_agent[..end.unwrap_or(user_agent.len())]
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn signal(lines: &[(&'static str, &str)], honoured: &[OptOut]) -> Option<OptOut> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        in_headers(&headers, honoured, "lvd")
    }

    #[test]
    fn directives_count_for_everybody_or_for_who_is_named() {
        let tag = |value: &str| signal(&[("x-robots-tag", value)], &OptOut::ALL);
        assert_eq!(tag("noai"), Some(OptOut::Noai));
        assert_eq!(tag("nofollow, NoImageAI"), Some(OptOut::Noimageai));
        assert_eq!(tag("none"), Some(OptOut::Noindex));
        assert_eq!(tag("max-snippet: 20, noimageindex"), Some(OptOut::Noimageindex));
        assert_eq!(tag("unavailable_after: 25 Jun 2030 15:00:00 PST"), None);
        assert_eq!(tag("googlebot: noindex, noai"), None);
        assert_eq!(tag("googlebot: noindex, LVD: noai"), Some(OptOut::Noai));
        assert_eq!(tag("lvd: nofollow, otherbot: noindex"), None);
        assert_eq!(tag("*: noindex"), Some(OptOut::Noindex));
        assert_eq!(tag("all"), None);
        assert_eq!(tag("noaindex, xnoai"), None);
    }

    #[test]
    fn each_line_counts_and_each_signal_only_where_it_is_honoured() {
        let lines = [("x-robots-tag", "googlebot: noindex"), ("x-robots-tag", "noimageai"), ("tdm-reservation", "1")];
        assert_eq!(signal(&lines, &OptOut::ALL), Some(OptOut::Noimageai));
        assert_eq!(signal(&lines, &[OptOut::TdmReservation]), Some(OptOut::TdmReservation));
        assert_eq!(signal(&lines, &[OptOut::Noindex]), None);
        assert_eq!(signal(&[("tdm-reservation", "0")], &OptOut::ALL), None);
    }

    #[test]
    fn a_crawler_is_addressed_by_its_product() {
        let agents = ["lvd/0.1.0", "My-Bot (+https://example.org)", "plain", "", "Lab2Bot/1"];
        assert_eq!(agents.map(product), ["lvd", "My-Bot", "plain", "", "Lab"]);
    }

    #[test]
    fn names_are_those_of_the_settings() {
        for signal in OptOut::ALL {
            assert_eq!(serde_json::to_value(signal).expect("a name"), signal.name());
        }
    }
}
