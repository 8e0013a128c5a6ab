//! Parquet sources: tables of URLs, and tables of images; only the columns needed are ever read.

mod texts;

use std::path::Path;

use arrow::datatypes::{DataType, Schema};
use parquet::data_type::ByteArray;
use serde_json::Value;

use super::Each;
use super::columns::{self, Column, Columns, DEFAULT_CAPTION, Holds};
use super::location::{ParquetRow, file_name};
use super::parquet_file::{Builder, open};
use super::rows::{self, Cells, InputRow, Notes};
use crate::decode::looks_like_image;
use lvd_base::error::{Error, Result};

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
    columns: Columns,
    notes: &mut Notes,
    each: &mut Each,
) -> Result<()> {
    let builder = open(path)?;
    image_place(path, builder.schema(), columns.url)?;
    let kept = kept_places(path, builder.schema(), columns.keep)?;
    let name = file_name(path);
    let location = |row| ParquetRow { file, name: &name, row }.write();
    let caption = caption_place(path, builder.schema(), columns.caption)?;
    if caption.is_none() && kept.is_empty() {
        return (0..count(path, &builder)?).try_for_each(|row| each(InputRow::new(location(row), None)));
    }
    let places: Vec<Option<usize>> = std::iter::once(caption).chain(kept.iter().map(|kept| Some(kept.place))).collect();
    texts::for_each(path, &places, &mut |row, texts| {
        let extra = extra_of(&kept, &texts[1..], notes);
        each(InputRow {
            location: location(row),
            caption: notes.caption(texts[0].as_ref().map(ByteArray::data)),
            extra,
        })
    })
}

/// A column that is kept.
struct Kept<'a> {
    name: &'a str,
    place: usize,
    /// Whether it holds texts, and not numbers.
    is_text: bool,
}

/// The places of columns that are kept: of texts, numbers or truth values.
fn kept_places<'a>(path: &Path, schema: &Schema, columns: &'a [String]) -> Result<Vec<Kept<'a>>> {
    let kept = |name: &'a String| {
        let place = find(path, schema, name)?;
        let data_type = schema.field(place).data_type();
        let is_text = is_text(data_type);
        if is_text || data_type.is_integer() || is_number(data_type) {
            return Ok(Kept { name, place, is_text });
        }
        Err(wrong_type(path, schema, name, data_type, "texts or numbers, which could be kept"))
    };
    columns.iter().map(kept).collect()
}

fn is_number(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64 | DataType::Boolean)
}

/// What is kept of a row.
fn extra_of(kept: &[Kept], texts: &[Option<ByteArray>], notes: &mut Notes) -> Option<String> {
    rows::extra(kept.iter().zip(texts).map(|(kept, text)| {
        let value = match text.as_ref().map(ByteArray::data) {
            Some(text) if kept.is_text => notes.kept(text),
            // What is no number of JSON (NaN) is null.
            Some(text) => serde_json::from_slice(text).unwrap_or_default(),
            None => Value::Null,
        };
        (kept.name, value)
    }))
}

/// Checks a table of images and counts its rows.
pub(super) fn check_images(path: &Path, columns: Columns) -> Result<u64> {
    let builder = open(path)?;
    image_place(path, builder.schema(), columns.url)?;
    caption_place(path, builder.schema(), columns.caption)?;
    kept_places(path, builder.schema(), columns.keep)?;
    count(path, &builder)
}

/// Streams the rows of a table of URLs; a null is an empty location.
pub(super) fn list_urls(path: &Path, columns: Columns, notes: &mut Notes, each: &mut Each) -> Result<()> {
    let builder = open(path)?;
    let url = url_place(path, builder.schema(), columns.url)?;
    let caption = caption_place(path, builder.schema(), columns.caption)?;
    let kept = kept_places(path, builder.schema(), columns.keep)?;
    let places: Vec<Option<usize>> =
        [Some(url), caption].into_iter().chain(kept.iter().map(|kept| Some(kept.place))).collect();
    texts::for_each(path, &places, &mut |row, texts| {
        let extra = extra_of(&kept, &texts[2..], notes);
        let cells = Cells {
            url: texts[0].as_ref().map(ByteArray::data),
            caption: texts[1].as_ref().map(ByteArray::data),
            extra,
        };
        InputRow::each_of_list("row", row, &cells, notes, each)
    })
}

/// Checks a table of URLs by its footer and its first row, and counts its rows.
pub(super) fn check_urls(path: &Path, columns: Columns) -> Result<u64> {
    let builder = open(path)?;
    let url = url_place(path, builder.schema(), columns.url)?;
    let caption = caption_place(path, builder.schema(), columns.caption)?;
    kept_places(path, builder.schema(), columns.keep)?;
    let mut read = false;
    let first = texts::for_each(path, &[Some(url), caption], &mut |_, _| {
        read = true;
        Err(Error::data(path, "one row is enough"))
    });
    match read {
        true if is_list(builder.schema().field(url).data_type()) => Ok(values(&builder, url)),
        true => count(path, &builder),
        false => first.map(|()| 0),
    }
}

/// How many values a column of lists has, at most.
fn values(builder: &Builder, place: usize) -> u64 {
    let metadata = builder.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let leaves = (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == place);
    let of_leaf = |leaf: usize| metadata.row_groups().iter().map(move |group| group.column(leaf).num_values());
    leaves.flat_map(of_leaf).map(|values| u64::try_from(values).unwrap_or(0)).sum()
}

/// The column of URLs, or of lists of them.
fn url_place(path: &Path, schema: &Schema, column: &str) -> Result<usize> {
    let place = find(path, schema, column)?;
    if is_list(schema.field(place).data_type()) { Ok(place) } else { text_place(path, schema, column) }
}

/// Whether a column holds lists of texts.
fn is_list(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(field) | DataType::LargeList(field) if is_text(field.data_type()))
}

/// The columns, and what they hold by their types and in the first row.
pub(super) fn look(path: &Path) -> Result<Vec<Column>> {
    let builder = open(path)?;
    let schema = builder.schema();
    let has_rows = count(path, &builder)? > 0;
    let look = |(place, name): (usize, &String)| {
        let data_type = schema.field(place).data_type();
        let holds = match data_type {
            DataType::Struct(_) if image_place(path, schema, name).is_ok() => Holds::Image,
            data_type if !is_text(data_type) => Holds::Other,
            data_type => {
                let first = if has_rows { first(path, place)? } else { None };
                match first {
                    Some(bytes) if looks_like_image(&bytes) => Holds::Image,
                    Some(bytes) => Holds::of_text(&bytes),
                    None if is_binary(data_type) => Holds::Image,
                    None => Holds::Text(String::new()),
                }
            }
        };
        Ok(Column { name: name.clone(), holds })
    };
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    names.iter().enumerate().map(look).collect()
}

/// The first value of a column of texts or bytes; `None` for a null.
fn first(path: &Path, place: usize) -> Result<Option<Vec<u8>>> {
    let mut value = None;
    let mut read = false;
    let stopped = texts::for_each(path, &[Some(place)], &mut |_, texts| {
        (read, value) = (true, texts[0].as_ref().map(|text| text.data().to_vec()));
        Err(Error::data(path, "one row is enough"))
    });
    if read { Ok(value) } else { stopped.map(|()| None) }
}

fn count(path: &Path, builder: &Builder) -> Result<u64> {
    let rows = builder.metadata().file_metadata().num_rows();
    u64::try_from(rows).map_err(|_| Error::data(path, format!("no readable Parquet file: it has {rows} rows")))
}

fn find(path: &Path, schema: &Schema, column: &str) -> Result<usize> {
    let header: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    columns::place(path, &header, column)
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
