//! Images in Parquet: img2dataset's metadata columns, and the bytes as Hugging Face's image struct.
//!
//! The bytes are the ones that were fetched, never re-encoded; `width` and `height` are what a
//! viewer that honours EXIF shows. Row groups are small, because a row holds a whole file:
//! [`GROUP_ROWS`] rows, or fewer where their files are long.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryBuilder, RecordBatch, StringArray, StructArray, new_null_array};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use serde_json::{Map, Value, json};

use crate::checked::Stored;
use crate::part::{self, Layout, PartWriter, Written};
use crate::row::{self, Row as _};
use crate::table;
use lvd_base::error::{Error, Result};
use lvd_base::types::{ImageId, Reason};

/// Rows a row group where pixels are stored.
pub const GROUP_ROWS: usize = 100;
/// Bytes of files a row group, or one file: what writers and readers hold. Pictures of 1.3 MB and
/// less never reach it.
pub const GROUP_BYTES: u64 = 128 << 20;
/// The longest file that a row can hold: Arrow and Parquet count its bytes in 31 bits, with a few
/// of their own.
pub const MAX_FILE_BYTES: u64 = 2_000_000_000;
/// How a table with pixels is laid out.
pub const LAYOUT: Layout = Layout { group_rows: GROUP_ROWS, raw_columns: &["image.bytes"] };

table! {
    /// An image as it was ingested; a last column `image: struct<bytes: binary, path: string>`
    /// holds the file.
    pub struct ImageMeta {
        /// Identity in this work folder: data set, shard and row of the listed input.
        pub id: ImageId,
        /// Name of the source in the pipeline file.
        pub source: String,
        /// The id in hexadecimal: a name for files made of this image.
        pub key: String,
        /// Where it came from: a URL, a path in the source's folder, `0:file.parquet#row`, or
        /// `0:file.tar#offset+size:member`. Of a URL, `user:password@` is left out, and `***`
        /// stands for values of signatures, tokens and keys in its query.
        pub url: String,
        /// The caption that came with it.
        pub caption: Option<String>,
        /// What else the source says, as a JSON object of texts: of a page's image `page` and, where
        /// the page has one, `license`.
        pub extra: Option<String>,
        /// `success`; rows that failed are in the `failed` table.
        pub status: String,
        /// Null here; set in the `failed` table.
        pub error_message: Option<String>,
        /// Pixels, upright.
        pub width: u32,
        /// Pixels, upright.
        pub height: u32,
        /// Pixels as stored, before EXIF orientation.
        pub original_width: u32,
        /// Pixels as stored, before EXIF orientation.
        pub original_height: u32,
        /// EXIF orientation, 1 to 8; 1 is upright.
        pub orientation: u32,
        /// EXIF tags as a JSON object, where there are any.
        pub exif: Option<String>,
        /// `jpeg`, `png`, `webp`, `gif`, `bmp` or `tiff`, by content.
        pub format: String,
        /// Size of the file in bytes.
        pub size_bytes: u64,
        /// SHA-256 of the file.
        pub sha256: String,
    }
}

table! {
    /// What is known of an ingested image, for whoever needs no pixels: columns of the images
    /// themselves, in files of their own.
    pub struct ImageFacts {
        /// Identity in this work folder.
        pub id: ImageId,
        /// Name of the source.
        pub source: String,
        /// Where it came from, without the secrets of a URL.
        pub url: String,
        /// The caption that came with it.
        pub caption: Option<String>,
        /// Pixels, upright.
        pub width: u32,
        /// Pixels, upright.
        pub height: u32,
        /// `jpeg`, `png`, `webp`, `gif`, `bmp` or `tiff`, by content.
        pub format: String,
        /// Size of the file in bytes.
        pub size_bytes: u64,
        /// SHA-256 of the file.
        pub sha256: String,
    }
}

impl From<&ImageMeta> for ImageFacts {
    fn from(meta: &ImageMeta) -> Self {
        let ImageMeta { id, source, url, caption, width, height, format, size_bytes, sha256, .. } = meta.clone();
        Self { id, source, url, caption, width, height, format, size_bytes, sha256 }
    }
}

table! {
    /// A row of a source that gave no usable image, and why.
    pub struct Failed {
        /// Identity in this work folder.
        pub id: ImageId,
        /// Name of the source.
        pub source: String,
        /// Where it should have come from, without the secrets of a URL.
        pub url: String,
        /// The caption that came with it.
        pub caption: Option<String>,
        /// What else the source says, as a JSON object of texts.
        pub extra: Option<String>,
        /// `failed_to_download` or `failed_to_decode`.
        pub status: String,
        /// The drop reason, as counted in the report.
        pub reason: Reason,
        /// What the file system, the server or the decoder said.
        pub error_message: String,
    }
}

/// Cuts rows with files into row groups, by their order alone.
#[derive(Default)]
pub struct Groups {
    rows: usize,
    bytes: u64,
}

impl Groups {
    /// Whether the group ends before a file of `bytes`, which is then the first of the next group.
    pub fn end_before(&mut self, bytes: u64) -> bool {
        let ends = self.rows == GROUP_ROWS || self.rows > 0 && self.bytes + bytes > GROUP_BYTES;
        if ends {
            *self = Self::default();
        }
        (self.rows, self.bytes) = (self.rows + 1, self.bytes + bytes);
        ends
    }
}

/// Writes one part of images.
pub struct ImageWriter {
    part: PartWriter,
    schema: SchemaRef,
    groups: Groups,
    pending: Vec<(ImageMeta, Vec<u8>)>,
}

impl ImageWriter {
    /// Opens `path`, which must not exist.
    pub fn create(path: &Path) -> Result<Self> {
        let schema = schema();
        let part = PartWriter::create(path, schema.clone(), &LAYOUT)?;
        Ok(Self { part, schema, groups: Groups::default(), pending: Vec::new() })
    }

    /// Appends an image.
    pub fn push(&mut self, meta: ImageMeta, bytes: Vec<u8>) -> Result<()> {
        if self.groups.end_before(bytes.len() as u64) {
            self.flush()?;
        }
        self.pending.push((meta, bytes));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let (metas, files): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending).into_iter().unzip();
        let mut bytes = BinaryBuilder::with_capacity(files.len(), files.iter().map(Vec::len).sum());
        for file in files {
            bytes.append_value(file);
        }
        let names: Vec<_> = metas.iter().map(|meta| format!("{}.{}", meta.key, meta.format)).collect();
        let image = StructArray::new(
            struct_fields(),
            vec![Arc::new(bytes.finish()) as ArrayRef, Arc::new(StringArray::from_iter_values(names))],
            None,
        );
        let mut columns = ImageMeta::encode(metas)?.columns().to_vec();
        columns.push(Arc::new(image));
        self.part.write(&row::batch(self.schema.clone(), columns)?)?;
        self.part.end_group()
    }

    /// Closes the part.
    pub fn finish(mut self) -> Result<Written> {
        self.flush()?;
        self.part.finish()
    }
}

/// An image's file with its identity.
pub struct ImageFile {
    /// Identity in the work folder.
    pub id: ImageId,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// An image's file with all that is known of it.
pub struct Ingested {
    /// What is known.
    pub facts: ImageMeta,
    /// The file.
    pub bytes: Vec<u8>,
}

/// The files of a part, a row group at a time.
pub fn read_files(part: &Stored) -> Result<impl Iterator<Item = Result<Vec<ImageFile>>> + use<>> {
    read_wanted(part, &|_| true)
}

/// The files of these images (sorted ids) in a part, a row group at a time; groups that hold none
/// of them are not read.
pub fn read_some(part: &Stored, ids: Vec<ImageId>) -> Result<impl Iterator<Item = Result<Vec<ImageFile>>> + use<>> {
    Ok(read_wanted(part, &|group| holds(&ids, &group))?.map(move |files| {
        let mut files = files?;
        files.retain(|file| ids.binary_search(&file.id).is_ok());
        Ok(files)
    }))
}

/// The same files with all that is known of their images.
pub fn read_with_facts(
    part: &Stored,
    ids: Vec<ImageId>,
) -> Result<impl Iterator<Item = Result<Vec<Ingested>>> + use<>> {
    let path = part.path.clone();
    let groups = part::read_groups(part, &[], "id", &|group| holds(&ids, &group))?;
    Ok(groups.map(move |batch| {
        let batch = batch?;
        let facts = ImageMeta::decode(&batch).map_err(|message| Error::data(&path, message))?;
        let rows =
            facts.into_iter().zip(files(&batch, &path)?).map(|(facts, file)| Ingested { facts, bytes: file.bytes });
        Ok(rows.filter(|row| ids.binary_search(&row.facts.id).is_ok()).collect())
    }))
}

/// Whether one of these ids, which are sorted, is in a range.
fn holds(ids: &[ImageId], range: &RangeInclusive<u64>) -> bool {
    let first = ids.partition_point(|id| id.0 < *range.start());
    ids.get(first).is_some_and(|id| id.0 <= *range.end())
}

fn read_wanted(
    part: &Stored,
    wanted: &dyn Fn(RangeInclusive<u64>) -> bool,
) -> Result<impl Iterator<Item = Result<Vec<ImageFile>>> + use<>> {
    let path = part.path.clone();
    let groups = part::read_groups(part, &["id", "sha256", "image"], "id", wanted)?;
    Ok(groups.map(move |batch| files(&batch?, &path)))
}

fn files(batch: &RecordBatch, path: &Path) -> Result<Vec<ImageFile>> {
    let fault = |message: String| Error::data(path, message);
    let ids = row::column::<ImageId>(batch, "id").map_err(fault)?;
    let hashes = row::column::<String>(batch, "sha256").map_err(fault)?;
    let files = batch
        .column_by_name("image")
        .and_then(|column| column.as_struct_opt()?.column_by_name("bytes")?.as_binary_opt::<i32>())
        .ok_or_else(|| fault("`image` is not struct<bytes: binary, path: string>".into()))?;
    let rows = ids.into_iter().zip(hashes).enumerate();
    Ok(rows.map(|(row, (id, sha256))| ImageFile { id, sha256, bytes: files.value(row).to_vec() }).collect())
}

/// The columns of a part.
fn schema() -> SchemaRef {
    let mut fields: Vec<_> = ImageMeta::schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("image", DataType::Struct(struct_fields()), true)));
    with_features(&Schema::new(fields))
}

/// All columns of a batch of images; those that an earlier version did not write are null.
pub fn complete(batch: RecordBatch) -> Result<RecordBatch> {
    let schema = schema();
    if batch.num_columns() == schema.fields().len() {
        return Ok(batch);
    }
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) => column.clone(),
        None => new_null_array(field.data_type(), batch.num_rows()),
    };
    row::batch(schema.clone(), schema.fields().iter().map(column).collect())
}

/// The schema with the metadata by which `datasets` shows `image` as a picture.
#[must_use]
pub fn with_features(schema: &Schema) -> SchemaRef {
    let features: Map<String, Value> = schema
        .fields()
        .iter()
        .map(|field| {
            let feature = match field.data_type() {
                DataType::Struct(_) => json!({"_type": "Image"}),
                DataType::Utf8 => json!({"dtype": "string", "_type": "Value"}),
                DataType::Boolean => json!({"dtype": "bool", "_type": "Value"}),
                other => json!({"dtype": other.to_string().to_lowercase(), "_type": "Value"}),
            };
            (field.name().clone(), feature)
        })
        .collect();
    let text = json!({"info": {"features": features}}).to_string();
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), HashMap::from([("huggingface".into(), text)])))
}

/// Nullable throughout: `datasets` takes a struct for a picture only if it is exactly its own.
fn struct_fields() -> Fields {
    Fields::from(vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(row: u32, size: usize) -> ImageMeta {
        ImageMeta {
            id: ImageId::new(0, 0, row),
            source: "s".into(),
            key: format!("{row:016x}"),
            url: format!("{row}.jpg"),
            caption: None,
            extra: None,
            status: "success".into(),
            error_message: None,
            width: 1,
            height: 1,
            original_width: 1,
            original_height: 1,
            orientation: 1,
            exif: None,
            format: "jpeg".into(),
            size_bytes: size as u64,
            sha256: format!("{row:064x}"),
        }
    }

    /// Writes files of these sizes, and reads them back by row groups.
    fn groups(sizes: &[usize]) -> Result<Vec<Vec<usize>>> {
        let folder = tempfile::tempdir().map_err(Error::io("a folder"))?;
        let path = folder.path().join("part.parquet");
        let mut writer = ImageWriter::create(&path)?;
        for (row, &size) in (0..).zip(sizes) {
            writer.push(meta(row, size), vec![1; size])?;
        }
        assert_eq!(writer.finish()?.rows, sizes.len() as u64);
        let mut next = 0;
        read_files(&Stored::from(&path))?
            .map(|group| {
                let lengths = group?.into_iter().map(|file| {
                    assert_eq!(file.id, ImageId::new(0, 0, next));
                    next += 1;
                    file.bytes.len()
                });
                Ok(lengths.collect())
            })
            .collect()
    }

    #[test]
    fn groups_end_by_rows_or_by_bytes() -> Result<()> {
        let rows = |sizes: &[usize]| -> Result<Vec<usize>> { Ok(groups(sizes)?.iter().map(Vec::len).collect()) };
        assert_eq!(rows(&[10; 250])?, [100, 100, 50]);
        assert_eq!(rows(&[])?, [0; 0]);
        assert_eq!(rows(&[30 << 20; 9])?, [4, 4, 1]);
        assert_eq!(groups(&[1, 200 << 20, 2, 128 << 20])?, [vec![1], vec![200 << 20], vec![2], vec![128 << 20]]);
        Ok(())
    }
}
