//! Tables as Rust structs: one declaration gives the Parquet schema, the encoder, the decoder and
//! the column docs.
//!
//! For tables of facts (ids, numbers, short texts). Pixels and vectors have their own files: they
//! are too big to be turned into rows of structs.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray,
    new_null_array,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int64Type, Schema, SchemaRef, UInt32Type, UInt64Type,
};

use crate::checked::Stored;
use crate::part::{self, Layout, PartWriter, Written};
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Reason};

/// Rows turned into one record batch at a time.
const BATCH_ROWS: usize = 16_384;
/// Bytes of long texts turned into one record batch at a time.
const BATCH_BYTES: usize = 64 << 20;

/// A value that fits one column.
pub trait Cell: Sized {
    /// Whether the column may hold nulls.
    const NULLABLE: bool = false;
    /// The column's type.
    fn data_type() -> DataType;
    /// A column of these values.
    fn encode(values: Vec<Self>) -> ArrayRef;
    /// The values of a column, or `None` when it has another type or forbidden nulls.
    fn decode(column: &ArrayRef) -> Option<Vec<Self>>;
}

macro_rules! primitive_cell {
    ($($rust:ty => $arrow:ty),*) => {$(
        impl Cell for $rust {
            fn data_type() -> DataType { <$arrow as ArrowPrimitiveType>::DATA_TYPE }
            fn encode(values: Vec<Self>) -> ArrayRef { Arc::new(PrimitiveArray::<$arrow>::from_iter_values(values)) }
            fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
                let column = column.as_primitive_opt::<$arrow>()?;
                (column.null_count() == 0).then(|| column.values().to_vec())
            }
        }
        impl Cell for Option<$rust> {
            const NULLABLE: bool = true;
            fn data_type() -> DataType { <$arrow as ArrowPrimitiveType>::DATA_TYPE }
            fn encode(values: Vec<Self>) -> ArrayRef { Arc::new(PrimitiveArray::<$arrow>::from_iter(values)) }
            fn decode(column: &ArrayRef) -> Option<Vec<Self>> { Some(column.as_primitive_opt::<$arrow>()?.iter().collect()) }
        }
    )*};
}

primitive_cell!(u32 => UInt32Type, u64 => UInt64Type, i64 => Int64Type, f32 => Float32Type, f64 => Float64Type);

impl Cell for bool {
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn encode(values: Vec<Self>) -> ArrayRef {
        Arc::new(BooleanArray::from(values))
    }
    fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
        column.as_boolean_opt()?.iter().collect()
    }
}

impl Cell for String {
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn encode(values: Vec<Self>) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(values))
    }
    fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
        column.as_string_opt::<i32>()?.iter().map(|v| v.map(str::to_owned)).collect()
    }
}

impl Cell for Option<String> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn encode(values: Vec<Self>) -> ArrayRef {
        Arc::new(StringArray::from_iter(values))
    }
    fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(column.as_string_opt::<i32>()?.iter().map(|v| v.map(str::to_owned)).collect())
    }
}

impl Cell for ImageId {
    fn data_type() -> DataType {
        DataType::UInt64
    }
    fn encode(values: Vec<Self>) -> ArrayRef {
        u64::encode(values.into_iter().map(|id| id.0).collect())
    }
    fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(u64::decode(column)?.into_iter().map(ImageId).collect())
    }
}

impl Cell for Option<ImageId> {
    const NULLABLE: bool = true;
    fn data_type() -> DataType {
        DataType::UInt64
    }
    fn encode(values: Vec<Self>) -> ArrayRef {
        Option::<u64>::encode(values.into_iter().map(|id| id.map(|id| id.0)).collect())
    }
    fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
        Some(Option::<u64>::decode(column)?.into_iter().map(|id| id.map(ImageId)).collect())
    }
}

impl<const N: usize> Cell for [u8; N] {
    fn data_type() -> DataType {
        DataType::FixedSizeBinary(i32::try_from(N).unwrap_or(i32::MAX))
    }
    fn encode(values: Vec<Self>) -> ArrayRef {
        let width = i32::try_from(N).unwrap_or(i32::MAX);
        Arc::new(FixedSizeBinaryArray::new(width, Buffer::from_vec(values.into_flattened()), None))
    }
    fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
        let column = column.as_fixed_size_binary_opt()?;
        if column.null_count() > 0 {
            return None;
        }
        (0..column.len()).map(|row| column.value(row).try_into().ok()).collect()
    }
}

impl Cell for Reason {
    fn data_type() -> DataType {
        DataType::Utf8
    }
    fn encode(values: Vec<Self>) -> ArrayRef {
        String::encode(values.into_iter().map(|reason| reason.name().to_owned()).collect())
    }
    fn decode(column: &ArrayRef) -> Option<Vec<Self>> {
        String::decode(column)?.iter().map(|name| Reason::from_name(name)).collect()
    }
}

/// What a person reads about a column.
#[derive(Clone, Debug)]
pub struct ColumnDoc {
    /// Its name.
    pub name: &'static str,
    /// Its type, as Arrow prints it, with `?` where it may be null.
    pub kind: String,
    /// What it means.
    pub doc: String,
}

/// A struct that is a row of a table; made by [`table!`](crate::table).
pub trait Row: Sized {
    /// What the table holds.
    fn about() -> String;
    /// Its columns, for docs/tables.md.
    fn columns() -> Vec<ColumnDoc>;
    /// Its Parquet schema.
    fn schema() -> SchemaRef;
    /// Rows as a batch.
    fn encode(rows: Vec<Self>) -> Result<RecordBatch>;
    /// The rows of a batch, or what is wrong with it.
    fn decode(batch: &RecordBatch) -> std::result::Result<Vec<Self>, String>;
}

/// Declares a table: a struct whose fields are [`Cell`]s and whose docs are the documentation of
/// the columns.
#[macro_export]
macro_rules! table {
    ($(#[doc = $about:literal])* pub struct $name:ident { $($(#[doc = $doc:literal])* pub $field:ident: $kind:ty,)* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::struct_field_names, reason = "fields are named as the columns are")]
        pub struct $name { $($(#[doc = $doc])* pub $field: $kind,)* }

        impl $crate::row::Row for $name {
            fn about() -> String { [$($about),*].concat().trim().to_owned() }
            fn columns() -> Vec<$crate::row::ColumnDoc> {
                vec![$($crate::row::column_doc::<$kind>(stringify!($field), &[$($doc),*])),*]
            }
            fn schema() -> $crate::arrow::datatypes::SchemaRef {
                std::sync::Arc::new($crate::arrow::datatypes::Schema::new(vec![$($crate::row::field::<$kind>(stringify!($field))),*]))
            }
            fn encode(rows: Vec<Self>) -> $crate::Result<$crate::arrow::record_batch::RecordBatch> {
                $(let mut $field: Vec<$kind> = Vec::with_capacity(rows.len());)*
                for row in rows { $($field.push(row.$field);)* }
                $crate::row::batch(Self::schema(), vec![$(<$kind as $crate::row::Cell>::encode($field)),*])
            }
            fn decode(batch: &$crate::arrow::record_batch::RecordBatch) -> std::result::Result<Vec<Self>, String> {
                $(let mut $field = $crate::row::column::<$kind>(batch, stringify!($field))?.into_iter();)*
                let mut rows = Vec::with_capacity(batch.num_rows());
                while let ($(Some($field),)*) = ($($field.next(),)*) { rows.push(Self { $($field),* }); }
                Ok(rows)
            }
        }
    };
}

/// The values of column `name`. One that may be null is null where an earlier version did not write
/// it.
pub fn column<C: Cell>(batch: &RecordBatch, name: &str) -> std::result::Result<Vec<C>, String> {
    let array = match batch.column_by_name(name) {
        Some(array) => array,
        None if C::NULLABLE => &new_null_array(&C::data_type(), batch.num_rows()),
        None => return Err(format!("has no column {name:?}")),
    };
    C::decode(array).ok_or_else(|| format!("column {name:?} is {}, expected {}", array.data_type(), kind::<C>()))
}

/// The schema field of a cell type.
#[must_use]
pub fn field<C: Cell>(name: &str) -> Field {
    Field::new(name, C::data_type(), C::NULLABLE)
}

fn kind<C: Cell>() -> String {
    let name = match C::data_type() {
        DataType::Utf8 => "string".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        other => other.to_string().to_lowercase(),
    };
    if C::NULLABLE { name + "?" } else { name }
}

/// The documentation of one column.
#[must_use]
pub fn column_doc<C: Cell>(name: &'static str, doc: &[&str]) -> ColumnDoc {
    ColumnDoc { name, kind: kind::<C>(), doc: doc.concat().trim().to_owned() }
}

/// A batch of columns that were built to fit `schema`.
pub fn batch(schema: Arc<Schema>, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(schema, columns).map_err(|e| Error::data("a batch of rows", e))
}

/// Writes a table of facts row by row.
pub struct RowWriter<R> {
    part: PartWriter,
    pending: Vec<R>,
    pending_bytes: usize,
}

impl<R: Row> RowWriter<R> {
    /// Opens `path`, which must not exist.
    pub fn create(path: &Path, layout: &Layout) -> Result<Self> {
        Ok(Self { part: PartWriter::create(path, R::schema(), layout)?, pending: Vec::new(), pending_bytes: 0 })
    }

    /// Appends a row.
    pub fn push(&mut self, row: R) -> Result<()> {
        self.pending.push(row);
        if self.pending.len() == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    /// Appends a row with texts of `bytes`, which may be long.
    pub fn push_long(&mut self, row: R, bytes: usize) -> Result<()> {
        self.pending_bytes += bytes;
        self.push(row)?;
        if self.pending_bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.pending_bytes = 0;
        self.part.write(&R::encode(std::mem::take(&mut self.pending))?)
    }

    /// Closes the part.
    pub fn finish(mut self) -> Result<Written> {
        self.flush()?;
        self.part.finish()
    }
}

/// Writes `rows` as the whole of `path`: readers see the old table or the new one.
pub fn replace<R: Row>(path: &Path, rows: Vec<R>) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".tmp-{}", std::process::id()));
    let aside = Path::new(&aside);
    if aside.exists() {
        std::fs::remove_file(aside).map_err(Error::io(aside))?;
    }
    let mut writer = RowWriter::create(aside, &part::FACTS)?;
    rows.into_iter().try_for_each(|row| writer.push(row))?;
    writer.finish()?;
    std::fs::rename(aside, path).map_err(Error::io(path))
}

/// The rows of a part of facts, batch by batch.
pub fn read<R: Row>(part: &Stored) -> Result<impl Iterator<Item = Result<Vec<R>>> + use<R>> {
    let names: Vec<_> = R::columns().iter().map(|column| column.name).collect();
    let path = part.path.clone();
    Ok(part::read(part, &names, BATCH_ROWS)?
        .map(move |batch| R::decode(&batch?).map_err(|message| Error::data(&path, message))))
}
