//! Numbering the rows of a source.

use serde::{Deserialize, Serialize};

use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, ShardId};
use lvd_io::row::RowWriter;
use lvd_io::secret::{owner_only, redacted};
use lvd_io::sources::Source;
use lvd_io::table;

table! {
    /// A row of a source, numbered: what `fetch` is going to get. Only the owner may read a part
    /// with a URL that holds a password or a signature, since `fetch` needs them; no other table
    /// holds them.
    pub struct Listed {
        /// The id the row keeps, whatever becomes of it.
        pub id: ImageId,
        /// Where it is: a URL, a path in the source's folder, or `0:file.parquet#row`.
        pub location: String,
        /// The caption that came with it.
        pub caption: Option<String>,
    }
}

/// A source to list.
#[derive(Serialize, Deserialize)]
pub struct ListTask {
    pub source: String,
    pub dataset: u16,
    pub fingerprint: String,
}

/// Whether a row's place holds a password or a signature, which only a URL may.
fn secret_in(source: &Source, location: &str) -> bool {
    matches!(source, Source::Urls { .. }) && redacted(location) != location
}

/// Numbers the rows of one source.
pub fn run(spec: &ListTask, shard_rows: u32, task: &mut Task) -> Result<()> {
    let source = source_named(task, &spec.source)?.clone();
    let (mut shard, mut row, mut captions) = (0, 0, 0_u64);
    let (mut writer, mut secret) = (None, false);
    let notes = source.list(&mut |input| {
        if row == shard_rows {
            close(&mut writer, ShardId::new(spec.dataset, shard), task)?;
            (shard, row) = (shard + 1, 0);
        }
        if writer.is_none() {
            writer = Some(task.rows::<Listed>("listed")?);
            secret = false;
        }
        if !secret && secret_in(&source, &input.location) {
            owner_only(&task.aside("listed"))?;
            secret = true;
        }
        captions += u64::from(input.caption.is_some());
        if let Some(writer) = &mut writer {
            let id = ImageId::new(spec.dataset, shard, row);
            let bytes = input.location.len() + input.caption.as_ref().map_or(0, String::len);
            writer.push_long(Listed { id, location: input.location, caption: input.caption }, bytes)?;
        }
        row += 1;
        task.outcome.rows_in += 1;
        task.outcome.rows_out += 1;
        Ok(())
    })?;
    close(&mut writer, ShardId::new(spec.dataset, shard), task)?;
    if task.outcome.rows_in == 0 {
        let hint = "put images there, or take the source out of the pipeline file";
        return Err(Error::usage(format!("source {:?} has no rows", spec.source), hint));
    }
    for (counter, n) in [
        ("captions_cut", notes.captions_cut),
        ("captions_lost", notes.captions_lost),
        ("captions_not_utf8", notes.captions_not_utf8),
    ] {
        if n > 0 {
            task.count(counter, n);
        }
    }
    let mut warnings: Vec<String> = notes.warnings().collect();
    if notes.captions_not_utf8 > 0 {
        warnings.push(format!(
            "{} captions are no UTF-8, and letters in them are lost: convert the list first (iconv -f latin1 -t utf-8)",
            notes.captions_not_utf8
        ));
    }
    if let (Some(column), 0) = (source.caption_column(), captions) {
        warnings.push(format!("no row has a caption: is {column:?} where the captions are?"));
    }
    task.outcome.warnings.extend(warnings.into_iter().map(|text| format!("source {:?}: {text}", spec.source)));
    Ok(())
}

fn close(writer: &mut Option<RowWriter<Listed>>, shard: ShardId, task: &mut Task) -> Result<()> {
    match writer.take() {
        Some(writer) => task.publish(writer.finish()?, "listed", Some(shard)),
        None => Ok(()),
    }
}

/// A source by its name.
pub fn source_named<'a>(task: &'a Task, name: &str) -> Result<&'a Source> {
    let entry = task.catalog.sources.get(name).map(|entry| &entry.source);
    entry.ok_or_else(|| {
        Error::usage(format!("source {name:?} is no longer in the pipeline file"), "put it back, or run again")
    })
}
