//! How a row's place is written as text, and read back: file names losslessly, Parquet rows by file
//! and row, members of tars by file and bytes.
//!
//! Pure functions; nothing here touches a file.

use std::fmt::Write as _;
use std::path::Path;

/// What stands before the reason for which a row has no place that could be used.
const UNUSABLE: &str = "(unusable) ";

/// The location of a row that names no place: it says where the row is, and why.
pub(crate) fn unusable(unit: &str, number: u64, why: &str) -> String {
    format!("{UNUSABLE}{unit} {number}: {why}")
}

/// What [`unusable`] was told.
pub(crate) fn why_unusable(location: &str) -> Option<&str> {
    location.strip_prefix(UNUSABLE)
}

/// A name as text: `%` and the bytes that are no UTF-8 become `%XX`, so that every name has its own
/// text.
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

/// The escaped name of a file, without its folder.
pub(crate) fn file_name(path: &Path) -> String {
    escape(path.file_name().unwrap_or_default().as_encoded_bytes())
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
    /// The file's number among the source's files of its name.
    pub(crate) file: usize,
    /// The file's escaped name.
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

/// What a location says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Located<T> {
    /// A place in the source's files.
    Here(T),
    /// A place in other files than these.
    Elsewhere,
    /// Nothing.
    Nowhere,
}

/// A member of a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TarMember<'a> {
    /// The tar's number among the source's files of its name.
    pub(crate) file: usize,
    /// The tar's escaped name.
    pub(crate) archive: &'a str,
    /// Where the member's bytes begin in it.
    pub(crate) offset: u64,
    /// How many they are.
    pub(crate) size: u64,
    /// The member's own escaped name.
    pub(crate) name: &'a str,
}

impl<'a> TarMember<'a> {
    /// `FILE:ARCHIVE#OFFSET+SIZE:NAME`.
    pub(crate) fn write(self) -> String {
        format!("{}:{}#{}+{}:{}", self.file, self.archive, self.offset, self.size, self.name)
    }

    /// Reads what [`TarMember::write`] wrote, of a source that has the tars of which `has` says so.
    pub(crate) fn read(location: &'a str, has: impl Fn(usize, &str) -> bool) -> Located<Self> {
        let split = location.split_once(':').and_then(|(file, rest)| Some((file.parse::<usize>().ok()?, rest)));
        let Some((file, rest)) = split else { return Located::Nowhere };
        // Names may hold what separates them from the rest.
        let mut found = Located::Elsewhere;
        for (at, _) in rest.match_indices('#').filter(|&(at, _)| has(file, &rest[..at])) {
            match Self::of_place(file, &rest[..at], &rest[at + 1..]) {
                Some(member) => return Located::Here(member),
                None => found = Located::Nowhere,
            }
        }
        found
    }

    /// The member at `OFFSET+SIZE:NAME` of a tar.
    fn of_place(file: usize, archive: &'a str, place: &'a str) -> Option<Self> {
        let (bytes, name) = place.split_once(':')?;
        let (offset, size) = bytes.split_once('+')?;
        Some(Self { file, archive, offset: offset.parse().ok()?, size: size.parse().ok()?, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_comes_back_even_if_names_hold_the_separators() {
        let archives = ["a.tar", "b:1#2+3:x.tar"];
        let has = |file: usize, name: &str| archives.get(file).is_some_and(|&archive| archive == name);
        let member = TarMember { file: 1, archive: archives[1], offset: 512, size: 7, name: "c:d#4+5:e.jpg" };
        assert_eq!(member.write(), "1:b:1#2+3:x.tar#512+7:c:d#4+5:e.jpg");
        assert_eq!(TarMember::read(&member.write(), has), Located::Here(member));
        assert_eq!(TarMember::read("0:other.tar#512+7:x.jpg", has), Located::Elsewhere);
        assert_eq!(TarMember::read("2:a.tar#512+7:x.jpg", has), Located::Elsewhere);
        for broken in ["x.jpg", "x:a.tar#0+1:x", "0:a.tar#0:x", "0:a.tar#-1+2:x"] {
            assert_eq!(TarMember::read(broken, has), Located::Nowhere, "{broken}");
        }
    }

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
