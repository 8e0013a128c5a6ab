//! The steps: each parsed as the stage it is, and checked against what stands above it.

use std::any::Any;

use indexmap::{IndexMap, IndexSet};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::pipeline::check::complaints::Complaints;
use crate::pipeline::check::names::of_step;
use crate::pipeline::file::{File, Source};
use crate::pipeline::steps::Step;
use crate::stages::catalog::Catalog;
use crate::stages::scope::{Above, Scope};
use crate::stages::{Stage, StageKind, cluster, dedup, embed, export, ingest, retrieve, sample};
use lvd_base::error::{Fault, choices};

/// The steps of the file that are what they say, in order.
pub fn steps(
    file: &File,
    source: &Source,
    catalog: &Catalog,
    sizes: &IndexMap<String, u64>,
    complaints: &mut Complaints,
) -> Vec<Step> {
    let mut above: IndexMap<String, Above> = IndexMap::new();
    let mut steps = Vec::new();
    // With those that have a fault, which are not in the catalog.
    let embedders: IndexSet<String> = file.embedders.keys().chain(catalog.embedders.keys()).cloned().collect();
    let embedders: Vec<String> = embedders.into_iter().collect();
    let mut is_hollow = complaints.lacks_a_step();
    for (name, settings) in &file.steps {
        let before = complaints.faults.len();
        let Some(mut stage) = step(name, settings, source, complaints) else {
            is_hollow = true;
            continue;
        };
        let is_whole = complaints.faults.len() == before;
        let mut scope = Scope {
            catalog,
            sizes,
            scale: if file.scale > 0.0 && file.scale.is_finite() { file.scale } else { 1.0 },
            above: &above,
            step: name,
            broken: &complaints.broken,
            is_hollow,
            faults: Vec::new(),
            undecided: Vec::new(),
        };
        stage.check(&mut scope);
        let Scope { mut faults, undecided, .. } = scope;
        if is_whole {
            let undecided = undecided.into_iter().map(|(key, fault)| (name.clone(), source.fault(&key, fault)));
            complaints.undecided.extend(undecided);
        } else {
            // What is said of a setting that is not in the file may only follow.
            faults.retain(|(keys, _)| complaints.is_set(keys));
        }
        for (key, fault) in faults {
            complaints.fault(&key.iter().map(String::as_str).collect::<Vec<_>>(), fault);
        }
        let gives = Above {
            kind: stage.kind(),
            tables: tables(settings, &embedders, stage.kind()),
            levels: if is_whole { levels(stage.as_ref()) } else { usize::MAX },
            references: stage.references().to_vec(),
            compares: stage.compares().map(<[String]>::to_vec),
        };
        above.insert(name.clone(), gives);
        steps.push(Step { name: name.clone(), stage, settings: settings.clone() });
    }
    steps
}

/// The step as the stage that it is, if it is one; its faults are noted.
fn step(name: &str, settings: &Table, source: &Source, complaints: &mut Complaints) -> Option<Box<dyn Stage>> {
    let keys = ["steps".to_owned(), name.to_owned()];
    if let Err(fault) = of_step(name) {
        complaints.fault(&["steps", name], fault);
    }
    let mut settings = settings.clone();
    let kinds = StageKind::ALL.map(StageKind::name).join(", ");
    // A step that is called like a stage need not say so.
    let stage = settings.remove("stage").unwrap_or_else(|| Value::String(name.to_owned()));
    let kind = StageKind::ALL.into_iter().find(|kind| Some(kind.name()) == stage.as_str());
    let Some(kind) = kind else {
        // A stage that is no text has no name that is near.
        let wrong = stage.as_str().unwrap_or_default();
        let hint = choices(wrong, &format!("set `stage` to one of: {kinds}"), StageKind::ALL.map(StageKind::name));
        complaints.fault(&["steps", name], Fault::new(format!("stage {stage} does not exist"), hint));
        return None;
    };
    let reader = Reader { keys: &keys, settings, source, complaints };
    match kind {
        StageKind::Ingest => reader.read::<ingest::Ingest>(),
        StageKind::Embed => reader.read::<embed::Embed>(),
        StageKind::Dedup => reader.read::<dedup::Dedup>(),
        StageKind::Cluster => reader.read::<cluster::Cluster>(),
        StageKind::Retrieve => reader.read::<retrieve::Retrieve>(),
        StageKind::Sample => reader.read::<sample::Sample>(),
        StageKind::Export => reader.read::<export::Export>(),
    }
}

/// The settings of a step, about to be read.
struct Reader<'a, 'b> {
    keys: &'a [String],
    settings: Table,
    source: &'a Source,
    complaints: &'a mut Complaints<'b>,
}

impl Reader<'_, '_> {
    fn read<S: Stage + DeserializeOwned + 'static>(self) -> Option<Box<dyn Stage>> {
        let stage: S = self.complaints.usable(self.source.parse_at(self.keys, self.settings))?;
        Some(Box::new(stage))
    }
}

/// The tables of vectors an embed step gives.
fn tables(settings: &Table, embedders: &[String], kind: StageKind) -> Vec<String> {
    match (kind, settings.get("embedders").and_then(Value::as_array)) {
        (StageKind::Embed, Some(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        (StageKind::Embed, None) => embedders.to_vec(),
        _ => Vec::new(),
    }
}

/// The levels of a cluster step.
fn levels(stage: &dyn Any) -> usize {
    stage.downcast_ref::<cluster::Cluster>().map_or(0, |cluster| cluster.clusters.len())
}
