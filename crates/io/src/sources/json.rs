//! Texts by their keys out of a JSON object, one a line or beside an image in a tar.
//!
//! What programs write that is no JSON (`NaN`, half a surrogate pair, a tab in a string) costs the
//! value that it stands in, and never the others.

use std::fmt::{Formatter, Result as Written};

use indexmap::IndexMap;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// The texts of `keys` in an object, and what is wrong where there is none. Of a key that comes
/// twice the last counts, as in Python.
pub(super) fn pick<const N: usize>(object: &[u8], keys: [&str; N]) -> std::result::Result<[Option<String>; N], String> {
    pick_strictly(object, keys)
        .or_else(|_| pick_strictly(mended(object).as_bytes(), keys))
        .map_err(|error| fact(&error))
}

/// The values of `keys` in an object, or what is wrong where there is none.
pub(super) fn values(object: &[u8], keys: &[String]) -> std::result::Result<Vec<Option<Value>>, String> {
    let values = |object: &[u8]| {
        let mut json = serde_json::Deserializer::from_slice(object);
        let found = Values(keys).deserialize(&mut json)?;
        json.end()?;
        Ok(found)
    };
    values(object).or_else(|_| values(mended(object).as_bytes())).map_err(|error| fact(&error))
}

/// Looks for the values of some keys and passes over everything else.
struct Values<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Vec<Option<Value>>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Vec<Option<Value>>;

    fn expecting(&self, out: &mut Formatter) -> Written {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Self::Value, A::Error> {
        let mut found = vec![None; self.0.len()];
        while let Some(key) = object.next_key::<String>()? {
            match self.0.iter().position(|wanted| *wanted == key) {
                Some(place) => found[place] = Some(object.next_value()?),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// The keys of an object, or what is wrong where there is none.
pub(super) fn keys(object: &[u8]) -> std::result::Result<Vec<String>, String> {
    let object: IndexMap<String, IgnoredAny> = serde_json::from_str(&mended(object)).map_err(|error| fact(&error))?;
    Ok(object.into_keys().collect())
}

/// What is wrong, without a place, since the line would be that in the object, and without values,
/// which may be secret.
fn fact(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let fact = text.rsplit_once(" at line ").map_or(&*text, |(fact, _)| fact);
    fact.split(['"', '`']).next().unwrap_or_default().trim_end().to_owned()
}

fn pick_strictly<const N: usize>(
    object: &[u8],
    keys: [&str; N],
) -> std::result::Result<[Option<String>; N], serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(object);
    let found = Pick(keys).deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

/// Looks for some keys and passes over everything else, however deep it is nested.
struct Pick<'a, const N: usize>([&'a str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Pick<'_, N> {
    type Value = [Option<String>; N];

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> std::result::Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<String>; N];

    fn expecting(&self, out: &mut Formatter) -> Written {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Self::Value, A::Error> {
        let mut found = [const { None }; N];
        while let Some(key) = object.next_key::<String>()? {
            if !self.0.contains(&key.as_str()) {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            let Text(text) = object.next_value()?;
            for (place, _) in self.0.iter().enumerate().filter(|(_, wanted)| **wanted == key) {
                found[place].clone_from(&text);
            }
        }
        Ok(found)
    }
}

/// A value that counts if it is a string, or an array of such: they are its lines.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(json: D) -> std::result::Result<Self, D::Error> {
        json.deserialize_any(TextVisitor).map(Self)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<String>;

    fn expecting(&self, out: &mut Formatter) -> Written {
        out.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> std::result::Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, _: i64) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, _: u64) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E: Error>(self, _: f64) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> std::result::Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> std::result::Result<Self::Value, A::Error> {
        let mut lines: Option<String> = None;
        while let Some(Text(text)) = array.next_element()? {
            if let Some(text) = text {
                let lines = lines.get_or_insert_default();
                *lines += if lines.is_empty() { "" } else { "\n" };
                *lines += &text;
            }
        }
        Ok(lines)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// The same object with `null` for what is no JSON value outside of strings, and with U+FFFD for
/// what is no character in them.
pub(super) fn mended(object: &[u8]) -> String {
    let text = String::from_utf8_lossy(object);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '"' => mend_string(&rest[1..], &mut out),
            '{' | '}' | '[' | ']' | ',' | ':' | ' ' | '\t' | '\n' | '\r' => {
                out.push(first);
                &rest[1..]
            }
            _ => {
                let end = rest.find(|c: char| "{}[],:\" \t\n\r".contains(c)).unwrap_or(rest.len());
                let is_value = serde_json::from_str::<Value>(&rest[..end]).is_ok();
                out.push_str(if is_value { &rest[..end] } else { "null" });
                &rest[end..]
            }
        };
    }
    out
}

/// Mends the string that `rest` begins in, and returns what follows it.
fn mend_string<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    out.push('"');
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' => {
                out.push('"');
                return &rest[1..];
            }
            '\\' => mend_escape(rest, out),
            '\0'..='\u{1f}' => {
                out.push(' ');
                1
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    rest
}

/// Mends the escape that `rest` begins with, and returns its length.
fn mend_escape(rest: &str, out: &mut String) -> usize {
    let unit = |at: usize| {
        let digits = rest.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
    };
    match (unit(0), unit(6)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => {
            out.push_str(&rest[..12]);
            12
        }
        (Some(0xd800..=0xdfff), _) => {
            out.push(char::REPLACEMENT_CHARACTER);
            6
        }
        (Some(_), _) => {
            out.push_str(&rest[..6]);
            6
        }
        (None, _) if rest[1..].starts_with(['"', '\\', '/', 'b', 'f', 'n', 'r', 't']) => {
            out.push_str(&rest[..2]);
            2
        }
        // No escape: the backslash is one.
        (None, _) => {
            out.push_str("\\\\");
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_costs_its_value_alone() {
        let check = |object: &str, expect: [Option<&str>; 2]| {
            let found = pick(object.as_bytes(), ["url", "caption"]).unwrap_or_else(|error| panic!("{object}: {error}"));
            assert_eq!(found, expect.map(|text| text.map(str::to_owned)), "{object}");
        };
        let u = Some("u");
        check(r#"{"url":"u","caption":"a \ud83d\ude00 \" b"}"#, [u, Some("a \u{1f600} \" b")]);
        check(r#"{"similarity":NaN,"url":"u","n":[Infinity,-Infinity,1e999],"caption":"c"}"#, [u, Some("c")]);
        check(r#"{"url":"u","caption":NaN}"#, [u, None]);
        check(r#"{"url":"u","caption":"\ud83d cut"}"#, [u, Some("\u{fffd} cut")]);
        check(r#"{"url":"u","caption":"\ude00\ud83d\ud83d\ude00"}"#, [u, Some("\u{fffd}\u{fffd}\u{1f600}")]);
        check(r#"{"url":"u","\ud83d":1,"caption":"C:\x \u12"}"#, [u, Some(r"C:\x \u12")]);
        check("{\"url\":\"u\",\"caption\":\"a\tb\"}", [u, Some("a b")]);
        check(r#"{"url":"x","url":"u","caption":{"a":[{"url":"no"}]}}"#, [u, None]);
        check(r#"{"url":7,"caption":true}"#, [None, None]);
        check(r#"{"url":["u",7,"v"],"caption":null}"#, [Some("u\nv"), None]);
        let deep = format!(r#"{{"a":{}1{},"url":"u"}}"#, "[".repeat(10_000), "]".repeat(10_000));
        check(&deep, [u, None]);
    }

    #[test]
    fn bytes_that_are_no_text_cost_their_character() {
        let found = pick(b"{\"url\":\"u\",\"caption\":\"caf\xe9\"}", ["url", "caption"]).expect("an object");
        assert_eq!(found, [Some("u".to_owned()), Some("caf\u{fffd}".to_owned())]);
    }

    #[test]
    fn what_is_no_object_is_said() {
        for object in ["", "[]", "7", "{", r#"{"url":"u"},"#, r#"{"url":"u"#, "\\", "\"\\u", "{\"\\ud83d"] {
            assert!(pick(object.as_bytes(), ["url"]).is_err(), "{object}");
            assert!(keys(object.as_bytes()).is_err(), "{object}");
        }
    }
}
