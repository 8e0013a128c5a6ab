//! Parquet sources: tables of URLs, and tables of images; only the columns needed are ever read.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::location::{ParquetRow, escape};
use super::urls::missing;
use super::{DEFAULT_CAPTION, InputRow};
use crate::error::{Error, Result};

/// Rows of text decoded at a time.
const TEXT_BATCH_ROWS: usize = 1024;

pub(crate) type Builder = ParquetRecordBatchReaderBuilder<File>;

/// Opens a file and reads its footer.
pub(crate) fn open(path: &Path) -> Result<Builder> {
    let file = File::open(path).map_err(Error::io(path))?;
    guarded(path, || Builder::try_new(file))
}

/// Batch after batch of an opened file; what is wrong with the file is an error, never a panic.
pub(crate) fn batches(path: &Path, builder: Builder) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let mut reader = guarded(path, || builder.build())?;
    let mut broken = false;
    Ok(std::iter::from_fn(move || {
        if broken {
            return None;
        }
        let batch = guarded(path, || reader.next().transpose()).transpose();
        broken = matches!(batch, Some(Err(_)));
        batch
    }))
}

/// Reads from a Parquet file. The library panics at some broken files, and a file of a user's must not end the process.
fn guarded<T, E: std::fmt::Display>(path: &Path, read: impl FnOnce() -> std::result::Result<T, E>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Error::data(path, format!("no readable Parquet file: {error}"))),
        Err(_) => Err(Error::data(path, "no readable Parquet file: the reader stumbled over its content")),
    }
}

/// The file's name in a location.
pub(crate) fn name(path: &Path) -> String {
    escape(path.file_name().unwrap_or_default().as_encoded_bytes())
}

/// The place of the image column, once its type is known to hold bytes.
pub(crate) fn image_place(path: &Path, schema: &Schema, column: &str) -> Result<usize> {
    let place = find(path, schema, column)?;
    let data_type = schema.field(place).data_type();
    let holds_bytes = match data_type {
        DataType::Struct(fields) => fields.find("bytes").is_some_and(|(_, field)| is_binary(field.data_type())),
        other => is_binary(other),
    };
    let wanted = "a binary column or struct<bytes: binary, path: string>";
    if holds_bytes { Ok(place) } else { Err(wrong_type(path, schema, column, data_type, wanted)) }
}

/// Streams one row for each row of a table of images, without reading the images.
pub(super) fn list_images(
    path: &Path,
    file: usize,
    image: &str,
    caption: Option<&str>,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    let builder = open(path)?;
    image_place(path, builder.schema(), image)?;
    let name = name(path);
    let location = |row| ParquetRow { file, name: &name, row }.write();
    let Some(caption) = caption_place(path, builder.schema(), caption)? else {
        return (0..rows(&builder)).try_for_each(|row| each(InputRow { location: location(row), caption: None }));
    };
    let mut row = 0;
    for batch in project(path, builder, &[caption])? {
        let batch = batch?;
        let captions = strings(path, batch.column(0))?;
        for caption in captions.as_string::<i64>() {
            each(InputRow { location: location(row), caption: caption.map(str::to_owned) })?;
            row += 1;
        }
    }
    Ok(())
}

/// Checks a table of images and counts its rows.
pub(super) fn check_images(path: &Path, image: &str, caption: Option<&str>) -> Result<u64> {
    let builder = open(path)?;
    image_place(path, builder.schema(), image)?;
    caption_place(path, builder.schema(), caption)?;
    Ok(rows(&builder))
}

/// Streams the rows of a table of URLs; a null is an empty location.
pub(super) fn list_urls(
    path: &Path,
    url: &str,
    caption: Option<&str>,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    let builder = open(path)?;
    let url = text_place(path, builder.schema(), url)?;
    let caption = caption_place(path, builder.schema(), caption)?;
    let read: Vec<usize> = std::iter::once(url).chain(caption).collect();
    for batch in project(path, builder, &read)? {
        let batch = batch?;
        // The projection keeps the order of the file, whichever column comes first there.
        let column = |place| strings(path, batch.column(read.iter().filter(|&&other| other < place).count()));
        let urls = column(url)?;
        let captions = caption.map(column).transpose()?;
        list_batch(&batch, &urls, captions.as_ref(), each)?;
    }
    Ok(())
}

fn list_batch(
    batch: &RecordBatch,
    urls: &ArrayRef,
    captions: Option<&ArrayRef>,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    let text = |column: &ArrayRef, row| column.is_valid(row).then(|| column.as_string::<i64>().value(row).to_owned());
    (0..batch.num_rows()).try_for_each(|row| {
        each(InputRow {
            location: text(urls, row).map(|url| url.trim().to_owned()).unwrap_or_default(),
            caption: captions.and_then(|captions| text(captions, row)),
        })
    })
}

/// Checks a table of URLs and counts its rows.
pub(super) fn check_urls(path: &Path, url: &str, caption: Option<&str>) -> Result<u64> {
    let builder = open(path)?;
    text_place(path, builder.schema(), url)?;
    caption_place(path, builder.schema(), caption)?;
    Ok(rows(&builder))
}

fn rows(builder: &Builder) -> u64 {
    u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0)
}

/// Batches of the columns at `places`.
fn project(path: &Path, builder: Builder, places: &[usize]) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
    let mask = ProjectionMask::roots(builder.parquet_schema(), places.iter().copied());
    batches(path, builder.with_projection(mask).with_batch_size(TEXT_BATCH_ROWS))
}

/// A column of text, whatever way it is stored; text that is no UTF-8 is null.
fn strings(path: &Path, column: &ArrayRef) -> Result<ArrayRef> {
    let utf8 = match column.data_type() {
        DataType::Binary | DataType::BinaryView => cast(column, &DataType::LargeBinary),
        _ => Ok(column.clone()),
    };
    utf8.and_then(|column| cast(&column, &DataType::LargeUtf8)).map_err(|error| Error::data(path, error))
}

fn find(path: &Path, schema: &Schema, column: &str) -> Result<usize> {
    schema.fields().iter().position(|field| field.name() == column).ok_or_else(|| {
        missing(path, column, &schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>())
    })
}

fn text_place(path: &Path, schema: &Schema, column: &str) -> Result<usize> {
    let place = find(path, schema, column)?;
    let data_type = schema.field(place).data_type();
    if is_text(data_type) { Ok(place) } else { Err(wrong_type(path, schema, column, data_type, "strings")) }
}

/// The caption column; where none is named, `caption` counts only if it holds text.
fn caption_place(path: &Path, schema: &Schema, named: Option<&str>) -> Result<Option<usize>> {
    match named {
        Some(name) => text_place(path, schema, name).map(Some),
        None => {
            Ok(schema.fields().iter().position(|field| field.name() == DEFAULT_CAPTION && is_text(field.data_type())))
        }
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        // What writers without logical types make of strings.
        other => is_binary(other),
    }
}

fn wrong_type(path: &Path, schema: &Schema, column: &str, found: &DataType, wanted: &str) -> Error {
    let columns: Vec<String> =
        schema.fields().iter().map(|field| format!("{} ({})", field.name(), field.data_type())).collect();
    Error::usage(
        format!("{}: column {column:?} holds {found}, not {wanted}", path.display()),
        format!("the columns are: {}", columns.join(", ")),
    )
}
