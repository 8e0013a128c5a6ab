//! The models of a pipeline, opened before work starts: `lvd check` looks at all, a run at those
//! that it will use.
//!
//! Each is run on pictures of ours, so that what does not fit is said with its line, and not by the
//! first task hours later.

use std::any::Any;
use std::collections::BTreeMap;

use crate::pipeline::file::Source;
use crate::pipeline::status::{Survey, survey};
use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::store::Store;
use crate::stages::catalog::{Catalog, Model};
use crate::stages::embed::Embed;
use crate::stages::embed::fit::try_model;
use crate::stages::embed::model_file::{MODELS, file_of, present};
use lvd_base::error::{Error, Fault};

/// Embedders by name, and how many images a batch they get at most.
type Batches = BTreeMap<String, usize>;

/// What is wrong with any model of a file that is there; one that a run is to download is looked at
/// once it is.
#[must_use]
pub fn faults(catalog: &Catalog, steps: &[Step], store: &Store, source: &Source) -> Vec<Error> {
    let mut batches: Batches = catalog.embedders.keys().map(|name| (name.clone(), 1)).collect();
    for step in steps {
        add(step, catalog, &mut batches);
    }
    look(catalog, &batches, store, source, false)
}

/// What is wrong with the models of the embed steps among `steps` that have work to do; models are
/// downloaded for it.
#[must_use]
pub fn faults_of_run(pipeline: &Pipeline, steps: &[usize]) -> Vec<Error> {
    let mut batches = Batches::new();
    for &index in steps {
        let step = &pipeline.steps[index];
        // A step that cannot be planned says so itself when its turn comes.
        if embed(step).is_some() && !matches!(survey(pipeline, step), Ok(Survey::Whole { .. })) {
            add(step, &pipeline.catalog, &mut batches);
        }
    }
    look(&pipeline.catalog, &batches, &pipeline.store, &pipeline.source, true)
}

fn embed(step: &Step) -> Option<&Embed> {
    (step.stage.as_ref() as &dyn Any).downcast_ref()
}

/// Adds what an embed step asks of its models.
fn add(step: &Step, catalog: &Catalog, batches: &mut Batches) {
    let Some(embed) = embed(step) else { return };
    for name in embed.tables(catalog.embedders.keys().cloned()) {
        let batch = batches.entry(name).or_default();
        *batch = (*batch).max(embed.batch_images() as usize);
    }
}

fn look(catalog: &Catalog, batches: &Batches, store: &Store, source: &Source, fetch: bool) -> Vec<Error> {
    let mut faults = Vec::new();
    for (name, &batch) in batches {
        let Some(embedder) = catalog.embedders.get(name) else { continue };
        let fault = |key: &str, error: &Error| {
            let keys = ["embedders".to_owned(), name.clone(), key.to_owned()];
            let hint = error.hint().unwrap_or("docs/models.md says what a model has to be like, and how to get one");
            source.fault(&keys, Fault::new(error.to_string(), hint))
        };
        let folder = store.work.root().join(MODELS);
        let file = match &embedder.model {
            Model::Url { .. } | Model::Builtin(_) if fetch => file_of(&embedder.model, &folder).map(Some),
            model => Ok(present(model, &folder)),
        };
        match file {
            Ok(None) => {}
            Ok(Some(path)) => {
                let misfit = try_model(name, embedder, &path, batch).err();
                faults.extend(misfit.map(|misfit| fault(misfit.key, &misfit.error)));
            }
            Err(error) => faults.push(fault("url", &error)),
        }
    }
    faults
}
