//! The links of a page that matter here, and what they lead to.

use std::borrow::Cow;

use encoding_rs::Encoding;
use indexmap::IndexMap;
use reqwest::Url;

use super::srcset;

/// Attributes that hold a URL: what a browser reads, and what scripts put there later, on pages
/// whose pictures are loaded when they come into view.
const URLS: [&str; 7] =
    ["src", "data-src", "data-original", "data-lazy-src", "data-original-src", "data-full-src", "data-large-file"];
/// Attributes that hold several, of which the largest is taken.
const SETS: [&str; 3] = ["srcset", "data-srcset", "data-lazy-srcset"];

/// An `<img>`, or a `<source>` of a `<picture>`.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// As the page has them.
    pub(super) urls: Vec<String>,
    pub(super) alt: Option<String>,
}

impl Picture {
    /// One with these attributes. The `src` of a `<source>` is of a video.
    pub(super) fn of<'a>(is_source: bool, attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut picture = Self::default();
        for (name, value) in attributes {
            let url = match name {
                "alt" => {
                    let words = value.split_whitespace().collect::<Vec<_>>().join(" ");
                    picture.alt = Some(words).filter(|words| !words.is_empty());
                    None
                }
                name if SETS.contains(&name) => srcset::largest(value),
                name if URLS.contains(&name) && !is_source => Some(value),
                _ => None,
            };
            picture.urls.extend(url.map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned));
        }
        picture
    }
}

/// What a page has.
#[derive(Default)]
pub(super) struct Links {
    pub(super) base: Option<String>,
    pub(super) license: Option<String>,
    pub(super) pictures: Vec<Picture>,
}

/// Whether the relations of a link say that it leads to a licence.
pub(super) fn is_license(relations: &str) -> bool {
    relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("license"))
}

/// Whether a link leads to a licence of Creative Commons.
pub(super) fn is_commons(href: &str) -> bool {
    let href = href.trim().to_ascii_lowercase();
    let rest = href.strip_prefix("https:").or_else(|| href.strip_prefix("http:")).unwrap_or(&href);
    let rest = rest.strip_prefix("//").unwrap_or_default();
    let rest = rest.strip_prefix("www.").unwrap_or(rest);
    ["licenses/", "publicdomain/"]
        .iter()
        .any(|kind| rest.strip_prefix("creativecommons.org/").is_some_and(|path| path.starts_with(kind)))
}

/// A page with its pictures, each once.
pub(super) struct Page {
    pub(super) url: String,
    pub(super) license: Option<String>,
    /// URLs of pictures with their texts, in the order of the page.
    pub(super) pictures: IndexMap<String, Option<String>>,
    /// Pictures that stand in the page itself, as `data:`.
    pub(super) inline: u64,
    /// What is no URL of the web.
    pub(super) unusable: u64,
}

/// How a query is written on a page in this character set.
fn encoder(encoding: &'static Encoding) -> impl Fn(&str) -> Cow<'_, [u8]> {
    move |text| encoding.output_encoding().encode(text).0
}

impl Links {
    /// The page at `url`, whose text is in `encoding`.
    pub(super) fn of_page(self, url: &str, encoding: &'static Encoding) -> Page {
        let page = Url::parse(url).ok();
        let encode = encoder(encoding);
        let parse = |base: Option<&Url>, href: &str| {
            Url::options().base_url(base).encoding_override(Some(&encode)).parse(href.trim()).ok()
        };
        let base = self.base.as_deref().and_then(|href| parse(page.as_ref(), href)).or_else(|| page.clone());
        let license = self.license.map(|href| parse(base.as_ref(), &href).map_or(href, String::from));
        let url = page.as_ref().map_or_else(|| url.to_owned(), Url::to_string);
        let mut found = Page { url, license, pictures: IndexMap::new(), inline: 0, unusable: 0 };
        for picture in self.pictures {
            for href in picture.urls {
                if href.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:")) {
                    found.inline += 1;
                    continue;
                }
                match parse(base.as_ref(), &href) {
                    Some(mut url) if ["http", "https"].contains(&url.scheme()) => {
                        // A server never sees it.
                        url.set_fragment(None);
                        let alt = found.pictures.entry(url.into()).or_default();
                        if alt.is_none() {
                            alt.clone_from(&picture.alt);
                        }
                    }
                    _ => found.unusable += 1,
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::{UTF_8, WINDOWS_1252};

    use super::*;

    fn page(base: Option<&str>, urls: &[(&str, Option<&str>)], encoding: &'static Encoding) -> Page {
        let picture =
            |(url, alt): &(&str, Option<&str>)| Picture { urls: vec![(*url).to_owned()], alt: alt.map(str::to_owned) };
        let pictures = urls.iter().map(picture).collect();
        Links { base: base.map(str::to_owned), license: Some("/l".into()), pictures }
            .of_page("http://a.example/x/y z.html?q#top", encoding)
    }

    #[test]
    fn urls_are_absolute_and_each_comes_once() {
        let urls = [
            ("1.jpg", None),
            (" /2.jpg#f", Some("two")),
            ("//b.example/3 4.jpg", None),
            ("../1.jpg", None),
            ("HTTPS://C.example:443/\u{e9}.jpg?\u{e9}", None),
            ("/1.jpg", Some("late")),
            ("data:image/png;base64,AA==", None),
            ("javascript:void(0)", None),
            ("http://", None),
        ];
        let page = page(None, &urls, WINDOWS_1252);
        let found: Vec<(&str, Option<&str>)> =
            page.pictures.iter().map(|(url, alt)| (&**url, alt.as_deref())).collect();
        let expect = [
            ("http://a.example/x/1.jpg", None),
            ("http://a.example/2.jpg", Some("two")),
            ("http://b.example/3%204.jpg", None),
            ("http://a.example/1.jpg", Some("late")),
            // A path is UTF-8, a query is in the character set of the page.
            ("https://c.example/%C3%A9.jpg?%E9", None),
        ];
        assert_eq!(found, expect);
        assert_eq!((page.inline, page.unusable), (1, 2));
        assert_eq!(
            (&*page.url, page.license.as_deref()),
            ("http://a.example/x/y%20z.html?q#top", Some("http://a.example/l"))
        );
    }

    #[test]
    fn a_base_is_relative_to_the_page() {
        let first =
            |base| page(Some(base), &[("1.jpg", None)], UTF_8).pictures.keys().next().cloned().unwrap_or_default();
        assert_eq!(first("/base/"), "http://a.example/base/1.jpg");
        assert_eq!(first("https://cdn.example/d/x"), "https://cdn.example/d/1.jpg");
        assert_eq!(first("http://"), "http://a.example/x/1.jpg");
    }

    #[test]
    fn licences_are_told_from_other_links() {
        assert!(is_license("nofollow License") && !is_license("licenses"));
        assert!(
            is_commons("//www.creativecommons.org/licenses/by-sa/3.0")
                && is_commons("HTTP://creativecommons.org/publicdomain/zero/1.0/")
        );
        assert!(!is_commons("https://creativecommons.org/") && !is_commons("/licenses/by"));
    }
}
