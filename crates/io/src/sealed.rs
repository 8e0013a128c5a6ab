//! JSON that tells whether it is as it was written: its last field, `_crc32`, is the checksum of
//! all before it.
//!
//! For the bookkeeping of a work folder. What was written without a seal, by an earlier version, is
//! taken as it is.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const FIELD: &str = "_crc32";
/// How a sealed file ends, but for the eight digits.
const END: (&str, &str) = (",\n  \"_crc32\": \"", "\"\n}");

/// `value`, which has to be a map or a struct, as pretty JSON with a seal.
pub fn seal(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    let Some(content) = bytes.strip_suffix(b"\n}").map(<[u8]>::len) else { return Ok(bytes) };
    bytes.truncate(content);
    let sum = crc32fast::hash(&bytes);
    bytes.extend(format!("{}{sum:08x}{}", END.0, END.1).into_bytes());
    Ok(bytes)
}

/// What was sealed, or what is wrong.
pub fn open<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if bytes.is_empty() {
        return Err("is empty".into());
    }
    if let Some((content, sum)) = split(bytes) {
        if crc32fast::hash(content) != sum {
            return Err("is not as it was written".into());
        }
        return serde_json::from_slice(&[content, b"\n}"].concat()).map_err(|e| e.to_string());
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if value.get(FIELD).is_some() {
        return Err("was changed after it was written".into());
    }
    T::deserialize(value).map_err(|e| e.to_string())
}

/// What the seal is of, and its checksum; none where there is no seal at the end.
fn split(bytes: &[u8]) -> Option<(&[u8], u32)> {
    let (rest, digits) = bytes.strip_suffix(END.1.as_bytes())?.split_last_chunk::<8>()?;
    let sum = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    Some((rest.strip_suffix(END.0.as_bytes())?, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_change_of_sealed_json_is_found() {
        let value = BTreeMap::from([("a".to_owned(), 1.1f64), ("b".to_owned(), 0.1 + 0.2)]);
        let sealed = seal(&value).expect("numbers");
        assert_eq!(open::<BTreeMap<String, f64>>(&sealed), Ok(value.clone()));
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 4;
            assert!(open::<BTreeMap<String, f64>>(&flipped).is_err(), "byte {at}");
            assert!(open::<BTreeMap<String, f64>>(&sealed[..at]).is_err(), "{at} bytes");
        }
        let reformatted = serde_json::to_vec(&serde_json::from_slice::<Value>(&sealed).expect("json")).expect("json");
        assert_eq!(open::<Value>(&reformatted), Err("was changed after it was written".into()));
        let unsealed = serde_json::to_vec_pretty(&value).expect("numbers");
        assert_eq!(open::<BTreeMap<String, f64>>(&unsealed), Ok(value));
    }
}
