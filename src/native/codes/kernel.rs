//! Integer products of rows of codes with packed groups of sixteen: one kernel for 512-bit VNNI, one for AVX2, one for any
//! processor. All give the same integers. A group stays in the first-level cache while all rows pass by.

use std::sync::LazyLock;

use super::{LANES, Line};

/// Products of rows of signed codes with packed groups (codes plus 128), less each row's offset; `width` codes a row.
type Kernel = fn(codes: &[&[i8]], offsets: &[i32], packed: &[Line], width: usize, out: &mut [i32]);

static FASTEST: LazyLock<(&str, Kernel)> =
    LazyLock::new(|| *all().last().expect("the portable kernel is always there"));

/// The kernels that this processor can run, the fastest last.
fn all() -> Vec<(&'static str, Kernel)> {
    let mut kernels: Vec<(&'static str, Kernel)> = vec![("portable", portable)];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as just asked.
            kernels.push(("avx2", |c, o, p, w, out| unsafe { x86::avx2(c, o, p, w, out) }));
        }
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the processor has AVX-512 with VNNI, as just asked.
            kernels.push(("avx512-vnni", |c, o, p, w, out| unsafe { x86::vnni(c, o, p, w, out) }));
        }
    }
    kernels
}

/// The name of the kernel that is used.
#[must_use]
pub fn name() -> &'static str {
    FASTEST.0
}

/// Products with the fastest kernel; `out` is a row of products a row of codes.
pub fn products(codes: &[&[i8]], offsets: &[i32], packed: &[Line], width: usize, out: &mut [i32]) {
    let groups = packed.len() / (width / 4);
    assert!(width.is_multiple_of(4) && packed.len() == groups * (width / 4), "whole groups of codes");
    assert!(codes.len() == offsets.len() && codes.iter().all(|row| row.len() == width), "whole rows of codes");
    assert!(out.len() == codes.len() * groups * LANES, "a place a product");
    (FASTEST.1)(codes, offsets, packed, width, out);
}

fn portable(codes: &[&[i8]], offsets: &[i32], packed: &[Line], width: usize, out: &mut [i32]) {
    let lines = width / 4;
    let stride = packed.len() / lines * LANES;
    for (group, packed) in packed.chunks(lines).enumerate() {
        for ((codes, &offset), out) in codes.iter().zip(offsets).zip(out.chunks_mut(stride)) {
            let mut sums = [-offset; LANES];
            for (line, codes) in packed.iter().zip(codes.chunks(4)) {
                for (sum, four) in sums.iter_mut().zip(line.0.chunks(4)) {
                    *sum += four.iter().zip(codes).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>();
                }
            }
            out[group * LANES..][..LANES].copy_from_slice(&sums);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
    use std::arch::x86_64::*;

    use super::{LANES, Line};

    /// Rows of a tile at most.
    const ROWS: usize = 8;
    /// Groups of a tile at most.
    const GROUPS: usize = 4;

    /// Tiles of about eight rows by two groups, or of few rows by four: enough sums in registers to hide what each waits for.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub unsafe fn vnni(codes: &[&[i8]], offsets: &[i32], packed: &[Line], width: usize, out: &mut [i32]) {
        let lines = width / 4;
        let stride = packed.len() / lines * LANES;
        // Tiles of nearly equal heights: a low one at the end would wait for itself.
        let rows = codes.len().div_ceil(codes.len().div_ceil(ROWS).max(1)).max(1);
        for (block, packed) in packed.chunks(GROUPS * lines).enumerate() {
            let groups = packed.len() / lines;
            let first = block * GROUPS;
            let tiles = codes.chunks(rows).zip(offsets.chunks(rows)).zip(out.chunks_mut(rows * stride));
            for ((codes, offsets), out) in tiles {
                // SAFETY: the caller's processor has the instructions, and the lengths were asserted by `products`.
                unsafe {
                    if rows <= 3 && groups == GROUPS {
                        vnni_rows::<GROUPS>(codes, offsets, packed, out, stride, first);
                        continue;
                    }
                    for (pair, packed) in packed.chunks(2 * lines).enumerate() {
                        if packed.len() == 2 * lines {
                            vnni_rows::<2>(codes, offsets, packed, out, stride, first + 2 * pair);
                        } else {
                            vnni_rows::<1>(codes, offsets, packed, out, stride, first + 2 * pair);
                        }
                    }
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni_rows<const G: usize>(
        codes: &[&[i8]],
        offsets: &[i32],
        packed: &[Line],
        out: &mut [i32],
        stride: usize,
        group: usize,
    ) {
        // SAFETY: handed on from the caller.
        unsafe {
            match codes.len() {
                8 => vnni_tile::<8, G>(codes, offsets, packed, out, stride, group),
                7 => vnni_tile::<7, G>(codes, offsets, packed, out, stride, group),
                6 => vnni_tile::<6, G>(codes, offsets, packed, out, stride, group),
                5 => vnni_tile::<5, G>(codes, offsets, packed, out, stride, group),
                4 => vnni_tile::<4, G>(codes, offsets, packed, out, stride, group),
                3 => vnni_tile::<3, G>(codes, offsets, packed, out, stride, group),
                2 => vnni_tile::<2, G>(codes, offsets, packed, out, stride, group),
                1 => vnni_tile::<1, G>(codes, offsets, packed, out, stride, group),
                _ => {}
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni_tile<const R: usize, const G: usize>(
        codes: &[&[i8]],
        offsets: &[i32],
        packed: &[Line],
        out: &mut [i32],
        stride: usize,
        group: usize,
    ) {
        let lines = packed.len() / G;
        let rows: [*const i8; R] = std::array::from_fn(|row| codes[row].as_ptr());
        let mut sums = [[_mm512_setzero_si512(); G]; R];
        for (row, sums) in sums.iter_mut().enumerate() {
            *sums = [_mm512_set1_epi32(-offsets[row]); G];
        }
        // SAFETY: `packed` is `G` groups of `lines` lines of 64 bytes, each row has four codes a line, and `out` has `stride`
        // places a row, of which those of the groups lie within: asserted by `products`.
        unsafe {
            let base = packed.as_ptr();
            for line in 0..lines {
                let mut held = [_mm512_setzero_si512(); G];
                for (g, held) in held.iter_mut().enumerate() {
                    *held = _mm512_load_si512(base.add(g * lines + line).cast());
                }
                for row in 0..R {
                    let query = _mm512_set1_epi32(rows[row].add(4 * line).cast::<i32>().read_unaligned());
                    for g in 0..G {
                        sums[row][g] = _mm512_dpbusd_epi32(sums[row][g], held[g], query);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (g, &sum) in sums.iter().enumerate() {
                    let place = row * stride + (group + g) * LANES;
                    _mm512_storeu_si512(out.as_mut_ptr().add(place).cast(), sum);
                }
            }
        }
    }

    /// Two rows by a group: eight registers of sums, each with two partial sums for four rows of the group.
    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2(codes: &[&[i8]], offsets: &[i32], packed: &[Line], width: usize, out: &mut [i32]) {
        let lines = width / 4;
        let groups = packed.len() / lines;
        for (group, packed) in packed.chunks(lines).enumerate() {
            let base = packed.as_ptr().cast::<u8>();
            for row in (0..codes.len()).step_by(2) {
                // SAFETY: the caller's processor has the instructions, and the lengths were asserted by `products`.
                unsafe {
                    if row + 2 <= codes.len() {
                        avx2_tile(&[codes[row].as_ptr(), codes[row + 1].as_ptr()], base, width, |r, sums| {
                            store(sums, offsets[row + r], &mut out[((row + r) * groups + group) * LANES..][..LANES]);
                        });
                    } else {
                        avx2_tile(&[codes[row].as_ptr()], base, width, |_, sums| {
                            store(sums, offsets[row], &mut out[(row * groups + group) * LANES..][..LANES]);
                        });
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
        width: usize,
        mut done: impl FnMut(usize, &[__m256i; 4]),
    ) {
        let mut sums = [[_mm256_setzero_si256(); 4]; R];
        // SAFETY: `base` begins a group of `width` codes a row, and each row has `width` codes, a multiple of 4.
        unsafe {
            for four in 0..width / 4 {
                let mut held = [_mm256_setzero_si256(); 4];
                for (quarter, held) in held.iter_mut().enumerate() {
                    let bytes = _mm_loadu_si128(base.add(four * 4 * LANES + 16 * quarter).cast());
                    *held = _mm256_cvtepu8_epi16(bytes);
                }
                for row in 0..R {
                    let query = _mm_cvtsi32_si128(rows[row].add(4 * four).cast::<i32>().read_unaligned());
                    let query = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(query));
                    for quarter in 0..4 {
                        let products = _mm256_madd_epi16(held[quarter], query);
                        sums[row][quarter] = _mm256_add_epi32(sums[row][quarter], products);
                    }
                }
            }
        }
        sums.iter().enumerate().for_each(|(row, sums)| done(row, sums));
    }

    /// Adds neighbouring partial sums.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(sums: &[__m256i; 4], offset: i32, out: &mut [i32]) {
        for (&sums, out) in sums.iter().zip(out.chunks_mut(4)) {
            let mut halves = [0i32; 8];
            // SAFETY: eight numbers of 4 bytes fill the register.
            unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), sums) };
            for (out, pair) in out.iter_mut().zip(halves.chunks(2)) {
                *out = pair[0] + pair[1] - offset;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::hash::Draw;

    #[test]
    fn every_kernel_gives_the_integers_of_a_plain_sum() {
        let draw = Draw::new(1, "kernel");
        let byte = |i: usize| i32::try_from(draw.bits(i as u64) % 255).expect("small") - 127;
        for (rows, groups, width) in [(1, 1, 4), (3, 2, 8), (8, 5, 512), (23, 3, 12), (2, 1, 2048)] {
            let code = |row: usize, k: usize| i8::try_from(byte(row * width + k)).expect("a code");
            let value = |row: usize, k: usize| byte(1_000_000 + row * width + k);
            let codes: Vec<Vec<i8>> = (0..rows).map(|row| (0..width).map(|k| code(row, k)).collect()).collect();
            let mut packed = vec![Line::default(); groups * width / 4];
            for row in 0..groups * LANES {
                for k in 0..width {
                    let line = row / LANES * width / 4 + k / 4;
                    packed[line].0[row % LANES * 4 + k % 4] = u8::try_from(value(row, k) + 128).expect("a byte");
                }
            }
            let offsets: Vec<i32> =
                codes.iter().map(|row| 128 * row.iter().map(|&c| i32::from(c)).sum::<i32>()).collect();
            let codes: Vec<&[i8]> = codes.iter().map(Vec::as_slice).collect();
            for (name, kernel) in all() {
                let mut out = vec![7; rows * groups * LANES];
                kernel(&codes, &offsets, &packed, width, &mut out);
                for (place, &product) in out.iter().enumerate() {
                    let (row, base) = (place / (groups * LANES), place % (groups * LANES));
                    let expected: i32 = (0..width).map(|k| i32::from(codes[row][k]) * value(base, k)).sum();
                    assert_eq!(product, expected, "{name}: {rows} x {groups} x {width}, row {row}, base {base}");
                }
            }
        }
    }
}
