//! What the tests of sources and of fetching share: Parquet files and listings.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::{InputRow, Source};

/// The result of a test that may stop with `?`.
pub(crate) type Done<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Writes a table in row groups of `group_rows`.
pub(crate) fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>, group_rows: usize) -> Done {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, data)| (name, data, true)))?;
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group_rows)).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

/// A column of strings.
pub(crate) fn strings(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// A column of bytes.
pub(crate) fn binaries(values: &[Option<&[u8]>]) -> ArrayRef {
    Arc::new(BinaryArray::from(values.to_vec()))
}

/// Hugging Face's column of images; the struct of row `null` is null, whatever its bytes.
pub(crate) fn hugging_face(values: &[Option<&[u8]>], null: usize) -> ArrayRef {
    let fields = vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)];
    let paths = strings(&vec![Some("x.jpg"); values.len()]);
    let nulls: NullBuffer = (0..values.len()).map(|row| row != null).collect::<Vec<_>>().into();
    Arc::new(StructArray::new(fields.into(), vec![binaries(values), paths], Some(nulls)))
}

/// All rows of a source.
pub(crate) fn rows(source: &Source) -> lvd_base::Result<Vec<InputRow>> {
    let mut rows = Vec::new();
    source.list(&mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok(rows)
}
