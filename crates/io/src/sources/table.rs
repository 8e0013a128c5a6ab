//! Parquet sources: tables of URLs, and tables of images; only the columns needed are ever read.

mod texts;

use std::path::Path;

use arrow::datatypes::{DataType, Schema};

use super::columns::{self, Column, Columns, DEFAULT_CAPTION, Holds};
use super::location::{ParquetRow, file_name};
use super::parquet_file::{Builder, open};
use super::rows::{InputRow, Notes};
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
    image: &str,
    caption: Option<&str>,
    notes: &mut Notes,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    let builder = open(path)?;
    image_place(path, builder.schema(), image)?;
    let name = file_name(path);
    let location = |row| ParquetRow { file, name: &name, row }.write();
    let Some(caption) = caption_place(path, builder.schema(), caption)? else {
        return (0..rows(path, &builder)?)
            .try_for_each(|row| each(InputRow { location: location(row), caption: None }));
    };
    texts::for_each(path, [Some(caption)], &mut |row, [caption]| {
        each(InputRow { location: location(row), caption: notes.caption(caption) })
    })
}

/// Checks a table of images and counts its rows.
pub(super) fn check_images(path: &Path, image: &str, caption: Option<&str>) -> Result<u64> {
    let builder = open(path)?;
    image_place(path, builder.schema(), image)?;
    caption_place(path, builder.schema(), caption)?;
    rows(path, &builder)
}

/// Streams the rows of a table of URLs; a null is an empty location.
pub(super) fn list_urls(
    path: &Path,
    columns: Columns,
    notes: &mut Notes,
    each: &mut dyn FnMut(InputRow) -> Result<()>,
) -> Result<()> {
    let builder = open(path)?;
    let url = text_place(path, builder.schema(), columns.url)?;
    let caption = caption_place(path, builder.schema(), columns.caption)?;
    texts::for_each(path, [Some(url), caption], &mut |row, [url, caption]| {
        each(InputRow::of_list("row", row, url, caption, notes))
    })
}

/// Checks a table of URLs by its footer and its first row, and counts its rows.
pub(super) fn check_urls(path: &Path, columns: Columns) -> Result<u64> {
    let builder = open(path)?;
    let url = text_place(path, builder.schema(), columns.url)?;
    let caption = caption_place(path, builder.schema(), columns.caption)?;
    let mut read = false;
    let first = texts::for_each(path, [Some(url), caption], &mut |_, _| {
        read = true;
        Err(Error::data(path, "one row is enough"))
    });
    if read { rows(path, &builder) } else { first.map(|()| 0) }
}

/// The columns, and what they hold by their types and in the first row.
pub(super) fn look(path: &Path) -> Result<Vec<Column>> {
    let builder = open(path)?;
    let schema = builder.schema();
    let has_rows = rows(path, &builder)? > 0;
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
    let stopped = texts::for_each(path, [Some(place)], &mut |_, [found]| {
        (read, value) = (true, found.map(<[u8]>::to_vec));
        Err(Error::data(path, "one row is enough"))
    });
    if read { Ok(value) } else { stopped.map(|()| None) }
}

fn rows(path: &Path, builder: &Builder) -> Result<u64> {
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
