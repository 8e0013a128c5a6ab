//! Model files: hashed where they lie, unpacked from the program, or downloaded once and checked
//! against the hash in the pipeline file.
//!
//! A download that broke off lies in the folder as `HASH.partial` and is continued, by this process
//! or a later one. Who holds the operating system's lock on that file writes to it; the others
//! wait, and then find the model.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::digest::{sha256_cached, sha256_of, sha256_of_bytes};
use crate::fetch::private::{Door, Private, is_inside};
use crate::fetch::resolve::{Resolver, cause};
use crate::secret::shown;
use crate::{publish, runtime};
use lvd_base::error::{Error, Result};
use reqwest::header::{CONTENT_RANGE, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

/// How long a server may be silent during a download.
const SILENCE: Duration = Duration::from_mins(1);

/// Attempts in a row that bring no byte beyond the furthest so far, after which a download is given
/// up.
const ATTEMPTS: u32 = 5;

/// The wait before the second attempt; each further wait is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// The file at `url` with this hash, in `folder`: downloaded if it is not there, continued if a
/// part of it is. One that is there and has another hash by now (a disk that forgets) is downloaded
/// again.
///
/// A dropped connection, a silent server, 408, 429 and 5xx are tried again, from the last byte. Any
/// other refusal is an error at once, and so is content with another hash, which is removed.
pub fn by_hash(url: &str, sha256: &str, folder: &Path) -> Result<PathBuf> {
    download(url, sha256, folder, PAUSE)
}

/// The file at `url`, whatever its hash, as `path`. What comes of a broken download lies beside it
/// as `.partial`, and is continued.
pub fn to_file(url: &str, path: &Path) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = lock(&partial)?;
    let runtime = runtime::start("lvd-download", 1)?;
    runtime.block_on(fill(url, &mut file, &partial, PAUSE))?;
    file.sync_all().map_err(Error::io(&partial))?;
    std::fs::rename(&partial, path).map_err(Error::io(path))
}

/// The file with these bytes, in `folder`: written if it is not there.
pub fn unpacked(bytes: &[u8], folder: &Path) -> Result<PathBuf> {
    // Two threads of a process would write to one file aside.
    static ONE: Mutex<()> = Mutex::new(());
    let sha256 = sha256_of_bytes(bytes);
    let path = path_of(&sha256, folder);
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !is_whole(&path, &sha256)? {
        publish::make_folder(folder)?;
        publish::replace(&path, bytes)?;
    }
    Ok(path)
}

/// Where in `folder` the file with this hash is, once it was put there.
#[must_use]
pub fn path_of(sha256: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{sha256}.onnx"))
}

/// Whether the file is there, as it was downloaded.
fn is_whole(path: &Path, sha256: &str) -> Result<bool> {
    Ok(path.exists() && sha256_cached(path)? == sha256)
}

fn download(url: &str, sha256: &str, folder: &Path, pause: Duration) -> Result<PathBuf> {
    let path = path_of(sha256, folder);
    if is_whole(&path, sha256)? {
        return Ok(path);
    }
    publish::make_folder(folder)?;
    let partial = folder.join(format!("{sha256}.partial"));
    let mut file = lock(&partial)?;
    // Another process may have finished it while this one waited; the lock is then on a new, empty
    // file.
    if is_whole(&path, sha256)? {
        std::fs::remove_file(&partial).map_err(Error::io(&partial))?;
        return Ok(path);
    }
    if path.exists() {
        std::fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    let begun = file.metadata().map_err(Error::io(&partial))?.len() > 0;
    if !begun || sha256_of(&partial)? != sha256 {
        let runtime = runtime::start("lvd-download", 1)?;
        runtime.block_on(fill(url, &mut file, &partial, pause))?;
        let got = sha256_of(&partial)?;
        if got != sha256 {
            std::fs::remove_file(&partial).map_err(Error::io(&partial))?;
            let hint = "check the URL; if the file changed on purpose, set its new `sha256`";
            return Err(Error::usage(format!("{}: SHA-256 is {got}, expected {sha256}", shown(url)), hint));
        }
    }
    file.sync_all().map_err(Error::io(&partial))?;
    publish::link_new(&partial, &path)?;
    Ok(path)
}

/// The file at `path`, made if it is not there, locked until it is closed.
fn lock(path: &Path) -> Result<File> {
    loop {
        // A link would lead what is downloaded out of the folder.
        let mut options = File::options();
        options.append(true).create(true).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path).map_err(Error::io(path))?;
        file.lock().map_err(Error::io(path))?;
        // Whoever held the lock before may have removed the file: then this lock guards nothing.
        let held = file.metadata().map_err(Error::io(path))?;
        match std::fs::metadata(path) {
            Ok(now) if (now.dev(), now.ino()) == (held.dev(), held.ino()) => return Ok(file),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(path)(error)),
            _ => {}
        }
    }
}

/// Why an attempt ended before the end of the file.
enum Stop {
    /// May pass: ask again.
    Passing(String),
    /// The server or the URL is at fault.
    Refused(String),
    /// This machine's disk is.
    Disk(Error),
}

async fn fill(url: &str, file: &mut File, path: &Path, pause: Duration) -> Result<()> {
    let failed = |fact: String| {
        Error::usage(
            format!("{}: {fact}", shown(url)),
            "check the URL and the network, or give a file; what came is kept",
        )
    };
    // The user's own URL may be anywhere; what it redirects to may be inside only if it is itself.
    let open = match Url::parse(url) {
        Ok(url) => is_inside(&url).await,
        Err(_) => false,
    };
    let door = Door::new(open, false);
    let redirects = door.redirects(MAX_REDIRECTS);
    let client = Client::builder().read_timeout(SILENCE).connect_timeout(SILENCE).no_gzip().redirect(redirects);
    let client = client.dns_resolver(Arc::new(Resolver(door))).build();
    let client = client.map_err(|e| failed(e.without_url().to_string()))?;
    let length = |file: &File| Ok(file.metadata().map_err(Error::io(path))?.len());
    let mut furthest = length(file)?;
    let mut attempts = 0;
    loop {
        let have = length(file)?;
        match attempt(&client, url, have, file, path).await {
            Ok(()) => return Ok(()),
            Err(Stop::Refused(fact)) => return Err(failed(fact)),
            Err(Stop::Disk(error)) => return Err(error),
            Err(Stop::Passing(fact)) => {
                let now = length(file)?;
                attempts = if now > furthest { 1 } else { attempts + 1 };
                furthest = furthest.max(now);
                if attempts == ATTEMPTS {
                    return Err(failed(format!("{fact}, {attempts} times in a row, after {now} bytes")));
                }
                tokio::time::sleep(pause * (1 << (attempts - 1))).await;
            }
        }
    }
}

/// Asks once for what lies beyond the first `have` bytes, and appends it.
async fn attempt(client: &Client, url: &str, have: u64, file: &mut File, path: &Path) -> std::result::Result<(), Stop> {
    let disk = |error| Stop::Disk(Error::io(path)(error));
    let mut ask = client.get(url);
    if have > 0 {
        ask = ask.header(RANGE, format!("bytes={have}-"));
    }
    let mut answer = ask.send().await.map_err(broken)?;
    match answer.status() {
        StatusCode::PARTIAL_CONTENT if have > 0 && starts_at(&answer) == Some(have) => {}
        StatusCode::OK => file.set_len(0).map_err(disk)?,
        // What is there is no beginning of that file, or the server cannot say where its answer
        // belongs.
        status if have > 0 && matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE) => {
            file.set_len(0).map_err(disk)?;
            return Err(Stop::Passing(format!("the server answered {status} to a request from byte {have}")));
        }
        status => {
            let fact = format!("the server answered {status}");
            let passing = status.is_server_error()
                || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
            return Err(if passing { Stop::Passing(fact) } else { Stop::Refused(fact) });
        }
    }
    while let Some(bytes) = answer.chunk().await.map_err(broken)? {
        file.write_all(&bytes).map_err(disk)?;
    }
    Ok(())
}

fn broken(error: reqwest::Error) -> Stop {
    // The URL may hold a password; the caller names it without.
    let error = error.without_url();
    let mut fact = error.to_string();
    let lasting = error.is_builder() || error.is_redirect() || cause::<Private>(&error).is_some();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        fact = format!("{fact}: {inner}");
        cause = inner.source();
    }
    if lasting { Stop::Refused(fact) } else { Stop::Passing(fact) }
}

/// The first byte of a partial answer, by its `Content-Range: bytes FIRST-LAST/ALL` (RFC 9110,
/// section 14.4).
fn starts_at(answer: &Response) -> Option<u64> {
    let range = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
