//! A gate in front of an HTTP server that lets one `PUT` through at a time.
//!
//! S3 promises that a conditional put looks and writes in one go. s3s-fs looks, receives, and then
//! writes: of two puts at once both may find nothing. Behind the gate it keeps the promise.
//!
//! The gate also keeps count of what is read.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Bytes of the answers to `GET`, by path.
pub type Reads = Arc<Mutex<BTreeMap<String, usize>>>;

/// Opens a gate on a port of its own, which is returned with what is read through it; it stays open
/// for as long as the process lives.
pub fn open(server: u16) -> (u16, Reads) {
    let reads = Reads::default();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (one, counted) = (Arc::new(Mutex::new(())), reads.clone());
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (one, counted) = (one.clone(), counted.clone());
            // Clients get killed, and servers stopped: what fails then has nobody to tell.
            thread::spawn(move || drop(pass(client, server, &one, &counted)));
        }
    });
    (port, reads)
}

/// One request and its answer; the server ends the connection after it.
fn pass(mut client: TcpStream, server: u16, one: &Mutex<()>, reads: &Reads) -> io::Result<()> {
    let Some(request) = whole(&mut client)? else { return Ok(()) };
    let turn = request.starts_with(b"PUT ").then(|| one.lock().unwrap_or_else(PoisonError::into_inner));
    let mut behind = TcpStream::connect(("127.0.0.1", server))?;
    let line = request.windows(2).position(|pair| pair == b"\r\n").unwrap_or(0);
    behind.write_all(&request[..line])?;
    behind.write_all(b"\r\nConnection: close")?;
    behind.write_all(&request[line..])?;
    let mut answer = Vec::new();
    behind.read_to_end(&mut answer)?;
    drop(turn);
    let first = String::from_utf8_lossy(&request[..line]);
    if let Some(path) = first.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) {
        let mut reads = reads.lock().unwrap_or_else(PoisonError::into_inner);
        *reads.entry(path.to_owned()).or_default() += answer.len();
    }
    client.write_all(&answer)?;
    client.shutdown(Shutdown::Write)
}

/// Reads a request with all of its body; `None` from a client that left.
fn whole(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let (mut request, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let head = request.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let fields = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
            let body = fields.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if request.len() >= head + body.unwrap_or(0) {
                return Ok(Some(request));
            }
        }
        let read = client.read(&mut piece)?;
        if read == 0 {
            return Ok(None);
        }
        request.extend_from_slice(&piece[..read]);
    }
}
