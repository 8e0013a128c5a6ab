//! Rows of Parquet files: only the row groups and rows asked for are decoded, an image at a time.

use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::answer::{Answer, Fetched};
use super::limits::FetchLimits;
use crate::sources::files::Named;
use crate::sources::location::ParquetRow;
use crate::sources::{InputRow, parquet_file, table};
use lvd_base::error::{Error, Result};
use lvd_base::types::{Dropped, Reason};

/// Reads `rows` out of a source's files.
pub(super) fn fetch(
    limits: &FetchLimits,
    files: &[PathBuf],
    column: &str,
    rows: &[InputRow],
    each: &mut dyn FnMut(usize, Answer) -> Result<()>,
) -> Result<()> {
    let files = Named::new(files);
    let mut done = 0;
    while done < rows.len() {
        let location = &rows[done].location;
        let read = ParquetRow::read(location);
        let first = read.and_then(|row| files.get(row.file, row.name).map(|path| (row, path)));
        let Some((first, path)) = first else {
            let why = if read.is_some() { "its file is not there any more" } else { "names no row of a Parquet file" };
            each(done, Err(Dropped::new(Reason::Unreadable, format!("{location:?}: {why}"))))?;
            done += 1;
            continue;
        };
        let run = run(first, &rows[done..]);
        read_run(path, column, limits, &run, &mut |answer| {
            each(done, answer)?;
            done += 1;
            Ok(())
        })?;
    }
    Ok(())
}

/// The rows of one file at the front of `rows`, as long as they ascend: what one pass over the file
/// can answer.
fn run(first: ParquetRow, rows: &[InputRow]) -> Vec<u64> {
    let mut run: Vec<u64> = Vec::new();
    for row in rows.iter().map_while(|row| ParquetRow::read(&row.location)) {
        let follows = row.file == first.file && row.name == first.name && run.last().is_none_or(|&last| last < row.row);
        if !follows {
            break;
        }
        run.push(row.row);
    }
    run
}

/// Answers for the ascending rows `run` of one file, in order.
fn read_run(
    path: &Path,
    column: &str,
    limits: &FetchLimits,
    run: &[u64],
    each: &mut dyn FnMut(Answer) -> Result<()>,
) -> Result<()> {
    let broken = |error: &dyn std::fmt::Display| Error::data(path, format!("column {column:?}: {error}"));
    let builder = parquet_file::open_for_images(path, column)?;
    let place = table::image_place(path, builder.schema(), column)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), [place]);
    let Plan { groups, selectors, rows } = plan(builder.metadata(), run).map_err(|error| broken(&error))?;
    let builder = builder
        .with_projection(mask)
        .with_row_groups(groups)
        .with_row_selection(RowSelection::from(selectors))
        // What an image takes is not known before it is read; more than two gigabytes do not fit a
        // batch.
        .with_batch_size(1);
    let mut read = 0;
    for batch in parquet_file::batches(path, builder)? {
        let batch = batch?;
        let images = images(batch.column(0)).map_err(|error| broken(&error))?;
        for (row, image) in images.as_binary::<i64>().iter().enumerate() {
            each(match (image, path_at(batch.column(0), row)) {
                (None, Some(elsewhere)) => Err(Dropped::new(
                    Reason::Empty,
                    format!("the row has no bytes, only the path {elsewhere:?}: write the files' bytes into the table"),
                )),
                (image, _) => answer(image, limits.max_bytes),
            })?;
        }
        read += images.len();
    }
    if read != rows {
        return Err(broken(&format!("{read} rows were read where {rows} were asked for")));
    }
    run[rows..]
        .iter()
        .try_for_each(|row| each(Err(Dropped::new(Reason::Unreadable, format!("{}: no row {row}", path.display())))))
}

/// What to read of a file.
struct Plan {
    /// The row groups that hold at least one row asked for.
    groups: Vec<usize>,
    /// Skips and takes over the rows of these groups.
    selectors: Vec<RowSelector>,
    /// How many of the rows asked for there are; the others lie behind the end.
    rows: usize,
}

fn plan(metadata: &ParquetMetaData, run: &[u64]) -> std::result::Result<Plan, std::num::TryFromIntError> {
    let mut plan = Plan { groups: Vec::new(), selectors: Vec::new(), rows: 0 };
    let mut start = 0_u64;
    for (group, rows) in metadata.row_groups().iter().map(RowGroupMetaData::num_rows).enumerate() {
        let end = start.saturating_add(u64::try_from(rows)?);
        let wanted = run[plan.rows..].partition_point(|&row| row < end);
        if wanted > 0 {
            plan.groups.push(group);
            let mut next = start;
            for &row in &run[plan.rows..plan.rows + wanted] {
                plan.selectors.extend([skip(row - next), RowSelector::select(1)]);
                next = row + 1;
            }
            plan.selectors.push(skip(end - next));
            plan.rows += wanted;
        }
        start = end;
    }
    Ok(plan)
}

fn skip(rows: u64) -> RowSelector {
    RowSelector::skip(usize::try_from(rows).unwrap_or(usize::MAX))
}

/// The bytes of a column of images; null where the struct or its bytes are.
fn images(column: &ArrayRef) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    let bytes = match column.as_struct_opt() {
        None => column.clone(),
        Some(images) => {
            let bytes = images.column_by_name("bytes").cloned().unwrap_or_else(|| column.clone());
            let nulls = arrow::buffer::NullBuffer::union(images.nulls(), bytes.nulls());
            arrow::array::make_array(bytes.to_data().into_builder().nulls(nulls).build()?)
        }
    };
    cast(&bytes, &DataType::LargeBinary)
}

/// The path beside the bytes, which `datasets` writes in their place for images from files.
fn path_at(column: &ArrayRef, row: usize) -> Option<String> {
    let paths = column.as_struct_opt()?.column_by_name("path")?;
    let path = paths.as_string_opt::<i32>().filter(|paths| column.is_valid(row) && paths.is_valid(row))?.value(row);
    (!path.is_empty()).then(|| path.to_owned())
}

fn answer(image: Option<&[u8]>, max_bytes: u64) -> Answer {
    match image {
        None => Err(Dropped::new(Reason::Empty, "the image is null")),
        Some([]) => Err(Dropped::new(Reason::Empty, "the image has no bytes")),
        Some(bytes) if bytes.len() as u64 > max_bytes => Err(Dropped::new(
            Reason::TooManyBytes,
            format!("{} bytes are more than max_bytes = {max_bytes}", bytes.len()),
        )),
        Some(bytes) => Ok(Fetched { bytes: bytes.to_vec() }),
    }
}
