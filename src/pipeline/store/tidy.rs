//! What is removed from a step's folder.

use std::collections::HashSet;

use crate::pipeline::records::Manifest;
use crate::pipeline::store::Store;
use crate::pipeline::store::paths::{CHECKPOINTS, DONE, PLANS, TEMPORARIES, TRIES, marker};
use lvd_base::error::Result;
use lvd_io::publish;
use lvd_io::work_folder::DAMAGED;

impl Store {
    /// Removes from a step's folder what its manifest does not name: earlier generations, scratch
    /// parts, attempts, temporaries.
    pub fn collect(&self, step: &str, manifest: &Manifest) -> Result<()> {
        let mut keep: HashSet<String> =
            manifest.tables.values().flat_map(|table| &table.parts).map(|part| part.path.clone()).collect();
        let tasks = manifest.tasks.iter();
        keep.extend(tasks.flat_map(|(phase, keys)| keys.iter().map(|key| marker(step, phase, key))));
        let ours = [CHECKPOINTS, PLANS, TRIES, TEMPORARIES, DONE].map(|name| format!("{step}/{name}/"));
        for (path, _) in self.work.files(step)? {
            let name = path.rsplit('/').next().unwrap_or(&path);
            let is_ours =
                ours.iter().any(|ours| path.starts_with(ours)) || name.starts_with("part-") || name.contains(".tmp-");
            let is_damaged = path.starts_with(&format!("{step}/{DAMAGED}/"));
            if is_ours && !is_damaged && !keep.contains(&path) {
                self.work.remove(&path)?;
            }
        }
        Ok(())
    }

    /// Removes what processes that are no more have left in a step's folder.
    pub fn sweep(&self, step: &str) -> Result<()> {
        if self.work.is_bucket() || !self.work.root().join(step).is_dir() {
            return Ok(());
        }
        for (path, _) in self.work.files(step)? {
            if publish::is_left_behind(path.rsplit('/').next().unwrap_or(&path)) {
                self.work.remove(&path)?;
            }
        }
        Ok(())
    }
}
