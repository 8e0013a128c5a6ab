use std::io::Write as _;

use super::*;
use crate::part::Sink;

/// A file of `length` bytes with its sums at the end.
fn file(folder: &Path, length: usize) -> (Stored, Vec<u8>) {
    let path = folder.join("file");
    let bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i * 31 % 251).expect("small")).collect();
    let mut sink = Sink::create_in_blocks(&path, SMALL_BLOCK).expect("a file");
    bytes.chunks(1000).for_each(|chunk| sink.write_all(chunk).expect("room"));
    let written = sink.finish_raw(0).expect("a tail");
    let published = Published { name: "file".into(), bytes: written.bytes, tail: written.tail };
    (Stored { path, published: Some(published) }, bytes)
}

#[test]
fn any_range_comes_back_and_any_flipped_bit_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let (stored, bytes) = file(folder.path(), 20_000);
    let open = stored.raw().expect("a whole file");
    assert_eq!((open.content(), open.read_all().expect("whole")), (20_000, bytes.clone()));
    for (at, length) in [(0, 1), (4095, 2), (4096, 4096), (100, 12_000), (19_999, 1), (8192, 11_808), (5, 0)] {
        let mut to = vec![0; length];
        open.read_exact_at(&mut to, at as u64).expect("a range");
        assert_eq!(to, bytes[at..at + length], "{at} {length}");
        assert_eq!(open.get(at as u64, length).expect("a range"), bytes[at..at + length], "{at} {length}");
    }
    let whole = std::fs::read(&stored.path).expect("a file");
    for at in (0..whole.len()).step_by(997) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&stored.path, flipped).expect("room");
        let read = stored.raw().and_then(|open| open.read_all());
        assert!(matches!(read, Err(Error::Damaged { .. })), "byte {at}: {read:?}");
    }
    std::fs::write(&stored.path, &whole[..100]).expect("room");
    assert!(matches!(stored.raw(), Err(Error::Damaged { .. })));
    std::fs::remove_file(&stored.path).expect("a file");
    assert!(matches!(stored.raw(), Err(Error::Damaged { .. })));
}

#[test]
fn sums_are_text_and_back() {
    let mut summing = Summing::new(BLOCK);
    summing.update(&vec![7; 200_000]);
    let sums = summing.finish();
    assert_eq!((sums.sums.len(), BlockSums::from_text(&sums.to_text())), (4, Some(sums)));
    assert_eq!(BlockSums::from_text("65536:200000:00"), None);
}

#[test]
fn a_block_without_a_checksum_is_not_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (stored, bytes) = file(folder.path(), 20_000);
    let mut summing = Summing::new(SMALL_BLOCK);
    summing.update(&bytes);
    let mut sums = summing.finish();
    let open = |sums: &BlockSums| stored.unread().and_then(|file| file.with(sums.clone())).expect("a file");
    assert_eq!(open(&sums).read_all().expect("whole"), bytes);
    sums.sums.pop();
    assert!(open(&sums).read_all().is_err());
}
