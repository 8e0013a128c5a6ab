//! Which columns of a table or list hold images, URLs and captions, by what is in them and by their
//! names.

use lvd_io::sources::look::{Column, Holds};

/// Names of columns of URLs, the likeliest first.
const URLS: [&str; 9] =
    ["url", "image_url", "img_url", "imageurl", "photo_image_url", "photo_url", "image", "link", "src"];
/// Names of columns of captions.
const CAPTIONS: [&str; 9] =
    ["caption", "text", "alt", "alt_text", "alttext", "title", "description", "prompt", "top_caption"];
/// Names of columns of images.
const IMAGES: [&str; 5] = ["image", "img", "jpg", "picture", "photo"];

/// What is in a table or list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// Images in this column.
    Images(&'a str),
    /// URLs in this column.
    Urls(&'a str),
}

/// What a table holds: images before URLs, since they are there already.
pub(super) fn content(columns: &[Column]) -> Option<Content<'_>> {
    let images = named(columns, &IMAGES, &|holds| *holds == Holds::Image);
    let first = || columns.iter().find(|column| column.holds == Holds::Image);
    if let Some(image) = images.or_else(first) {
        return Some(Content::Images(&image.name));
    }
    let urls = named(columns, &URLS, &Holds::is_url);
    let first = || columns.iter().find(|column| column.holds.is_url());
    // A first row without its URL.
    let empty = || named(columns, &URLS[..6], &|holds| *holds == Holds::Text(String::new()));
    urls.or_else(first).or_else(empty).map(|column| Content::Urls(&column.name))
}

/// The column of captions, where there is one.
pub(super) fn caption(columns: &[Column]) -> Option<&str> {
    let is_text = |holds: &Holds| matches!(holds, Holds::Text(_)) && !holds.is_url();
    named(columns, &CAPTIONS, &is_text).map(|column| column.name.as_str())
}

/// The column with the first of these names, large or small, that holds what is wanted.
fn named<'a>(columns: &'a [Column], names: &[&str], wanted: &dyn Fn(&Holds) -> bool) -> Option<&'a Column> {
    let fits =
        |name: &&str| columns.iter().find(|column| column.name.to_lowercase() == **name && wanted(&column.holds));
    names.iter().find_map(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(of: &[(&str, &str)]) -> Vec<Column> {
        let holds = |text: &str| match text {
            "<image>" => Holds::Image,
            "<other>" => Holds::Other,
            text => Holds::Text(text.to_owned()),
        };
        of.iter().map(|(name, text)| Column { name: (*name).to_owned(), holds: holds(text) }).collect()
    }

    #[test]
    fn columns_are_known_by_what_they_hold_and_then_by_their_names() {
        let found = |of: &[(&str, &str)]| {
            let columns = columns(of);
            format!("{:?} {:?}", content(&columns), caption(&columns))
        };
        let web = "https://a/1.jpg";
        assert_eq!(found(&[("SAMPLE_ID", "7"), ("URL", web), ("TEXT", "a dog")]), "Some(Urls(\"URL\")) Some(\"TEXT\")");
        assert_eq!(found(&[("page", web), ("image_url", web)]), "Some(Urls(\"image_url\")) None");
        assert_eq!(found(&[("page", web), ("thumb", web)]), "Some(Urls(\"page\")) None");
        assert_eq!(found(&[("url", ""), ("n", "<other>")]), "Some(Urls(\"url\")) None");
        assert_eq!(found(&[("", web)]), "Some(Urls(\"\")) None");
        assert_eq!(found(&[("name", "a.jpg"), ("label", "dog")]), "None None");
        assert_eq!(found(&[("url", web), ("image", "<image>")]), "Some(Images(\"image\")) None");
        assert_eq!(
            found(&[("mask", "<image>"), ("img", "<image>"), ("text", "")]),
            "Some(Images(\"img\")) Some(\"text\")"
        );
    }
}
