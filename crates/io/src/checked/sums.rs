//! Checksums of a file's blocks: computed while it is written, kept as text.

use std::fmt::Write as _;

/// The checksums of a file's blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSums {
    /// Bytes a block; the last may be shorter.
    pub block: u32,
    /// Bytes that the blocks cover.
    pub covered: u64,
    /// CRC-32 of each block.
    pub sums: Vec<u32>,
}

impl BlockSums {
    /// As text, for a file's metadata.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}:{}:", self.block, self.covered);
        for sum in &self.sums {
            let _ = write!(text, "{sum:08x}");
        }
        text
    }

    /// From the text in a file's metadata; none where it is no such text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut fields = text.splitn(3, ':');
        let (block, covered) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let sums = fields.next()?.as_bytes().chunks(8);
        let sum = |hex: &[u8]| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok();
        let sums: Vec<u32> = sums.map(sum).collect::<Option<_>>()?;
        let fits = block > 0 && u64::try_from(sums.len()).ok()? == u64::div_ceil(covered, u64::from(block));
        fits.then_some(Self { block, covered, sums })
    }
}

/// Computes the checksums of what is written.
pub struct Summing {
    sums: BlockSums,
    open: crc32fast::Hasher,
    filled: u32,
}

impl Summing {
    /// For blocks of so many bytes.
    #[must_use]
    pub fn new(block: u32) -> Self {
        let sums = BlockSums { block, covered: 0, sums: Vec::new() };
        Self { sums, open: crc32fast::Hasher::new(), filled: 0 }
    }

    /// Takes in what is written next.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.sums.covered += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = (self.sums.block - self.filled) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.open.update(now);
            self.filled += u32::try_from(now.len()).unwrap_or(u32::MAX);
            if self.filled == self.sums.block {
                self.close();
            }
            bytes = later;
        }
    }

    fn close(&mut self) {
        self.sums.sums.push(std::mem::take(&mut self.open).finalize());
        self.filled = 0;
    }

    /// The checksums of all that was written.
    #[must_use]
    pub fn finish(mut self) -> BlockSums {
        if self.filled > 0 {
            self.close();
        }
        self.sums
    }
}
