//! Embeddings in Parquet: `id`, `sha256` and the vector, row by row, never apart.
//!
//! A vector is fp16, little-endian, in a `FixedSizeBinary(2 d)` column whose field metadata say
//! dtype and dimension: lists of floats cost ten times more to read (docs/tables.md says how numpy,
//! pandas and `DuckDB` get their lists).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::checked::Stored;
use crate::part::{self, Layout, PartWriter, Written};
use crate::row::{self, Cell};
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;

const LAYOUT: Layout = Layout { group_rows: 8_192, raw_columns: &["embedding"] };
/// Rows read or encoded at a time.
const BATCH_ROWS: usize = 8_192;

/// A block of embeddings, n x d, row-major, unit norm, with their ids.
#[derive(Clone, Debug, Default)]
pub struct Vectors {
    /// Which image each row belongs to.
    pub ids: Vec<ImageId>,
    /// The values, row after row.
    pub values: Vec<f32>,
    /// Values a row.
    pub dimension: usize,
}

impl Vectors {
    /// The vector in `row`.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..(row + 1) * self.dimension]
    }

    /// Appends another block of the same dimension.
    pub fn extend(&mut self, block: Self) {
        self.dimension = block.dimension;
        self.ids.extend(block.ids);
        self.values.extend(block.values);
    }
}

/// Writes one part of embeddings.
pub struct VectorWriter {
    part: PartWriter,
    schema: Arc<Schema>,
    dimension: usize,
}

impl VectorWriter {
    /// Opens `path`, which must not exist, for vectors of `dimension` values.
    pub fn create(path: &Path, dimension: usize) -> Result<Self> {
        let metadata = HashMap::from([("dtype".into(), "float16".into()), ("dimension".into(), dimension.to_string())]);
        let width = i32::try_from(2 * dimension).map_err(|e| Error::data(path, e))?;
        let schema = Arc::new(Schema::new(vec![
            row::field::<ImageId>("id"),
            row::field::<String>("sha256"),
            Field::new("embedding", DataType::FixedSizeBinary(width), false).with_metadata(metadata),
        ]));
        Ok(Self { part: PartWriter::create(path, schema.clone(), &LAYOUT)?, schema, dimension })
    }

    /// Appends a block; `values` is n x d.
    pub fn write(&mut self, ids: Vec<ImageId>, sha256: Vec<String>, values: &[f32]) -> Result<()> {
        let bytes = to_bytes(values);
        let width = i32::try_from(2 * self.dimension).unwrap_or(i32::MAX);
        let vectors = FixedSizeBinaryArray::new(width, bytes.into(), None);
        let columns: Vec<ArrayRef> = vec![ImageId::encode(ids), String::encode(sha256), Arc::new(vectors)];
        self.part.write(&row::batch(self.schema.clone(), columns)?)
    }

    /// Appends rows of another part as they are stored.
    pub fn write_stored(&mut self, rows: &SomeRows) -> Result<()> {
        self.part.write(&row::batch(self.schema.clone(), rows.0.columns().to_vec())?)
    }

    /// Closes the part.
    pub fn finish(self) -> Result<Written> {
        self.part.finish()
    }
}

/// Rows of a part as they are stored: some of one batch.
pub struct SomeRows(RecordBatch);

impl SomeRows {
    /// Values of a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        match self.0.column(2).data_type() {
            DataType::FixedSizeBinary(width) => width.unsigned_abs() as usize / 2,
            _ => 0,
        }
    }
}

/// A part of embeddings that is read in the order of ids, to be written again without a change.
pub struct StoredRows {
    path: PathBuf,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>>>,
    /// What is left of a batch, and its ids.
    rest: Option<(RecordBatch, Vec<ImageId>)>,
}

impl StoredRows {
    /// Opens a part.
    pub fn open(part: &Stored) -> Result<Self> {
        let batches = part::read(part, &["id", "sha256", "embedding"], BATCH_ROWS)?;
        Ok(Self { path: part.path.clone(), batches: Box::new(batches), rest: None })
    }

    /// The next rows with ids below `end` that are `wanted`; `None` where there are no more of them.
    pub fn next_before(&mut self, end: Option<ImageId>, wanted: impl Fn(ImageId) -> bool) -> Result<Option<SomeRows>> {
        loop {
            let (batch, ids) = match self.rest.take() {
                Some(rest) => rest,
                None => match self.batches.next().transpose()? {
                    None => return Ok(None),
                    Some(batch) => {
                        let fault = |message: String| Error::data(&self.path, message);
                        let ids = row::column::<ImageId>(&batch, "id").map_err(fault)?;
                        (batch, ids)
                    }
                },
            };
            let before = end.map_or(ids.len(), |end| ids.partition_point(|&id| id < end));
            let mask: BooleanArray = ids[..before].iter().map(|&id| Some(wanted(id))).collect();
            let some = filter_record_batch(&batch.slice(0, before), &mask).map_err(|e| Error::data(&self.path, e))?;
            if before < ids.len() {
                self.rest = Some((batch.slice(before, ids.len() - before), ids[before..].to_vec()));
            }
            if some.num_rows() > 0 {
                return Ok(Some(SomeRows(some)));
            }
            if before < ids.len() {
                return Ok(None);
            }
        }
    }
}

/// The embeddings of a part, in blocks of at most 8,192 rows.
pub fn read(part: &Stored) -> Result<impl Iterator<Item = Result<Vectors>> + use<>> {
    let path = part.path.clone();
    let batches = part::read(part, &["id", "embedding"], BATCH_ROWS)?;
    Ok(batches.map(move |batch| {
        let batch = batch?;
        let fault = |message: String| Error::data(&path, message);
        let ids = row::column::<ImageId>(&batch, "id").map_err(fault)?;
        let schema = batch.schema();
        let (index, field) = schema.column_with_name("embedding").ok_or_else(|| fault("has no embedding".into()))?;
        let dimension = match (field.data_type(), field.metadata().get("dtype").map(String::as_str)) {
            (DataType::FixedSizeBinary(width), Some("float16")) if width % 2 == 0 => width.unsigned_abs() as usize / 2,
            (other, dtype) => {
                let got = format!("{other} with dtype {dtype:?}");
                return Err(fault(format!("`embedding` is {got}, expected fixed-size binary with dtype \"float16\"")));
            }
        };
        let column = batch.column(index).as_fixed_size_binary();
        let values = from_bytes(&column.value_data()[..batch.num_rows() * 2 * dimension]);
        Ok(Vectors { ids, values, dimension })
    }))
}

/// Values converted at a time: they stay in the fastest cache between two passes.
const BLOCK: usize = 4096;

/// The nearest fp16 of each value, little-endian.
fn to_bytes(values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; 2 * values.len()];
    let mut halves = [f16::ZERO; BLOCK];
    for (values, bytes) in values.chunks(BLOCK).zip(bytes.chunks_mut(2 * BLOCK)) {
        let halves = &mut halves[..values.len()];
        halves.convert_from_f32_slice(values);
        for (pair, half) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(halves) {
            *pair = half.to_le_bytes();
        }
    }
    bytes
}

/// The values of little-endian fp16.
fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / 2];
    let mut halves = [f16::ZERO; BLOCK];
    for (bytes, values) in bytes.chunks(2 * BLOCK).zip(values.chunks_mut(BLOCK)) {
        let halves = &mut halves[..values.len()];
        for (half, pair) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = f16::from_le_bytes(*pair);
        }
        halves.convert_to_f32_slice(values);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_back_as_the_nearest_fp16_with_their_ids() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let path = folder.path().join("part.parquet");
        let mut writer = VectorWriter::create(&path, 3)?;
        let ids = vec![ImageId::new(1, 2, 3), ImageId::new(1, 2, 9)];
        writer.write(ids.clone(), vec!["a".into(), "b".into()], &[0.1, -0.5, 1.0, 0.0, 0.25, -1.0])?;
        let written = writer.finish()?;
        assert_eq!(written.rows, 2);
        assert_eq!(written.sha256, part::sha256(&std::fs::read(&path).map_err(Error::io(&path))?));
        let back: Vec<Vectors> = read(&Stored::from(&path))?.collect::<Result<_>>()?;
        assert_eq!(back.len(), 1);
        assert_eq!((back[0].dimension, &back[0].ids), (3, &ids));
        assert_eq!(back[0].row(1), [0.0, 0.25, -1.0]);
        assert!((back[0].row(0)[0] - 0.1).abs() < 1e-4);
        Ok(())
    }

    #[test]
    fn stored_rows_are_written_among_others_as_they_are() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let id = |row| ImageId::new(0, 0, row);
        let value = |row: u8| f32::from(row) / 3.0;
        let write = |writer: &mut VectorWriter, row: u8| {
            writer.write(vec![id(row.into())], vec![format!("sha of {row}")], &[value(row)])
        };
        let (all, some) = (folder.path().join("all"), folder.path().join("some"));
        let mut writer = VectorWriter::create(&all, 1)?;
        (0..9).try_for_each(|row| write(&mut writer, row))?;
        let whole = writer.finish()?;
        let mut writer = VectorWriter::create(&some, 1)?;
        // Rows 0, 4 and 8 are written anew, 7 is not wanted.
        let mut stored = StoredRows::open(&Stored::from(&all))?;
        let mut copy = |end: Option<ImageId>, writer: &mut VectorWriter| {
            let wanted = |wanted: ImageId| ![0, 4, 7, 8].contains(&wanted.row());
            while let Some(rows) = stored.next_before(end, wanted)? {
                assert_eq!(rows.dimension(), 1);
                writer.write_stored(&rows)?;
            }
            Ok::<_, Error>(())
        };
        for row in [0, 4, 8] {
            copy(Some(id(row.into())), &mut writer)?;
            write(&mut writer, row)?;
        }
        copy(None, &mut writer)?;
        assert_eq!((whole.rows, writer.finish()?.rows), (9, 8));
        let read = |path| Ok::<_, Error>(read(&Stored::from(path))?.collect::<Result<Vec<_>>>()?.remove(0));
        let (mut expect, found) = (read(&all)?, read(&some)?);
        expect.ids.remove(7);
        expect.values.remove(7);
        assert_eq!((found.ids, found.values), (expect.ids, expect.values));
        Ok(())
    }
}
