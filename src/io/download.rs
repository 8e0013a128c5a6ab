//! Model files: hashed where they lie, or downloaded once and checked against the hash in the pipeline file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::io::part::hex;
use crate::io::publish;

/// How long a server may be silent during a download.
const SILENCE: Duration = Duration::from_secs(60);

/// SHA-256 of a file, lower-case hex.
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

/// The file at `url` with this hash, in `folder`: downloaded if it is not there.
pub fn by_hash(url: &str, sha256: &str, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(format!("{sha256}.onnx"));
    if path.exists() {
        return Ok(path);
    }
    publish::make_folder(folder)?;
    let aside = folder.join(format!("{sha256}.tmp-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::io(&aside))?;
    runtime.block_on(stream(url, &aside))?;
    let got = sha256_of(&aside)?;
    if got != sha256 {
        std::fs::remove_file(&aside).map_err(Error::io(&aside))?;
        let hint = "check the URL; if the file changed on purpose, set its new `sha256`";
        return Err(Error::usage(format!("{url}: SHA-256 is {got}, expected {sha256}"), hint));
    }
    publish::link_new(&aside, &path)?;
    Ok(path)
}

async fn stream(url: &str, path: &Path) -> Result<()> {
    let failed =
        |e: reqwest::Error| Error::usage(format!("{url}: {e}"), "check the URL and the network, or give a file");
    let client = reqwest::Client::builder().read_timeout(SILENCE).connect_timeout(SILENCE).build().map_err(failed)?;
    let mut answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut file = File::create(path).map_err(Error::io(path))?;
    while let Some(bytes) = answer.chunk().await.map_err(failed)? {
        file.write_all(&bytes).map_err(Error::io(path))?;
    }
    file.sync_all().map_err(Error::io(path))
}
