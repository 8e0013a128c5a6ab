//! `lvd example`: make it, or compare what its pipeline found with the ground truth.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::Path;

use crate::cli::say::{self, say};
use crate::cli::stop::Stop;
use crate::cli::table::{columns, print, thousands};
use crate::pipeline::store::Store;
use crate::stages::dedup::Group;
use crate::stages::ingest::Kept;
use crate::stages::sample::Sampled;
use crate::stages::table::Table;
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;
use lvd_example::make::{self, Options};
use lvd_example::score;
use lvd_example::truth::{self, TruthRow};
use lvd_io::row::{self, Row};
use lvd_io::table;

table! {
    /// Where an ingested image came from.
    pub struct Origin {
        /// Which image.
        pub id: ImageId,
        /// Name of the source.
        pub source: String,
        /// Path in the source's folder.
        pub url: String,
    }
}

/// Makes the example in `folder`, or scores what its pipeline left in `folder/work`.
pub fn example(folder: &Path, options: &Options, score: bool) -> std::result::Result<(), Stop> {
    if score {
        return Ok(print(&scored(folder).map_err(Stop::of_user)?)?);
    }
    let made = make::write(folder, options)?;
    let files: u64 = made.files.values().sum();
    let word = if made.already { "is there already" } else { "made" };
    say!("example in {} {word}: {} files", folder.display(), thousands(files));
    let rows: Vec<Vec<String>> = made.files.iter().map(|(kind, n)| vec![kind.clone(), thousands(*n)]).collect();
    say::text(&columns(&["files", ">"], &rows));
    say!("next: lvd run {}", folder.join("quickstart.toml").display());
    Ok(())
}

/// The tables of a work folder, whole.
struct Tables {
    store: Store,
}

impl Tables {
    fn all<R: Row>(&self, step: &str, table: &str) -> Result<Vec<R>> {
        let manifest = self.store.manifest(step)?.ok_or_else(|| {
            let hint = format!("lvd run {}", self.store.work.root().with_file_name("quickstart.toml").display());
            Error::usage(format!("step {step:?} has not run in {}", self.store.work.location()), hint)
        })?;
        let parts = manifest.tables.get(table).unwrap_or(&Table { parts: Vec::new() }).parts.clone();
        let mut rows = Vec::new();
        for part in parts {
            for batch in row::read::<R>(&self.store.part(&part)?)? {
                rows.extend(batch?);
            }
        }
        Ok(rows)
    }
}

fn scored(folder: &Path) -> Result<String> {
    let truth = truth::read(folder)?;
    let tables = Tables { store: Store::open(&folder.join("work").to_string_lossy())? };
    let path_of = paths(&truth, &tables.all("ingest", "facts")?);
    let named = |id: &ImageId| {
        path_of.get(id).cloned().ok_or_else(|| {
            let fact = format!("image {id:?} is no file of the example in {}", folder.display());
            Error::usage(fact, "make the example anew in another folder, and run its pipeline there")
        })
    };

    let components: HashMap<ImageId, u64> =
        tables.all::<Group>("dedup", "")?.into_iter().map(|row| (row.id, row.component.0)).collect();
    let exact: Vec<Kept> = tables.all::<Kept>("ingest", "kept")?.into_iter().filter(|row| !row.kept).collect();
    let mut component_of: BTreeMap<String, u64> =
        components.iter().map(|(id, component)| Ok((named(id)?, *component))).collect::<Result<_>>()?;
    for copy in &exact {
        // An exact copy is where the image is that stands for it.
        if let Some(component) = copy.duplicate_of.and_then(|of| components.get(&of)) {
            component_of.insert(named(&copy.id)?, *component);
        }
    }
    let copies = score::copies(&truth, &component_of);
    let kept: BTreeSet<String> = tables
        .all::<Group>("clean", "")?
        .iter()
        .filter(|row| row.kept)
        .map(|row| named(&row.id))
        .collect::<Result<_>>()?;
    let contamination = score::contamination(&truth, &kept);
    let planted_exact = truth.iter().filter(|row| row.kind == "exact_copy").count();

    let mut text = String::from("Copies that were planted in the pool\n\n");
    let mut rows = vec![vec![
        "exact".to_owned(),
        planted_exact.to_string(),
        exact.len().to_string(),
        String::new(),
        "yes, by hash".into(),
    ]];
    rows.extend(copies.by_edit.iter().map(|(edit, found)| {
        let expected = if edit.is_expected() { "yes" } else { "no" };
        vec![
            edit.name().into(),
            found.planted.to_string(),
            found.found.to_string(),
            format!("{:.3}", found.recall()),
            expected.into(),
        ]
    }));
    text.push_str(&columns(&["edit", ">planted", ">found", ">recall", "expected"], &rows));
    let _ = writeln!(
        text,
        "\nexpected edits: recall {:.3}; pairs called copies: {}, precision {:.3}\nheld-out copies in the pool: {} planted, {} removed, recall {:.3}\n",
        copies.expected.recall(),
        thousands(copies.pairs),
        copies.precision(),
        contamination.planted,
        contamination.found,
        contamination.recall()
    );
    text.push_str(&evenness(&truth, &tables, &named)?);
    Ok(text)
}

/// The path in the example of every ingested image.
fn paths(truth: &[TruthRow], origins: &[Origin]) -> HashMap<ImageId, String> {
    let known: HashMap<(String, &str), &str> = truth
        .iter()
        .filter_map(|row| Some(((row.source.clone(), row.path.rsplit('/').next()?), row.path.as_str())))
        .collect();
    let path =
        |origin: &Origin| known.get(&(origin.source.clone(), origin.url.as_str())).map(|path| (*path).to_owned());
    origins.iter().filter_map(|origin| Some((origin.id, path(origin)?))).collect()
}

/// How even the pool and the data set are over concepts.
fn evenness(truth: &[TruthRow], tables: &Tables, named: &impl Fn(&ImageId) -> Result<String>) -> Result<String> {
    let concept: HashMap<&str, &str> = truth.iter().map(|row| (row.path.as_str(), row.concept.as_str())).collect();
    let count = |paths: &mut dyn Iterator<Item = String>| {
        // A concept that is lost still counts as one.
        let mut counts: BTreeMap<String, u64> = truth.iter().map(|row| (row.concept.clone(), 0)).collect();
        for path in paths {
            if let Some(name) = concept.get(path.as_str()) {
                *counts.entry((*name).to_owned()).or_default() += 1;
            }
        }
        counts
    };
    let pool = count(&mut truth.iter().filter(|row| row.role == "pool").map(|row| row.path.clone()));
    let sampled = tables.all::<Sampled>("sample", "")?;
    let all: Vec<String> = sampled.iter().map(|row| named(&row.id)).collect::<Result<_>>()?;
    let chosen = count(&mut all.iter().cloned());
    let of_balance = all.iter().zip(&sampled).filter(|(_, row)| row.why == "balanced");
    let balanced = count(&mut of_balance.map(|(path, _)| path.clone()));
    let line = |name: &str, counts: &BTreeMap<String, u64>| {
        let balance = score::balance(counts);
        vec![
            name.to_owned(),
            thousands(balance.images),
            format!("{:.2}", balance.entropy_bits),
            format!("{:.3}", balance.evenness),
            format!("{:.1}%", 100.0 * balance.largest_share),
            balance.smallest.to_string(),
        ]
    };
    let rows = [line("pool", &pool), line("data set", &chosen), line("  its balanced draw", &balanced)];
    let header = ["", ">images", ">entropy, bits", ">evenness", ">largest concept", ">images of the rarest"];
    Ok(format!("Balance over {} concepts\n\n{}", pool.len(), columns(&header, &rows)))
}
