//! The files that an ONNX file keeps weights in, found without reading weights: a walk over the
//! messages of `onnx.proto`. The generated messages ([`super::proto`]) could be decoded with all
//! weights in memory only.
//!
//! Tensors are looked for wherever a model can have one: initializers, attributes, subgraphs,
//! functions, sparse tensors; a test compares the numbers below with the standard's. What is no
//! protobuf ends the walk; opening the model says what is wrong with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Result};
use std::path::Path;

/// The messages on the way to a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
    /// A key and a value of `external_data`.
    Entry,
}

/// Messages in messages that a file may have: as many as protobuf itself reads.
const DEPTH: usize = 100;

/// A key or a file name that is longer is none.
const TEXT_BYTES: u64 = 1 << 16;

impl Message {
    /// The message in field `number`, with the numbers of `onnx.proto`; `None` for what leads to no
    /// tensor.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Tensor, 13) => Self::Entry,
            _ => return None,
        })
    }
}

/// What a walk knows of the tensor or entry it is in.
#[derive(Default)]
struct Seen {
    key: String,
    value: String,
    locations: Vec<String>,
    external: bool,
}

struct Walk {
    reader: BufReader<File>,
    at: u64,
    found: BTreeSet<String>,
}

/// The `location`s of the model's external tensors.
pub fn locations(path: &Path) -> Result<BTreeSet<String>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut walk = Walk { reader: BufReader::new(file), at: 0, found: BTreeSet::new() };
    match walk.message(Message::Model, size, 0) {
        Err(error) if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => Err(error),
        _ => Ok(walk.found),
    }
}

impl Walk {
    /// Reads a message up to `end`.
    fn message(&mut self, message: Message, end: u64, depth: usize) -> Result<Seen> {
        let mut seen = Seen::default();
        while self.at < end {
            let key = self.varint()?;
            match (key >> 3, key & 7) {
                (number, 0) => {
                    let value = self.varint()?;
                    // `data_location`, and its value EXTERNAL.
                    seen.external |= message == Message::Tensor && number == 14 && value == 1;
                }
                (_, 1) => self.skip(8, end)?,
                (_, 5) => self.skip(4, end)?,
                (number, 2) => {
                    let length = self.varint()?;
                    let below = self.at.checked_add(length).filter(|&below| below <= end).ok_or_else(malformed)?;
                    match message.field(number) {
                        Some(_) if depth == DEPTH => return Err(malformed()),
                        Some(inner) => {
                            let inner = self.message(inner, below, depth + 1)?;
                            seen.locations.extend((inner.key == "location").then_some(inner.value));
                        }
                        None if message == Message::Entry && number == 1 => seen.key = self.text(length)?,
                        None if message == Message::Entry && number == 2 => seen.value = self.text(length)?,
                        None => self.skip(length, end)?,
                    }
                }
                _ => return Err(malformed()),
            }
        }
        if seen.external {
            self.found.extend(seen.locations.drain(..));
        }
        Ok(seen)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.reader.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(malformed())
    }

    fn skip(&mut self, length: u64, end: u64) -> Result<()> {
        self.at = self.at.checked_add(length).filter(|&at| at <= end).ok_or_else(malformed)?;
        self.reader.seek_relative(i64::try_from(length).map_err(|_| malformed())?)
    }

    fn text(&mut self, length: u64) -> Result<String> {
        if length > TEXT_BYTES {
            return Err(malformed());
        }
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes)?;
        self.at += length;
        String::from_utf8(bytes).map_err(|_| malformed())
    }
}

fn malformed() -> Error {
    Error::new(ErrorKind::InvalidData, "no protobuf")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Message;
    use crate::model::proto::LINKS;

    /// The messages of the walk, by their names in the standard.
    const NAMES: [(Message, &str); 9] = [
        (Message::Model, "ModelProto"),
        (Message::Training, "TrainingInfoProto"),
        (Message::Function, "FunctionProto"),
        (Message::Graph, "GraphProto"),
        (Message::Node, "NodeProto"),
        (Message::Attribute, "AttributeProto"),
        (Message::Sparse, "SparseTensorProto"),
        (Message::Tensor, "TensorProto"),
        (Message::Entry, "StringStringEntryProto"),
    ];

    /// The messages that are tensors, or that hold some, however deep.
    fn with_tensors() -> BTreeSet<&'static str> {
        let mut found = BTreeSet::from(["TensorProto"]);
        loop {
            let before = found.len();
            let more: Vec<_> = LINKS.iter().filter(|(.., inner)| found.contains(inner)).map(|link| link.0).collect();
            found.extend(more);
            if found.len() == before {
                return found;
            }
        }
    }

    #[test]
    fn the_walk_follows_each_field_of_the_standard_that_leads_to_a_tensor_and_no_other() {
        let with_tensors = with_tensors();
        let named: BTreeSet<&str> = NAMES.iter().map(|(_, name)| *name).collect();
        assert!(with_tensors.is_subset(&named), "{with_tensors:?}");
        for (message, name) in NAMES {
            for number in 1..1000 {
                let link = LINKS.iter().find(|(outer, field, _)| *outer == name && *field == number);
                let followed = link.filter(|(.., inner)| {
                    with_tensors.contains(inner)
                        || (message == Message::Tensor && *inner == "StringStringEntryProto" && number == 13)
                });
                let inner = followed.and_then(|(.., inner)| NAMES.iter().find(|(_, name)| name == inner));
                assert_eq!(message.field(number), inner.map(|(inner, _)| *inner), "field {number} of {name}");
            }
        }
    }
}
