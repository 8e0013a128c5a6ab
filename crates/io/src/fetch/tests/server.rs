//! A tiny HTTP server: a thread for each connection, one answer each, and a record of what was
//! asked.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A server that lives as long as the test process.
pub(super) struct Server {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    paths: Mutex<Vec<String>>,
    current: AtomicUsize,
    most: AtomicUsize,
}

impl Server {
    /// Answers every request by what `answer` writes for its path and the count of earlier requests
    /// for that path.
    pub(super) fn start(
        answer: impl Fn(&mut TcpStream, &str, usize) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Seen::default());
        let (answer, shared) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), shared.clone());
                thread::spawn(move || {
                    let Some(path) = request(&mut stream) else { return };
                    let earlier = seen.enter(&path);
                    ANSWERING.set(Some(seen));
                    // A client that has hung up is part of some tests.
                    let _ = answer(&mut stream, &path, earlier);
                    leave();
                });
            }
        });
        Ok(Self { port, seen })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// How often `path` was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.seen.paths().iter().filter(|seen| *seen == path).count()
    }

    /// The most requests that were being answered at a time.
    pub(super) fn most_at_once(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }
}

thread_local! {
    /// The counts of the server that this thread answers for, until it has answered.
    static ANSWERING: Cell<Option<Arc<Seen>>> = const { Cell::new(None) };
}

/// This thread's request counts as answered from here on.
fn leave() {
    if let Some(seen) = ANSWERING.take() {
        seen.current.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Seen {
    fn paths(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, path: &str) -> usize {
        let current = self.current.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(current, Ordering::SeqCst);
        let mut paths = self.paths();
        paths.push(path.to_owned());
        paths.iter().filter(|seen| *seen == path).count() - 1
    }
}

/// The path of a request, once its head has been read.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).ok()?.split(' ').nth(1)?.to_owned())
}

/// A whole answer with a status line, extra header lines and a body.
pub(super) fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    // Before the client can have the answer and ask again.
    leave();
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n")?;
    stream.write_all(body)
}
