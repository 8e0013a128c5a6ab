//! What owners do not want taken, deadlines, and connections that were kept too long.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::server::{Server, respond};
use super::*;
use crate::fetch::OptOut;

fn honouring(opt_outs: &[OptOut]) -> FetchLimits {
    FetchLimits { opt_outs: opt_outs.to_vec(), user_agent: "lvd-test/1.0 (tests)".into(), ..limits() }
}

/// What becomes of paths of a server, and how often it was asked for its rules.
fn becomes(
    server: &Server,
    limits: FetchLimits,
    paths: &[&str],
) -> lvd_base::Result<(Vec<std::result::Result<String, Reason>>, usize)> {
    let rows: Vec<_> = paths.iter().map(|path| row(server.url(path))).collect();
    let answers = answers(&fetcher(limits)?, &urls(), &rows)?;
    Ok((outcomes(answers), server.asked("/robots.txt")))
}

#[test]
fn robots_are_asked_once_and_obeyed() -> Done {
    let rules = b"User-agent: *\nDisallow: /\n\nUser-agent: lvd-test\nDisallow: /no/\nAllow: /no/but/\n";
    let server = Server::start(|stream, path, _| match path {
        "/robots.txt" => respond(stream, "200 OK", "", rules),
        "/away" => respond(stream, "302 Found", "Location: /no/1\r\n", b""),
        _ => respond(stream, "200 OK", "", b"image"),
    })?;
    let paths = ["/a", "/no/1", "/no/but/2", "/away", "/b", "/no/3"];
    let (outcomes, asked) = becomes(&server, honouring(&OptOut::ALL), &paths)?;
    let [image, out] = [Ok("image".to_owned()), Err(Reason::OptedOut)];
    assert_eq!(outcomes, [&image, &out, &image, &out, &image, &out].map(Clone::clone));
    assert_eq!(asked, 1);
    assert_eq!(server.asked("/no/1") + server.asked("/no/3"), 0, "what is not wanted is not asked for");
    // Who does not honour it does not ask.
    let (outcomes, asked) = becomes(&server, honouring(&[OptOut::Noai]), &paths)?;
    assert_eq!((outcomes, asked), (vec![image; 6], 1));
    Ok(())
}

#[test]
fn a_host_without_rules_allows_all_and_one_that_fails_allows_nothing() -> Done {
    let server = |status: &'static str| {
        Server::start(move |stream, path, _| match path {
            "/robots.txt" => respond(stream, status, "", b"User-agent: *\nDisallow: /\n"),
            _ => respond(stream, "200 OK", "", b"image"),
        })
    };
    let honoured = || honouring(&[OptOut::RobotsTxt]);
    let (outcomes, asked) = becomes(&server("404 Not Found")?, honoured(), &["/a", "/b"])?;
    assert_eq!((outcomes, asked), (vec![Ok("image".to_owned()); 2], 1));
    // It is tried again, once for all rows.
    let down = server("503 Down")?;
    let (outcomes, asked) = becomes(&down, honoured(), &["/a", "/b", "/c"])?;
    assert_eq!((outcomes, asked), (vec![Err(Reason::HttpServerError); 3], 2));
    assert_eq!(down.asked("/a"), 0);
    Ok(())
}

#[test]
fn rules_are_no_way_to_fill_the_memory_or_to_hang() -> Done {
    let server = Server::start(|stream, path, _| match path {
        "/robots.txt" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nUser-agent: *\nDisallow: /no\n")?;
            loop {
                stream.write_all(&[b'#'; 4096])?;
            }
        }
        _ => respond(stream, "200 OK", "", b"image"),
    })?;
    let (outcomes, _) = becomes(&server, honouring(&[OptOut::RobotsTxt]), &["/a", "/no"])?;
    assert_eq!(outcomes, [Ok("image".into()), Err(Reason::OptedOut)]);
    let server = Server::start(|stream, path, _| match path {
        "/robots.txt" => respond(stream, "302 Found", "Location: /robots.txt\r\n", b""),
        _ => respond(stream, "200 OK", "", b"image"),
    })?;
    let (outcomes, asked) = becomes(&server, honouring(&[OptOut::RobotsTxt]), &["/a"])?;
    assert_eq!((outcomes, asked), (vec![Ok("image".to_owned())], 6));
    Ok(())
}

#[test]
fn headers_are_heard_before_the_body_is_read() -> Done {
    let server = Server::start(|stream, path, _| {
        let header = match path {
            "/noai" => "X-Robots-Tag: noai, nofollow\r\n",
            "/other" => "X-Robots-Tag: otherbot: noai\r\n",
            "/named" => "X-Robots-Tag: lvd-test: noimageindex\r\n",
            "/tdm" => "TDM-Reservation: 1\r\n",
            _ => "",
        };
        if path == "/noai" {
            // The body never comes.
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n{header}\r\n")?;
            thread::sleep(Duration::from_secs(3));
            return Ok(());
        }
        respond(stream, "200 OK", header, b"image")
    })?;
    let paths = ["/noai", "/other", "/named", "/tdm", "/plain"];
    let started = Instant::now();
    let rows: Vec<_> = paths.iter().map(|path| row(server.url(path))).collect();
    let some = honouring(&[OptOut::Noai, OptOut::Noimageindex, OptOut::TdmReservation]);
    let all = answers(&fetcher(some)?, &urls(), &rows)?;
    assert!(started.elapsed() < Duration::from_secs(3));
    let details: Vec<_> =
        all.iter().filter_map(|answer| answer.as_ref().err()).map(|dropped| &*dropped.detail).collect();
    assert_eq!(
        details,
        ["noai", "noimageindex", "tdm_reservation"].map(|name| format!("{name}: the answer's headers say so"))
    );
    let [image, out] = [Ok("image".to_owned()), Err(Reason::OptedOut)];
    assert_eq!(outcomes(all), [&out, &image, &out, &out, &image].map(Clone::clone));
    Ok(())
}

#[test]
fn a_wait_that_is_too_long_is_not_waited_for() -> Done {
    let server = Server::start(|stream, _, _| respond(stream, "429 Slow", "Retry-After: 3600\r\n", b""))?;
    let started = Instant::now();
    let answers = answers(&fetcher(FetchLimits { retries: 5, ..limits() })?, &urls(), &[row(server.url("/a"))])?;
    let dropped = answers[0].as_ref().expect_err("it is busy");
    assert_eq!(dropped.reason, Reason::HttpClientError);
    assert!(dropped.detail.contains("3600 s"), "{}", dropped.detail);
    assert_eq!(server.asked("/a"), 1);
    assert!(started.elapsed() < Duration::from_secs(20));
    Ok(())
}

#[test]
fn all_attempts_share_a_deadline() -> Done {
    let server = Server::start(|stream, _, _| {
        thread::sleep(Duration::from_millis(400));
        respond(stream, "503 Down", "", b"")
    })?;
    let limits = FetchLimits { retries: 20, deadline_s: 1.5, ..limits() };
    let answers = answers(&fetcher(limits)?, &urls(), &[row(server.url("/a"))])?;
    assert_eq!(outcomes(answers), [Err(Reason::HttpServerError)]);
    // 0.4 s and a wait of 0.25 s, 0.4 s and no time for a wait of 0.5 s.
    assert!((2..=3).contains(&server.asked("/a")), "{}", server.asked("/a"));
    Ok(())
}

/// Answers one request a connection, as if it were to be kept, and closes it.
fn closes_what_it_promised_to_keep(listener: &TcpListener, requests: &AtomicUsize) {
    for mut stream in listener.incoming().flatten() {
        let mut head = [0; 4096];
        if stream.read(&mut head).is_ok_and(|read| read > 0) {
            requests.fetch_add(1, Ordering::SeqCst);
            answer_and_wait(&mut stream);
        }
    }
}

/// The connection ends when the next request has arrived, which is the moment that costs one.
fn answer_and_wait(stream: &mut TcpStream) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nimage");
    let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
    let _ = stream.read(&mut [0; 4096]);
}

#[test]
fn a_kept_connection_that_was_closed_costs_no_attempt() -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    thread::spawn(move || closes_what_it_promised_to_keep(&listener, &counted));
    let rows: Vec<_> = (0..12).map(|number| row(format!("{url}{number}"))).collect();
    let limits = FetchLimits { retries: 0, concurrency: 1, per_host: 1, ..limits() };
    let answers = answers(&fetcher(limits)?, &urls(), &rows)?;
    assert_eq!(outcomes(answers), vec![Ok("image".to_owned()); 12]);
    assert_eq!(requests.load(Ordering::SeqCst), 12, "each was answered once");
    Ok(())
}
