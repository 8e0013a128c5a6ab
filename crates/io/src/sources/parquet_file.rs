//! Parquet files of a user's, read without a panic: what is wrong with one is an error.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use lvd_base::error::{Error, Result};

pub(crate) type Builder = ParquetRecordBatchReaderBuilder<File>;

/// Opens a file and reads its footer.
pub(crate) fn open(path: &Path) -> Result<Builder> {
    let file = File::open(path).map_err(Error::io(path))?;
    guarded(path, || Builder::try_new(file))
}

/// The same for a column of images, whose bytes may be more than 2 GiB together: they are counted in
/// 63 bits.
pub(crate) fn open_for_images(path: &Path, column: &str) -> Result<Builder> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = guarded(path, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))?;
    let fields = metadata.schema().fields().iter();
    let fields: Vec<_> =
        fields.map(|field| if field.name() == column { Arc::new(widened(field)) } else { field.clone() }).collect();
    let schema = Schema::new_with_metadata(fields, metadata.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    let metadata = guarded(path, || ArrowReaderMetadata::try_new(metadata.metadata().clone(), options))?;
    Ok(Builder::new_with_metadata(file, metadata))
}

/// A field whose bytes, its own or those in a struct, are counted in 63 bits.
fn widened(field: &Field) -> Field {
    match field.data_type() {
        DataType::Binary => field.clone().with_data_type(DataType::LargeBinary),
        DataType::Struct(fields) => {
            field.clone().with_data_type(DataType::Struct(fields.iter().map(|field| widened(field)).collect()))
        }
        _ => field.clone(),
    }
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

/// Reads from a Parquet file. The library panics at some broken files, and a file of a user's must
/// not end the process.
pub(super) fn guarded<T, E: std::fmt::Display>(
    path: &Path,
    read: impl FnOnce() -> std::result::Result<T, E>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Error::data(path, format!("no readable Parquet file: {error}"))),
        Err(_) => Err(Error::data(path, "no readable Parquet file: the reader stumbled over its content")),
    }
}
