//! SHA-256 of files; of models from memory, since asking again for one of gigabytes is to be cheap.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use lvd_base::error::{Error, Result};

/// Device, file, size, and the times of the last change of content and of anything, in nanoseconds.
type State = (u64, u64, u64, [i64; 4]);

/// The state of each file that was hashed, and its hash.
static HASHED: Mutex<Option<HashMap<PathBuf, (State, String)>>> = Mutex::new(None);

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

/// The bytes of a SHA-256 in hex; `None` where it is none.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? << 4 | low?).ok()?;
    }
    Some(bytes)
}

/// SHA-256 of `bytes`, lower-case hex.
#[must_use]
pub fn sha256_of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 over texts, each with its length: no two lists of texts look alike.
#[must_use]
pub fn sha256_of_texts(texts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// SHA-256 of a file, lower-case hex.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// The same, from memory if this process hashed the file before and it is as it was: size, times
/// and place on the disk.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_cached(path: &Path) -> Result<String> {
    let before = state(path)?;
    let known = || HASHED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((state, hash)) = known().as_ref().and_then(|known| known.get(path))
        && *state == before
    {
        return Ok(hash.clone());
    }
    let hash = sha256_of(path)?;
    // What changed while it was read is not remembered.
    if state(path)? == before {
        known().get_or_insert_default().insert(path.to_owned(), (before, hash.clone()));
    }
    Ok(hash)
}

fn state(path: &Path) -> Result<State> {
    let file = std::fs::metadata(path).map_err(Error::io(path))?;
    let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()];
    Ok((file.dev(), file.ino(), file.size(), times))
}
