//! What stands on a page, as text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub struct Page {
    pub text: String,
}

impl Page {
    pub fn read(path: &Path) -> Self {
        Self { text: std::fs::read_to_string(path).expect("a page") }
    }

    /// What follows each of these words.
    pub fn after<'a>(&'a self, words: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.split(words).skip(1)
    }

    /// The text of the elements of a kind, without what marks them up.
    fn texts(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let inside = self.after(&open).filter_map(|rest| rest.split(&close).next());
        inside.map(plain).collect()
    }

    pub fn captions(&self) -> Vec<String> {
        let mut captions = self.texts("figcaption");
        captions.extend(self.texts("p"));
        captions
    }

    /// The rows of all tables.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let rows = self.after("<tr>").filter_map(|rest| rest.split("</tr>").next());
        let cells = |row: &str| row.split("<td").skip(1).map(|cell| plain(&format!("<td{cell}"))).collect::<Vec<_>>();
        rows.map(cells).filter(|row| !row.is_empty()).collect()
    }

    /// The ids of the pictures that are shown.
    pub fn shown(&self) -> BTreeSet<String> {
        self.after("class=\"pic i").map(|rest| rest[..16].to_owned()).collect()
    }

    /// The ids of the pictures that are there, and how often.
    pub fn embedded(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for rest in self.after("\n.i").filter(|rest| rest[16..].starts_with("{background-image:url(data:image/jpeg")) {
            *times.entry(rest[..16].to_owned()).or_default() += 1;
        }
        times
    }

    /// What is said of the images that were decided about, by their ids.
    pub fn fates(&self) -> BTreeSet<(String, String)> {
        let shown = self.after("<div class=\"shown\">").map(|rest| rest.split("</div></div>").next().unwrap_or(rest));
        let fate = |shown: &str| {
            let id = shown.split("class=\"pic i").nth(1)?[..16].to_owned();
            let fate = shown.split("class=\"fate ").nth(1)?.split('"').next()?.to_owned();
            Some((id, fate))
        };
        shown.filter_map(fate).collect()
    }
}

/// Text without tags, its characters unescaped.
fn plain(html: &str) -> String {
    let text: String = html
        .split('<')
        .enumerate()
        .map(|(at, piece)| if at == 0 { piece } else { piece.split_once('>').map_or("", |(_, text)| text) })
        .collect();
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// 1234 as `1,234`.
pub fn thousands(n: u64) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", thousands(n / 1000), n % 1000) }
}
