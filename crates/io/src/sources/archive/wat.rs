//! Records of WAT: what Common Crawl read of a page, as JSON, so that nobody has to read the page.

use serde::Deserialize;

use super::links::{self, Links, Picture};
use crate::sources::json;

#[derive(Deserialize)]
struct Wat {
    #[serde(rename = "Envelope")]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "WARC-Header-Metadata", default)]
    head: WarcHead,
    #[serde(rename = "Payload-Metadata", default)]
    payload: Payload,
}

#[derive(Default, Deserialize)]
struct WarcHead {
    #[serde(rename = "WARC-Target-URI")]
    url: Option<String>,
}

#[derive(Default, Deserialize)]
struct Payload {
    #[serde(rename = "HTTP-Response-Metadata")]
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "Response-Message", default)]
    message: Message,
    #[serde(rename = "HTML-Metadata")]
    html: Option<Html>,
}

#[derive(Default, Deserialize)]
struct Message {
    #[serde(rename = "Status")]
    status: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Html {
    #[serde(rename = "Head", default)]
    head: Head,
    #[serde(rename = "Links", default)]
    links: Vec<Link>,
}

#[derive(Default, Deserialize)]
struct Head {
    #[serde(rename = "Base")]
    base: Option<String>,
    #[serde(rename = "Link", default)]
    links: Vec<Link>,
}

/// A link: `IMG@/src` is the `src` of an `<img>`.
#[derive(Deserialize)]
struct Link {
    path: Option<String>,
    url: Option<String>,
    alt: Option<String>,
    rel: Option<String>,
}

/// What a record says.
pub(super) enum Found {
    /// Of a page: its URL, and its links.
    Page(String, Links),
    /// Of a page that the server could not give.
    Failure,
    /// Of something that is no page.
    Other,
}

/// Whether bytes look like the beginning of such a record.
pub(super) fn begins(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{") && body.windows(10).any(|bytes| bytes == b"\"Envelope\"")
}

/// Reads a record; `None` where it is no such JSON.
pub(super) fn read(body: &[u8]) -> Option<Found> {
    let wat = serde_json::from_slice(body).or_else(|_| serde_json::from_str(&json::mended(body)));
    let Wat { envelope: Envelope { head, payload } } = wat.ok()?;
    let Some(Response { message, html: Some(html) }) = payload.response else { return Some(Found::Other) };
    let Some(url) = head.url else { return Some(Found::Other) };
    let status = message.status.map(|status| status.to_string());
    if status.is_some_and(|status| !status.trim_matches('"').starts_with('2')) {
        return Some(Found::Failure);
    }
    let license = license(&html.head.links).or_else(|| license(&html.links)).map(str::to_owned);
    let pictures = html.links.into_iter().filter_map(picture).collect();
    Some(Found::Page(url, Links { base: html.head.base, license, pictures }))
}

fn picture(link: Link) -> Option<Picture> {
    let (path, url) = (link.path?, link.url?);
    let (element, attribute) = path.split_once("@/")?;
    let is_source = element.eq_ignore_ascii_case("source");
    if !is_source && !element.eq_ignore_ascii_case("img") {
        return None;
    }
    let attribute = attribute.to_ascii_lowercase();
    let attributes = [(Some(attribute.as_str()), Some(&url)), (Some("alt"), link.alt.as_ref())];
    let picture =
        Picture::of(is_source, attributes.into_iter().filter_map(|(name, value)| Some((name?, value?.as_str()))));
    (!picture.urls.is_empty()).then_some(picture)
}

/// The first link to a licence, or else to one of Creative Commons.
fn license(links: &[Link]) -> Option<&str> {
    let is_license = |link: &&Link| link.rel.as_deref().is_some_and(links::is_license);
    let is_commons = |link: &&Link| {
        let leads = link.path.as_deref().is_some_and(|path| path.ends_with("@/href"));
        leads && link.url.as_deref().is_some_and(links::is_commons)
    };
    links.iter().find(is_license).or_else(|| links.iter().find(is_commons))?.url.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: &str) -> String {
        r#"{"Container":{},"Envelope":{"WARC-Header-Metadata":{"WARC-Target-URI":"http://a/x","WARC-Type":"response"},
        "Payload-Metadata":{"HTTP-Response-Metadata":{"Response-Message":{"Status":"STATUS","Version":"HTTP/1.1"},
        "HTML-Metadata":{"Head":{"Base":"/b/","Title":"t","Link":[{"path":"LINK@/href","url":"/css","rel":"stylesheet"}]},
        "Links":[{"path":"IMG@/src","url":"1.jpg","alt":"one"},{"path":"A@/href","url":"2.jpg","text":"two"},
        {"path":"img@/data-src","url":"3.jpg"},{"path":"IMG@/srcset","url":"4.jpg 1x, 5.jpg 2x","alt":" five "},
        {"path":"SOURCE@/src","url":"6.mp4"},{"path":"IMG@/longdesc","url":"7"},{"url":"8.jpg"},
        {"path":"A@/href","url":"https://creativecommons.org/licenses/by/2.0/","rel":"license"}]}}}}}"#
            .replace("STATUS", status)
    }

    #[test]
    fn pictures_base_and_licence_are_read() {
        let Some(Found::Page(url, links)) = read(record("200").as_bytes()) else { panic!("a page") };
        assert_eq!((url.as_str(), links.base.as_deref()), ("http://a/x", Some("/b/")));
        assert_eq!(links.license.as_deref(), Some("https://creativecommons.org/licenses/by/2.0/"));
        let pictures: Vec<(String, Option<String>)> =
            links.pictures.into_iter().map(|picture| (picture.urls.join(" "), picture.alt)).collect();
        let expect = [("1.jpg", Some("one")), ("3.jpg", None), ("5.jpg", Some("five"))];
        assert_eq!(pictures, expect.map(|(url, alt)| (url.to_owned(), alt.map(str::to_owned))));
    }

    #[test]
    fn records_of_no_page_are_told_apart() {
        assert!(matches!(read(record("404").as_bytes()), Some(Found::Failure)));
        assert!(matches!(read(br#"{"Envelope":{"Payload-Metadata":{}}}"#), Some(Found::Other)));
        assert!(read(b"{\"Envelope\":").is_none() && read(b"{}").is_none());
        assert!(begins(b" {\"Container\":{},\"Envelope\":") && !begins(b"{\"a\":1}"));
    }
}
