//! Numbers and names as people read them.

use indicatif::HumanCount;

use crate::look::draws::Count;
use lvd_base::types::ImageId;

/// 1234567 as `1,234,567`.
pub fn thousands(n: u64) -> String {
    HumanCount(n).to_string()
}

/// So many of something: `1 pair`, `20 pairs`.
pub fn some(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", thousands(n)) }
}

/// A count of something, `about` where it is an estimate.
pub fn about(count: Count, one: &str, many: &str) -> String {
    let some = some(count.n, one, many);
    if count.exact { some } else { format!("about {some}") }
}

/// A cosine, to three places at most.
pub fn cosine(x: f32) -> String {
    let text = format!("{x:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.to_owned() }
}

/// An id as in file names.
pub fn hex(id: ImageId) -> String {
    format!("{:016x}", id.0)
}

/// A share in per cent.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn per_cent(some: u64, all: u64) -> String {
    if all == 0 { "-".into() } else { format!("{:.1} %", 100.0 * some as f64 / all as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [cosine(0.78), cosine(0.5), cosine(1.0), cosine(0.1234), cosine(-0.0001)],
            ["0.78", "0.5", "1", "0.123", "0"]
        );
        assert_eq!([some(1, "pair", "pairs"), some(2000, "pair", "pairs")], ["1 pair", "2,000 pairs"]);
        assert_eq!(about(Count { n: 9, exact: false }, "pair", "pairs"), "about 9 pairs");
        assert_eq!([per_cent(1, 8), per_cent(0, 0)], ["12.5 %", "-"]);
    }
}
