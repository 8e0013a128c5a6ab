//! One Parquet file being written or read: a part of a table.
//!
//! A part is hashed while it is written, so that its name can carry its content and a reader can
//! prove what it reads. The same rows give the same bytes: no time stamps, fixed row groups, one
//! writer version.

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
use parquet::file::metadata::{KeyValue, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use sha2::{Digest, Sha256};

use crate::checked::{BLOCK, BlockSums, Checked, KEY, Stored, Summing, Tail};
use crate::digest::hex;
use lvd_base::disk;
use lvd_base::error::{Error, Result};

/// How a table's columns are laid out in the file.
pub struct Layout {
    /// Rows a row group: what a reader must fetch to get one row.
    pub group_rows: usize,
    /// Columns stored raw: bytes that no codec makes smaller (JPEG, fp16 vectors), without
    /// dictionary or statistics.
    pub raw_columns: &'static [&'static str],
}

/// Small facts keyed by id.
pub const FACTS: Layout = Layout { group_rows: 65_536, raw_columns: &[] };

/// Bytes a row group, about: long texts close a group before it has all its rows, or a writer would
/// hold gigabytes of them.
const GROUP_BYTES: usize = 256 << 20;

/// Bytes after which the disk may begin, so that little is left to wait for when the file is made
/// durable.
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
    /// Its end, with the checksums of its blocks.
    pub tail: Option<Tail>,
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

    /// Writes the footer, which holds the checksums of all before it, and makes the file durable.
    pub fn finish(mut self) -> Result<Written> {
        self.writer.flush().map_err(|e| Error::data(&self.path, e))?;
        self.writer.sync().map_err(Error::io(&self.path))?;
        let sums = self.writer.inner_mut().end_blocks();
        self.writer.append_key_value_metadata(KeyValue::new(KEY.to_owned(), sums.to_text()));
        self.writer.into_inner().map_err(|e| Error::data(&self.path, e))?.finish(self.rows)
    }
}

/// A part that is open, with its metadata.
fn open(stored: &Stored) -> Result<(Checked, ArrowReaderMetadata)> {
    let file = stored.unread()?;
    let options = ArrowReaderOptions::new();
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|e| file.fault(e))?;
    let pairs = metadata.metadata().file_metadata().key_value_metadata();
    let text = pairs.into_iter().flatten().find(|pair| pair.key == KEY).and_then(|pair| pair.value.as_deref());
    // Files of other programs, and of earlier versions, have none.
    let file = match text {
        Some(text) => {
            let sums = BlockSums::from_text(text).ok_or_else(|| stored.damaged("its checksums cannot be read"))?;
            file.with(sums)?
        }
        None => file,
    };
    Ok((file, metadata))
}

/// The batches of a part, at most `batch_rows` rows each; only `columns`, or all when it is empty.
pub fn read(
    part: &Stored,
    columns: &[&str],
    batch_rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let (file, metadata) = open(part)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata);
    let mask = projection(builder.parquet_schema(), columns);
    let reader = builder.with_projection(mask).with_batch_size(batch_rows).build().map_err(|e| file.fault(e))?;
    Ok(reader.map(move |batch| batch.map_err(|e| file.fault(e))))
}

/// These columns by name, or all when none is named. Whoever reads them says what is not there.
fn projection(schema: &SchemaDescriptor, columns: &[&str]) -> ProjectionMask {
    if columns.is_empty() {
        return ProjectionMask::all();
    }
    let fields = schema.root_schema().get_fields();
    let wanted = fields.iter().enumerate().filter(|(_, field)| columns.contains(&field.name())).map(|(i, _)| i);
    ProjectionMask::roots(schema, wanted)
}

/// The row groups that `wanted` takes by the range of their values of `column` (u64), as the
/// groups' statistics tell it; a group without statistics is read. A group is one batch: files of
/// gigabytes in all are cut into groups, and no batch may put them together again. Only `columns`,
/// or all when it is empty.
pub fn read_groups(
    part: &Stored,
    columns: &[&str],
    column: &str,
    wanted: &dyn Fn(RangeInclusive<u64>) -> bool,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let (file, metadata) = open(part)?;
    let mask = projection(metadata.parquet_schema(), columns);
    let index = metadata.parquet_schema().columns().iter().position(|known| known.path().string() == column);
    let index = index.ok_or_else(|| file.fault(format!("has no column {column:?}")))?;
    let groups = metadata.metadata().row_groups().iter().enumerate().filter(|(_, group)| {
        let bounds = match group.column(index).statistics() {
            // Unsigned values are stored, and their bounds compared, by their bits.
            Some(Statistics::Int64(bounds)) => bounds.min_opt().zip(bounds.max_opt()),
            _ => None,
        };
        bounds.is_none_or(|(low, high)| wanted(low.cast_unsigned()..=high.cast_unsigned()))
    });
    let rows = |group: &RowGroupMetaData| usize::try_from(group.num_rows()).map_err(|error| file.fault(error));
    let groups = groups.map(|(number, group)| Ok((number, rows(group)?))).collect::<Result<Vec<_>>>()?;
    Ok(groups.into_iter().filter(|&(_, rows)| rows > 0).map(move |(group, rows)| {
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone())
            .with_projection(mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(rows);
        let batch = builder.build().map(|mut reader| reader.next()).map_err(|e| file.fault(e))?;
        let batch = batch.ok_or_else(|| file.fault(format!("row group {group} ends early")))?;
        batch.map_err(|e| file.fault(e))
    }))
}

/// SHA-256 of `bytes`, lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A new file that is hashed while it is written, and whose blocks get checksums.
pub struct Sink {
    file: BufWriter<File>,
    path: PathBuf,
    sha256: Sha256,
    bytes: u64,
    blocks: Summing,
    /// Where the tail begins, and its checksum so far.
    tail: Option<(u64, crc32fast::Hasher)>,
}

impl Sink {
    /// Opens `path`, which must not exist.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_in_blocks(path, BLOCK)
    }

    /// The same, with checksums of blocks of so many bytes.
    pub fn create_in_blocks(path: &Path, block: u32) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::io(path))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let (sha256, blocks) = (Sha256::new(), Summing::new(block));
        Ok(Self { file, path: path.to_path_buf(), sha256, bytes: 0, blocks, tail: None })
    }

    /// The checksums of the blocks; what is written from now on is the tail.
    fn end_blocks(&mut self) -> BlockSums {
        self.tail = Some((self.bytes, crc32fast::Hasher::new()));
        std::mem::replace(&mut self.blocks, Summing::new(BLOCK)).finish()
    }

    /// Writes the checksums of the blocks as the tail, and makes the file durable; it holds `rows`.
    pub fn finish_raw(mut self, rows: u64) -> Result<Written> {
        let sums = self.end_blocks();
        let bytes: Vec<u8> = sums.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
        self.write_all(&bytes).map_err(Error::io(&self.path))?;
        self.finish(rows)
    }

    /// Makes the file durable; it holds `rows`.
    fn finish(self, rows: u64) -> Result<Written> {
        let file = self.file.into_inner().map_err(|e| Error::io(&self.path)(e.into_error()))?;
        file.sync_all().map_err(Error::io(&self.path))?;
        let tail = self.tail.map(|(at, crc32)| Tail { at, crc32: crc32.finalize() });
        Ok(Written { path: self.path, rows, bytes: self.bytes, sha256: hex(&self.sha256.finalize()), tail })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        match &mut self.tail {
            Some((_, crc32)) => crc32.update(&bytes[..n]),
            None => self.blocks.update(&bytes[..n]),
        }
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
