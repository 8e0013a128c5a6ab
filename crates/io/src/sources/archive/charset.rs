//! The text of a page, in the character set that a browser takes: by its mark, by the server's
//! word, by its own word, or else by what it looks like.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, X_USER_DEFINED};

use super::html;

/// Bytes in which a page may name its own character set. Browsers look at 1,024, and begin again
/// where it comes later.
const FIRST: usize = 16 << 10;

/// The text of a page, and the character set it is in.
pub(super) fn text(body: &[u8], content_type: &str) -> (String, &'static Encoding) {
    let named = Encoding::for_bom(body).map(|(encoding, _)| encoding);
    let named = named.or_else(|| Encoding::for_label(label(content_type)?.as_bytes()));
    let encoding = named.or_else(|| in_page(body)).unwrap_or_else(|| looks_like(body));
    let (text, used, _) = encoding.decode(body);
    (text.into_owned(), used)
}

/// The character set in a `Content-Type`.
fn label(content_type: &str) -> Option<&str> {
    let parameters = content_type.split(';').skip(1);
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, label) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(label.trim().trim_matches(['"', '\'']))
}

/// The character set that the page names in a `meta`.
fn in_page(body: &[u8]) -> Option<&'static Encoding> {
    let first = &body[..body.len().min(FIRST)];
    let (text, _) = WINDOWS_1252.decode_without_bom_handling(first);
    let named = Encoding::for_label(html::charset(&text)?.as_bytes())?;
    // What could be read as ASCII is no UTF-16, whatever it says.
    Some(if named == UTF_16LE || named == UTF_16BE {
        UTF_8
    } else if named == X_USER_DEFINED {
        WINDOWS_1252
    } else {
        named
    })
}

/// Without a word: UTF-8 if it is, or else what a browser of the west takes.
fn looks_like(body: &[u8]) -> &'static Encoding {
    // A page may be cut in the middle of a character.
    let valid = match std::str::from_utf8(body) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    if valid { UTF_8 } else { WINDOWS_1252 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_set_is_that_of_a_browser() {
        let check = |body: &[u8], content_type: &str, expect: &str, name: &str| {
            let (text, encoding) = text(body, content_type);
            assert_eq!((text.as_str(), encoding.name()), (expect, name), "{content_type}");
        };
        check("\u{feff}é".as_bytes(), "text/html; charset=latin1", "é", "UTF-8");
        check(b"\xe9", "text/html; Charset=\"ISO-8859-1\"", "é", "windows-1252");
        check(b"<meta charset=utf-8>\xe9", "text/html;charset=latin1", "<meta charset=utf-8>é", "windows-1252");
        check(b"<meta charset=koi8-r>\xc1", "text/html", "<meta charset=koi8-r>а", "KOI8-R");
        let old = b"<html><head><!-- <meta charset=utf-8> --><meta http-equiv=Content-Type content='text/html; charset=shift_jis'>\x82\xa0";
        assert!(text(old, "text/html; charset=no-such").0.ends_with('あ'));
        check(b"<meta charset=utf-16>\xc3\xa9", "", "<meta charset=utf-16>é", "UTF-8");
        check("é".as_bytes(), "", "é", "UTF-8");
        check(b"\xe9t\xe9", "", "été", "windows-1252");
    }
}
