//! Standard error: progress, warnings, errors. All of it goes through here.
//!
//! Whoever reads it may go away (`2>&1 | head`) and the disk of a log may be full. Work that takes
//! days does not end for that, so what cannot be said is not said: `eprintln!`, which panics, is
//! forbidden (`lib.rs`).

use std::fmt::Display;
use std::io::Write as _;

use lvd_base::error::Error;

/// Says a line.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say::line(&format!($($text)*)) };
}
pub(crate) use say;

/// Says a line.
pub fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// Says a text that ends its own lines. One write, so that two threads do not mix theirs.
pub fn text(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Says what went wrong, and the cure where one is known.
pub fn error(what: &str, error: &Error) {
    fault(&format!("error: {what}"), error, error.hint());
}

/// Says what is wrong after a word like `warning: `, and the cure where one is known.
pub fn fault(what: &str, fact: &impl Display, hint: Option<&str>) {
    let hint = hint.map_or(String::new(), |hint| format!("\n  hint: {hint}"));
    say!("{what}{fact}{hint}");
}
