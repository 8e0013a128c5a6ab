//! Tests of fetching: real files, and a real HTTP server on the loopback.

mod files;
mod http;
mod opt_outs;
mod parquet;
mod polite;
mod private;
mod server;
mod tar;

use super::{Answer, FetchLimits, Fetcher};
use crate::sources::fixture::Done;
use crate::sources::{InputRow, Source};
use lvd_base::types::Reason;

fn limits() -> FetchLimits {
    FetchLimits {
        max_bytes: 1000,
        timeout_s: 5.0,
        deadline_s: 60.0,
        connect_timeout_s: 5.0,
        retries: 1,
        concurrency: 8,
        ahead_bytes: 1 << 20,
        per_host: 8,
        max_redirects: 3,
        private_addresses: true,
        opt_outs: Vec::new(),
        user_agent: "lvd-test".into(),
    }
}

/// A fetcher that no proxy of the environment stands in the way of.
fn fetcher(limits: FetchLimits) -> lvd_base::Result<Fetcher> {
    let mut fetcher = Fetcher::new(limits)?;
    fetcher.direct = true;
    Ok(fetcher)
}

fn row(location: impl Into<String>) -> InputRow {
    InputRow::new(location.into(), None)
}

fn urls() -> Source {
    Source::Urls {
        files: Vec::new(),
        format: None,
        url_column: String::new(),
        caption_column: None,
        keep: Vec::new(),
        headless: false,
    }
}

/// Every row's answer, once it is clear that they came in order, each once.
fn answers(fetcher: &Fetcher, source: &Source, rows: &[InputRow]) -> lvd_base::Result<Vec<Answer>> {
    let mut answers = Vec::new();
    fetcher.fetch_all(source, rows, &mut |index, answer| {
        assert_eq!(index, answers.len(), "answers come in order");
        answers.push(answer);
        Ok(())
    })?;
    assert_eq!(answers.len(), rows.len(), "every row has one answer");
    Ok(answers)
}

/// Bytes as text, or the reason why there are none.
fn outcomes(answers: Vec<Answer>) -> Vec<std::result::Result<String, Reason>> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    answers.into_iter().map(|answer| answer.map(|got| text(got.bytes)).map_err(|dropped| dropped.reason)).collect()
}

#[test]
fn limits_that_make_no_sense_are_errors_with_a_cure() {
    let check = |limits, name: &str| {
        let error = Fetcher::new(limits).err().expect("the limit makes no sense");
        assert!(error.to_string().contains(name) && error.hint().is_some(), "{error}");
    };
    check(FetchLimits { timeout_s: f64::NAN, ..limits() }, "timeout_s");
    check(FetchLimits { connect_timeout_s: -1.0, ..limits() }, "connect_timeout_s");
    check(FetchLimits { max_bytes: 0, ..limits() }, "max_bytes");
    check(FetchLimits { concurrency: 0, ..limits() }, "concurrency");
    check(FetchLimits { ahead_bytes: 0, ..limits() }, "ahead_bytes");
    check(FetchLimits { per_host: 0, ..limits() }, "per_host");
}

#[test]
fn a_user_agent_that_no_header_can_hold_is_an_error() -> Done {
    let fetcher = fetcher(FetchLimits { user_agent: "two\nlines".into(), ..limits() })?;
    let error = answers(&fetcher, &urls(), &[row("http://127.0.0.1/")]).expect_err("no such header");
    assert!(error.hint().is_some_and(|hint| hint.contains("user_agent")), "{error}");
    Ok(())
}
