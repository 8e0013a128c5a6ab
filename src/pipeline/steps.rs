//! A pipeline: its steps in the order they run, and what they refer to.

use std::path::PathBuf;

use indexmap::IndexMap;
use toml::Table;

use crate::pipeline::engine::slurm::settings::AllSettings;
use crate::pipeline::file::Source;
use crate::pipeline::store::Store;
use crate::stages::Stage;
use crate::stages::catalog::Catalog;
use lvd_base::error::{Error, Result};

/// A configured stage.
pub struct Step {
    /// Its name, and its folder's.
    pub name: String,
    /// Its settings.
    pub stage: Box<dyn Stage>,
    /// The same as the file gives them, for the summary.
    pub settings: Table,
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
    /// The images of a source: counted, or as declared.
    pub fn size(&self, source: &str) -> Result<u64> {
        let fault = || Error::usage(format!("source {source:?} is not in the pipeline file"), "lvd check FILE");
        self.sizes.get(source).copied().ok_or_else(fault)
    }
}
