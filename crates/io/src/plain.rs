//! Vectors for programs that know nothing of this one: a matrix of numpy, or Parquet with lists.
//! Both stream.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};

use crate::part::{Layout, PartWriter};
use crate::row::{self, Cell};
use crate::vectors::Vectors;
use lvd_base::error::{Error, Result};
use lvd_base::types::ImageId;

const LAYOUT: Layout = Layout { group_rows: 8_192, raw_columns: &["embedding.list.item"] };

/// Where vectors go.
pub enum Plain {
    /// `OUT.npy`, n x d, f32, C order; the ids, u64, beside it in `OUT.ids.npy`.
    Matrix {
        /// The vectors.
        values: Npy,
        /// Their ids.
        ids: Npy,
    },
    /// One Parquet file with `id` and `embedding`, a list of f32.
    Lists(Box<PartWriter>),
}

impl Plain {
    /// Opens `path`, which must not exist, by its extension, `npy` or `parquet`, for n x d values.
    pub fn create(path: &Path, n: u64, d: usize) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => {
                let values = Npy::create(path, "<f4", &format!("({n}, {d})"))?;
                let ids = Npy::create(&path.with_extension("ids.npy"), "<u8", &format!("({n},)"))?;
                Ok(Self::Matrix { values, ids })
            }
            Some("parquet") => Ok(Self::Lists(Box::new(PartWriter::create(path, schema(), &LAYOUT)?))),
            _ => Err(Error::usage(
                format!("{}: neither a matrix nor a table", path.display()),
                "end the name with .npy or .parquet",
            )),
        }
    }

    /// Appends a block.
    pub fn write(&mut self, block: Vectors) -> Result<()> {
        match self {
            Self::Matrix { values, ids } => {
                values.write(block.values.iter().flat_map(|x| x.to_le_bytes()))?;
                ids.write(block.ids.iter().flat_map(|id| id.0.to_le_bytes()))
            }
            Self::Lists(part) => {
                let lengths = std::iter::repeat_n(block.dimension, block.ids.len());
                let element = Arc::new(Field::new_list_field(DataType::Float32, false));
                let values = Arc::new(Float32Array::from(block.values));
                let lists = ListArray::new(element, OffsetBuffer::from_lengths(lengths), values, None);
                let columns: Vec<ArrayRef> = vec![ImageId::encode(block.ids), Arc::new(lists)];
                part.write(&row::batch(schema(), columns)?)
            }
        }
    }

    /// Closes what was opened.
    pub fn finish(self) -> Result<()> {
        match self {
            Self::Matrix { values, ids } => values.finish().and_then(|()| ids.finish()),
            Self::Lists(part) => part.finish().map(drop),
        }
    }
}

fn schema() -> Arc<Schema> {
    let element = Arc::new(Field::new_list_field(DataType::Float32, false));
    let embedding = Field::new("embedding", DataType::List(element), false);
    Arc::new(Schema::new(vec![row::field::<ImageId>("id"), embedding]))
}

/// A file of numpy, format 1.0.
pub struct Npy {
    out: BufWriter<File>,
    path: PathBuf,
}

impl Npy {
    fn create(path: &Path, dtype: &str, shape: &str) -> Result<Self> {
        let file = File::create_new(path).map_err(Error::io(path))?;
        let mut npy = Self { out: BufWriter::with_capacity(1 << 20, file), path: path.into() };
        let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        // The data begin at a multiple of 64; ten bytes come before the header, a line end closes
        // it.
        let padded = (header.len() + 11).next_multiple_of(64) - 11;
        header.extend(std::iter::repeat_n(' ', padded - header.len()));
        header.push('\n');
        let length = u16::try_from(header.len()).map_err(|e| Error::data(path, e))?;
        npy.write(b"\x93NUMPY\x01\x00".iter().copied().chain(length.to_le_bytes()).chain(header.into_bytes()))?;
        Ok(npy)
    }

    fn write(&mut self, bytes: impl Iterator<Item = u8>) -> Result<()> {
        let bytes: Vec<u8> = bytes.collect();
        self.out.write_all(&bytes).map_err(Error::io(&self.path))
    }

    fn finish(self) -> Result<()> {
        let file = self.out.into_inner().map_err(|e| Error::io(&self.path)(e.into_error()))?;
        file.sync_all().map_err(Error::io(&self.path))
    }
}
