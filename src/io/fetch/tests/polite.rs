//! Many URLs at once: the order of answers, turns at hosts, and stopping.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::server::{Server, respond};
use super::*;
use crate::error::Error;

/// Answers with the path, the later the smaller its number, so that answers finish out of order.
fn backwards() -> std::io::Result<Server> {
    Server::start(|stream, path, _| {
        let number: u64 = path.trim_start_matches('/').parse().unwrap_or(0);
        sleep(Duration::from_millis(60_u64.saturating_sub(number * 3)));
        respond(stream, "200 OK", "", path.as_bytes())
    })
}

fn numbered(server: &Server, count: usize) -> Vec<InputRow> {
    (0..count).map(|number| row(server.url(&format!("/{number}")))).collect()
}

#[test]
fn answers_come_in_order_and_the_window_is_bounded() -> Done {
    let server = backwards()?;
    let fetcher = fetcher(FetchLimits { concurrency: 5, per_host: 100, ..limits() })?;
    let answers = answers(&fetcher, &urls(), &numbered(&server, 30))?;
    let expect: Vec<_> = (0..30).map(|number| Ok(format!("/{number}"))).collect();
    assert_eq!(outcomes(answers), expect);
    let most = server.most_at_once();
    assert!((2..=5).contains(&most), "{most} at once");
    Ok(())
}

#[test]
fn a_host_is_asked_by_so_many_at_a_time() -> Done {
    let server = backwards()?;
    let fetcher = fetcher(FetchLimits { concurrency: 20, per_host: 2, ..limits() })?;
    answers(&fetcher, &urls(), &numbered(&server, 20))?;
    assert_eq!(server.most_at_once(), 2);
    Ok(())
}

#[test]
fn waiting_for_a_turn_is_no_timeout_and_delays_no_other_host() -> Done {
    let slow = Server::start(|stream, _, _| {
        sleep(Duration::from_millis(100));
        respond(stream, "200 OK", "", b"slow")
    })?;
    let quick = Server::start(|stream, _, _| respond(stream, "200 OK", "", b"quick"))?;
    let fetcher = fetcher(FetchLimits { timeout_s: 0.35, per_host: 1, concurrency: 20, ..limits() })?;
    let mut rows: Vec<_> = (0..8).map(|_| row(slow.url("/"))).collect();
    // Another name of the loopback, so another host.
    rows.push(row(quick.url("/").replace("127.0.0.1", "localhost")));
    let started = Instant::now();
    let mut all = Vec::new();
    fetcher.fetch_all(&urls(), &rows, &mut |index, answer| {
        assert!(index < 4 || quick.asked("/") == 1, "the quick host waits for the slow one");
        all.push(answer);
        Ok(())
    })?;
    let outcomes = outcomes(all);
    assert_eq!(outcomes[..8], vec![Ok("slow".to_owned()); 8]);
    assert_eq!(outcomes[8..], [Ok("quick".to_owned())]);
    assert!(started.elapsed() > Duration::from_millis(800));
    Ok(())
}

#[test]
fn a_url_that_waits_to_be_asked_again_gives_its_turn_away() -> Done {
    let server = Server::start(|stream, path, earlier| match (path, earlier) {
        ("/busy", 0) => respond(stream, "503 Busy", "Retry-After: 1\r\n", b""),
        _ => respond(stream, "200 OK", "", path.as_bytes()),
    })?;
    let fetcher = fetcher(FetchLimits { per_host: 1, ..limits() })?;
    let rows: Vec<_> = ["/busy", "/a", "/b"].map(|path| row(server.url(path))).into();
    let started = Instant::now();
    let (mut waited, mut all) = (Duration::ZERO, Vec::new());
    fetcher.fetch_all(&urls(), &rows, &mut |_, answer| {
        waited = waited.max(started.elapsed());
        all.push(answer);
        Ok(())
    })?;
    assert_eq!(outcomes(all), ["/busy", "/a", "/b"].map(|path| Ok(path.to_owned())));
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    Ok(())
}

#[test]
fn an_error_of_the_caller_stops_everything_at_once() -> Done {
    let server = Server::start(|stream, path, _| {
        if path != "/0" {
            sleep(Duration::from_secs(10));
        }
        respond(stream, "200 OK", "", b"x")
    })?;
    let fetcher = fetcher(FetchLimits { timeout_s: 20.0, ..limits() })?;
    let started = Instant::now();
    let mut seen = 0;
    let stopped = fetcher.fetch_all(&urls(), &numbered(&server, 100), &mut |_, _| {
        seen += 1;
        Err(Error::usage("enough", ""))
    });
    drop(fetcher);
    assert!(stopped.is_err_and(|error| error.to_string() == "enough"));
    assert_eq!(seen, 1);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    Ok(())
}

#[test]
fn the_caller_may_fetch_while_it_is_called() -> Done {
    let server = backwards()?;
    let fetcher = fetcher(limits())?;
    let mut inner = Vec::new();
    fetcher.fetch_all(&urls(), &numbered(&server, 2), &mut |_, _| {
        inner.extend(answers(&fetcher, &urls(), &numbered(&server, 1))?);
        Ok(())
    })?;
    assert_eq!(outcomes(inner), vec![Ok("/0".to_owned()); 2]);
    Ok(())
}
