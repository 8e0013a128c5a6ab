//! The work folder: a folder that all nodes share, or a prefix of an S3-compatible bucket.
//!
//! Files are named by paths below it, with `/`. A file that is published is never changed again but
//! for the few that a driver replaces. From a bucket, files are copied to where they are read,
//! since Parquet, FAISS and ONNX Runtime want files.

mod bucket;

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::part::Written;
use crate::{digest, publish, sealed};
use bucket::{Bucket, Lease};
use lvd_base::error::{Error, Fault, Result};

/// The folder of a step's damaged files.
pub const DAMAGED: &str = "_damaged";

/// A work folder; copies share what they hold.
#[derive(Clone, Debug)]
pub struct WorkFolder {
    root: PathBuf,
    bucket: Option<Arc<Bucket>>,
}

/// Holds the work folder until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
    _lease: Option<Lease>,
}

impl WorkFolder {
    /// The work folder at `location`, a path or `s3://BUCKET/PREFIX`, which need not exist yet. A
    /// bucket's endpoint and keys come from the environment (`AWS_ENDPOINT`, `AWS_ACCESS_KEY_ID`,
    /// ...).
    pub fn open(location: &str) -> Result<Self> {
        if !location.contains("://") {
            return Ok(Self { root: PathBuf::from(location), bucket: None });
        }
        let bucket = Arc::new(Bucket::open(location)?);
        Ok(Self { root: bucket.copies().to_path_buf(), bucket: Some(bucket) })
    }

    /// Where files lie or, of a bucket, where this process keeps what it needs of them for a while.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a person would call it.
    #[must_use]
    pub fn location(&self) -> String {
        self.bucket.as_ref().map_or_else(|| self.root.display().to_string(), |bucket| bucket.url().to_owned())
    }

    /// The same, from any folder.
    pub fn absolute(&self) -> Result<String> {
        if let Some(bucket) = &self.bucket {
            return Ok(bucket.url().to_owned());
        }
        let path = std::path::absolute(&self.root).map_err(Error::io(&self.root))?;
        Ok(path.canonicalize().unwrap_or(path).to_string_lossy().into_owned())
    }

    /// Whether it is a bucket.
    #[must_use]
    pub fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// A file as a person would call it.
    #[must_use]
    pub fn named(&self, path: &str) -> PathBuf {
        match &self.bucket {
            Some(bucket) => PathBuf::from(format!("{}/{path}", bucket.url())),
            None => self.root.join(path),
        }
    }

    /// Where a file of a folder lies. Names come from files, too, and whoever wrote those is not to
    /// reach beyond the work folder.
    fn place(&self, path: &str) -> Result<PathBuf> {
        let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\0', '\\']);
        if path.split('/').all(is_name) {
            return Ok(self.root.join(path));
        }
        let message = format!("{path:?} in the bookkeeping of {} is no name of a file in it", self.location());
        Err(Error::usage(message, "this work folder was tampered with: use another one"))
    }

    /// A file's content; `None` where there is none.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let place = self.place(path)?;
        if let Some(bucket) = &self.bucket {
            return bucket.read(path);
        }
        let path = place;
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(path)(error)),
        }
    }

    /// The JSON in a file, which is whole; `None` where there is none. `hint` is the cure where it
    /// is not.
    pub fn read_json<T: DeserializeOwned>(&self, path: &str, hint: &'static str) -> Result<Option<T>> {
        let fault = |fact: String| Error::bookkeeping(self.named(path), fact, hint);
        self.read(path)?.map(|bytes| sealed::open(&bytes).map_err(fault)).transpose()
    }

    /// Replaces a file: readers see the old content or the new, never a mixture.
    pub fn replace(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let place = self.place(path)?;
        if let Some(bucket) = &self.bucket {
            return bucket.replace(path, bytes);
        }
        let path = place;
        path.parent().map_or(Ok(()), publish::make_folder)?;
        publish::replace(&path, &bytes)
    }

    /// Replaces a file by `value` as JSON.
    pub fn replace_json(&self, path: &str, value: &impl Serialize) -> Result<()> {
        let bytes = sealed::seal(value).map_err(|e| Error::data(self.named(path), e))?;
        self.replace(path, bytes)
    }

    /// Publishes a file that was written aside as `path`, which names its content. What is there
    /// with other bytes, since it was damaged later, is set aside.
    pub fn publish(&self, written: &Written, path: &str) -> Result<()> {
        let there = self.size(path)?;
        if there.is_some() && !self.holds(path, written)? {
            self.set_aside(path)?;
        }
        self.create(&written.path, path).map(drop)
    }

    /// Whether the file at `path` has these bytes. A bucket keeps its own checksums: there it is
    /// the size that tells.
    fn holds(&self, path: &str, written: &Written) -> Result<bool> {
        if self.size(path)? != Some(written.bytes) {
            return Ok(false);
        }
        Ok(self.is_bucket() || digest::sha256_of(&self.place(path)?)? == written.sha256)
    }

    /// Moves a damaged file out of the way, to `STEP/_damaged`; where it is now, or `None` where it
    /// is gone.
    pub fn set_aside(&self, path: &str) -> Result<Option<String>> {
        let place = self.place(path)?;
        let Some((step, rest)) = path.split_once('/') else { return Ok(None) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let to = format!("{step}/{DAMAGED}/{rest}.{now}");
        if let Some(bucket) = &self.bucket {
            return Ok(bucket.rename(path, &to)?.then_some(to));
        }
        let target = self.root.join(&to);
        target.parent().map_or(Ok(()), publish::make_folder)?;
        match fs::rename(&place, &target) {
            Ok(()) => Ok(Some(to)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(place)(error)),
        }
    }

    /// The files of a step that were set aside: each as it was called, and as it is called now.
    pub fn damaged(&self, step: &str) -> Result<Vec<(String, String)>> {
        let folder = format!("{step}/{DAMAGED}");
        if !self.is_bucket() && !self.place(&folder)?.is_dir() {
            return Ok(Vec::new());
        }
        let before = |path: &String| {
            let name = path.strip_prefix(&folder)?.rsplit_once('.')?.0;
            Some((format!("{step}{name}"), path.clone()))
        };
        Ok(self.files(&folder)?.iter().filter_map(|(path, _)| before(path)).collect())
    }

    /// Publishes the file `aside` as `path`, and removes `aside`. `false`: `path` was there before,
    /// and stands.
    pub fn create(&self, aside: &Path, path: &str) -> Result<bool> {
        let place = self.place(path)?;
        if let Some(bucket) = &self.bucket {
            let fresh = bucket.create(aside, path)?;
            fs::remove_file(aside).map_err(Error::io(aside))?;
            return Ok(fresh);
        }
        let path = place;
        path.parent().map_or(Ok(()), publish::make_folder)?;
        publish::link_new(aside, &path)
    }

    /// Bytes of a file; `None` where there is none.
    pub fn size(&self, path: &str) -> Result<Option<u64>> {
        let place = self.place(path)?;
        if let Some(bucket) = &self.bucket {
            return bucket.size(path);
        }
        Ok(fs::metadata(place).ok().map(|metadata| metadata.len()))
    }

    /// The names of the files in a folder, in no order; none where there is no such folder.
    pub fn names(&self, folder: &str) -> Result<Vec<String>> {
        let place = self.place(folder)?;
        if let Some(bucket) = &self.bucket {
            return bucket.names(folder);
        }
        let folder = place;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(folder)(error)),
        };
        entries.map(|entry| Ok(entry.map_err(Error::io(&folder))?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// All files below a folder with their sizes, in no order, as paths below the work folder.
    pub fn files(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        if let Some(bucket) = &self.bucket {
            return bucket.files(folder);
        }
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.root.join(&folder);
            for entry in fs::read_dir(&path).map_err(Error::io(&path))? {
                let entry = entry.map_err(Error::io(&path))?;
                let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
                // What has gone meanwhile is not there.
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => folders.push(name),
                    Ok(metadata) => found.push((name, metadata.len())),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(Error::io(entry.path())(error)),
                }
            }
        }
        Ok(found)
    }

    /// Removes what a process that is no more left at the root: only drivers write there, one at a
    /// time.
    pub fn sweep(&self) -> Result<()> {
        if self.is_bucket() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.root).map_err(Error::io(&self.root))?.flatten() {
            if publish::is_left_behind(&entry.file_name().to_string_lossy()) && entry.path().is_file() {
                fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
            }
        }
        Ok(())
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, path: &str) -> Result<()> {
        let place = self.place(path)?;
        if let Some(bucket) = &self.bucket {
            return bucket.remove(path);
        }
        let path = place;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
            _ => Ok(()),
        }
    }

    /// Whether files can be written: one is, and removed again. Where the folder is not there yet,
    /// in the nearest that is.
    ///
    /// # Errors
    /// When it cannot be, with the folder.
    pub fn try_to_write(&self) -> Result<()> {
        let name = format!(".probe-{}-{}", publish::host(), std::process::id());
        if let Some(bucket) = &self.bucket {
            return bucket.replace(&name, Vec::new()).and_then(|()| bucket.remove(&name));
        }
        let root = std::path::absolute(&self.root).map_err(Error::io(&self.root))?;
        let folder = root.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(&root);
        if !folder.is_dir() {
            let error = std::io::Error::from(ErrorKind::NotADirectory);
            return Err(Error::io(folder)(error));
        }
        let probe = folder.join(name);
        let refused = |error| Error::data(folder, format!("nothing can be written in this folder: {error}"));
        File::options().write(true).create_new(true).open(&probe).map_err(refused)?;
        fs::remove_file(&probe).map_err(Error::io(&probe))
    }

    /// A file that can be opened: where it lies or, from a bucket, a copy below `copies`.
    pub fn fetch(&self, path: &str, copies: &Path) -> Result<PathBuf> {
        let place = self.place(path)?;
        let Some(bucket) = &self.bucket else { return Ok(place) };
        let copy = copies.join(path);
        if !copy.exists() {
            bucket.copy(path, &copy)?;
        }
        Ok(copy)
    }

    /// A file that was written below [`WorkFolder::root`] is put in its place.
    pub fn hand_in(&self, path: &str) -> Result<()> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let copy = self.root.join(path);
        bucket.replace(path, fs::read(&copy).map_err(Error::io(&copy))?)?;
        fs::remove_file(&copy).map_err(Error::io(&copy))
    }

    /// Keeps every other driver out until the lock is dropped, by death, too.
    pub fn lock(&self) -> Result<Lock> {
        let me = format!("process {} on {}", std::process::id(), publish::host());
        let locked = |owner: &str| {
            let owner = if owner.is_empty() { String::new() } else { format!(": {}", owner.trim()) };
            let fact = format!("another lvd is running in {}{owner}", self.location());
            Error::Locked(Fault::new(fact, "wait for it, stop it, or choose another folder with --work"))
        };
        if let Some(bucket) = &self.bucket {
            return match Bucket::lease(bucket, ".lock", &me)? {
                Ok(lease) => Ok(Lock { _file: None, _lease: Some(lease) }),
                Err(owner) => Err(locked(&owner)),
            };
        }
        publish::make_folder(&self.root)?;
        let path = self.root.join(".lock");
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).and_then(|()| (&file).write_all(me.as_bytes())).map_err(Error::io(&path))?;
                Ok(Lock { _file: Some(file), _lease: None })
            }
            Err(TryLockError::WouldBlock) => Err(locked(&fs::read_to_string(&path).unwrap_or_default())),
            Err(TryLockError::Error(error)) => Err(Error::io(&path)(error)),
        }
    }
}

/// The lock's file, made if it is not there. Never one that a name in the work folder leads to
/// elsewhere: whoever holds the lock writes into it.
fn open_lock(path: &Path) -> Result<File> {
    let foreign = |what: &str| {
        let message = format!("{} is {what}, not the plain file that lvd makes", path.display());
        Error::usage(message, "remove it, once you know who has put it there")
    };
    let mut options = File::options();
    // A FIFO would wait for a reader.
    options.create(true).truncate(false).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(foreign("a symbolic link")),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Err(foreign("a pipe or a socket")),
        opened => opened.map_err(Error::io(path))?,
    };
    let plain = file.metadata().map_err(Error::io(path))?.is_file();
    if plain { Ok(file) } else { Err(foreign("a device or a pipe")) }
}
