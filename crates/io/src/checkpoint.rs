//! What a long task has reached, kept for its next attempt: facts as a line of JSON, arrays of
//! numbers, and a hash over both.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::publish;
use lvd_base::error::{Error, Result};

/// Replaces the checkpoint at `path`.
pub fn save(path: &Path, facts: &impl Serialize, arrays: &[Vec<f32>]) -> Result<()> {
    let lengths: Vec<usize> = arrays.iter().map(Vec::len).collect();
    let mut bytes = serde_json::to_vec(&(facts, lengths)).map_err(|e| Error::data(path, e))?;
    bytes.push(b'\n');
    bytes.extend(arrays.iter().flatten().flat_map(|value| value.to_le_bytes()));
    let hash = Sha256::digest(&bytes);
    bytes.extend(hash);
    path.parent().map_or(Ok(()), publish::make_folder)?;
    publish::replace(path, &bytes)
}

/// What was saved at `path`; `None` where nothing whole is there.
#[must_use]
pub fn load<T: DeserializeOwned>(path: &Path) -> Option<(T, Vec<Vec<f32>>)> {
    let bytes = fs::read(path).ok()?;
    let (content, hash) = bytes.split_last_chunk::<32>()?;
    if Sha256::digest(content).as_slice() != hash {
        return None;
    }
    let line = content.iter().position(|&byte| byte == b'\n')?;
    let (facts, lengths): (T, Vec<usize>) = serde_json::from_slice(&content[..line]).ok()?;
    let mut values = content[line + 1..].as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
    let arrays = lengths.into_iter().map(|length| values.by_ref().take(length).collect()).collect();
    Some((facts, arrays))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back_whole_or_not_at_all() -> Result<()> {
        let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
        let path = folder.path().join("deeper").join("state");
        assert!(load::<u32>(&path).is_none());
        let arrays = vec![vec![1.5, f32::MIN], vec![], vec![0.1]];
        save(&path, &7u32, &[])?;
        save(&path, &8u32, &arrays)?;
        assert_eq!(load::<u32>(&path), Some((8, arrays)));
        let mut bytes = fs::read(&path).map_err(Error::io(&path))?;
        bytes[12] ^= 1;
        fs::write(&path, &bytes).map_err(Error::io(&path))?;
        assert!(load::<u32>(&path).is_none());
        fs::write(&path, &bytes[..20]).map_err(Error::io(&path))?;
        assert!(load::<u32>(&path).is_none());
        Ok(())
    }
}
