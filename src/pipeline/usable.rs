//! Whether enough of each source can be used: a step that is whole, and whose every row is
//! accounted for, may still have left a source without an image.

use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::summary::{SourceCount, Summary};
use crate::stages::StageKind;
use crate::stages::catalog::{Catalog, Role};
use crate::stages::ingest::in_pool_counter;
use lvd_base::types::Reason;
use lvd_io::sources::Source;

/// What is wrong with the share of rows that failed, if anything is: of a source, or of all sources
/// together.
///
/// Nothing is compared with a reference set, and nothing retrieved for a seed set, of which no
/// image is left: whatever share may fail, that is a fault. A pool may fail whole where `most` is
/// 1.
#[must_use]
pub fn fault(summary: &Summary, catalog: &Catalog, most: Option<f64>) -> Option<String> {
    let most = most?;
    let empty = summary.sources.iter().find_map(|(name, count)| {
        let role = catalog.sources.get(name).map_or(Role::Pool, |entry| entry.role);
        let nothing =
            format!("no image of the {} set {name:?} is usable: all {} rows failed", role.name(), count.rows_in);
        (count.rows_out == 0 && role != Role::Pool).then(|| nothing + &most_often(count))
    });
    let beyond = |share: f64, of: &str| {
        let percent = 100.0 * share;
        let allowed = 100.0 * most;
        format!("{percent:.1}% of the rows{of} failed, more than the {allowed:.1}% allowed by `max_failed_share`")
    };
    let source = || {
        let (name, count) = summary.sources.iter().find(|(_, count)| count.failed_share() > most)?;
        Some(beyond(count.failed_share(), &format!(" of source {name:?}")) + &most_often(count))
    };
    let all = || summary.failed_share.filter(|share| *share > most).map(|share| beyond(share, ""));
    empty.or_else(source).or_else(all)
}

fn most_often(count: &SourceCount) -> String {
    let worst = count.drops.iter().max_by_key(|(_, rows)| **rows);
    worst.map_or(String::new(), |(reason, rows)| format!("; most often {} ({rows})", reason.name()))
}

/// Seed sets of which ingest has met images in the pool, byte for byte, where nothing takes these out: the data set may hold them twice.
#[must_use]
pub fn seeds_in_pool(pipeline: &Pipeline, summary: &Summary) -> Vec<String> {
    if !pipeline.steps.iter().any(|step| step.stage.kind() == StageKind::Sample) {
        return Vec::new();
    }
    let is_taken_out = |name: &String| pipeline.steps.iter().any(|step| step.stage.references().contains(name));
    let seeds = pipeline.catalog.sources.iter().filter(|(_, entry)| entry.role == Role::Seed);
    let met = seeds.filter_map(|(name, _)| Some((name, *summary.counters.get(&in_pool_counter(name))?)));
    let warn = |(name, images): (&String, u64)| {
        format!(
            "{images} images of seed set {name:?} are in the pool, too, byte for byte: the data set may hold them twice; a step with \
             stage = \"dedup\" and references = [{name:?}] takes them and their copies out of the pool"
        )
    };
    met.filter(|(name, _)| !is_taken_out(name)).map(warn).collect()
}

/// The command that shows why, and where each row says so; for folders of which every file is a
/// row, how to leave out what is no image.
#[must_use]
pub fn where_to_look(pipeline: &Pipeline, step: &Step, summary: &Summary) -> String {
    let report = format!("lvd report {} {}", pipeline.typed, step.name);
    if step.stage.kind() != StageKind::Ingest {
        return report;
    }
    let rows =
        format!("{report}; each row and its reason: {}/{}/failed/*.parquet", pipeline.store.work.location(), step.name);
    match summary.sources.iter().find(|(name, count)| holds_other_files(&pipeline.catalog, name, count)) {
        None => rows,
        Some((name, _)) => format!(
            "{rows}; where the folder of {name:?} holds other files, too: `extensions = [\"jpg\", \"png\"]` in [sources.{name}] \
             reads these alone, and `captions = true` the text beside them"
        ),
    }
}

/// Whether a source is a folder of which every file is a row, and most that failed are no image.
fn holds_other_files(catalog: &Catalog, name: &str, count: &SourceCount) -> bool {
    let every_file = matches!(
        catalog.sources.get(name).map(|entry| &entry.source),
        Some(Source::Folder { extensions, .. }) if extensions.is_empty()
    );
    every_file
        && count
            .drops
            .iter()
            .max_by_key(|(_, rows)| **rows)
            .is_some_and(|(reason, _)| *reason == Reason::UnsupportedFormat)
}
