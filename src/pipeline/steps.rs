//! A pipeline: its steps in the order they run, and what they refer to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use crate::pipeline::engine::slurm::settings::AllSettings;
use crate::pipeline::file::Source;
use crate::pipeline::store::Store;
use crate::stages::Stage;
use crate::stages::catalog::Catalog;
use crate::stages::table::Table;
use lvd_base::error::{Error, Result, choices};

/// A configured stage.
pub struct Step {
    /// Its name, and its folder's.
    pub name: String,
    /// Its settings.
    pub stage: Box<dyn Stage>,
    /// The same as the file gives them, for the summary.
    pub settings: toml::Table,
}

/// A pipeline whose every setting was looked at.
pub struct Pipeline {
    /// The file it came from.
    pub path: PathBuf,
    /// The same with the options that changed what it says, as they are typed after a command.
    pub typed: String,
    /// The same as text, to name places in it.
    pub source: Source,
    /// Its work folder.
    pub store: Store,
    /// Sources and models.
    pub catalog: Catalog,
    /// Steps in the order they run.
    pub steps: Vec<Step>,
    /// Sources whose size the file declares, and models, that are not there: enough to plan by, not
    /// to run.
    pub missing: Vec<Error>,
    /// Steps that lack a setting which is found by looking at what the steps above give: these can
    /// run before.
    pub undecided: Vec<(String, Error)>,
    /// Images of each source: counted, or as declared.
    pub sizes: IndexMap<String, u64>,
    /// How tasks run on Slurm.
    pub slurm: AllSettings,
}

impl Pipeline {
    /// The place of the step of this name.
    pub fn position(&self, name: &str) -> Result<usize> {
        let names: Vec<&str> = self.steps.iter().map(|step| step.name.as_str()).collect();
        self.steps.iter().position(|step| step.name == name).ok_or_else(|| {
            let hint = choices(name, &format!("steps are: {}", names.join(", ")), names.iter().copied());
            Error::usage(format!("there is no step {name:?}"), hint)
        })
    }

    /// The tables of a step that has to be whole, by name.
    pub fn tables(&self, step: &str) -> Result<BTreeMap<String, Table>> {
        let manifest = self.store.manifest(step)?;
        let open = || {
            let hint = format!("lvd run {} --to {step}", self.typed);
            Error::usage(format!("step {step:?} is not whole yet"), hint)
        };
        Ok(manifest.ok_or_else(open)?.tables)
    }

    /// The images of a source: counted, or as declared.
    pub fn size(&self, source: &str) -> Result<u64> {
        let fault = || Error::usage(format!("source {source:?} is not in the pipeline file"), "lvd check FILE");
        self.sizes.get(source).copied().ok_or_else(fault)
    }
}
