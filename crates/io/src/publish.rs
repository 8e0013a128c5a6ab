//! How a file becomes visible: whole, durable, and at most once.
//!
//! Everything is written aside and then linked under its name with create-if-absent, so that a
//! reader never sees half a file and the second of two racing writers loses without harm. A plain
//! rename is kept for the few files that a driver rewrites while it alone holds the work folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use lvd_base::error::{Error, Result};

/// Links `aside` as `path` and removes `aside`. `false`: `path` was there before, and stands.
pub fn link_new(aside: &Path, path: &Path) -> Result<bool> {
    let fresh = match fs::hard_link(aside, path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(Error::io(path)(error)),
    };
    fs::remove_file(aside).map_err(Error::io(aside))?;
    if fresh {
        sync_folder_of(path)?;
    }
    Ok(fresh)
}

/// Writes `bytes` to `aside`, then links it as `path`. `false`: `path` was there before, and
/// stands.
pub fn write_new(aside: &Path, path: &Path, bytes: &[u8]) -> Result<bool> {
    write_aside(aside, bytes)?;
    link_new(aside, path)
}

/// Replaces `path` by `bytes`: readers see the old content or the new, never a mixture.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".tmp-{}-{}", host(), std::process::id()));
    let aside = Path::new(&aside);
    write_aside(aside, bytes)?;
    fs::rename(aside, path).map_err(Error::io(path))?;
    sync_folder_of(path)
}

/// Replaces `path` by `value` as pretty JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| Error::data(path, e))?;
    replace(path, &text)
}

/// The JSON in `path`, or `None` when there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::data(path, e)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "unknown".into(), |name| name.trim().to_owned())
}

/// Whether a process of this machine is there no more; `false` for one of another machine.
#[must_use]
pub fn is_dead_here(machine: &str, process: u32) -> bool {
    let processes = Path::new("/proc");
    machine == host() && processes.join("self").exists() && !processes.join(process.to_string()).exists()
}

/// Whether a temporary is of a process of this machine that is there no more: `HOST-PROCESS`
/// follows `.tmp-` in its name.
#[must_use]
pub fn is_left_behind(name: &str) -> bool {
    let host = host();
    let who = name.split_once(".tmp-").and_then(|(_, who)| who.split_once(&format!("{host}-")));
    let digits = who.map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    digits.and_then(|digits| digits.parse().ok()).is_some_and(|process| is_dead_here(&host, process))
}

/// Makes `folder` and what is above it.
pub fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder))
}

/// Writes `bytes` to a new file that will be published. What lies there, a link perhaps, is removed
/// and not followed.
pub fn write_aside(aside: &Path, bytes: &[u8]) -> Result<()> {
    match fs::remove_file(aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io(aside)(error)),
        _ => {}
    }
    let mut file = File::create_new(aside).map_err(Error::io(aside))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(aside))
}

fn sync_folder_of(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporaries_of_the_dead_are_known() {
        let (host, me) = (host(), std::process::id());
        let left = |name: String| is_left_behind(&name);
        assert!(left(format!("datasets.json.tmp-{host}-4194999")));
        assert!(left(format!("fetch-3.tmp-77_1.0-{host}-4194999_-images")));
        assert!(left(format!("fetch-3.tmp-{host}-4194999_-images")));
        assert!(!left(format!("datasets.json.tmp-{host}-{me}")));
        assert!(!left("datasets.json.tmp-elsewhere-4194999".into()));
        assert!(!left("datasets.json".into()));
    }

    #[test]
    fn the_first_to_publish_stands() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let (aside, path) = (folder.path().join("aside"), folder.path().join("part"));
        assert!(write_new(&aside, &path, b"first")?);
        assert!(!write_new(&aside, &path, b"second")?);
        assert_eq!(fs::read(&path).map_err(Error::io(&path))?, b"first");
        assert!(!aside.exists());
        Ok(())
    }
}
