//! The sources of images: where each is, and how many images it has.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::pipeline::check::complaints::{Complaints, fault_of};
use crate::pipeline::check::depth::Depth;
use crate::pipeline::check::names::named;
use crate::pipeline::file::{File, SourceSettings};
use crate::stages::catalog::{Catalog, SourceEntry};
use crate::stages::scope::UNCOUNTED;
use lvd_base::error::{Error, Fault};
use lvd_io::sources::Source as ImageSource;

/// Adds the sources of the file to the catalog. The answer is the number of images of each, counted
/// or as declared. `ours` are the work folder and the pipeline file, which hold no images of the
/// user's.
pub fn sources(
    file: &File,
    base: &Path,
    ours: &[&Path],
    numbers: &HashMap<String, u16>,
    depth: Depth,
    catalog: &mut Catalog,
    complaints: &mut Complaints,
) -> IndexMap<String, u64> {
    let mut sizes = IndexMap::new();
    if file.sources.is_empty() {
        complaints.fault(&["sources"], Fault::new("no source of images", "add a [sources.NAME] with a `folder`"));
    }
    for (name, settings) in &file.sources {
        let keys = ["sources", name.as_str()];
        let images = match named(name).and_then(|()| image_source(settings, base, ours)) {
            Ok(images) => images,
            Err(fault) => {
                // What a setting that was left out brings only follows.
                if !complaints.broken.contains(name) {
                    complaints.fault(&keys, fault);
                }
                // Something that is called so, for what refers to it.
                ImageSource::Folder { path: base.into(), except: Vec::new(), extensions: Vec::new(), captions: false }
            }
        };
        let is_broken = complaints.broken.contains(name);
        let rows = match (depth, settings.images) {
            (Depth::File, declared) => declared.unwrap_or(UNCOUNTED),
            _ if is_broken => UNCOUNTED,
            (_, declared) => match (count(&images), declared) {
                (Ok(rows), _) => rows,
                (Err(fault), Some(declared)) => {
                    complaints.missing(&keys, fault);
                    declared
                }
                (Err(fault), None) => {
                    complaints.fault(&keys, fault);
                    UNCOUNTED
                }
            },
        };
        sizes.insert(name.clone(), rows);
        catalog.sources.insert(name.clone(), SourceEntry::new(numbers[name], settings.role, images));
    }
    sizes
}

/// The images of a source, one at least.
fn count(images: &ImageSource) -> Result<u64, Fault> {
    match images.check() {
        Ok(0) => Err(nothing_in(images)),
        Ok(rows) => Ok(rows),
        Err(error @ Error::Data(_)) => Err(fault_of(&error, "is the file whole, and what its name says?")),
        Err(error) => Err(fault_of(&error, "paths are relative to the pipeline file")),
    }
}

/// A source that gives no image.
fn nothing_in(images: &ImageSource) -> Fault {
    let fact = match images {
        ImageSource::Folder { path, extensions, .. } if extensions.is_empty() => {
            format!("{}: no file in this folder", path.display())
        }
        ImageSource::Folder { path, extensions, .. } => {
            format!("{}: no file in this folder ends in {}", path.display(), extensions.join(", "))
        }
        ImageSource::Urls { .. } => "its lists have no rows".into(),
        ImageSource::Archives { .. } => "its archives have no page with an image".into(),
        ImageSource::Parquet { .. } => "its Parquet files have no rows".into(),
        ImageSource::Tar { .. } => "its tars have no images".into(),
    };
    Fault::new(fact, "put images there, or take the source out of this file")
}

/// The extensions that the files of a folder must have, as they are compared.
fn extensions(settings: &SourceSettings) -> Result<Vec<String>, Fault> {
    let extensions: Vec<String> =
        settings.extensions.iter().flatten().map(|extension| extension.to_lowercase()).collect();
    let wrong = extensions.iter().find(|extension| extension.contains(['.', '/', '*']));
    if let Some(wrong) = wrong {
        let hint = "write it without dots and stars: `extensions = [\"jpg\", \"png\"]`";
        return Err(Fault::new(format!("{wrong:?} is no ending in `extensions`"), hint));
    }
    if settings.extensions.is_some() && extensions.is_empty() {
        return Err(Fault::new("`extensions` is empty", "name some, or leave it out: then every file is a row"));
    }
    Ok(extensions)
}

/// The source of `settings`; `ours` are the work folder and the pipeline file, which hold no images
/// of the user's.
pub fn image_source(settings: &SourceSettings, base: &Path, ours: &[&Path]) -> Result<ImageSource, Fault> {
    let all = |paths: &[PathBuf]| paths.iter().map(|path| base.join(path)).collect::<Vec<_>>();
    let only_for = |set: bool, key: &str, kind: &str| {
        let fault = || Fault::new(format!("`{key}` is for `{kind}` only"), format!("remove `{key}`"));
        if set { Err(fault()) } else { Ok(()) }
    };
    only_for(settings.folder.is_none() && settings.extensions.is_some(), "extensions", "folder")?;
    only_for(settings.folder.is_none() && settings.captions.is_some(), "captions", "folder")?;
    let has_columns = settings.folder.is_none() && settings.archives.is_none();
    only_for(!has_columns && settings.keep_columns.is_some(), "keep_columns", "urls`, `parquet` and `tars")?;
    only_for(settings.urls.is_none() && settings.header.is_some(), "header", "urls")?;
    let (keep, headless) = (settings.keep_columns.clone().unwrap_or_default(), settings.header == Some(false));
    match (&settings.folder, &settings.urls, &settings.archives, &settings.parquet, &settings.tars) {
        (Some(folder), None, None, None, None) => {
            only_for(settings.caption_column.is_some(), "caption_column", "urls`, `parquet` and `tars")?;
            only_for(settings.url_column.is_some(), "url_column", "urls")?;
            only_for(settings.format.is_some(), "format", "urls")?;
            only_for(settings.image_column.is_some(), "image_column", "parquet")?;
            let path = base.join(folder);
            let real = |path: &Path| std::fs::canonicalize(path).ok();
            if ours.iter().any(|ours| real(ours).is_some_and(|ours| Some(ours) == real(&path))) {
                let hint = "give `work` a folder of its own; it may lie in this one, and is left out then";
                return Err(Fault::new(format!("{}: the work folder is this folder", path.display()), hint));
            }
            let except = ours.iter().map(|&path| path.to_path_buf()).collect();
            let (extensions, captions) = (extensions(settings)?, settings.captions.unwrap_or(false));
            if captions && extensions.is_empty() {
                let hint = "say which files are images, for instance `extensions = [\"jpg\"]`";
                return Err(Fault::new("`captions` without `extensions`: captions would be rows", hint));
            }
            Ok(ImageSource::Folder { path, except, extensions, captions })
        }
        (None, Some(files), None, None, None) => {
            only_for(settings.image_column.is_some(), "image_column", "parquet")?;
            Ok(ImageSource::Urls {
                files: all(files),
                format: settings.format,
                url_column: settings.url_column.clone().unwrap_or_else(|| if headless { "1" } else { "url" }.into()),
                caption_column: settings.caption_column.clone(),
                keep,
                headless,
            })
        }
        (None, None, None, Some(files), None) => {
            only_for(settings.url_column.is_some(), "url_column", "urls")?;
            only_for(settings.format.is_some(), "format", "urls")?;
            Ok(ImageSource::Parquet {
                files: all(files),
                image_column: settings.image_column.clone().unwrap_or_else(|| "image".into()),
                caption_column: settings.caption_column.clone(),
                keep,
            })
        }
        (None, None, None, None, Some(files)) => {
            only_for(settings.url_column.is_some(), "url_column", "urls")?;
            only_for(settings.format.is_some(), "format", "urls")?;
            only_for(settings.image_column.is_some(), "image_column", "parquet")?;
            Ok(ImageSource::Tar { files: all(files), caption_key: settings.caption_column.clone(), keep })
        }
        (None, None, Some(files), None, None) => {
            only_for(settings.caption_column.is_some(), "caption_column", "urls`, `parquet` and `tars")?;
            only_for(settings.url_column.is_some(), "url_column", "urls")?;
            only_for(settings.format.is_some(), "format", "urls")?;
            only_for(settings.image_column.is_some(), "image_column", "parquet")?;
            Ok(ImageSource::Archives { files: all(files) })
        }
        _ => Err(Fault::new(
            "needs exactly one of `folder`, `urls`, `archives`, `parquet` and `tars`",
            "say where its images are",
        )),
    }
}
