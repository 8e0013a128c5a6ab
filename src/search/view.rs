//! What a search compares: which vectors, whitened or not, and from which cosine two images are
//! called copies.

use std::any::Any;
use std::sync::Arc;

use serde::Serialize;

use crate::pipeline::standing::{State, standings};
use crate::pipeline::steps::Pipeline;
use crate::stages::dedup::{Dedup, read_whitening};
use crate::stages::embed::Embed;
use crate::stages::ingest::Ingest;
use crate::stages::pool::VectorShard;
use crate::stages::table::Table;
use crate::stages::task::Task;
use lvd_base::error::{Error, Result, choices};
use lvd_io::vectors::Vectors;
use lvd_kernels::dot::{to_f16, to_f32};
use lvd_ops::whiten::Whitening;

/// What pictures are compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// Images of the pool, as a step does that looks for copies within it.
    Pool,
    /// Images that are to be kept apart from them, as a step with `references` does.
    References,
}

/// The vectors that are searched, and the steps that say how.
pub struct View<'a> {
    pub pipeline: &'a Pipeline,
    /// The embed step and its embedder.
    pub embed: (&'a str, &'a Embed),
    pub embedder: &'a str,
    /// The ingest step that it reads.
    pub ingest: (&'a str, &'a Ingest),
    /// The dedup step that compares these vectors, where there is one.
    pub dedup: Option<(&'a str, &'a Dedup)>,
}

/// A cosine from which two images are called copies.
#[derive(Clone, Debug, Serialize)]
pub struct Threshold {
    /// The cosine.
    pub cosine: f32,
    /// Whose it is, in words.
    pub of: String,
}

/// A table of vectors: its step and its embedder.
type VectorTable<'a> = (&'a str, &'a Embed, &'a str);

impl<'a> View<'a> {
    /// The vectors that `asked` names, `STEP` or `STEP/EMBEDDER`; left out, those that a dedup step
    /// compares, or else the only ones, or those of the only encoder that was made to find copies.
    pub fn choose(pipeline: &'a Pipeline, asked: Option<&str>, against: Against) -> Result<Self> {
        let dedups = dedups(pipeline, against);
        let tables = among(pipeline, asked)?;
        let compared =
            |(_, dedup): &(&str, &Dedup)| tables.iter().find(|table| named(table) == dedup.vectors.name()).copied();
        let for_copies = |(.., embedder): &&VectorTable| {
            pipeline.catalog.embedders.get(*embedder).is_some_and(|known| known.copies.is_some())
        };
        let only = |tables: Vec<VectorTable<'a>>| if let [only] = tables[..] { Some(only) } else { None };
        let found = dedups
            .iter()
            .find_map(compared)
            .or_else(|| only(tables.clone()))
            .or_else(|| only(tables.iter().filter(for_copies).copied().collect()));
        let (step, embed, embedder) = found.ok_or_else(|| {
            let names: Vec<String> = tables.iter().map(named).collect();
            Error::usage(
                "several tables of vectors, and none is for copies",
                format!("--step {}", names.join(" or --step ")),
            )
        })?;
        let table = format!("{step}/{embedder}");
        let ingest = all::<Ingest>(pipeline).into_iter().find(|(name, _)| *name == embed.images.name());
        let ingest = ingest.ok_or_else(|| Error::usage(format!("step {step:?} reads no images"), "lvd check FILE"))?;
        let dedup = dedups.into_iter().find(|(_, dedup)| dedup.vectors.name() == table);
        Ok(Self { pipeline, embed: (step, embed), embedder, ingest, dedup })
    }

    /// The table, `STEP/EMBEDDER`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.embed.0, self.embedder)
    }

    /// Whether vectors are whitened, as the dedup step has them.
    pub fn whitens(&self) -> bool {
        self.dedup.is_some_and(|(_, dedup)| dedup.whiten)
    }

    /// The cosine from which two images are called copies: the one asked for, the dedup step's, or
    /// the one that is known for the encoder.
    pub fn threshold(&self, asked: Option<f32>, against: Against) -> Option<Threshold> {
        let of_step = || {
            let (name, dedup) = self.dedup?;
            Some(Threshold { cosine: dedup.threshold?, of: format!("of step {name:?}") })
        };
        let known = || {
            let copies = self.pipeline.catalog.embedders.get(self.embedder)?.copies?;
            let cosine = copies.of(self.whitens(), against == Against::References)?;
            Some(Threshold { cosine, of: format!("known for embedder {:?}", self.embedder) })
        };
        let asked = asked.map(|cosine| Threshold { cosine, of: "asked for".into() });
        asked.or_else(of_step).or_else(known)
    }

    /// The whitening of the dedup step, where it whitens.
    pub fn whitening(&self, task: &Task) -> Result<Option<Arc<Whitening>>> {
        let Some((name, _)) = self.dedup.filter(|(_, dedup)| dedup.whiten) else { return Ok(None) };
        let tables = self.pipeline.tables(name)?;
        let read = tables.get("whitening").map_or(Ok(None), |table| read_whitening(table, task))?;
        let none = || {
            let hint = format!("lvd run {} --to {name}", self.pipeline.typed);
            Error::usage(format!("step {name:?} is to whiten, and has not done so yet"), hint)
        };
        read.ok_or_else(none).map(Some)
    }

    /// The vectors.
    pub fn vectors(&self) -> Result<Table> {
        let table = self.pipeline.tables(self.embed.0)?.remove(self.embedder).unwrap_or_default();
        if table.rows() == 0 {
            let hint = format!("lvd report {} {}", self.pipeline.typed, self.embed.0);
            return Err(Error::usage(format!("{} holds no vector", self.name()), hint));
        }
        Ok(table)
    }

    /// What is not as the file describes it, of the steps that a search reads.
    pub fn warnings(&self, finished: &str) -> Result<Vec<String>> {
        let read = [Some(self.ingest.0), Some(self.embed.0), self.dedup.map(|(name, _)| name), Some(finished)];
        let standings = standings(self.pipeline)?.into_iter();
        let older = standings
            .filter(|known| read.contains(&Some(known.step.as_str())) && !matches!(known.state, State::Done { .. }));
        let mut warnings = Vec::new();
        for standing in older {
            if self.pipeline.store.manifest(&standing.step)?.is_some() {
                let fact = format!("step {:?} is older than the file: {}", standing.step, standing.why);
                warnings.push(format!("{fact}; what it left is searched as it is"));
            }
        }
        Ok(warnings)
    }
}

/// Vectors as a dedup step compares them: whitened ones are rounded to half precision again.
pub fn whitened(values: &mut Vec<f32>, whitening: &Whitening) {
    whitening.apply(values);
    *values = to_f32(&to_f16(values));
}

/// The blocks of a shard as a dedup step compares them.
pub fn blocks(
    shard: &VectorShard,
    whitening: Option<&Arc<Whitening>>,
    task: &Task,
) -> Result<impl Iterator<Item = Result<Vectors>>> {
    Ok(shard.blocks(task)?.map(move |block| {
        let mut block = block?;
        if let Some(whitening) = whitening {
            whitened(&mut block.values, whitening);
        }
        Ok(block)
    }))
}

/// The steps of a kind, by name.
fn all<S: Any>(pipeline: &Pipeline) -> Vec<(&str, &S)> {
    let steps = pipeline.steps.iter();
    steps.filter_map(|step| Some((&*step.name, (step.stage.as_ref() as &dyn Any).downcast_ref()?))).collect()
}

/// The dedup steps, first those that do what is asked.
fn dedups(pipeline: &Pipeline, against: Against) -> Vec<(&str, &Dedup)> {
    let mut steps = all::<Dedup>(pipeline);
    steps.sort_by_key(|(_, dedup)| dedup.references.is_empty() != (against == Against::Pool));
    steps
}

fn named(&(step, _, embedder): &VectorTable) -> String {
    format!("{step}/{embedder}")
}

/// The tables of vectors, or those of the step that is asked for.
fn among<'a>(pipeline: &'a Pipeline, asked: Option<&str>) -> Result<Vec<VectorTable<'a>>> {
    let embedders = &pipeline.catalog.embedders;
    let of_step = |(step, embed): (&'a str, &'a Embed)| {
        let tables = embed.tables(embedders.keys().cloned());
        let known = embedders.keys().filter(move |name| tables.contains(*name));
        known.map(move |name| (step, embed, name.as_str()))
    };
    let tables: Vec<VectorTable> = all::<Embed>(pipeline).into_iter().flat_map(of_step).collect();
    if tables.is_empty() {
        return Err(Error::usage(format!("{} has no embed step", pipeline.typed), "add [steps.embed]"));
    }
    let Some(asked) = asked else { return Ok(tables) };
    let (step, embedder) = asked.split_once('/').map_or((asked, None), |(step, name)| (step, Some(name)));
    let wanted = |&(of, _, name): &VectorTable| of == step && embedder.is_none_or(|wanted| name == wanted);
    let found: Vec<VectorTable> = tables.iter().copied().filter(wanted).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let names: Vec<String> = tables.iter().map(named).collect();
    let hint = choices(asked, &format!("vectors are: {}", names.join(", ")), names.iter().map(String::as_str));
    let fact = match pipeline.position(step).map(|at| pipeline.steps[at].stage.kind().name()) {
        Err(_) => format!("there is no step {step:?}"),
        Ok("embed") => format!("step {step:?} has no embedder {:?}", embedder.unwrap_or_default()),
        Ok(kind) => format!("step {step:?} is a step of kind {kind}, and has no vectors"),
    };
    Err(Error::usage(fact, hint))
}
