//! How a row's place is written as text, and read back: file names losslessly, Parquet rows by file and row.
//!
//! Pure functions; nothing here touches a file.

use std::fmt::Write as _;

/// A name as text: `%` and the bytes that are no UTF-8 become `%XX`, so that every name has its own text.
pub(crate) fn escape(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for (nth, piece) in chunk.valid().split('%').enumerate() {
            if nth > 0 {
                text.push_str("%25");
            }
            text.push_str(piece);
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The bytes that [`escape`] wrote; `None` where a `%` is not followed by two hexadecimal digits.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    bytes.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    Some(bytes)
}

/// A row of a Parquet source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParquetRow<'a> {
    /// The file's place among the source's files.
    pub(crate) file: usize,
    /// The file's escaped name, which guards against a list of files that has changed.
    pub(crate) name: &'a str,
    /// The row in the file.
    pub(crate) row: u64,
}

impl<'a> ParquetRow<'a> {
    /// `FILE:NAME#ROW`.
    pub(crate) fn write(self) -> String {
        format!("{}:{}#{}", self.file, self.name, self.row)
    }

    /// Reads what [`ParquetRow::write`] wrote.
    pub(crate) fn read(location: &'a str) -> Option<Self> {
        let (file, rest) = location.split_once(':')?;
        let (name, row) = rest.rsplit_once('#')?;
        Some(Self { file: file.parse().ok()?, name, row: row.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        let check = |name: &[u8], text: &str| {
            assert_eq!(escape(name), text);
            assert_eq!(unescape(text).as_deref(), Some(name));
        };
        check(b"a/b.jpg", "a/b.jpg");
        check("Zürich.jpg".as_bytes(), "Zürich.jpg");
        check(b"100%.jpg", "100%25.jpg");
        check(b"\xff%\xfe.jpg", "%FF%25%FE.jpg");
        check(b"%FF", "%25FF");
    }

    #[test]
    fn a_broken_escape_is_no_name() {
        for text in ["%", "a%4", "%zz", "%+1", "%ü"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    #[test]
    fn a_parquet_row_comes_back_even_if_the_name_holds_the_separators() {
        let row = ParquetRow { file: 12, name: "a:b#c.parquet", row: 345 };
        assert_eq!(row.write(), "12:a:b#c.parquet#345");
        assert_eq!(ParquetRow::read(&row.write()), Some(row));
        assert_eq!(ParquetRow::read("a.parquet#3"), None);
    }
}
