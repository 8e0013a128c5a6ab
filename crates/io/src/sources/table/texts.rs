//! Columns of texts and numbers, a row at a time: a page of each is in memory and nothing else. A
//! batch of rows would hold a text as often as it is repeated, and 1,000 rows of a file of 1 KB may
//! be 20 GB.

use std::fs::File;
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result as Read};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;

use crate::sources::parquet_file::guarded;
use lvd_base::error::{Error, Result};

/// Hears of a row: its number in the file, and its texts.
type Each<'a> = dyn FnMut(u64, &[Option<ByteArray>]) -> Result<()> + 'a;

/// Calls `each` with what every row has in the columns at `places`, as text; `None` for a null and
/// where there is no column. The texts of a list are lines.
pub(super) fn for_each(path: &Path, places: &[Option<usize>], each: &mut Each) -> Result<()> {
    let file = File::open(path).map_err(Error::io(path))?;
    let file = guarded(path, || SerializedFileReader::new(file))?;
    let schema = file.metadata().file_metadata().schema_descr();
    // Of a column without fields in it the only leaf.
    let leaf = |place: usize| (0..schema.num_columns()).find(|&leaf| schema.get_column_root_idx(leaf) == place);
    let leaves: Vec<Option<usize>> = places.iter().map(|place| place.and_then(leaf)).collect();
    let mut row = 0;
    for number in 0..file.num_row_groups() {
        let group = guarded(path, || file.get_row_group(number))?;
        let rows = group.metadata().num_rows();
        let open = |leaf: &Option<usize>| leaf.map(|leaf| guarded(path, || Column::open(&*group, leaf))).transpose();
        let mut columns = leaves.iter().map(open).collect::<Result<Vec<Option<Column>>>>()?;
        for _ in 0..rows {
            let text = |column: &mut Option<Column>| match column {
                Some(column) => guarded(path, || column.next()),
                None => Ok(None),
            };
            let texts = columns.iter_mut().map(text).collect::<Result<Vec<_>>>()?;
            each(row, &texts)?;
            row += 1;
        }
    }
    Ok(())
}

/// A column of a row group.
struct Column {
    reader: ColumnReader,
    is_unsigned: bool,
    /// Those of the row that is being read.
    levels: [Vec<i16>; 2],
}

impl Column {
    fn open(group: &dyn RowGroupReader, leaf: usize) -> Read<Self> {
        let column = group.metadata().column(leaf).column_descr_ptr();
        let is_unsigned = match column.logical_type_ref() {
            Some(LogicalType::Integer(integer)) => !integer.is_signed,
            _ => matches!(column.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64),
        };
        Ok(Self { reader: group.get_column_reader(leaf)?, is_unsigned, levels: [Vec::new(), Vec::new()] })
    }

    /// What the next row has; `None` for a null.
    fn next(&mut self) -> Read<Option<ByteArray>> {
        let unsigned = self.is_unsigned;
        let levels = &mut self.levels;
        let number = |text: String| ByteArray::from(text.into_bytes());
        match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => read(reader, levels, ByteArray::clone),
            ColumnReader::BoolColumnReader(reader) => read(reader, levels, |it| number(it.to_string())),
            ColumnReader::Int32ColumnReader(reader) if unsigned => {
                read(reader, levels, |it| number(it.cast_unsigned().to_string()))
            }
            ColumnReader::Int32ColumnReader(reader) => read(reader, levels, |it| number(it.to_string())),
            ColumnReader::Int64ColumnReader(reader) if unsigned => {
                read(reader, levels, |it| number(it.cast_unsigned().to_string()))
            }
            ColumnReader::Int64ColumnReader(reader) => read(reader, levels, |it| number(it.to_string())),
            ColumnReader::FloatColumnReader(reader) => read(reader, levels, |it| number(it.to_string())),
            ColumnReader::DoubleColumnReader(reader) => read(reader, levels, |it| number(it.to_string())),
            _ => Err(ParquetError::General("a column of text is stored as something else".into())),
        }
    }
}

/// The values of the next row, as lines; `None` where there is none.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    [definitions, repetitions]: &mut [Vec<i16>; 2],
    text: impl Fn(&T::T) -> ByteArray,
) -> Read<Option<ByteArray>> {
    definitions.clear();
    repetitions.clear();
    let mut values = Vec::new();
    if reader.read_records(1, Some(definitions), Some(repetitions), &mut values)?.0 == 0 {
        return Err(ParquetError::EOF("a row group has fewer rows than it says".into()));
    }
    Ok(match &*values {
        [] => None,
        [one] => Some(text(one)),
        several => {
            let lines: Vec<ByteArray> = several.iter().map(text).collect();
            Some(lines.iter().map(ByteArray::data).collect::<Vec<_>>().join(&b'\n').into())
        }
    })
}
