//! Many URLs at once: the order of answers, turns at hosts, and stopping.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::server::{Server, respond};
use super::*;
use lvd_base::error::Error;

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

/// A server that answers `/0` and `/silent...` only when `others` further requests have come, or a
/// minute later.
fn silent_until(others: usize) -> std::io::Result<Server> {
    let asked = AtomicUsize::new(0);
    Server::start(move |stream, path, _| {
        if path != "/0" && !path.starts_with("/silent") {
            asked.fetch_add(1, Ordering::SeqCst);
            return respond(stream, "200 OK", "", path.as_bytes());
        }
        let begun = Instant::now();
        while asked.load(Ordering::SeqCst) < others && begun.elapsed() < Duration::from_mins(1) {
            sleep(Duration::from_millis(5));
        }
        // Whoever would ask for more than that does so now.
        sleep(Duration::from_millis(200));
        respond(stream, "200 OK", "", path.as_bytes())
    })
}

/// How many of rows 1 to `rows` are asked for before the first row, which is silent until then, is
/// answered; and all answers.
fn asked_behind_silence(
    limits: FetchLimits,
    others: usize,
    paths: &[String],
) -> lvd_base::Result<(usize, Vec<Answer>)> {
    let server = silent_until(others).map_err(Error::io("a server"))?;
    let rows: Vec<_> = paths.iter().map(|path| row(server.url(path))).collect();
    let (mut asked, mut answers) = (None, Vec::new());
    fetcher(limits)?.fetch_all(&urls(), &rows, &mut |index, answer| {
        assert_eq!(index, answers.len(), "answers come in order");
        asked.get_or_insert_with(|| paths.iter().filter(|path| server.asked(path) > 0).count() - 1);
        answers.push(answer);
        Ok(())
    })?;
    assert!(server.most_at_once() <= 4, "{} at once", server.most_at_once());
    Ok((asked.unwrap_or_default(), answers))
}

fn patient() -> FetchLimits {
    FetchLimits { concurrency: 4, per_host: 100, timeout_s: 120.0, retries: 0, ..limits() }
}

#[test]
fn silent_urls_hold_up_no_others() -> Done {
    // Three of the four places in flight are taken by silence, one of them by the very first row.
    let silent = [1, 30];
    let path = |number| if silent.contains(&number) { format!("/silent{number}") } else { format!("/{number}") };
    let paths: Vec<_> = (0..60).map(path).collect();
    let (asked, answers) = asked_behind_silence(patient(), 57, &paths)?;
    assert_eq!(asked, 59);
    assert_eq!(outcomes(answers), paths.into_iter().map(Ok).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn what_waits_for_a_silent_url_is_bounded() -> Done {
    let paths: Vec<_> = (0..40).map(|number| format!("/{number}")).collect();
    // Answers of two bytes each: so many, and then one waits for the first.
    for (ahead_bytes, most) in [(1, 1), (8, 4)] {
        let limits = FetchLimits { concurrency: 2, ahead_bytes, ..patient() };
        let (asked, answers) = asked_behind_silence(limits, most, &paths)?;
        assert_eq!(asked, most, "with {ahead_bytes} bytes");
        assert_eq!(outcomes(answers), paths.iter().cloned().map(Ok).collect::<Vec<_>>());
    }
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
