//! From what a place holds to the sources of a pipeline file, counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use indicatif::HumanCount;
use rayon::prelude::*;
use serde::Serialize;

use super::columns::{Content, caption, content};
use super::find::{Heap, Seen, nothing_in};
use super::left_out::{Counts, Why};
use super::names::{slug, unique};
use super::place::named_from;
use crate::pipeline::file::SourceSettings;
use crate::stages::catalog::Role;
use lvd_base::error::{Error, Result};
use lvd_io::sources::look::{archive_ending, archive_rows, columns};
use lvd_io::sources::{Source as ImageSource, UrlFormat};

/// Rows of a tar or folder that are looked at for a caption.
const CAPTION_ROWS: usize = 1000;
/// Files of a folder that are named one by one; of more, all of an ending together.
const NAMED: usize = 3;

/// What a source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Files of a folder.
    Folder,
    /// Members of tars.
    Tars,
    /// Rows of Parquet files that hold images.
    Parquet,
    /// Lists of URLs.
    Urls,
    /// Pages of crawl archives.
    Archives,
}

impl Kind {
    /// Its name, which is its key in the pipeline file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Tars => "tars",
            Self::Parquet => "parquet",
            Self::Urls => "urls",
            Self::Archives => "archives",
        }
    }

    /// Whether its images are elsewhere.
    fn is_of_urls(self) -> bool {
        matches!(self, Self::Urls | Self::Archives)
    }
}

/// A source of the pipeline file.
#[derive(Debug, Serialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What it is to the pipeline.
    pub role: Role,
    /// What it reads.
    pub kind: Kind,
    /// Its files.
    pub files: u64,
    /// Its images; of a list, its rows.
    pub images: u64,
    /// The bytes of its files.
    pub bytes: u64,
    /// Folders that its images are in.
    pub folders: u64,
    /// What else is known: extensions, columns.
    pub note: String,
    /// Whether it is only proposed.
    pub commented_out: bool,
    /// Its keys in the file.
    #[serde(skip)]
    pub settings: SourceSettings,
}

/// The sources of all places, and what is in none.
#[derive(Default)]
pub(super) struct Sources {
    pub(super) sources: Vec<Source>,
    pub(super) left_out: Counts,
}

/// What files have in common that are one source: kind, URL or image column, caption column, and a
/// format that the ending does not tell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    kind: Kind,
    column: Option<String>,
    caption: Option<String>,
    unquoted: bool,
}

/// Files of a group, with the images in each.
type Groups = BTreeMap<Group, Vec<(Seen, u64)>>;

impl Sources {
    /// Adds what a place holds.
    pub(super) fn add(&mut self, heap: Heap, role: Role, base: &Path) -> Result<()> {
        let Heap { root, images, captions, folders, tars, archives, lists, is_mixed, mut left_out } = heap;
        let mut groups = Groups::new();
        let tars: Vec<(Seen, Counted)> =
            tars.into_par_iter().map(|seen| (counted_tar(&seen.path), seen)).map(swap).collect();
        let lists: Vec<(Seen, Counted)> =
            lists.into_par_iter().map(|(seen, format)| (counted_list(&seen.path, format), seen)).map(swap).collect();
        let archives: Vec<(Seen, Counted)> =
            archives.into_par_iter().map(|seen| (counted_archive(&seen.path), seen)).map(swap).collect();
        for (seen, counted) in tars.into_iter().chain(archives).chain(lists) {
            match counted {
                Ok((group, rows)) => groups.entry(group).or_default().push((seen, rows)),
                Err(why) => left_out.add(why, seen.bytes),
            }
        }
        if images.is_empty() && groups.is_empty() {
            return Err(nothing_in(&root, left_out));
        }
        let has_images = !images.is_empty() || groups.keys().any(|group| !group.kind.is_of_urls());
        if !images.is_empty() {
            let mut source = folder(&root, &images, folders, is_mixed, base)?;
            add_captions(&mut source, &root, captions, &mut left_out);
            self.push(&root, role, source);
        }
        for (group, files) in groups {
            let commented_out = has_images && group.kind.is_of_urls();
            if commented_out {
                for (seen, _) in &files {
                    left_out.add(Why::UrlsBesideImages, seen.bytes);
                }
            }
            let source = of_files(group, files, base)?;
            self.push(&root, role, Source { commented_out, ..source });
        }
        self.left_out.merge(left_out);
        Ok(())
    }

    /// Gives a source its role and a name of its own.
    fn push(&mut self, root: &Path, role: Role, mut source: Source) {
        let place = slug(root);
        let first = !self.sources.iter().any(|other| other.name == place);
        let wanted = if first { place } else { format!("{place}_{}", source.kind.name()) };
        source.name = unique(&wanted, &|name| self.sources.iter().any(|other| other.name == name));
        source.role = role;
        source.settings.role = role;
        self.sources.push(source);
    }
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

/// A source without a name.
fn source(kind: Kind, files: u64, images: u64, bytes: u64, note: String, settings: SourceSettings) -> Source {
    let (name, role) = (String::new(), Role::Pool);
    Source { name, role, kind, files, images, bytes, folders: 0, note, commented_out: false, settings }
}

/// The images of a folder by their extensions.
fn folder(
    root: &Path,
    images: &BTreeMap<String, (u64, u64)>,
    folders: u64,
    is_mixed: bool,
    base: &Path,
) -> Result<Source> {
    let files = images.values().map(|(files, _)| files).sum();
    let bytes = images.values().map(|(_, bytes)| bytes).sum();
    let name = |extension: &str| if extension.is_empty() { "no ending".into() } else { format!(".{extension}") };
    let note = images.iter().map(|(extension, (files, _))| format!("{} {}", HumanCount(*files), name(extension)));
    let note = note.collect::<Vec<_>>().join(", ");
    let extensions = is_mixed.then(|| images.keys().cloned().collect());
    let settings =
        SourceSettings { folder: Some(named_from(base, root)?.into()), extensions, ..SourceSettings::default() };
    Ok(Source { folders, ..source(Kind::Folder, files, files, bytes, note, settings) })
}

/// Says that a folder has captions, or that what lies beside its images are none.
fn add_captions(source: &mut Source, root: &Path, files: BTreeMap<String, (u64, u64)>, left_out: &mut Counts) {
    let extensions = source.settings.extensions.clone().unwrap_or_default();
    let images = ImageSource::Folder { path: root.to_path_buf(), except: Vec::new(), extensions, captions: true };
    if files.is_empty() {
        return;
    }
    if !has_captions(&images) {
        for (extension, (n, bytes)) in files {
            left_out.add_all(Why::Caption(extension), n, bytes);
        }
        return;
    }
    source.settings.captions = Some(true);
    for (extension, (n, bytes)) in files {
        let _ = write!(source.note, ", captions in {} .{extension}", HumanCount(n));
        source.bytes += bytes;
    }
}

/// A source of the files of a group.
fn of_files(group: Group, files: Vec<(Seen, u64)>, base: &Path) -> Result<Source> {
    let Group { kind, column, caption, unquoted } = group;
    let images = files.iter().map(|(_, rows)| rows).sum();
    let bytes = files.iter().map(|(seen, _)| seen.bytes).sum();
    let paths: Vec<PathBuf> = files.into_iter().map(|(seen, _)| seen.path).collect();
    let note = note(kind, column.as_deref(), caption.as_deref());
    let count = paths.len() as u64;
    let entries = Some(entries(&paths, base)?);
    // What is called as the program expects it need not be said. Captions of tars have no column.
    let column =
        column.filter(|column| !column.is_empty() && column != if kind == Kind::Urls { "url" } else { "image" });
    let caption_column = caption.filter(|caption| kind != Kind::Tars && caption != "caption");
    let settings = SourceSettings { caption_column, ..SourceSettings::default() };
    let settings = match kind {
        Kind::Urls => {
            let format = unquoted.then_some(UrlFormat::TsvUnquoted);
            SourceSettings { urls: entries, url_column: column, format, ..settings }
        }
        Kind::Parquet => SourceSettings { parquet: entries, image_column: column, ..settings },
        Kind::Archives => SourceSettings { archives: entries, ..settings },
        Kind::Tars | Kind::Folder => SourceSettings { tars: entries, ..settings },
    };
    Ok(source(kind, count, images, bytes, note, settings))
}

/// What is known of the columns.
fn note(kind: Kind, column: Option<&str>, caption: Option<&str>) -> String {
    let column = column.filter(|column| !column.is_empty()).map(|column| format!("column {column:?}"));
    let caption = caption.map(|caption| match kind {
        Kind::Tars => "with captions".to_owned(),
        _ => format!("captions {caption:?}"),
    });
    column.into_iter().chain(caption).collect::<Vec<_>>().join(", ")
}

/// How the file names these files: one by one, or as a pattern where a folder's are all of its
/// ending and more than a few.
fn entries(paths: &[PathBuf], base: &Path) -> Result<Vec<PathBuf>> {
    let mut by_folder: BTreeMap<(&Path, &str), Vec<&Path>> = BTreeMap::new();
    for path in paths {
        let folder = path.parent().unwrap_or(Path::new(""));
        let extension = || path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let ending = archive_ending(path).unwrap_or_else(extension);
        by_folder.entry((folder, ending)).or_default().push(path);
    }
    let mut entries = Vec::new();
    for ((folder, ending), paths) in by_folder {
        if paths.len() > NAMED && paths.len() == endings(folder, ending)? {
            entries.push(Path::new(&named_from(base, folder)?).join(format!("*.{ending}")));
        } else {
            for path in paths {
                entries.push(named_from(base, path)?.into());
            }
        }
    }
    Ok(entries)
}

/// How many files of a folder `*.ENDING` finds.
fn endings(folder: &Path, ending: &str) -> Result<usize> {
    let names = std::fs::read_dir(folder).map_err(Error::io(folder))?.flatten().map(|entry| entry.file_name());
    let dotted = format!(".{ending}");
    let found = names.filter(|name| {
        let name = name.to_string_lossy();
        !name.starts_with('.') && name.ends_with(&dotted)
    });
    Ok(found.count())
}

/// The group of a file and its images, or why it is left out.
type Counted = std::result::Result<(Group, u64), Why>;

/// Counts a source of one file.
fn count(source: &ImageSource, path: &Path) -> std::result::Result<u64, Why> {
    match source.check() {
        Ok(0) => Err(Why::NoImage),
        Ok(rows) => Ok(rows),
        Err(error) => Err(unreadable(&error, path)),
    }
}

fn unreadable(error: &Error, path: &Path) -> Why {
    let fact = error.to_string();
    let named = format!("{}: ", path.display());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Why::Unreadable(format!("{name}: {}", fact.strip_prefix(&named).unwrap_or(&fact)))
}

fn counted_tar(path: &Path) -> Counted {
    let source = ImageSource::Tar { files: vec![path.to_path_buf()], caption_key: None, keep: Vec::new() };
    let images = count(&source, path)?;
    let caption = has_captions(&source).then(|| "caption".to_owned());
    Ok((Group { kind: Kind::Tars, column: None, caption, unquoted: false }, images))
}

/// Counts an archive, about.
fn counted_archive(path: &Path) -> Counted {
    let images = archive_rows(path).map_err(|error| unreadable(&error, path))?;
    let group = Group { kind: Kind::Archives, column: None, caption: None, unquoted: false };
    if images == 0 { Err(Why::NoImage) } else { Ok((group, images)) }
}

/// Whether one of the first rows has a caption.
fn has_captions(source: &ImageSource) -> bool {
    let (mut rows, mut found) = (0, false);
    let _ = source.list(&mut |row| {
        (rows, found) = (rows + 1, row.caption.is_some());
        if found || rows == CAPTION_ROWS { Err(Error::usage("enough", "")) } else { Ok(()) }
    });
    found
}

/// Counts a list or table. In a tsv that cannot be read with quotes, they may be ordinary characters.
fn counted_list(path: &Path, format: UrlFormat) -> Counted {
    match counted_as(path, format) {
        Err(why @ Why::Unreadable(_)) if format == UrlFormat::Tsv => {
            counted_as(path, UrlFormat::TsvUnquoted).map_err(|_| why)
        }
        counted => counted,
    }
}

fn counted_as(path: &Path, format: UrlFormat) -> Counted {
    let columns = columns(path, format).map_err(|error| unreadable(&error, path))?;
    let (files, caption_column) = (vec![path.to_path_buf()], caption(&columns).map(str::to_owned));
    let (kind, column, source) = match content(&columns).ok_or(Why::NoColumn)? {
        Content::Images(column) => {
            let (image_column, caption_column) = (column.to_owned(), caption_column.clone());
            (Kind::Parquet, column, ImageSource::Parquet { files, image_column, caption_column, keep: Vec::new() })
        }
        Content::Urls(column) => {
            let (url_column, caption_column) = (column.to_owned(), caption_column.clone());
            (
                Kind::Urls,
                column,
                ImageSource::Urls {
                    files,
                    format: Some(format),
                    url_column,
                    caption_column,
                    keep: Vec::new(),
                    headless: false,
                },
            )
        }
    };
    let images = count(&source, path)?;
    let unquoted = format == UrlFormat::TsvUnquoted;
    Ok((Group { kind, column: Some(column.to_owned()), caption: caption_column, unquoted }, images))
}
