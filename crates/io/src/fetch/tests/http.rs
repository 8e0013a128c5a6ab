//! What each kind of answer becomes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::server::{Server, respond};
use super::*;

/// What a misbehaving server says to each path; the sizes match the 1000 bytes of `limits()`.
fn misbehave(stream: &mut TcpStream, path: &str, earlier: usize) -> std::io::Result<()> {
    match path {
        "/ok" => respond(stream, "200 OK", "", b"image"),
        "/full" => respond(stream, "200 OK", "", &[b'x'; 1000]),
        "/flaky" if earlier == 0 => respond(stream, "500 Oops", "", b""),
        "/flaky" => respond(stream, "200 OK", "", b"second"),
        "/busy" if earlier == 0 => respond(stream, "429 Slow Down", "Retry-After: 1\r\n", b""),
        "/busy" => respond(stream, "200 OK", "", b"later"),
        "/down" => respond(stream, "503 Down", "", b""),
        "/gone" => respond(stream, "410 Gone", "", b""),
        "/secret" => respond(stream, "403 No", "", b""),
        "/choices" => respond(stream, "300 Many", "", b"choose"),
        "/none" => respond(stream, "204 None", "", b""),
        "/empty" => respond(stream, "200 OK", "", b""),
        "/big" => respond(stream, "200 OK", "", &[0; 1001]),
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[0; 400])?;
            }
        }
        "/bomb" => respond(stream, "200 OK", "Content-Encoding: gzip\r\n", GZIP_OF_10000_ZEROS),
        "/bad-gzip" => respond(stream, "200 OK", "Content-Encoding: gzip\r\n", b"no gzip"),
        "/loop" => respond(stream, "302 Found", "Location: /loop\r\n", b""),
        "/1" => respond(stream, "301 Moved", "Location: 2\r\n", b""),
        "/2" => respond(stream, "307 Moved", "Location: /3\r\n", b""),
        "/3" => respond(stream, "308 Moved", "Location: /ok#part\r\n", b""),
        "/elsewhere" => respond(stream, "302 Found", "Location: ftp://x/y\r\n", b""),
        "/cut" => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        "/silent" => Ok(()),
        "/longer" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nhalf and more")
        }
        "/two-lengths" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 9\r\n\r\nhalf and more")
        }
        "/bad-chunk" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx")
        }
        "/headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for number in 0..10_000 {
                write!(stream, "X-{number}: {}\r\n", "x".repeat(1000))?;
            }
            stream.write_all(b"Content-Length: 5\r\n\r\nimage")
        }
        "/endless-header" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            loop {
                stream.write_all(&[b'x'; 1000])?;
            }
        }
        "/far" => respond(stream, "302 Found", &format!("Location: /{}\r\n", "x".repeat(100_000)), b""),
        "/nowhere" => respond(stream, "302 Found", "Location: http://\r\n", b""),
        "/no-location" => respond(stream, "302 Found", "", b"moved"),
        "/garbage" => stream.write_all(b"\x00\xffthis is no HTTP\r\n\r\n"),
        _ => respond(stream, "404 Not Found", "", b"nothing"),
    }
}

/// `head -c 10000 /dev/zero | gzip -9n`.
const GZIP_OF_10000_ZEROS: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x01\x0d\x00\x00\x00\xc2\xa0\xf7\x4f\x6d\x0e\x37\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe0\xdf\x00\x2e\xca\x3b\x4d\x10\x27\x00\x00";

fn check(path: &str, expect: std::result::Result<&str, Reason>, asked: usize) -> Done {
    let server = Server::start(misbehave)?;
    let answers = answers(&fetcher(limits())?, &urls(), &[row(server.url(path))])?;
    let detail = format!("{path}: {answers:?}");
    assert_eq!(outcomes(answers), [expect.map(str::to_owned)], "{detail}");
    assert_eq!(server.asked(path), asked, "{detail}");
    Ok(())
}

#[test]
fn good_answers() -> Done {
    check("/ok", Ok("image"), 1)?;
    check("/full", Ok(&"x".repeat(1000)), 1)?;
    check("/1", Ok("image"), 1)
}

#[test]
fn passing_failures_are_asked_again() -> Done {
    check("/flaky", Ok("second"), 2)?;
    check("/down", Err(Reason::HttpServerError), 2)?;
    check("/cut", Err(Reason::Connect), 2)?;
    check("/silent", Err(Reason::Connect), 2)
}

#[test]
fn lasting_failures_are_asked_once() -> Done {
    check("/nothing-here", Err(Reason::NotFound), 1)?;
    check("/gone", Err(Reason::NotFound), 1)?;
    check("/secret", Err(Reason::HttpClientError), 1)?;
    check("/choices", Err(Reason::HttpServerError), 1)?;
    check("/none", Err(Reason::Empty), 1)?;
    check("/empty", Err(Reason::Empty), 1)
}

#[test]
fn redirects_are_counted_and_stay_on_http() -> Done {
    check("/loop", Err(Reason::TooManyRedirects), 4)?;
    check("/elsewhere", Err(Reason::BadUrl), 1)
}

#[test]
fn no_answer_takes_more_memory_than_allowed() -> Done {
    check("/big", Err(Reason::TooManyBytes), 1)?;
    check("/endless", Err(Reason::TooManyBytes), 1)?;
    check("/bomb", Err(Reason::TooManyBytes), 1)
}

#[test]
fn answers_that_are_none() -> Done {
    check("/garbage", Err(Reason::Connect), 2)?;
    check("/bad-gzip", Err(Reason::Connect), 2)
}

#[test]
fn heads_and_lengths_that_lie() -> Done {
    check("/longer", Ok("half"), 1)?;
    check("/two-lengths", Err(Reason::Connect), 2)?;
    check("/bad-chunk", Err(Reason::Connect), 2)?;
    check("/headers", Err(Reason::Connect), 2)?;
    check("/endless-header", Err(Reason::Connect), 2)?;
    check("/far", Err(Reason::BadUrl), 1)?;
    check("/nowhere", Err(Reason::BadUrl), 1)?;
    check("/no-location", Err(Reason::HttpServerError), 1)
}

#[test]
fn a_long_url_has_a_short_message() -> Done {
    let long = format!("http://127.0.0.1:1/{}", "x".repeat(1 << 20));
    for url in [long.clone(), long.replace("http", "gopher")] {
        let dropped = answers(&fetcher(limits())?, &urls(), &[row(url)])?.remove(0).expect_err("it is no URL to ask");
        assert_eq!(dropped.reason, Reason::BadUrl, "{}", dropped.detail);
        assert!(dropped.detail.len() < 1000, "{} bytes", dropped.detail.len());
    }
    Ok(())
}

#[test]
fn word_that_an_answer_will_come_is_no_answer() -> Done {
    let server = Server::start(|stream, _, _| {
        loop {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
            sleep(Duration::from_millis(5));
        }
    })?;
    let fetcher = fetcher(FetchLimits { timeout_s: 0.3, retries: 0, ..limits() })?;
    assert_eq!(outcomes(answers(&fetcher, &urls(), &[row(server.url("/"))])?), [Err(Reason::Timeout)]);
    Ok(())
}

#[test]
fn the_server_says_when_to_come_back() -> Done {
    let started = Instant::now();
    check("/busy", Ok("later"), 2)?;
    assert!(started.elapsed() >= Duration::from_secs(1));
    Ok(())
}

#[test]
fn a_slow_body_ends_with_the_timeout() -> Done {
    let server = Server::start(|stream, _, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")?;
        // Never silent for long, and never done.
        loop {
            stream.write_all(b".")?;
            sleep(Duration::from_millis(50));
        }
    })?;
    let started = Instant::now();
    let fetcher = fetcher(FetchLimits { timeout_s: 0.3, retries: 1, ..limits() })?;
    let answers = answers(&fetcher, &urls(), &[row(server.url("/slow"))])?;
    assert_eq!(outcomes(answers), [Err(Reason::Timeout)]);
    assert_eq!(server.asked("/slow"), 2);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    Ok(())
}

#[test]
fn slow_redirects_share_the_timeout() -> Done {
    let server = Server::start(|stream, _, _| {
        sleep(Duration::from_millis(200));
        respond(stream, "302 Found", "Location: /next\r\n", b"")
    })?;
    let fetcher = fetcher(FetchLimits { timeout_s: 0.5, retries: 0, max_redirects: 100, ..limits() })?;
    assert_eq!(outcomes(answers(&fetcher, &urls(), &[row(server.url("/"))])?), [Err(Reason::Timeout)]);
    Ok(())
}

#[test]
fn a_server_that_accepts_and_says_nothing_times_out() -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let server = std::thread::spawn(move || {
        let (mut stream, mut asked) = (listener.accept().expect("a client").0, Vec::new());
        // The client hangs up, in whatever way.
        let _ = stream.read_to_end(&mut asked);
        asked
    });
    let fetcher = fetcher(FetchLimits { timeout_s: 0.2, retries: 0, ..limits() })?;
    assert_eq!(outcomes(answers(&fetcher, &urls(), &[row(url)])?), [Err(Reason::Timeout)]);
    assert!(server.join().expect("it does not panic").starts_with(b"GET / "), "it was asked, and hung up on");
    Ok(())
}

#[test]
fn hosts_that_are_not_there() -> Done {
    // Not the address of the other tests' servers, one of which might be given this very port.
    let closed = TcpListener::bind("127.77.66.55:0")?.local_addr()?;
    let rows = [row(format!("http://{closed}/")), row("http://nobody.invalid/x.jpg")];
    let answers = answers(&fetcher(limits())?, &urls(), &rows)?;
    assert_eq!(outcomes(answers), [Err(Reason::Connect), Err(Reason::Dns)]);
    Ok(())
}

#[test]
fn urls_that_are_none() -> Done {
    let bad = ["", "no url", "ftp://x/y", "http://", "http://[::1", "file:///etc/hosts", "data:,x", "http://a:99999/"];
    let answers = answers(&fetcher(limits())?, &urls(), &bad.map(row))?;
    assert_eq!(outcomes(answers), bad.map(|_| Err(Reason::BadUrl)));
    Ok(())
}
