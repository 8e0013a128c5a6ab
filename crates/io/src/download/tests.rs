//! Downloads from a server on this machine that drops connections, ignores ranges, or serves
//! something else.

use std::io::BufRead;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::*;
use crate::digest::hex;

type Done = std::result::Result<(), Box<dyn std::error::Error>>;

/// The first byte that each request asked from.
type Asked = Arc<Mutex<Vec<Option<u64>>>>;

/// A server that answers by what `answer` writes for the first byte that is wanted and the count of
/// earlier requests.
fn serve(
    answer: impl Fn(&mut TcpStream, Option<u64>, usize) -> std::io::Result<()> + Send + 'static,
) -> std::io::Result<(String, Asked)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/model.onnx", listener.local_addr()?);
    let asked = Asked::default();
    let seen = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut range = None;
            let head = std::io::BufReader::new(&stream).lines().map_while(std::io::Result::ok);
            for line in head.take_while(|line| !line.is_empty()) {
                if let Some(from) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    range = from.trim_end_matches('-').parse().ok();
                }
            }
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            // A client that has hung up is part of some tests.
            let _ = answer(&mut stream, range, seen.len());
            seen.push(range);
        }
    });
    Ok((url, asked))
}

fn asked(asked: &Asked) -> Vec<Option<u64>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// 200 or 206 with the model from `from`, of which `sent` bytes are written before the connection
/// is closed.
fn send(stream: &mut TcpStream, model: &[u8], from: Option<u64>, sent: usize) -> std::io::Result<()> {
    let start = usize::try_from(from.unwrap_or(0)).unwrap_or(usize::MAX);
    let Some(rest) = model.get(start..).filter(|rest| !rest.is_empty()) else {
        return stream
            .write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let (last, all) = (model.len() - 1, model.len());
    let status = match from {
        None => "200 OK".to_owned(),
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {start}-{last}/{all}"),
    };
    write!(stream, "HTTP/1.1 {status}\r\n")?;
    write!(stream, "Connection: close\r\nContent-Length: {}\r\n\r\n", rest.len())?;
    stream.write_all(&rest[..sent.min(rest.len())])
}

fn model() -> Vec<u8> {
    (0..200_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Downloads without waiting.
fn get(url: &str, sha256: &str, folder: &Path) -> Result<PathBuf> {
    download(url, sha256, folder, Duration::ZERO)
}

fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

#[test]
fn a_dropped_connection_is_continued() -> Done {
    let folder = tempfile::tempdir()?;
    let (model, sha256) = (model(), hash(&model()));
    let served = model.clone();
    // Two drops, after 300,000 bytes of the 800,000 each.
    let (url, seen) = serve(move |stream, from, _| send(stream, &served, from, 300_000))?;
    let path = get(&url, &sha256, folder.path())?;
    assert_eq!(std::fs::read(&path)?, model);
    assert_eq!(asked(&seen), [None, Some(300_000), Some(600_000)]);
    assert_eq!(names(folder.path())?, [format!("{sha256}.onnx")]);
    // The second time nothing is asked for.
    assert_eq!(get(&url, &sha256, folder.path())?, path);
    assert_eq!(asked(&seen).len(), 3);
    Ok(())
}

#[test]
fn a_later_process_continues() -> Done {
    let folder = tempfile::tempdir()?;
    let (model, sha256) = (model(), hash(&model()));
    let partial = folder.path().join(format!("{sha256}.partial"));
    let served = model.clone();
    let (url, seen) = serve(move |stream, from, earlier| match earlier {
        0 => send(stream, &served, from, 500_000),
        1..=4 => Ok(()),
        5 => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        _ => send(stream, &served, from, usize::MAX),
    })?;
    // 500,000 bytes, and then four closed connections: given up.
    let error = get(&url, &sha256, folder.path()).err().ok_or("the server was down")?;
    assert!(error.to_string().contains("5 times in a row, after 500000 bytes"), "{error}");
    assert_eq!(std::fs::metadata(&partial)?.len(), 500_000);
    // A refusal is not tried again, and keeps what is there.
    let error = get(&url, &sha256, folder.path()).err().ok_or("the server refused")?;
    assert!(error.to_string().contains("404"), "{error}");
    assert_eq!(std::fs::read(get(&url, &sha256, folder.path())?)?, model);
    assert_eq!(asked(&seen), [&[None][..], &[Some(500_000); 6]].concat());
    // A partial that is whole, of a process killed before it gave it its name, is not downloaded
    // again.
    std::fs::rename(folder.path().join(format!("{sha256}.onnx")), partial)?;
    assert_eq!(std::fs::read(get(&url, &sha256, folder.path())?)?, model);
    assert_eq!(asked(&seen).len(), 7);
    Ok(())
}

#[test]
fn a_server_without_ranges_starts_over() -> Done {
    let folder = tempfile::tempdir()?;
    let (model, sha256) = (model(), hash(&model()));
    let served = model.clone();
    let (url, seen) =
        serve(move |stream, _, earlier| send(stream, &served, None, if earlier == 0 { 300_000 } else { usize::MAX }))?;
    assert_eq!(std::fs::read(get(&url, &sha256, folder.path())?)?, model);
    assert_eq!(asked(&seen), [None, Some(300_000)]);
    Ok(())
}

#[test]
fn a_partial_longer_than_the_file_is_thrown_away() -> Done {
    let folder = tempfile::tempdir()?;
    let (model, sha256) = (model(), hash(&model()));
    std::fs::write(folder.path().join(format!("{sha256}.partial")), vec![7; 900_000])?;
    let served = model.clone();
    let (url, seen) = serve(move |stream, from, _| send(stream, &served, from, usize::MAX))?;
    assert_eq!(std::fs::read(get(&url, &sha256, folder.path())?)?, model);
    assert_eq!(asked(&seen), [Some(900_000), None]);
    Ok(())
}

#[test]
fn other_content_is_removed_and_both_hashes_are_named() -> Done {
    let folder = tempfile::tempdir()?;
    let (expected, got) = (hash(b"expected"), hash(&model()));
    let (url, seen) = serve(|stream, from, _| send(stream, &model(), from, usize::MAX))?;
    let error = get(&url, &expected, folder.path()).err().ok_or("the content is another")?.to_string();
    assert!(error.contains(&expected) && error.contains(&got), "{error}");
    assert_eq!(names(folder.path())?, Vec::<String>::new());
    assert_eq!(asked(&seen), [None]);
    Ok(())
}

#[test]
fn two_at_once_download_once() -> Done {
    let folder = tempfile::tempdir()?;
    let sha256 = hash(&model());
    let (url, seen) = serve(|stream, from, _| send(stream, &model(), from, 300_000))?;
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| get(&url, &sha256, folder.path()).map_err(|e| e.to_string())));
        for one in both {
            assert_eq!(one.join().map_err(|_| "panicked")?, Ok(folder.path().join(format!("{sha256}.onnx"))));
        }
        Done::Ok(())
    })?;
    assert_eq!(asked(&seen).len(), 3);
    assert_eq!(names(folder.path())?, [format!("{sha256}.onnx")]);
    Ok(())
}
