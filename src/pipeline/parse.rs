//! From TOML to settings: all that does not fit, in ordinary words.
//!
//! What does not fit is left out, and the rest is tried again. So all faults are found at once, and
//! what can be used is used to check what refers to it.

use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};
use toml::{Table, Value};

use lvd_base::error::{Fault, nearest};

/// The longest value that a message repeats, in characters.
const LONGEST: usize = 40;

/// What does not fit, and the keys that lead to it.
pub struct Misfit {
    /// From the table that was read.
    pub keys: Vec<String>,
    /// What is wrong; `None`: it only lacks what did not fit itself.
    pub fault: Option<Fault>,
}

/// The settings in a table without what does not fit; `None`: nothing of it can be used.
#[must_use]
pub fn parse<T: DeserializeOwned>(mut table: Table) -> (Option<T>, Vec<Misfit>) {
    let mut misfits: Vec<Misfit> = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(settings) => return (Some(settings), misfits),
            Err(error) => error,
        };
        let keys = keys(error.path());
        let value = take(&mut table, &keys);
        let follows = misfits.iter().any(|misfit| misfit.keys.len() > keys.len() && misfit.keys.starts_with(&keys));
        let can_go_on = value.is_some();
        let value = value.map(|value| element(value, error.path()));
        let fault = (!follows).then(|| fault(error.inner().message().trim(), value));
        misfits.push(Misfit { keys, fault });
        if !can_go_on {
            return (None, misfits);
        }
    }
}

/// The keys of a path, up to the first place in a list.
fn keys(path: &Path) -> Vec<String> {
    let key = |segment: &Segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        _ => None,
    };
    path.iter().map_while(key).collect()
}

/// Takes out what stands at `keys`.
fn take(table: &mut Table, keys: &[String]) -> Option<Value> {
    let (last, above) = keys.split_last()?;
    let mut table = table;
    for key in above {
        table = table.get_mut(key)?.as_table_mut()?;
    }
    table.remove(last)
}

/// A value, or what of a list is wrong.
enum Found {
    Value(Value),
    Element(Value),
}

/// The element of a list that a path leads to, if it leads into one.
fn element(value: Value, path: &Path) -> Found {
    let index = path.iter().find_map(|segment| if let Segment::Seq { index } = segment { Some(*index) } else { None });
    match index.and_then(|index| value.as_array()?.get(index).cloned()) {
        Some(element) => Found::Element(element),
        None => Found::Value(value),
    }
}

/// A message of serde as a fault.
fn fault(message: &str, value: Option<Found>) -> Fault {
    let hint = meant(message).map_or_else(String::new, |name| format!("did you mean `{name}`? "));
    Fault::new(words(message, value), hint + "lvd config prints every setting; docs/config.md is the same")
}

/// What was meant by the first name that a message of serde quotes, among the others: "unknown
/// field `a`, expected `b` or `c`".
fn meant(message: &str) -> Option<&str> {
    let (wrong, known) = quoted(message).filter(|_| message.starts_with("unknown "))?;
    nearest(wrong, known)
}

/// The first name that a message quotes, and the others.
fn quoted(message: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
    let mut names = message.split('`').skip(1).step_by(2);
    Some((names.next()?, names))
}

/// A message of serde in ordinary words, to follow the key.
fn words(message: &str, value: Option<Found>) -> String {
    let is = match value {
        Some(Found::Value(value)) => format!("is {}, and", shown(&value)),
        Some(Found::Element(value)) => format!("holds {}, which", shown(&value)),
        None => "is wrong, and".into(),
    };
    let expected = |rest: &str| rest.rsplit_once(", expected ").map(|(_, expected)| expected.to_owned());
    if let Some(expected) = message.strip_prefix("invalid type: ").and_then(expected) {
        return format!("{is} has to be {}", kind(&expected));
    }
    if let Some(expected) = message.strip_prefix("invalid value: ").and_then(expected) {
        return format!("{is} has to be {}{}", kind(&expected), range(&expected));
    }
    if let Some(length) = message.strip_prefix("invalid length ").and_then(|rest| rest.split(',').next()) {
        return format!(
            "has {length} values{}",
            expected(message).map_or_else(String::new, |e| format!(", and has to be {}", kind(&e)))
        );
    }
    match quoted(message) {
        Some(_) if message.starts_with("unknown field ") => "is no setting".into(),
        Some((_, known)) if message.starts_with("unknown variant ") => {
            format!("{is} has to be one of {}", known.collect::<Vec<_>>().join(", "))
        }
        Some((name, _)) if message.starts_with("missing field ") => format!("`{name}` is missing"),
        _ => message.to_owned(),
    }
}

/// What serde expects, as a person says it.
fn kind(expected: &str) -> String {
    let words = match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" | "path string" => "text, in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list, in [ ]",
        "a map" => "a table",
        expected if expected.starts_with("struct ") => "a table",
        expected if ["enum ", "string or ", "string only"].iter().any(|start| expected.starts_with(start)) => {
            "a name, in quotes"
        }
        expected => match expected.strip_prefix("an array of length ") {
            Some(length) => return format!("a list of {length}"),
            None => expected,
        },
    };
    words.to_owned()
}

/// The range of a whole number, where it has one that a person meets.
fn range(expected: &str) -> String {
    match expected {
        "u8" => format!(" from 0 to {}", u8::MAX),
        "u16" => format!(" from 0 to {}", u16::MAX),
        "u32" => format!(" from 0 to {}", u32::MAX),
        "u64" | "usize" => " from 0 on".into(),
        _ => String::new(),
    }
}

/// A value as it stands in the file, if it is short.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Table(_) => return "a table".into(),
        value => value.to_string(),
    };
    match (text.chars().count() > LONGEST, value) {
        (true, Value::Array(_)) => "a list".into(),
        (true, _) => text.chars().take(LONGEST).chain("...".chars()).collect(),
        (false, _) => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Way {
        #[default]
        Left,
        Right,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        target: u64,
        small: u8,
        share: f32,
        name: Option<String>,
        fill: bool,
        list: Vec<u32>,
        mean: Option<[f32; 3]>,
        way: Way,
        sets: BTreeMap<String, Rule>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        k: u32,
        way: Option<Way>,
    }

    /// `key: fact` of all that is wrong.
    fn faults(text: &str) -> (Option<Settings>, Vec<String>) {
        let (settings, misfits) = parse(text.parse().expect("TOML"));
        let fact = |misfit: &Misfit| Some(format!("{}: {}", misfit.keys.join("."), misfit.fault.as_ref()?.fact));
        (settings, misfits.iter().filter_map(fact).collect())
    }

    #[test]
    fn messages_are_words() {
        for (text, expected) in [
            ("target = \"many\"", "target: is \"many\", and has to be a whole number"),
            ("target = 1.5", "target: is 1.5, and has to be a whole number"),
            ("target = -3", "target: is -3, and has to be a whole number from 0 on"),
            ("small = 300", "small: is 300, and has to be a whole number from 0 to 255"),
            ("share = \"half\"", "share: is \"half\", and has to be a number"),
            ("name = 3", "name: is 3, and has to be text, in quotes"),
            ("fill = \"yes\"", "fill: is \"yes\", and has to be true or false"),
            ("list = 3", "list: is 3, and has to be a list, in [ ]"),
            ("list = [1, \"a\"]", "list: holds \"a\", which has to be a whole number"),
            ("mean = [0.5, 0.5]", "mean: has 2 values, and has to be a list of 3"),
            ("way = \"up\"", "way: is \"up\", and has to be one of left, right"),
            ("way = 3", "way: is 3, and has to be a name, in quotes"),
            ("sets = 3", "sets: is 3, and has to be a table"),
            ("sets.a = 3", "sets.a: is 3, and has to be a table"),
            ("sets.a.way = \"left\"", "sets.a: `k` is missing"),
            ("tarrget = 3", "tarrget: is no setting"),
        ] {
            assert_eq!(faults(text).1, [expected], "{text}");
        }
    }

    #[test]
    fn all_faults_come_at_once_and_the_rest_is_read() {
        let text = "target = \"many\"\nshrae = 1\nfill = true\nsets.a.k = \"few\"\nsets.b = { k = 2, kk = 3 }\n";
        let (settings, faults) = faults(text);
        let mut keys: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        keys.sort_unstable();
        // That `sets.a` has no `k` only follows.
        assert_eq!(keys, ["sets.a.k", "sets.b.kk", "shrae", "target"], "{faults:?}");
        let settings = settings.expect("the rest");
        assert!(
            settings.fill && settings.sets.len() == 1 && settings.sets["b"].k == 2 && settings.sets["b"].way.is_none(),
            "{settings:?}"
        );
    }
}
