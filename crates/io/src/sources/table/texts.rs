//! Columns of text, a row at a time: a page of each is in memory and nothing else. A batch of rows
//! would hold a text as often as it is repeated, and 1,000 rows of a file of 1 KB may be 20 GB.

use std::fs::File;
use std::path::Path;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result as Read};
use parquet::file::reader::{FileReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedFileReader;

use crate::sources::parquet_file::guarded;
use lvd_base::error::{Error, Result};

/// Hears of a row: its number in the file, and its texts.
type Each<'a, const N: usize> = dyn FnMut(u64, [Option<&[u8]>; N]) -> Result<()> + 'a;

/// Calls `each` with the texts of every row in the columns at `places`, which hold strings or
/// bytes; `None` for a null and where there is no column.
pub(super) fn for_each<const N: usize>(path: &Path, places: [Option<usize>; N], each: &mut Each<'_, N>) -> Result<()> {
    let file = File::open(path).map_err(Error::io(path))?;
    let file = guarded(path, || SerializedFileReader::new(file))?;
    let schema = file.metadata().file_metadata().schema_descr();
    // Of a column without fields in it the only leaf.
    let leaf = |place| (0..schema.num_columns()).find(|&leaf| schema.get_column_root_idx(leaf) == place);
    let leaves = places.map(|place| place.and_then(leaf));
    let mut row = 0;
    for number in 0..file.num_row_groups() {
        let group = guarded(path, || file.get_row_group(number))?;
        let rows = group.metadata().num_rows();
        let mut columns = [const { None }; N];
        for (column, leaf) in columns.iter_mut().zip(leaves) {
            *column = leaf.map(|leaf| guarded(path, || Column::open(&*group, leaf))).transpose()?;
        }
        for _ in 0..rows {
            for column in columns.iter_mut().flatten() {
                guarded(path, || column.next())?;
            }
            let text = |place: usize| Some(columns[place].as_ref()?.values.first()?.data());
            each(row, std::array::from_fn(text))?;
            row += 1;
        }
    }
    Ok(())
}

/// A column of a row group.
struct Column {
    reader: ColumnReaderImpl<ByteArrayType>,
    /// The text of the row that was read last; none for a null.
    values: Vec<ByteArray>,
    levels: Vec<i16>,
}

impl Column {
    fn open(group: &dyn RowGroupReader, leaf: usize) -> Read<Self> {
        match group.get_column_reader(leaf)? {
            ColumnReader::ByteArrayColumnReader(reader) => Ok(Self { reader, values: Vec::new(), levels: Vec::new() }),
            _ => Err(ParquetError::General("a column of text is stored as something else".into())),
        }
    }

    fn next(&mut self) -> Read<()> {
        self.values.clear();
        self.levels.clear();
        match self.reader.read_records(1, Some(&mut self.levels), None, &mut self.values)? {
            (0, ..) => Err(ParquetError::EOF("a row group has fewer rows than it says".into())),
            _ => Ok(()),
        }
    }
}
