//! The kernels of x86-64: 512-bit VNNI, and AVX2.

#[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
use std::arch::x86_64::*;

use super::operands::Operands;
use super::sink::Sink;
use crate::codes::line::{LANES, Line};

/// Rows of a tile at most.
const ROWS: usize = 8;
/// Groups of a tile at most.
const GROUPS: usize = 4;

/// Tiles of about eight rows by two groups, or of few rows by four: enough sums in registers to
/// hide what each waits for.
#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn vnni(operands: &Operands, sink: &mut impl Sink) {
    let &Operands { codes, packed, lines, .. } = operands;
    // Tiles of nearly equal heights: a low one at the end would wait for itself.
    let height = codes.len().div_ceil(codes.len().div_ceil(ROWS).max(1)).max(1);
    for (block, packed) in packed.chunks(GROUPS * lines).enumerate() {
        for row in (0..codes.len()).step_by(height) {
            let rows = row..codes.len().min(row + height);
            // SAFETY: the caller's processor has the instructions, and the lengths were asserted.
            unsafe {
                if height <= 3 && packed.len() == GROUPS * lines {
                    vnni_rows::<GROUPS>(operands, rows, packed, block * GROUPS, sink);
                    continue;
                }
                for (pair, packed) in packed.chunks(2 * lines).enumerate() {
                    let group = block * GROUPS + 2 * pair;
                    if packed.len() == 2 * lines {
                        vnni_rows::<2>(operands, rows.clone(), packed, group, sink);
                    } else {
                        vnni_rows::<1>(operands, rows.clone(), packed, group, sink);
                    }
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni_rows<const G: usize>(
    operands: &Operands,
    rows: std::ops::Range<usize>,
    packed: &[Line],
    group: usize,
    sink: &mut impl Sink,
) {
    // SAFETY: handed on from the caller.
    unsafe {
        match rows.len() {
            8 => vnni_tile::<8, G>(operands, rows.start, packed, group, sink),
            7 => vnni_tile::<7, G>(operands, rows.start, packed, group, sink),
            6 => vnni_tile::<6, G>(operands, rows.start, packed, group, sink),
            5 => vnni_tile::<5, G>(operands, rows.start, packed, group, sink),
            4 => vnni_tile::<4, G>(operands, rows.start, packed, group, sink),
            3 => vnni_tile::<3, G>(operands, rows.start, packed, group, sink),
            2 => vnni_tile::<2, G>(operands, rows.start, packed, group, sink),
            1 => vnni_tile::<1, G>(operands, rows.start, packed, group, sink),
            _ => {}
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni_tile<const R: usize, const G: usize>(
    operands: &Operands,
    row: usize,
    packed: &[Line],
    group: usize,
    sink: &mut impl Sink,
) {
    let lines = packed.len() / G;
    let codes: [*const i8; R] = std::array::from_fn(|r| operands.codes[row + r].as_ptr());
    let mut sums = [[_mm512_setzero_si512(); G]; R];
    for (sums, &offset) in sums.iter_mut().zip(&operands.offsets[row..row + R]) {
        *sums = [_mm512_set1_epi32(-offset); G];
    }
    // SAFETY: `packed` is `G` groups of `lines` lines of 64 bytes, of which `used` are used, and
    // each row has four codes for each of these: asserted by [`Operands::check`].
    unsafe {
        let base = packed.as_ptr();
        for line in 0..operands.used {
            let mut held = [_mm512_setzero_si512(); G];
            for (g, held) in held.iter_mut().enumerate() {
                *held = _mm512_load_si512(base.add(g * lines + line).cast());
            }
            for r in 0..R {
                let query = _mm512_set1_epi32(codes[r].add(4 * line).cast::<i32>().read_unaligned());
                for g in 0..G {
                    sums[r][g] = _mm512_dpbusd_epi32(sums[r][g], held[g], query);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (g, &sum) in sums.iter().enumerate() {
                sink.take_register(row + r, group + g, sum);
            }
        }
    }
}

/// 64 codes at a time; what is over, with zeros behind it.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn vnni_products<'a>(pairs: impl Iterator<Item = (&'a [i8], &'a [i8], i32)>, mut found: impl FnMut(i32)) {
    let flip = _mm512_set1_epi8(-128);
    for (a, b, offset) in pairs {
        assert_eq!(a.len(), b.len(), "rows of one length");
        let (whole_a, rest_a) = a.as_chunks::<64>();
        let (whole_b, rest_b) = b.as_chunks::<64>();
        let mut sums = [_mm512_setzero_si512(); 2];
        for (at, (a, b)) in whole_a.iter().zip(whole_b).enumerate() {
            // SAFETY: 64 codes each; the loads need no alignment.
            let (a, b) = unsafe { (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast())) };
            sums[at % 2] = _mm512_dpbusd_epi32(sums[at % 2], _mm512_xor_si512(a, flip), b);
        }
        if !rest_a.is_empty() {
            let there = (1u64 << rest_a.len()) - 1;
            // SAFETY: the codes that are there, fewer than 64.
            let (a, b) = unsafe {
                (_mm512_maskz_loadu_epi8(there, rest_a.as_ptr()), _mm512_maskz_loadu_epi8(there, rest_b.as_ptr()))
            };
            sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_xor_si512(a, flip), b);
        }
        found(_mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1])) - offset);
    }
}

/// Two rows by a group: eight registers of sums, each with two partial sums for four rows of the
/// group.
#[target_feature(enable = "avx2")]
pub unsafe fn avx2(operands: &Operands, sink: &mut impl Sink) {
    let &Operands { codes, offsets, packed, lines, used } = operands;
    for (group, packed) in packed.chunks(lines).enumerate() {
        let base = packed.as_ptr().cast::<u8>();
        for row in (0..codes.len()).step_by(2) {
            let mut take = |r: usize, sums: &[__m256i; 4]| sink.take(row + r, group, &added(sums, offsets[row + r]));
            // SAFETY: the caller's processor has the instructions, and the lengths were asserted.
            unsafe {
                if row + 2 <= codes.len() {
                    avx2_tile(&[codes[row].as_ptr(), codes[row + 1].as_ptr()], base, used, &mut take);
                } else {
                    avx2_tile(&[codes[row].as_ptr()], base, used, &mut take);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn avx2_tile<const R: usize>(
    rows: &[*const i8; R],
    base: *const u8,
    used: usize,
    take: &mut impl FnMut(usize, &[__m256i; 4]),
) {
    let mut sums = [[_mm256_setzero_si256(); 4]; R];
    // SAFETY: `base` begins a group of at least `used` lines, and each row has four codes for each.
    unsafe {
        for line in 0..used {
            let mut held = [_mm256_setzero_si256(); 4];
            for (district, held) in held.iter_mut().enumerate() {
                let bytes = _mm_loadu_si128(base.add(line * 4 * LANES + 16 * district).cast());
                *held = _mm256_cvtepu8_epi16(bytes);
            }
            for row in 0..R {
                let query = _mm_cvtsi32_si128(rows[row].add(4 * line).cast::<i32>().read_unaligned());
                let query = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(query));
                for district in 0..4 {
                    let products = _mm256_madd_epi16(held[district], query);
                    sums[row][district] = _mm256_add_epi32(sums[row][district], products);
                }
            }
        }
    }
    sums.iter().enumerate().for_each(|(row, sums)| take(row, sums));
}

/// Adds neighbouring partial sums.
#[inline]
#[target_feature(enable = "avx2")]
fn added(sums: &[__m256i; 4], offset: i32) -> [i32; LANES] {
    let mut products = [-offset; LANES];
    for (&sums, products) in sums.iter().zip(products.chunks_mut(4)) {
        let mut halves = [0i32; 8];
        // SAFETY: eight numbers of 4 bytes fill the register.
        unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), sums) };
        products.iter_mut().zip(halves.chunks(2)).for_each(|(product, pair)| *product += pair[0] + pair[1]);
    }
    products
}
