//! The steps: each parsed as the stage it is, and checked against what stands above it.

use std::any::Any;

use indexmap::IndexMap;
use toml::{Table, Value};

use crate::pipeline::check::complaints::Complaints;
use crate::pipeline::check::names::of_step;
use crate::pipeline::file::{File, Source};
use crate::pipeline::steps::Step;
use crate::stages::catalog::Catalog;
use crate::stages::scope::{Above, Scope};
use crate::stages::{Stage, StageKind, cluster, dedup, embed, export, ingest, retrieve, sample};
use lvd_base::error::{Fault, Result, choices};

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
    for (name, settings) in &file.steps {
        let mut stage = match step(name, settings, source) {
            Ok(stage) => stage,
            Err(error) => {
                complaints.faults.push(error);
                continue;
            }
        };
        let mut scope = Scope {
            catalog,
            sizes,
            scale: file.scale,
            above: &above,
            step: name,
            faults: Vec::new(),
            undecided: Vec::new(),
        };
        stage.check(&mut scope);
        let undecided = scope.undecided.into_iter().map(|(key, fault)| (name.clone(), source.fault(&key, fault)));
        complaints.undecided.extend(undecided);
        for (key, fault) in scope.faults {
            complaints.faults.push(source.fault(&key, fault));
        }
        let gives = Above {
            kind: stage.kind(),
            tables: tables(settings, catalog, stage.kind()),
            levels: levels(stage.as_ref()),
            references: stage.references().to_vec(),
            compares: stage.compares().map(<[String]>::to_vec),
        };
        above.insert(name.clone(), gives);
        steps.push(Step { name: name.clone(), stage, settings: settings.clone() });
    }
    steps
}

fn step(name: &str, settings: &Table, source: &Source) -> Result<Box<dyn Stage>> {
    let keys = ["steps".to_owned(), name.to_owned()];
    of_step(name).map_err(|fault| source.fault(&keys, fault))?;
    let mut settings = settings.clone();
    let kinds = StageKind::ALL.map(StageKind::name).join(", ");
    // A step that is called like a stage need not say so.
    let stage = settings.remove("stage").unwrap_or_else(|| Value::String(name.to_owned()));
    let kind = StageKind::ALL.into_iter().find(|kind| Some(kind.name()) == stage.as_str());
    let kind = kind.ok_or_else(|| {
        // A stage that is no text has no name that is near.
        let wrong = stage.as_str().unwrap_or_default();
        let hint = choices(wrong, &format!("set `stage` to one of: {kinds}"), StageKind::ALL.map(StageKind::name));
        source.fault(&keys, Fault::new(format!("stage {stage} does not exist"), hint))
    })?;
    Ok(match kind {
        StageKind::Ingest => Box::new(source.parse_at::<ingest::Ingest>(&keys, settings)?),
        StageKind::Embed => Box::new(source.parse_at::<embed::Embed>(&keys, settings)?),
        StageKind::Dedup => Box::new(source.parse_at::<dedup::Dedup>(&keys, settings)?),
        StageKind::Cluster => Box::new(source.parse_at::<cluster::Cluster>(&keys, settings)?),
        StageKind::Retrieve => Box::new(source.parse_at::<retrieve::Retrieve>(&keys, settings)?),
        StageKind::Sample => Box::new(source.parse_at::<sample::Sample>(&keys, settings)?),
        StageKind::Export => Box::new(source.parse_at::<export::Export>(&keys, settings)?),
    })
}

/// The tables of vectors an embed step gives.
fn tables(settings: &Table, catalog: &Catalog, kind: StageKind) -> Vec<String> {
    match (kind, settings.get("embedders").and_then(Value::as_array)) {
        (StageKind::Embed, Some(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        (StageKind::Embed, None) => catalog.embedders.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// The levels of a cluster step.
fn levels(stage: &dyn Any) -> usize {
    stage.downcast_ref::<cluster::Cluster>().map_or(0, |cluster| cluster.clusters.len())
}
