//! Codes as kernels read them: sixteen rows interleaved, a line of 64 bytes for every four codes of
//! each.

/// Rows of codes that lie interleaved: a vector register holds four codes of each.
pub const LANES: usize = 16;

/// Four codes of each of [`LANES`] rows, each plus 128.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Line(pub [u8; 4 * LANES]);

impl Default for Line {
    fn default() -> Self {
        Self([128; 4 * LANES])
    }
}

/// Interleaves up to [`LANES`] rows.
pub fn pack(plain: &[i8], width: usize, packed: &mut [Line]) {
    for (lane, codes) in plain.chunks(width).enumerate() {
        for (line, codes) in packed.iter_mut().zip(codes.as_chunks::<4>().0) {
            line.0[4 * lane..][..4].copy_from_slice(&codes.map(|code| code.cast_unsigned() ^ 0x80));
        }
    }
}
