//! What a step's settings are checked against before anything runs: the catalog, the steps above
//! it, and how many images there can be at most. Faults are collected, not thrown, so that a user
//! sees all of them at once.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stages::catalog::{Catalog, Role};
use crate::stages::kind::StageKind;
use lvd_base::error::{Fault, choices};

/// The name of a step or of a step's table (`embed/copy`) that a step reads. Left out: the only one
/// there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Input(Option<String>);

impl Input {
    /// The name; empty before the step was checked.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

pub use lvd_io::sources::UNCOUNTED;

/// What vectors are compared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorUse {
    /// To find copies of one picture.
    Copies,
    /// To find pictures that show the like.
    Content,
}

/// What a step above gives.
#[derive(Debug)]
pub struct Above {
    /// Its kind.
    pub kind: StageKind,
    /// The embedders of an embed step.
    pub tables: Vec<String>,
    /// The pool sources that a dedup step compares; none: all.
    pub compares: Option<Vec<String>>,
    /// The sources whose copies a dedup step takes out of the pool.
    pub references: Vec<String>,
    /// The levels of a cluster step.
    pub levels: usize,
}

/// The surroundings of the step that is being checked.
pub struct Scope<'a> {
    /// Sources and embedders.
    pub catalog: &'a Catalog,
    /// How many rows each source can give at most.
    pub sizes: &'a IndexMap<String, u64>,
    /// What numbers of images and clusters are multiplied by.
    pub scale: f64,
    /// The steps above, by name, in order.
    pub above: &'a IndexMap<String, Above>,
    /// The step itself.
    pub step: &'a str,
    /// Sources, embedders and steps that have faults of their own: that they do not serve only
    /// follows.
    pub broken: &'a BTreeSet<String>,
    /// Whether a step above is of no known kind: what is missing may be what it was meant to give.
    pub is_hollow: bool,
    /// What is wrong so far, and at which key of the file: keys from the top.
    pub faults: Vec<(Vec<String>, Fault)>,
    /// What the step cannot run without, but is found by looking at what the steps above give.
    pub undecided: Vec<(Vec<String>, Fault)>,
}

impl Scope<'_> {
    /// Notes that the step's setting `key` is wrong.
    pub fn fault(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.push((self.path(key), Fault::new(message, hint)));
    }

    /// Notes that the step's setting `key` has yet to be found, by looking at what the steps above
    /// give.
    pub fn undecided(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.undecided.push((self.path(key), Fault::new(message, hint)));
    }

    /// The keys of a setting of the step, from the top of the file.
    fn path(&self, key: &str) -> Vec<String> {
        let below = key.split('.').filter(|part| !part.is_empty());
        ["steps", self.step].into_iter().chain(below).map(str::to_owned).collect()
    }

    /// A number of images or clusters, to scale; 1 at least, unless it was 0.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of images, about"
    )]
    pub fn scaled(&self, n: u64) -> u64 {
        if self.scale.to_bits() == 1f64.to_bits() { n } else { ((n as f64 * self.scale).round() as u64).max(n.min(1)) }
    }

    /// The same for a smaller number.
    #[must_use]
    pub fn scaled_u32(&self, n: u32) -> u32 {
        u32::try_from(self.scaled(u64::from(n))).unwrap_or(u32::MAX)
    }

    /// Notes a fault unless `fine`.
    pub fn require(&mut self, fine: bool, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        if !fine {
            self.fault(key, message, hint);
        }
    }

    /// Notes a fault unless a fraction lies in `range`, where NaN never is: `nan` and `inf` are
    /// numbers of TOML. `what` goes before the number. Every setting that is no whole number goes
    /// through here.
    pub fn within<T: Into<f64> + Display + Copy>(
        &mut self,
        key: &str,
        what: &str,
        value: T,
        range: RangeInclusive<f64>,
    ) {
        let hint = format!("use {} to {}", range.start(), range.end());
        self.require(range.contains(&value.into()), key, format!("{what} {value}"), hint);
    }

    /// The images of a source, at most.
    #[must_use]
    pub fn images_of(&self, source: &str) -> u64 {
        self.sizes.get(source).copied().unwrap_or(0)
    }

    /// The images of a role, at most.
    #[must_use]
    pub fn images_at_most(&self, role: Role) -> u64 {
        let of_role = self.catalog.sources.iter().filter(|(_, entry)| entry.role == role);
        of_role.map(|(name, _)| self.images_of(name)).sum()
    }

    /// Points `input` at a step of `kind` above: the named one, or the only one.
    pub fn wire(&mut self, input: &mut Input, kind: StageKind, key: &str) {
        let candidates: Vec<String> =
            self.above.iter().filter(|(_, above)| above.kind == kind).map(|(name, _)| name.clone()).collect();
        self.choose(input, &candidates, &format!("{} step", kind.name()), key);
    }

    /// The same for an input that may be absent: left out, it stays so unless there is exactly one
    /// candidate.
    pub fn wire_optional(&mut self, input: &mut Input, kind: StageKind, key: &str) {
        let last = self.above.iter().rev().find(|(_, above)| above.kind == kind).map(|(name, _)| name.clone());
        match &input.0 {
            None => input.0 = last,
            Some(name) if name == "none" => input.0 = None,
            Some(_) => self.wire(input, kind, key),
        }
    }

    /// The same for an input that is absent unless it is named.
    pub fn wire_named(&mut self, input: &mut Input, kind: StageKind, key: &str) {
        if input.0.is_some() {
            self.wire(input, kind, key);
        }
    }

    /// Points `input` at a table of vectors, `step/embedder`: the named one, or the only one of its
    /// use.
    pub fn wire_vectors(&mut self, input: &mut Input, used_for: VectorUse, key: &str) {
        let mut candidates: Vec<String> = self
            .above
            .iter()
            .filter(|(_, above)| above.kind == StageKind::Embed)
            .flat_map(|(name, above)| above.tables.iter().map(move |table| format!("{name}/{table}")))
            .collect();
        if input.0.is_none() && candidates.len() > 1 {
            let fits = |table: &&String| self.finds_copies(table) == (used_for == VectorUse::Copies);
            let fitting: Vec<String> = candidates.iter().filter(fits).cloned().collect();
            if fitting.len() == 1 {
                candidates = fitting;
            }
        }
        self.choose(input, &candidates, "table of vectors", key);
    }

    /// Whether a table of vectors is of an encoder that was made to find copies.
    fn finds_copies(&self, table: &str) -> bool {
        let embedder = table.split_once('/').and_then(|(_, name)| self.catalog.embedders.get(name));
        embedder.is_some_and(|embedder| embedder.copies.is_some())
    }

    fn choose(&mut self, input: &mut Input, candidates: &[String], what: &str, key: &str) {
        let list = candidates.join(", ");
        match (&input.0, candidates) {
            (Some(name), _) if candidates.contains(name) || self.is_broken(name) => {}
            (None, []) if self.is_hollow => {}
            (None, [_, _, ..]) if candidates.iter().any(|name| self.is_broken(name)) => {}
            (Some(name), []) => {
                self.fault(key, format!("there is no {what} {name:?} above"), "steps read what is above them");
            }
            (Some(name), _) => {
                let hint = choices(name, &format!("above are: {list}"), candidates.iter().map(String::as_str));
                self.fault(key, format!("there is no {what} {name:?} above"), hint);
            }
            (None, [only]) => input.0 = Some(only.clone()),
            (None, []) => self.fault(key, format!("needs a {what} above it"), "steps read what is above them"),
            (None, _) => {
                self.fault(key, format!("does not say which {what} to read"), format!("set `{key}` to one of: {list}"));
            }
        }
    }

    /// Whether a table, or a step, is not there for a fault that was found already.
    fn is_broken(&self, name: &str) -> bool {
        let (step, embedder) = name.split_once('/').unwrap_or((name, ""));
        self.broken.contains(embedder) || self.broken.contains(step) && !self.above.contains_key(step)
    }

    /// Checks that every name in `names` is a source with one of these roles.
    pub fn require_sources(&mut self, names: &[String], roles: &[Role], key: &str) {
        for name in names {
            match self.catalog.sources.get(name) {
                Some(entry) if roles.contains(&entry.role) || self.broken.contains(name) => {}
                Some(entry) => {
                    let wanted = roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" or ");
                    let message = format!("source {name:?} is a {} source, expected {wanted}", entry.role.name());
                    self.fault(key, message, format!("set `role = \"{}\"` in [sources.{name}]", roles[0].name()));
                }
                None => self.unknown_source(key, name),
            }
        }
    }

    /// Notes that there is no source `name`.
    pub fn unknown_source(&mut self, key: &str, name: &str) {
        let known: Vec<&str> = self.catalog.sources.keys().map(String::as_str).collect();
        let hint = choices(name, &format!("sources are: {}", known.join(", ")), known);
        self.fault(key, format!("there is no source {name:?}"), hint);
    }
}
