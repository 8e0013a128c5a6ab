//! Numbering the rows of a source. Rows that were fetched before keep their ids and shards; new ones
//! get new shards, at the end.

use serde::{Deserialize, Serialize};

use crate::stages::ingest::compare::{Changes, Comparison, Seen};
use crate::stages::ingest::gone::{GONE, Gone};
use crate::stages::table::{Part, Table};
use crate::stages::task::Task;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, ShardId};
use lvd_io::row::{self, RowWriter};
use lvd_io::secret::{owner_only, redacted};
use lvd_io::sorter::Sorted;
use lvd_io::sources::{InputRow, Notes, Source};
use lvd_io::table;

/// Shards of a source: as many as ids can number.
const MOST_SHARDS: u32 = 1 << 24;

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
        /// What else the source says, as a JSON object of texts.
        pub extra: Option<String>,
        /// Size, `@` and time of change of the file it is in: of a tar or a Parquet file, the whole.
        /// Empty for a URL.
        pub version: String,
    }
}

/// A source to list.
#[derive(Serialize, Deserialize)]
pub struct ListTask {
    pub source: String,
    pub dataset: u16,
    pub fingerprint: String,
    /// On what terms its rows are fetched: those that were fetched on others are no help.
    pub terms: String,
}

/// What became of the rows that were listed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTold {
    /// Of which source.
    pub source: String,
    /// Rows that were there before.
    pub before: u64,
    /// New rows.
    pub new: u64,
    /// Rows that are there no longer.
    pub gone: u64,
}

/// Numbers the rows of one source. `former` are the listed rows of shards that were fetched.
pub fn run(spec: &ListTask, shard_rows: u32, former: &Table, task: &mut Task) -> Result<()> {
    let source = source_named(task, &spec.source)?.clone();
    let (mut there, mut lost) = (Table::default(), Vec::new());
    for part in &former.parts {
        if task.is_there(part)? { there.parts.push(part.clone()) } else { lost.push(part.clone()) }
    }
    let mut shards = Shards::after(former, lost, spec.dataset, shard_rows, &source);
    task.outcome.parts.clone_from(&there.parts);
    let mut comparison = Comparison::new(&there, task.aside("compare"));
    let mut later = Later::default();
    let mut captions = 0_u64;
    let notes = source.list_versions(&mut |input, version| {
        captions += u64::from(input.caption.is_some());
        task.outcome.rows_in += 1;
        match comparison.see(&input, version, task)? {
            Seen::Before => Ok(()),
            Seen::New => shards.push(input, version.to_owned(), task),
            Seen::Later(number) => later.push(number, input, version, task),
        }
    })?;
    let Changes { before, gone, new } = comparison.finish(task)?;
    later.hand_on(new, &mut shards, task)?;
    shards.close(task)?;
    task.outcome.parts.sort_by_key(|part| part.shard);
    task.outcome.rows_out = task.outcome.rows_in;
    let before = before + shards.mended;
    let (new, gone) = (task.outcome.rows_in - before, publish_gone(gone, task)?);
    if !former.parts.is_empty() {
        task.count("rows_as_before", before);
        task.count("rows_new", new);
    }
    task.tell(ListTold { source: spec.source.clone(), before, new, gone })?;
    if task.outcome.rows_in == 0 {
        let hint = "put images there, or take the source out of the pipeline file";
        return Err(Error::usage(format!("source {:?} has no rows", spec.source), hint));
    }
    note(&notes, captions, &source, &spec.source, task);
    Ok(())
}

/// Counts and tells what a person should know of the rows.
fn note(notes: &Notes, captions: u64, source: &Source, name: &str, task: &mut Task) {
    for (counter, n) in [
        ("captions_cut", notes.captions_cut),
        ("captions_lost", notes.captions_lost),
        ("captions_not_utf8", notes.captions_not_utf8),
    ] {
        if n > 0 {
            task.count(counter, n);
        }
    }
    notes.counts().for_each(|(counter, n)| task.count(counter, n));
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
    task.outcome.warnings.extend(warnings.into_iter().map(|text| format!("source {name:?}: {text}")));
}

/// What listing a source would find, by a look that writes nothing in the work folder.
pub fn look(spec: &ListTask, former: &Table, task: &Task) -> Result<ListTold> {
    let aside = std::env::temp_dir().join(format!("lvd-compare.{}", std::process::id()));
    let mut comparison = Comparison::new(former, aside);
    let mut rows = 0;
    source_named(task, &spec.source)?.list_versions(&mut |input, version| {
        rows += 1;
        comparison.see(&input, version, task).map(|_| ())
    })?;
    let Changes { before, mut gone, .. } = comparison.finish(task)?;
    let gone = gone.try_fold(0, |gone, id| id.map(|_| gone + 1))?;
    Ok(ListTold { source: spec.source.clone(), before, new: rows - before, gone })
}

/// Whether a row's place holds a password or a signature, which only a URL may.
fn secret_in(source: &Source, location: &str) -> bool {
    source.is_of_urls() && redacted(location) != location
}

/// Where new rows go: shard after shard. Shards whose listed rows were lost come first: where
/// nothing else has changed, the new rows are theirs.
struct Shards<'a> {
    source: &'a Source,
    dataset: u16,
    shard_rows: u32,
    /// The number of the next shard behind all others.
    next: u32,
    lost: std::vec::IntoIter<Part>,
    /// The lost one that is being written, or none: the one before `next` is.
    again: Option<Part>,
    row: u32,
    /// Rows of lost shards that were written as they had been.
    mended: u64,
    writer: Option<RowWriter<Listed>>,
    /// Whether the shard holds a password or a signature.
    secret: bool,
}

impl<'a> Shards<'a> {
    /// New shards behind those that there are.
    fn after(former: &Table, lost: Vec<Part>, dataset: u16, shard_rows: u32, source: &'a Source) -> Self {
        let shards = former.parts.iter().filter_map(|part| part.shard);
        let next = shards.map(|shard| shard.number() + 1).max().unwrap_or(0);
        let lost = lost.into_iter();
        Self { source, dataset, shard_rows, next, lost, again: None, row: 0, mended: 0, writer: None, secret: false }
    }

    fn push(&mut self, input: InputRow, version: String, task: &mut Task) -> Result<()> {
        let most = self.again.as_ref().map_or(u64::from(self.shard_rows), |again| again.rows);
        if u64::from(self.row) == most {
            self.close(task)?;
        }
        if self.writer.is_none() {
            self.open(task)?;
        }
        if !self.secret && secret_in(self.source, &input.location) {
            owner_only(&task.aside("listed"))?;
            self.secret = true;
        }
        let id = self.shard().image(self.row);
        if let Some(writer) = &mut self.writer {
            push(writer, id, input, version)?;
        }
        self.row += 1;
        Ok(())
    }

    fn open(&mut self, task: &Task) -> Result<()> {
        self.again = self.lost.next();
        if self.again.is_none() {
            self.next += 1;
        }
        if self.next > MOST_SHARDS {
            let hint = "raise `shard_rows`, which numbers and fetches all rows anew";
            return Err(Error::usage(format!("a source of more than {MOST_SHARDS} shards"), hint));
        }
        (self.writer, self.row, self.secret) = (Some(task.rows::<Listed>("listed")?), 0, false);
        Ok(())
    }

    /// The shard that is being written.
    fn shard(&self) -> ShardId {
        let again = self.again.as_ref().and_then(|again| again.shard);
        again.unwrap_or_else(|| ShardId::new(self.dataset, self.next.saturating_sub(1)))
    }

    fn close(&mut self, task: &mut Task) -> Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let (written, shard) = (writer.finish()?, self.shard());
        let Some(again) = self.again.take() else { return task.publish(written, "listed", Some(shard)) };
        if task.publish_again(&written, &again)? {
            self.mended += again.rows;
            return Ok(());
        }
        task.publish(written, "listed", Some(shard))
    }
}

fn push(writer: &mut RowWriter<Listed>, id: ImageId, input: InputRow, version: String) -> Result<()> {
    let InputRow { location, caption, extra } = input;
    let bytes = location.len() + [&caption, &extra].into_iter().flatten().map(String::len).sum::<usize>();
    writer.push_long(Listed { id, location, caption, extra, version }, bytes)
}

/// Rows of which it is not known yet whether they are new, numbered.
#[derive(Default)]
struct Later(Option<RowWriter<Listed>>);

impl Later {
    fn push(&mut self, number: u64, input: InputRow, version: &str, task: &Task) -> Result<()> {
        if self.0.is_none() {
            self.0 = Some(task.rows("later")?);
            // They may hold secrets.
            owner_only(&task.aside("later"))?;
        }
        self.0.as_mut().map_or(Ok(()), |writer| push(writer, ImageId(number), input, version.to_owned()))
    }

    /// Hands on those that are new, in their order.
    fn hand_on(self, mut new: Sorted<8>, shards: &mut Shards, task: &mut Task) -> Result<()> {
        let Some(writer) = self.0 else { return Ok(()) };
        let path = writer.finish()?.path;
        let mut next = new.next().transpose()?;
        for batch in row::read::<Listed>(&(&path).into())? {
            for Listed { id, location, caption, extra, version } in batch? {
                if next == Some(id.0.to_be_bytes()) {
                    shards.push(InputRow { location, caption, extra }, version, task)?;
                    next = new.next().transpose()?;
                }
            }
        }
        std::fs::remove_file(&path).map_err(Error::io(&path))
    }
}

/// Publishes the rows that are gone, shard by shard; how many they are.
fn publish_gone(gone: Sorted<8>, task: &mut Task) -> Result<u64> {
    let mut rows = 0;
    let mut open: Option<(ShardId, RowWriter<Gone>)> = None;
    for id in gone {
        let id = ImageId(u64::from_be_bytes(id?));
        if let Some((shard, writer)) = open.take_if(|(shard, _)| *shard != id.shard()) {
            task.publish(writer.finish()?, GONE, Some(shard))?;
        }
        if open.is_none() {
            open = Some((id.shard(), task.rows(GONE)?));
        }
        if let Some((_, writer)) = &mut open {
            writer.push(Gone { id })?;
        }
        rows += 1;
    }
    if let Some((shard, writer)) = open {
        task.publish(writer.finish()?, GONE, Some(shard))?;
    }
    Ok(rows)
}

/// A source by its name.
pub fn source_named<'a>(task: &'a Task, name: &str) -> Result<&'a Source> {
    let entry = task.catalog.sources.get(name).map(|entry| &entry.source);
    entry.ok_or_else(|| {
        Error::usage(format!("source {name:?} is no longer in the pipeline file"), "put it back, or run again")
    })
}
