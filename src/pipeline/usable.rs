//! Whether enough of each source can be used: a step that is whole, and whose every row is
//! accounted for, may still have left a source without an image.

use crate::pipeline::steps::{Pipeline, Step};
use crate::pipeline::summary::{SourceCount, Summary};
use crate::stages::StageKind;
use crate::stages::catalog::{Catalog, Role};

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

/// The command that shows why, and where each row says so.
#[must_use]
pub fn where_to_look(pipeline: &Pipeline, step: &Step) -> String {
    let report = format!("lvd report {} {}", pipeline.path.display(), step.name);
    match step.stage.kind() {
        StageKind::Ingest => format!(
            "{report}; each row and its reason: {}/{}/failed/*.parquet",
            pipeline.store.work.location(),
            step.name
        ),
        _ => report,
    }
}
