//! A work folder in an S3-compatible bucket.
//!
//! What decides anything (markers) is published by one conditional put, `If-None-Match: *`, so that
//! the first of two racing attempts stands. Large parts are uploaded in pieces, without that
//! condition: their names carry their content.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion, WriteMultipart};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::part::sha256;
use crate::{publish, runtime, secret};
use lvd_base::error::{Error, Result};

/// The most bytes that are put in one request.
const ONE_PUT: usize = 16 << 20;
/// Pieces of a large file that are under way at once.
const PIECES: usize = 4;
/// Seconds for which a driver holds the lock without saying so again.
const LEASE: u64 = 60;

/// A prefix of a bucket.
#[derive(Debug)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    url: String,
    runtime: Runtime,
    copies: PathBuf,
}

/// Says that a driver lives; said anew until it is dropped.
#[derive(Debug)]
pub struct Lease {
    bucket: Arc<Bucket>,
    path: String,
    ended: Arc<AtomicBool>,
    renewal: Option<std::thread::JoinHandle<()>>,
}

/// What the lock's object holds.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    owner: String,
    host: String,
    process: u32,
    /// Seconds since 1970.
    until: u64,
}

impl Held {
    fn mine(owner: &str) -> Self {
        Self { owner: owner.into(), host: publish::host(), process: std::process::id(), until: now() + LEASE }
    }

    /// Whether whoever holds it is gone: it has not said so for too long, or its process is no
    /// more.
    fn is_over(&self) -> bool {
        self.until < now() || publish::is_dead_here(&self.host, self.process)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Bucket {
    /// The bucket at `s3://BUCKET/PREFIX`.
    pub fn open(url: &str) -> Result<Self> {
        let url = url.trim_end_matches('/').to_owned();
        let bad = |message: String| {
            Error::usage(
                format!("{}: {message}", secret::redacted(&url)),
                "a work folder is a path or s3://BUCKET/PREFIX; AWS_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY say where and who",
            )
        };
        let place = url.strip_prefix("s3://").ok_or_else(|| bad("is no s3:// address".into()))?;
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        if name.contains(['@', ':']) {
            return Err(bad("the address holds a user or a password, and would be written to plans and logs".into()));
        }
        let plain = std::env::var("AWS_ENDPOINT").is_ok_and(|endpoint| endpoint.starts_with("http://"));
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(name)
            .with_allow_http(plain)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .build()
            .map_err(|error| bad(secret::without_keys(&error.to_string())))?;
        let runtime = runtime::start("lvd-bucket", 2)?;
        let copies = folder_of_copies(&url)?;
        Ok(Self { store: Arc::new(store), prefix: prefix.to_owned(), url, runtime, copies })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where this process keeps copies.
    pub fn copies(&self) -> &Path {
        &self.copies
    }

    fn key(&self, path: &str) -> Key {
        let whole = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        Key::from(whole)
    }

    fn fault(&self, path: &str, error: &object_store::Error) -> Error {
        Error::data(format!("{}/{path}", self.url), secret::without_keys(&error.to_string()))
    }

    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let key = self.key(path);
        let read = async { self.store.get(&key).await?.bytes().await };
        match self.runtime.block_on(read) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fault(path, &error)),
        }
    }

    pub fn replace(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let key = self.key(path);
        let put = self.store.put(&key, PutPayload::from(bytes));
        self.runtime.block_on(put).map(|_| ()).map_err(|error| self.fault(path, &error))
    }

    /// Puts `bytes` where nothing is. `false`: something is.
    fn put_new(&self, path: &str, bytes: Vec<u8>) -> Result<bool> {
        let key = self.key(path);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.runtime.block_on(self.store.put_opts(&key, PutPayload::from(bytes), options)) {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(self.fault(path, &error)),
        }
    }

    pub fn create(&self, aside: &Path, path: &str) -> Result<bool> {
        let length = fs::metadata(aside).map_err(Error::io(aside))?.len();
        if length <= ONE_PUT as u64 {
            return self.put_new(path, fs::read(aside).map_err(Error::io(aside))?);
        }
        if self.size(path)? == Some(length) {
            return Ok(false);
        }
        let mut file = File::open(aside).map_err(Error::io(aside))?;
        let key = self.key(path);
        let upload = async {
            let upload = self.store.put_multipart(&key).await.map_err(|error| self.fault(path, &error))?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, ONE_PUT);
            let mut piece = vec![0; ONE_PUT];
            loop {
                let read = file.read(&mut piece).map_err(Error::io(aside))?;
                if read == 0 {
                    break;
                }
                upload.wait_for_capacity(PIECES).await.map_err(|error| self.fault(path, &error))?;
                upload.write(&piece[..read]);
            }
            upload.finish().await.map_err(|error| self.fault(path, &error))
        };
        self.runtime.block_on(upload).map(|_| true)
    }

    pub fn size(&self, path: &str) -> Result<Option<u64>> {
        let key = self.key(path);
        match self.runtime.block_on(self.store.head(&key)) {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fault(path, &error)),
        }
    }

    /// `false`: there is none.
    pub fn rename(&self, path: &str, to: &str) -> Result<bool> {
        match self.runtime.block_on(self.store.rename(&self.key(path), &self.key(to))) {
            Ok(()) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.fault(path, &error)),
        }
    }

    pub fn names(&self, folder: &str) -> Result<Vec<String>> {
        let key = self.key(folder);
        let found = self.runtime.block_on(self.store.list_with_delimiter(Some(&key)));
        let found = found.map_err(|error| self.fault(folder, &error))?;
        Ok(found.objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect())
    }

    pub fn files(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let key = self.key(folder);
        let list = self.store.list(Some(&key)).try_collect::<Vec<_>>();
        let found = self.runtime.block_on(list).map_err(|error| self.fault(folder, &error))?;
        let cut = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        Ok(found.iter().map(|object| (object.location.as_ref()[cut..].to_owned(), object.size)).collect())
    }

    pub fn remove(&self, path: &str) -> Result<()> {
        let key = self.key(path);
        match self.runtime.block_on(self.store.delete(&key)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fault(path, &error)),
        }
    }

    /// Copies a file to `copy`, which is there only when it is whole.
    pub fn copy(&self, path: &str, copy: &Path) -> Result<()> {
        copy.parent().map_or(Ok(()), publish::make_folder)?;
        let mut aside = copy.as_os_str().to_owned();
        aside.push(format!(".tmp-{:?}", std::thread::current().id()));
        let aside = PathBuf::from(aside);
        let mut file = File::create(&aside).map_err(Error::io(&aside))?;
        let key = self.key(path);
        self.runtime.block_on(async {
            let found = self.store.get(&key).await.map_err(|error| self.fault(path, &error))?;
            let mut stream = found.into_stream();
            while let Some(bytes) = stream.next().await {
                let bytes = bytes.map_err(|error| self.fault(path, &error))?;
                file.write_all(&bytes).map_err(Error::io(&aside))?;
            }
            Ok::<(), Error>(())
        })?;
        fs::rename(&aside, copy).map_err(Error::io(copy))
    }

    /// Takes the lock at `path`; `Err` holds its owner's own words.
    pub fn lease(bucket: &Arc<Self>, path: &str, owner: &str) -> Result<std::result::Result<Lease, String>> {
        let text = |held: &Held| serde_json::to_vec(held).map_err(|e| Error::data(path, e));
        if !bucket.put_new(path, text(&Held::mine(owner))?)? {
            let key = bucket.key(path);
            let found = bucket.runtime.block_on(async {
                let found = bucket.store.get(&key).await?;
                let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                Ok::<_, object_store::Error>((version, found.bytes().await?))
            });
            let (version, bytes) = match found {
                Ok(found) => found,
                // It was given back just now.
                Err(object_store::Error::NotFound { .. }) => return Self::lease(bucket, path, owner),
                Err(error) => return Err(bucket.fault(path, &error)),
            };
            let held: Option<Held> = serde_json::from_slice(&bytes).ok();
            if let Some(held) = held.filter(|held| !held.is_over()) {
                return Ok(Err(held.owner));
            }
            let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
            let take = bucket.store.put_opts(&key, PutPayload::from(text(&Held::mine(owner))?), options);
            match bucket.runtime.block_on(take) {
                Ok(_) => {}
                Err(object_store::Error::Precondition { .. }) => return Ok(Err("somebody who was quicker".into())),
                Err(error) => return Err(bucket.fault(path, &error)),
            }
        }
        let ended = Arc::new(AtomicBool::new(false));
        let (mine, end, place, owner) = (bucket.clone(), ended.clone(), path.to_owned(), owner.to_owned());
        let renew = move || {
            let mut said = now();
            while !end.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(200));
                if now() >= said + LEASE / 3 {
                    // One that fails is made up for by the next.
                    if let Ok(bytes) = serde_json::to_vec(&Held::mine(&owner))
                        && mine.replace(&place, bytes).is_ok()
                    {
                        said = now();
                    }
                }
            }
        };
        let renewal = std::thread::Builder::new().spawn(renew).map_err(Error::thread)?;
        Ok(Ok(Lease { bucket: bucket.clone(), path: path.to_owned(), ended, renewal: Some(renewal) }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(renewal) = self.renewal.take() {
            let _ = renewal.join();
        }
        let _ = self.bucket.remove(&self.path);
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.copies);
    }
}

/// A folder of this process for copies: `$LVD_CACHE`, or below the system's folder for temporary
/// files. What dead processes left is removed.
fn folder_of_copies(url: &str) -> Result<PathBuf> {
    let base = std::env::var_os("LVD_CACHE").map_or_else(|| std::env::temp_dir().join("lvd-copies"), PathBuf::from);
    publish::make_folder(&base)?;
    for entry in fs::read_dir(&base).map_err(Error::io(&base))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.rsplit('-').next().and_then(|process| process.parse().ok());
        if name.contains(&format!("-{}-", publish::host()))
            && process.is_some_and(|process| publish::is_dead_here(&publish::host(), process))
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = base.join(format!("{}-{}-{}", &sha256(url.as_bytes())[..8], publish::host(), std::process::id()));
    publish::make_folder(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(Error::io(&folder))?;
    Ok(folder)
}
