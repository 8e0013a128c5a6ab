//! The numbers of the sources, which ids are made of, and what was last seen of each.

use std::collections::{BTreeMap, HashMap};

use crate::pipeline::store::Store;
use crate::stages::catalog::Catalog;
use lvd_base::error::{Error, Result};

/// Where the numbers of the sources are.
const DATASETS: &str = "datasets.json";

/// What was last seen of the sources.
const SEEN: &str = "sources.json";

/// What to do where the numbers cannot be read: ids are made of them.
const NO_DATASETS: &str = "ids are made of these numbers: put the file back from a copy, or use another --work";

impl Store {
    /// The number of each named source: as recorded, or the next free one. Nothing is written.
    pub fn dataset_numbers<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<HashMap<String, u16>> {
        let mut numbers: HashMap<String, u16> = self.work.read_json(DATASETS, NO_DATASETS)?.unwrap_or_default();
        for name in names {
            let next = numbers.values().max().map_or(Some(0), |highest| highest.checked_add(1));
            let next =
                next.ok_or_else(|| Error::usage("more than 65,536 sources in one work folder", "use another folder"))?;
            numbers.entry(name.clone()).or_insert(next);
        }
        Ok(numbers)
    }

    /// Records the numbers of the sources for good.
    pub fn record_datasets<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<()> {
        let numbers: BTreeMap<String, u16> = self.dataset_numbers(names)?.into_iter().collect();
        if self.work.read_json::<BTreeMap<String, u16>>(DATASETS, NO_DATASETS)?.as_ref() == Some(&numbers) {
            return Ok(());
        }
        self.work.replace_json(DATASETS, &numbers)
    }

    /// Takes the sources for what was last seen of them, so that nobody looks at them. The tasks of
    /// one that nobody has seen are not done.
    pub fn trust_seen(&self, catalog: &Catalog) -> Result<()> {
        let mut seen = self.seen()?;
        for (name, entry) in &catalog.sources {
            entry.trust(seen.remove(name).unwrap_or_else(|| "never seen".to_owned()));
        }
        Ok(())
    }

    /// Records what was seen of the sources, for commands that only look at the work folder.
    pub fn record_seen(&self, catalog: &Catalog) -> Result<()> {
        let before = self.seen()?;
        let mut seen = before.clone();
        for (name, entry) in &catalog.sources {
            if let Some(fingerprint) = entry.known_fingerprint() {
                seen.insert(name.clone(), fingerprint.to_owned());
            }
        }
        if seen == before { Ok(()) } else { self.work.replace_json(SEEN, &seen) }
    }

    /// The fingerprints of the sources by name. What cannot be read was never seen.
    fn seen(&self) -> Result<BTreeMap<String, String>> {
        match self.work.read_json(SEEN, "") {
            Err(Error::Bookkeeping(_)) => Ok(BTreeMap::new()),
            seen => Ok(seen?.unwrap_or_default()),
        }
    }
}
