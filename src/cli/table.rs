//! Plain text tables, and printing that survives a closed pipe.

use std::fmt::Write as _;
use std::io::Write;

use indicatif::HumanCount;
use serde::Serialize;

use crate::cli::stop::Stop;
use lvd_base::error::Error;

/// Prints text to standard output.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Prints JSON; `what` names it where it cannot be written.
pub fn print_json(what: &str, value: &impl Serialize) -> Result<(), Stop> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::data(what, error))?;
    Ok(print(&text)?)
}

/// Lines of cells as columns two spaces apart; a column whose name starts with `>` is set flush
/// right.
pub fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<String> = header.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain([&names[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let mut text = String::new();
    let header_row = std::iter::once(&names).filter(|names| names.iter().any(|name| !name.is_empty()));
    for row in header_row.chain(rows) {
        let mut line = String::new();
        for ((cell, &width), name) in row.iter().zip(&widths).zip(header) {
            let pad = " ".repeat(width - cell.chars().count());
            let (before, after) = if name.starts_with('>') { (pad.as_str(), "") } else { ("", pad.as_str()) };
            let _ = write!(line, "{before}{cell}{after}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// 1234567 as `1,234,567`.
pub fn thousands(n: u64) -> String {
    HumanCount(n).to_string()
}

/// `1 row`, `1,000 rows`.
pub fn counted(n: u64, word: &str) -> String {
    format!("{} {word}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// Bytes with a unit: `1.5 GiB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(n: u64) -> String {
    let (mut value, mut unit) = (n as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value >= 1024.0 {
            (value, unit) = (value / 1024.0, next);
        }
    }
    if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") }
}

/// A stretch of time as people say it.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    match minutes {
        m if m < 2.0 => format!("{seconds:.0} s"),
        m if m < 120.0 => format!("{m:.0} min"),
        m if m < 72.0 * 60.0 => format!("{:.0} h", m / 60.0),
        m => format!("{:.1} days", m / 1440.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([thousands(7), thousands(1000), thousands(1_234_567)], ["7", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "pair"), counted(1000, "pair")], ["1 pair", "1,000 pairs"]);
        assert_eq!([bytes(12), bytes(1536), bytes(3 << 30)], ["12 B", "1.5 KiB", "3.0 GiB"]);
    }

    #[test]
    fn columns_line_up() {
        let text = columns(&["step", ">rows"], &[vec!["a".into(), "10,000".into()], vec!["longer".into(), "7".into()]]);
        assert_eq!(text, "step      rows\na       10,000\nlonger       7\n");
    }
}
