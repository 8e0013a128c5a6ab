//! Centroids in Parquet: level, cluster, parent and the vector, as fp32 little-endian in a
//! `FixedSizeBinary(4 d)` column.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::checked::Stored;
use crate::part::{self, FACTS, PartWriter, Written};
use crate::row::{self, Cell};
use lvd_base::error::{Error, Result};

/// The centroids of one level, k x d, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// The values, centroid after centroid.
    pub values: Vec<f32>,
    /// The cluster of the next level that each belongs to; null at the top.
    pub parents: Vec<Option<u32>>,
}

/// Writes the levels, the finest first (level 1), of centroids with `dimension` values.
pub fn write(path: &Path, levels: &[Level], dimension: usize) -> Result<Written> {
    let metadata = HashMap::from([("dtype".into(), "float32".into()), ("dimension".into(), dimension.to_string())]);
    let width = i32::try_from(4 * dimension).map_err(|e| Error::data(path, e))?;
    let schema = Arc::new(Schema::new(vec![
        row::field::<u32>("level"),
        row::field::<u32>("cluster"),
        row::field::<Option<u32>>("parent"),
        Field::new("embedding", DataType::FixedSizeBinary(width), false).with_metadata(metadata),
    ]));
    let mut writer = PartWriter::create(path, schema.clone(), &FACTS)?;
    for (level, number) in levels.iter().zip(1u32..) {
        let clusters: Vec<u32> = (0..).take(level.parents.len()).collect();
        let bytes: Vec<u8> = level.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let columns: Vec<ArrayRef> = vec![
            u32::encode(vec![number; clusters.len()]),
            u32::encode(clusters),
            Option::<u32>::encode(level.parents.clone()),
            Arc::new(FixedSizeBinaryArray::new(width, bytes.into(), None)),
        ];
        writer.write(&row::batch(schema.clone(), columns)?)?;
    }
    writer.finish()
}

/// The levels in a file that [`write()`] wrote.
pub fn read(part: &Stored) -> Result<Vec<Level>> {
    let mut levels: Vec<Level> = Vec::new();
    for batch in part::read(part, &[], 8_192)? {
        let batch = batch?;
        let fault = |message: String| Error::data(&part.path, message);
        let numbers = row::column::<u32>(&batch, "level").map_err(fault)?;
        let parents = row::column::<Option<u32>>(&batch, "parent").map_err(fault)?;
        let vectors = batch.column_by_name("embedding").and_then(|column| column.as_fixed_size_binary_opt());
        let vectors = vectors.ok_or_else(|| fault("`embedding` is not fixed-size binary".into()))?;
        for (row, (number, parent)) in numbers.into_iter().zip(parents).enumerate() {
            levels.resize_with(levels.len().max(number as usize), Level::default);
            let level = &mut levels[number as usize - 1];
            level.parents.push(parent);
            let values = vectors.value(row).chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            level.values.extend(values);
        }
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_back() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let path = folder.path().join("centroids");
        let levels = vec![
            Level { values: vec![0.1, -0.2, 1.0, 0.0, 3.5, 1e-9], parents: vec![Some(0), Some(1), Some(0)] },
            Level { values: vec![1.0, 2.0, 3.0, 4.0], parents: vec![None, None] },
        ];
        write(&path, &levels, 2)?;
        assert_eq!(read(&(&path).into())?, levels);
        Ok(())
    }
}
