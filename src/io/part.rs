//! One Parquet file being written or read: a part of a table.
//!
//! A part is hashed while it is written, so that its name can carry its content and a reader can prove what it reads.
//! The same rows give the same bytes: no time stamps, fixed row groups, one writer version.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::native::disk;

/// How a table's columns are laid out in the file.
pub struct Layout {
    /// Rows a row group: what a reader must fetch to get one row.
    pub group_rows: usize,
    /// Columns stored raw: bytes that no codec makes smaller (JPEG, fp16 vectors), without dictionary or statistics.
    pub raw_columns: &'static [&'static str],
}

/// Small facts keyed by id.
pub const FACTS: Layout = Layout { group_rows: 65_536, raw_columns: &[] };

/// Bytes a row group, about: long texts close a group before it has all its rows, or a writer would hold gigabytes of them.
const GROUP_BYTES: usize = 256 << 20;

/// Bytes after which the disk may begin, so that little is left to wait for when the file is made durable.
const WRITE_BACK: u64 = 8 << 20;

/// A part that has been written whole.
#[derive(Debug)]
pub struct Written {
    /// Where it lies for now.
    pub path: PathBuf,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// Writes one part.
pub struct PartWriter {
    writer: ArrowWriter<Sink>,
    path: PathBuf,
    rows: u64,
}

impl PartWriter {
    /// Opens `path`, which must not exist.
    pub fn create(path: &Path, schema: SchemaRef, layout: &Layout) -> Result<Self> {
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let mut properties = WriterProperties::builder()
            .set_created_by("lvd".into())
            .set_compression(zstd)
            .set_max_row_group_row_count(Some(layout.group_rows))
            .set_max_row_group_bytes(Some(GROUP_BYTES));
        for column in layout.raw_columns {
            let column = ColumnPath::new(column.split('.').map(str::to_owned).collect());
            properties = properties
                .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None);
        }
        let writer = ArrowWriter::try_new(Sink::create(path)?, schema, Some(properties.build()))
            .map_err(|e| Error::data(path, e))?;
        Ok(Self { writer, path: path.to_path_buf(), rows: 0 })
    }

    /// Appends rows.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|e| Error::data(&self.path, e))
    }

    /// Closes the row group, whatever rows it has.
    pub fn end_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(|e| Error::data(&self.path, e))
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes the footer and makes the file durable.
    pub fn finish(self) -> Result<Written> {
        self.writer.into_inner().map_err(|e| Error::data(&self.path, e))?.finish(self.rows)
    }
}

/// The batches of a part, at most `batch_rows` rows each; only `columns`, or all when it is empty.
pub fn read(
    path: &Path,
    columns: &[&str],
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| Error::data(path, e))?;
    let mask = projection(builder.parquet_schema(), columns).map_err(|message| Error::data(path, message))?;
    let reader = builder.with_projection(mask).with_batch_size(batch_rows).build().map_err(|e| Error::data(path, e))?;
    let path = path.to_path_buf();
    Ok(reader.map(move |batch| batch.map_err(|e| Error::data(&path, e))))
}

/// These columns by name, or all when there are none.
fn projection(schema: &SchemaDescriptor, columns: &[&str]) -> std::result::Result<ProjectionMask, String> {
    if columns.is_empty() {
        return Ok(ProjectionMask::all());
    }
    let fields = schema.root_schema().get_fields();
    if let Some(column) = columns.iter().find(|column| fields.iter().all(|field| field.name() != **column)) {
        return Err(format!("has no column {column:?}"));
    }
    let wanted = fields.iter().enumerate().filter(|(_, field)| columns.contains(&field.name())).map(|(i, _)| i);
    Ok(ProjectionMask::roots(schema, wanted))
}

/// The row groups that `wanted` takes by the range of their values of `column` (u64), as the groups' statistics tell it; a
/// group without statistics is read. A group is one batch: files of gigabytes in all are cut into groups, and no batch may
/// put them together again. Only `columns`, or all when it is empty.
pub fn read_groups(
    path: &Path,
    columns: &[&str],
    column: &str,
    wanted: &dyn Fn(RangeInclusive<u64>) -> bool,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let file = File::open(path).map_err(Error::io(path))?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(|e| Error::data(path, e))?;
    let mask = projection(metadata.parquet_schema(), columns).map_err(|message| Error::data(path, message))?;
    let index = metadata.parquet_schema().columns().iter().position(|known| known.path().string() == column);
    let index = index.ok_or_else(|| Error::data(path, format!("has no column {column:?}")))?;
    let groups = metadata.metadata().row_groups().iter().enumerate().filter(|(_, group)| {
        let bounds = match group.column(index).statistics() {
            // Unsigned values are stored, and their bounds compared, by their bits.
            Some(Statistics::Int64(bounds)) => bounds.min_opt().zip(bounds.max_opt()),
            _ => None,
        };
        bounds.is_none_or(|(low, high)| wanted(low.cast_unsigned()..=high.cast_unsigned()))
    });
    let groups: Vec<(usize, usize)> =
        groups.map(|(number, group)| (number, usize::try_from(group.num_rows()).unwrap_or(usize::MAX))).collect();
    let path = path.to_path_buf();
    Ok(groups.into_iter().filter(|&(_, rows)| rows > 0).map(move |(group, rows)| {
        let file = file.try_clone().map_err(Error::io(&path))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
            .with_projection(mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(rows);
        let batch = builder.build().map(|mut reader| reader.next()).map_err(|e| Error::data(&path, e))?;
        let batch = batch.ok_or_else(|| Error::data(&path, format!("row group {group} ends early")))?;
        batch.map_err(|e| Error::data(&path, e))
    }))
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

/// SHA-256 of `bytes`, lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A new file that is hashed while it is written.
pub struct Sink {
    file: BufWriter<File>,
    path: PathBuf,
    sha256: Sha256,
    bytes: u64,
}

impl Sink {
    /// Opens `path`, which must not exist.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::io(path))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { file, path: path.to_path_buf(), sha256: Sha256::new(), bytes: 0 })
    }

    /// Makes the file durable; it holds `rows`.
    pub fn finish(self, rows: u64) -> Result<Written> {
        let file = self.file.into_inner().map_err(|e| Error::io(&self.path)(e.into_error()))?;
        file.sync_all().map_err(Error::io(&self.path))?;
        Ok(Written { path: self.path, rows, bytes: self.bytes, sha256: hex(&self.sha256.finalize()) })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        let before = self.bytes / WRITE_BACK;
        self.bytes += n as u64;
        if self.bytes / WRITE_BACK > before {
            disk::start_write_back(self.file.get_ref());
        }
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
