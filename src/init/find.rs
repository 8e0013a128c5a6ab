//! What a place holds: one walk, in which images are counted and all else is kept by name.
//!
//! Of a file only its name and size are looked at, and its first bytes where the name has no
//! ending.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::left_out::{Counts, Why};
use super::place::unreadable;
use lvd_base::error::{Error, Result};
use lvd_io::decode::looks_like_image;
use lvd_io::sources::UrlFormat;
use lvd_io::sources::look::{self, IMAGES, Sighting};

/// A file that may hold images or name them.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// What a place holds.
#[derive(Default)]
pub(super) struct Heap {
    pub(super) root: PathBuf,
    /// Images by extension: how many, and their bytes.
    pub(super) images: BTreeMap<String, (u64, u64)>,
    /// Folders that hold some of them.
    pub(super) folders: u64,
    pub(super) tars: Vec<Seen>,
    pub(super) archives: Vec<Seen>,
    /// Lists of URLs, and tables of URLs or images.
    pub(super) lists: Vec<(Seen, UrlFormat)>,
    /// Files beside images that may hold their captions, by extension.
    pub(super) captions: BTreeMap<String, (u64, u64)>,
    /// Whether a folder source of it would meet what is no image.
    pub(super) is_mixed: bool,
    pub(super) left_out: Counts,
}

/// Looks at a folder, or at one file.
pub(super) fn look(root: &Path, ours: &[PathBuf]) -> Result<Heap> {
    let mut walk = Walk::default();
    if root.is_dir() {
        let walked = look::files(root, ours, &mut |sighting| {
            walk.meet(sighting);
            Ok(())
        });
        walked.map_err(|error| match error {
            Error::Io { path, source } => unreadable(&path, &source),
            error => error,
        })?;
    } else {
        let bytes = std::fs::metadata(root).map_err(|error| unreadable(root, &error))?.len();
        let extension = root.extension().map_or_else(String::new, |ending| ending.to_string_lossy().to_lowercase());
        walk.meet(Sighting::File(root, extension, bytes));
    }
    let heap = walk.sorted(root);
    if heap.images.is_empty() && heap.tars.is_empty() && heap.archives.is_empty() && heap.lists.is_empty() {
        return Err(nothing_in(root, heap.left_out));
    }
    if root.is_file() && !heap.images.is_empty() {
        let fact = format!("{} is one image", root.display());
        return Err(Error::usage(fact, "name the folder that it lies in"));
    }
    Ok(heap)
}

/// A place without images: what it has instead.
pub(super) fn nothing_in(root: &Path, left_out: Counts) -> Error {
    let found = left_out.into_vec();
    if found.is_empty() {
        return Error::usage(format!("{}: nothing in this folder", root.display()), "name the folder with your images");
    }
    let what: Vec<String> = found.iter().take(5).map(|left| format!("{} ({})", left.why, left.files)).collect();
    let fact = format!("{}: no images; it has: {}", root.display(), what.join("; "));
    let known = IMAGES.join(", ");
    let cure = format!(
        "images are files in {known}, tars or Parquet files of them, or URLs in csv, tsv, jsonl, txt, Parquet or \
         crawl archives (warc, wat, arc)"
    );
    Error::usage(fact, cure)
}

/// The walk as far as it has come.
#[derive(Default)]
struct Walk {
    heap: Heap,
    /// Images without their extensions, as hashes.
    beside: HashSet<u64>,
    /// Tars without their extensions, and folders with images.
    described: HashSet<u64>,
    folders: HashSet<u64>,
    /// Files that may go with another one of the same name.
    candidates: Vec<(Seen, String)>,
    /// Work folders of ours.
    works: Vec<PathBuf>,
}

impl Walk {
    fn meet(&mut self, sighting: Sighting) {
        let (path, extension, bytes) = match sighting {
            Sighting::Hidden(_) => return self.heap.left_out.add(Why::Hidden, 0),
            Sighting::Closed(_) => return self.heap.left_out.add(Why::Closed, 0),
            Sighting::File(path, extension, bytes) => (path, extension, bytes),
        };
        let seen = || Seen { path: path.to_path_buf(), bytes };
        match extension.as_str() {
            "" if begins_like_an_image(path) => self.image(path, extension, bytes),
            image if IMAGES.contains(&image) => self.image(path, extension, bytes),
            "tar" => {
                self.described.insert(hash(&path.with_extension("")));
                self.candidates.push((seen(), extension));
            }
            "json" => {
                if path.ends_with("datasets.json") {
                    self.works.extend(path.parent().map(Path::to_path_buf));
                }
                self.candidates.push((seen(), extension));
            }
            _ if UrlFormat::of(path).is_some() || look::archive_ending(path).is_some() => {
                self.candidates.push((seen(), extension));
            }
            _ => {
                self.heap.is_mixed = true;
                self.heap.left_out.add(Why::Other(extension), bytes);
            }
        }
    }

    fn image(&mut self, path: &Path, extension: String, bytes: u64) {
        add(&mut self.heap.images, extension, bytes);
        self.beside.insert(hash(&path.with_extension("")));
        if let Some(parent) = path.parent() {
            self.folders.insert(hash(parent));
        }
    }

    /// The heap, once all has been met.
    fn sorted(self, root: &Path) -> Heap {
        let Self { mut heap, beside, described, folders, candidates, works } = self;
        heap.root = root.to_path_buf();
        heap.folders = folders.len() as u64;
        heap.is_mixed |= !candidates.is_empty();
        for (seen, extension) in candidates {
            let stem = hash(&seen.path.with_extension(""));
            let bytes = seen.bytes;
            let format = UrlFormat::of(&seen.path);
            let is_tar = extension == "tar";
            if works.iter().any(|work| seen.path.starts_with(work)) {
                heap.left_out.add(Why::OfWork, bytes);
            } else if beside.contains(&stem) && ["txt", "json"].contains(&&*extension) {
                add(&mut heap.captions, extension, bytes);
            } else if !is_tar
                && format.is_some()
                && [&beside, &described, &folders].iter().any(|names| names.contains(&stem))
            {
                heap.left_out.add(Why::Describes, bytes);
            } else if seen.path.to_str().is_none() {
                heap.left_out.add(Why::Name, bytes);
            } else if is_tar {
                heap.tars.push(seen);
            } else if look::archive_ending(&seen.path).is_some() {
                heap.archives.push(seen);
            } else if let Some(format) = format {
                heap.lists.push((seen, format));
            } else {
                heap.left_out.add(Why::Other(extension), bytes);
            }
        }
        heap
    }
}

/// Counts a file by its extension.
fn add(counts: &mut BTreeMap<String, (u64, u64)>, extension: String, bytes: u64) {
    let (files, sum) = counts.entry(extension).or_default();
    *files += 1;
    *sum += bytes;
}

/// A path, in eight bytes: a pool may have millions.
fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// Whether a file without an ending begins as images do. What cannot be read does not.
fn begins_like_an_image(path: &Path) -> bool {
    let mut first = Vec::new();
    let is_file = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let mut read = || File::open(path).and_then(|file| file.take(64).read_to_end(&mut first));
    is_file && read().is_ok() && looks_like_image(&first)
}
