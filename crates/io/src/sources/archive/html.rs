//! What a page says of pictures, found as a browser finds it.
//!
//! By html5ever, Servo's parser, which follows the HTML standard to the letter and is kept with it.
//! What is an `<img>` depends on what is open around it: text of a script, of a comment or of a
//! `<textarea>` is none, `<image>` is one outside of `<svg>`. The streaming ones (`lol_html`, `tl`) know
//! that in part or not at all, and `lol_html` stops at pages where it would have to guess. Their
//! advantage is memory, and a page is bounded here. No tree is built: an element is kept while it
//! is open. Scripts do not run, so `<noscript>` is read: lazy pages have their pictures there.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use html5ever::interface::TokenizerResult;
use html5ever::tendril::{StrTendril, TendrilSink};
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeBuilderOpts, TreeSink};
use html5ever::{Attribute, ParseOpts, Parser, QualName, expanded_name, local_name, ns, parse_document};

use super::links::{self, Links, Picture};

/// Text that is parsed before the guards are asked again, in bytes.
const STEP: usize = 16 << 10;

/// What a page may have at most. A parser takes time for each element that grows with those it is
/// in, and for each attribute that grows with those before it: a page can be built to cost hours.
struct Guards {
    /// Elements in one another. Browsers stop nesting at 512.
    depth: u32,
    /// Blanks and quotes in one tag or comment.
    blanks: usize,
    /// Slashes in one tag or comment, where pictures in Base64 have many.
    slashes: usize,
}

const GUARDS: Guards = Guards { depth: 4096, blanks: 50_000, slashes: 100_000 };

/// The pictures of a page, in the order in which they begin. The answer's second is whether the page
/// was read to its end.
pub(super) fn links(text: &str) -> (Links, bool) {
    guarded(text, &GUARDS)
}

fn guarded(text: &str, guards: &Guards) -> (Links, bool) {
    let mut parser = parser();
    let whole = feed(&mut parser, text, guards);
    let found = if whole { parser.finish() } else { parser.tokenizer.sink.sink.finish() };
    (found.into_links(), whole)
}

/// The character set that a page names for itself.
pub(super) fn charset(first: &str) -> Option<String> {
    let parser = parser();
    parser.input_buffer.push_back(StrTendril::from_slice(first));
    loop {
        match parser.tokenizer.feed(&parser.input_buffer) {
            TokenizerResult::EncodingIndicator(label) => return Some(label.to_string()),
            TokenizerResult::Script(_) => {}
            TokenizerResult::Done => return None,
        }
    }
}

fn parser() -> Parser<Found> {
    let tree_builder = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    parse_document(Found::default(), ParseOpts { tree_builder, ..ParseOpts::default() })
}

/// Feeds a page step by step; `false` where it is over a guard, and is left.
fn feed(parser: &mut Parser<Found>, text: &str, guards: &Guards) -> bool {
    let (mut rest, mut blanks, mut slashes, mut events) = (text, 0, 0, 0);
    while !rest.is_empty() {
        let end = (STEP.min(rest.len())..=rest.len()).find(|&end| rest.is_char_boundary(end)).unwrap_or(rest.len());
        let (step, after) = rest.split_at(end);
        rest = after;
        parser.process(StrTendril::from_slice(step));
        let found = &parser.tokenizer.sink.sink;
        // Nothing comes out of the parser while a tag or a comment is open.
        if found.events.get() != events {
            (blanks, slashes, events) = (0, 0, found.events.get());
        }
        blanks += step.bytes().filter(|byte| b" \t\n\x0c\"'".contains(byte)).count();
        slashes += step.bytes().filter(|&byte| byte == b'/').count();
        let elements = found.elements.get() as usize;
        let is_costly = blanks > guards.blanks || slashes > guards.slashes || found.depth.get() > guards.depth;
        if is_costly || elements > 10_000 + text.len() {
            return false;
        }
    }
    true
}

/// An element, as far as anybody asks.
struct Element {
    name: QualName,
    /// Its own number.
    number: u32,
    /// In how many others it lies.
    depth: Cell<u32>,
    /// Whether it is in a `<template>`, of which a browser shows nothing.
    inert: Cell<bool>,
    /// Its place among the pictures.
    picture: Option<usize>,
    is_integration_point: bool,
}

type Handle = Rc<Element>;

/// An `<img>`, or a `<source>` that may be one of a `<picture>`.
struct Seen {
    picture: Picture,
    is_source: bool,
    /// The `<picture>` it is in.
    within: Option<u32>,
    inert: bool,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    document: RefCell<Option<Handle>>,
    seen: RefCell<Vec<Seen>>,
    base: RefCell<Option<String>>,
    license: RefCell<Option<String>>,
    /// A link to a licence of Creative Commons, for pages that do not say that it is theirs.
    commons: RefCell<Option<String>>,
    elements: Cell<u32>,
    /// How deep the deepest lies.
    depth: Cell<u32>,
    /// How often the parser came by.
    events: Cell<u64>,
}

impl Found {
    fn element(&self, name: QualName, picture: Option<usize>, is_integration_point: bool) -> Handle {
        let number = self.elements.get();
        self.elements.set(number.saturating_add(1));
        self.events.set(self.events.get() + 1);
        let (depth, inert) = (Cell::new(0), Cell::new(false));
        Rc::new(Element { name, number, depth, inert, picture, is_integration_point })
    }

    fn nameless(&self) -> Handle {
        self.element(QualName::new(None, ns!(), local_name!("")), None, false)
    }

    fn into_links(self) -> Links {
        let seen: Vec<Seen> = self.seen.into_inner().into_iter().filter(|seen| !seen.inert).collect();
        // The `<img>` speaks for all of its `<picture>`.
        let images = seen.iter().filter(|seen| !seen.is_source);
        let alts: HashMap<u32, Option<String>> =
            images.filter_map(|seen| Some((seen.within?, seen.picture.alt.clone()))).collect();
        let picture = |seen: Seen| match (seen.is_source, seen.within) {
            (false, _) => Some(seen.picture),
            (true, Some(within)) => Some(Picture { alt: alts.get(&within).cloned().flatten(), ..seen.picture }),
            (true, None) => None,
        };
        let license = self.license.into_inner().or(self.commons.into_inner());
        Links { base: self.base.into_inner(), license, pictures: seen.into_iter().filter_map(picture).collect() }
    }

    /// Notes what an element says; the answer is its place among the pictures.
    fn note(&self, name: &QualName, attributes: &[Attribute]) -> Option<usize> {
        let value = |wanted: &str| attributes.iter().find(|other| &*other.name.local == wanted).map(|it| &*it.value);
        let keep = |place: &RefCell<Option<String>>, href: Option<&str>| {
            if let Some(href) = href {
                place.borrow_mut().get_or_insert_with(|| href.to_owned());
            }
        };
        match &*name.local {
            _ if name.ns != ns!(html) => {}
            "img" | "source" => {
                let is_source = &*name.local == "source";
                let pairs = attributes.iter().map(|attribute| (&*attribute.name.local, &*attribute.value));
                let mut seen = self.seen.borrow_mut();
                seen.push(Seen { picture: Picture::of(is_source, pairs), is_source, within: None, inert: false });
                return Some(seen.len() - 1);
            }
            "base" => keep(&self.base, value("href")),
            "a" | "area" | "link" => {
                let href = value("href");
                if value("rel").is_some_and(links::is_license) {
                    keep(&self.license, href);
                } else if href.is_some_and(links::is_commons) {
                    keep(&self.commons, href);
                }
            }
            _ => {}
        }
        None
    }

    /// Says where an element is.
    fn put(&self, parent: &Handle, child: &NodeOrText<Handle>) {
        self.events.set(self.events.get() + 1);
        let NodeOrText::AppendNode(child) = child else { return };
        let depth = parent.depth.get() + 1;
        child.depth.set(depth);
        child.inert.set(parent.inert.get());
        self.depth.set(self.depth.get().max(depth));
        let mut seen = self.seen.borrow_mut();
        if let Some(seen) = child.picture.and_then(|place| seen.get_mut(place)) {
            seen.inert = parent.inert.get();
            let is_picture = parent.name.expanded() == expanded_name!(html "picture");
            seen.within = is_picture.then_some(parent.number);
        }
    }
}

impl TreeSink for Found {
    type Handle = Handle;
    type Output = Self;
    type ElemName<'a> = &'a QualName;

    fn finish(self) -> Self {
        self
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        self.document.borrow_mut().get_or_insert_with(|| self.nameless()).clone()
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> &'a QualName {
        &target.name
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, flags: ElementFlags) -> Handle {
        let picture = self.note(&name, &attributes);
        self.element(name, picture, flags.mathml_annotation_xml_integration_point)
    }

    fn create_comment(&self, _: StrTendril) -> Handle {
        self.nameless()
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Handle {
        self.nameless()
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        self.put(parent, &child);
    }

    fn append_based_on_parent_node(&self, element: &Handle, _: &Handle, child: NodeOrText<Handle>) {
        self.put(element, &child);
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    fn get_template_contents(&self, target: &Handle) -> Handle {
        let contents = self.nameless();
        contents.inert.set(true);
        contents.depth.set(target.depth.get());
        contents
    }

    fn same_node(&self, one: &Handle, other: &Handle) -> bool {
        Rc::ptr_eq(one, other)
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Handle, child: NodeOrText<Handle>) {
        self.put(sibling, &child);
    }

    fn add_attrs_if_missing(&self, _: &Handle, _: Vec<Attribute>) {}

    fn remove_from_parent(&self, _: &Handle) {}

    fn reparent_children(&self, _: &Handle, _: &Handle) {}

    fn is_mathml_annotation_xml_integration_point(&self, element: &Handle) -> bool {
        element.is_integration_point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pictures as `url url (alt)`.
    fn pictures(html: &str) -> Vec<String> {
        let (links, whole) = links(html);
        assert!(whole, "{html}");
        let text = |picture: Picture| format!("{} ({})", picture.urls.join(" "), picture.alt.unwrap_or_default());
        links.pictures.into_iter().map(text).collect()
    }

    #[test]
    fn pictures_are_found_as_a_browser_finds_them() {
        let check = |html: &str, expect: &[&str]| assert_eq!(pictures(html), expect, "{html}");
        check("<img src=a.jpg alt='a dog'>", &["a.jpg (a dog)"]);
        check("<IMG SRC=a.jpg ALT=\" two\n words \"/>", &["a.jpg (two words)"]);
        check("<img src=a.jpg src=b.jpg alt=''>", &["a.jpg ()"]);
        check("<img src=\"a.jpg?x=1&amp;y=2\">", &["a.jpg?x=1&y=2 ()"]);
        check("<!-- <img src=a> --><script>'<img src=b>'</script><style><img src=c></style>", &[]);
        check("<textarea><img src=a></textarea><title><img src=b></title><xmp><img src=c></xmp>", &[]);
        check("<iframe><img src=a></iframe><noscript><img src=b></noscript>", &["b ()"]);
        check("<head><noscript><img src=b></noscript></head>", &["b ()"]);
        check("<template><div><img src=a></div></template><img src=b>", &["b ()"]);
        check("<image src=a><svg><image src=b /><img src=c></svg>", &["a ()", "c ()"]);
        check("<p title='<img src=no>'><img title='>' src=a>", &["a ()"]);
        check("<table><img src=a><tr><td><img src=b></table>", &["a ()", "b ()"]);
        check("<b><p><img src=a></b><img src=b></p><img src=c", &["a ()", "b ()"]);
        check("<img src=a><plaintext><img src=b>", &["a ()"]);
    }

    #[test]
    fn sources_srcsets_and_lazy_attributes_are_read() {
        let check = |html: &str, expect: &[&str]| assert_eq!(pictures(html), expect, "{html}");
        check(
            "<picture><source srcset='a.webp 1x, b.webp 2x'><source data-srcset=c.avif><img src=d.jpg alt=x></picture>",
            &["b.webp (x)", "c.avif (x)", "d.jpg (x)"],
        );
        check("<video><source src=a.mp4 srcset=b.jpg></video><source srcset=c.jpg>", &[]);
        check("<img src=s.jpg srcset='m.jpg 600w, l.jpg 1200w' data-src=d.jpg>", &["s.jpg l.jpg d.jpg ()"]);
        check("<img data-lazy-src=l data-original=o data-lazy-srcset='x 1x, y 3x'>", &["l o y ()"]);
        check("<img data-other=no alt=x>", &[" (x)"]);
    }

    #[test]
    fn base_and_licence_are_the_first() {
        let found = |html: &str| {
            let links = links(html).0;
            (links.base.unwrap_or_default(), links.license.unwrap_or_default())
        };
        let commons = "https://creativecommons.org/licenses/by/4.0/";
        let page = format!(
            "<base target=x><base href=/a/><base href=/b/><a href={commons}>x</a><a rel='Nofollow LICENSE' href=/l>"
        );
        assert_eq!(found(&page), ("/a/".into(), "/l".into()));
        assert_eq!(found(&format!("<p><a href={commons}>x</a>")).1, commons);
        assert_eq!(found("<a href=https://creativecommons.org/about>x</a><a rel=licensed href=/x>").1, "");
    }

    #[test]
    fn pages_that_would_cost_time_are_left() {
        let many = |before: &str, after: &str, n: u32| -> String {
            (0..n).flat_map(|n| [before.to_owned(), n.to_string(), after.to_owned()]).collect()
        };
        let deep = format!("<img src=a>{}<img src=b>", "<div>".repeat(20_000));
        // Each paragraph opens all that was open before it again.
        let clones = many("<b id=i", ">", 400) + &"<p>x</p>".repeat(4000);
        let attributes = format!("<img src=a><p {}>", many("a", " ", 10_000));
        let slashes = format!("<img src=a><p{}>", many("/a", "", 10_000));
        let guards = Guards { depth: 1000, blanks: 2000, slashes: 2000 };
        for page in [deep, clones, attributes, slashes] {
            let (links, whole) = guarded(&page, &guards);
            assert!(!whole && links.pictures.len() <= 1, "{}", &page[..30]);
        }
        // A picture in the page itself is none of these.
        assert_eq!(pictures(&format!("<img src='data:image/png;base64,{}'>", "A/+".repeat(30_000))).len(), 1);
    }

    #[test]
    fn a_page_names_its_character_set() {
        assert_eq!(charset("<head><meta charset=KOI8-R>").as_deref(), Some("KOI8-R"));
        assert_eq!(charset("<meta http-equiv=content-type content='text/html; charset=x'>").as_deref(), Some("x"));
        assert_eq!(charset("<script><meta charset=a></script><p>text"), None);
    }
}
