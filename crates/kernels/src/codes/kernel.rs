//! Integer products of rows of codes with packed groups of sixteen: one kernel for 512-bit VNNI, one for AVX2, one for any
//! processor. All give the same integers. A group stays in the first-level cache while all rows pass by, and products
//! are used where they arise, in registers ([`Sink`]).

use std::sync::LazyLock;

use super::{LANES, Line};
use crate::multiversion;

/// Rows of signed codes, and groups of packed ones (codes plus 128).
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    /// The rows: four codes a line that is used, at least.
    pub codes: &'a [&'a [i8]],
    /// What each row's products are too large by, since packed codes are.
    pub offsets: &'a [i32],
    /// The groups.
    pub packed: &'a [Line],
    /// Lines a group.
    pub lines: usize,
    /// Lines of each group that are multiplied: the first.
    pub used: usize,
}

/// Where the products of a row with a group go.
pub trait Sink {
    /// Takes sixteen products.
    fn take(&mut self, row: usize, group: usize, products: &[i32; LANES]);

    /// Takes sixteen products out of a register.
    ///
    /// # Safety
    /// The processor has AVX-512.
    #[cfg(target_arch = "x86_64")]
    unsafe fn take_register(&mut self, row: usize, group: usize, products: std::arch::x86_64::__m512i);
}

/// Stores all products, row after row.
pub struct Store<'a> {
    /// A place for each product.
    pub out: &'a mut [i32],
    /// Places a row.
    pub stride: usize,
}

/// Notes where a product, times the scale of the packed row, reaches a threshold.
pub struct Hits<'a> {
    /// A scale for each packed row, whole groups.
    pub scales: &'a [f32],
    /// A threshold for each row and group.
    pub thresholds: &'a [f32],
    /// Numbers of a row and of a packed row.
    pub found: &'a mut Vec<(u32, u32)>,
}

impl Hits<'_> {
    fn groups(&self) -> usize {
        self.scales.len() / LANES
    }

    #[expect(clippy::cast_possible_truncation, reason = "blocks are small")]
    fn note(&mut self, row: usize, group: usize, mut mask: u16) {
        while mask != 0 {
            self.found.push((row as u32, (group * LANES) as u32 + mask.trailing_zeros()));
            mask &= mask - 1;
        }
    }
}

impl Sink for Store<'_> {
    fn take(&mut self, row: usize, group: usize, products: &[i32; LANES]) {
        self.out[row * self.stride + group * LANES..][..LANES].copy_from_slice(products);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn take_register(&mut self, row: usize, group: usize, products: std::arch::x86_64::__m512i) {
        let places = &mut self.out[row * self.stride + group * LANES..][..LANES];
        // SAFETY: sixteen places, as just cut; the store needs no alignment.
        unsafe { std::arch::x86_64::_mm512_storeu_si512(places.as_mut_ptr().cast(), products) };
    }
}

impl Sink for Hits<'_> {
    fn take(&mut self, row: usize, group: usize, products: &[i32; LANES]) {
        let threshold = self.thresholds[row * self.groups() + group];
        let mut mask = 0;
        for (lane, (&product, &scale)) in products.iter().zip(&self.scales[group * LANES..]).enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "the threshold allows for it")]
            let reaches = product as f32 * scale >= threshold;
            mask |= u16::from(reaches) << lane;
        }
        self.note(row, group, mask);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn take_register(&mut self, row: usize, group: usize, products: std::arch::x86_64::__m512i) {
        use std::arch::x86_64::{
            _CMP_GE_OQ, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
        };
        let threshold = self.thresholds[row * self.groups() + group];
        let scales = &self.scales[group * LANES..][..LANES];
        // SAFETY: sixteen scales, as just cut; the load needs no alignment.
        let scales = unsafe { _mm512_loadu_ps(scales.as_ptr()) };
        let products = _mm512_mul_ps(_mm512_cvtepi32_ps(products), scales);
        let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(products, _mm512_set1_ps(threshold));
        if mask != 0 {
            self.note(row, group, mask);
        }
    }
}

/// Notes where a product, times the scale of the packed row, is less than the largest of its row so far by at most a margin.
pub struct Best<'a> {
    /// A scale for each packed row, whole groups; NaN for what fills up the last.
    pub scales: &'a [f32],
    /// The number of the first packed row.
    pub first: usize,
    /// What each row looks for.
    pub looking: &'a mut [Looking],
}

/// What a row looks for, and has found.
#[derive(Clone, Debug)]
pub struct Looking {
    /// How much less than the largest still counts.
    pub margin: f32,
    /// The largest so far.
    pub most: f32,
    /// What counts so far: the largest less the margin.
    pub least: f32,
    /// Numbers of packed rows, and the products times their scales: those that count, and some that did before.
    pub found: Vec<(u32, f32)>,
}

impl Looking {
    /// Nothing found yet.
    pub fn new(margin: f32) -> Self {
        Self { margin, most: f32::NEG_INFINITY, least: f32::NEG_INFINITY, found: Vec::new() }
    }

    #[expect(clippy::cast_possible_truncation, reason = "fewer than 2^32 rows")]
    fn note(&mut self, first: usize, mut mask: u16, values: &[f32; LANES]) {
        while mask != 0 {
            let (lane, value) = (mask.trailing_zeros(), values[mask.trailing_zeros() as usize]);
            if value >= self.least {
                self.found.push((first as u32 + lane, value));
            }
            if value > self.most {
                (self.most, self.least) = (value, value - self.margin);
            }
            mask &= mask - 1;
        }
    }
}

impl Sink for Best<'_> {
    fn take(&mut self, row: usize, group: usize, products: &[i32; LANES]) {
        let looking = &mut self.looking[row];
        let (mut mask, mut values) = (0, [0.0; LANES]);
        for (lane, (&product, &scale)) in products.iter().zip(&self.scales[group * LANES..]).enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let value = product as f32 * scale;
            values[lane] = value;
            mask |= u16::from(value >= looking.least) << lane;
        }
        looking.note(self.first + group * LANES, mask, &values);
    }

    #[cfg(target_arch = "x86_64")]
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn take_register(&mut self, row: usize, group: usize, products: std::arch::x86_64::__m512i) {
        use std::arch::x86_64::{
            _CMP_GE_OQ, _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_loadu_ps, _mm512_mul_ps, _mm512_set1_ps,
            _mm512_storeu_ps,
        };
        let looking = &mut self.looking[row];
        let scales = &self.scales[group * LANES..][..LANES];
        // SAFETY: sixteen scales, as just cut; the load needs no alignment.
        let scales = unsafe { _mm512_loadu_ps(scales.as_ptr()) };
        let products = _mm512_mul_ps(_mm512_cvtepi32_ps(products), scales);
        let mask = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(products, _mm512_set1_ps(looking.least));
        if mask != 0 {
            let mut values = [0.0; LANES];
            // SAFETY: sixteen places; the store needs no alignment.
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), products) };
            looking.note(self.first + group * LANES, mask, &values);
        }
    }
}

/// What a processor can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

static FASTEST: LazyLock<Kernel> = LazyLock::new(|| *all().last().expect("the portable kernel is always there"));

/// The kernels that this processor can run, the fastest last.
fn all() -> Vec<Kernel> {
    let mut kernels = vec![Kernel::Portable];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx2") {
            kernels.push(Kernel::Avx2);
        }
        let has_512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        if has_512 && is_x86_feature_detected!("avx512vnni") {
            kernels.push(Kernel::Vnni);
        }
    }
    kernels
}

/// The name of the kernel that is used.
#[must_use]
pub fn name() -> &'static str {
    match *FASTEST {
        Kernel::Portable => "portable",
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => "avx2",
        #[cfg(target_arch = "x86_64")]
        Kernel::Vnni => "avx512-vnni",
    }
}

/// Products of all rows with all groups, by the fastest kernel.
pub fn multiply(operands: &Operands, sink: &mut impl Sink) {
    by(*FASTEST, operands, sink);
}

/// The product of two rows of signed codes, as [`products`] has it.
#[must_use]
pub fn product(a: &[i8], b: &[i8], offset: i32) -> f32 {
    let mut product = Vec::with_capacity(1);
    products([(a, b, offset)].into_iter(), &mut product);
    product[0]
}

/// The products of pairs of rows of signed codes, to single precision; with each pair comes 128 times the sum of its second.
///
/// # Panics
/// When the two of a pair have different lengths.
pub fn products<'a>(pairs: impl Iterator<Item = (&'a [i8], &'a [i8], i32)>, out: &mut Vec<f32>) {
    #[expect(clippy::cast_precision_loss, reason = "what they are compared with allows for it")]
    let single = |product: i32| product as f32;
    match *FASTEST {
        // SAFETY: the processor has the instructions.
        #[cfg(target_arch = "x86_64")]
        Kernel::Vnni => unsafe { x86::vnni_products(pairs, |product| out.push(single(product))) },
        _ => out.extend(pairs.map(|(a, b, _)| single(plain_product(a, b)))),
    }
}

multiversion! {
    fn plain_product(a: &[i8], b: &[i8]) -> i32 {
        assert_eq!(a.len(), b.len(), "rows of one length");
        a.iter().zip(b).map(|(&a, &b)| i32::from(i16::from(a) * i16::from(b))).sum()
    }
}

fn by(kernel: Kernel, operands: &Operands, sink: &mut impl Sink) {
    let &Operands { codes, offsets, packed, lines, used } = operands;
    assert!(used <= lines && lines > 0 && packed.len().is_multiple_of(lines), "whole groups of codes");
    assert!(codes.len() == offsets.len() && codes.iter().all(|row| row.len() >= 4 * used), "whole rows of codes");
    match kernel {
        Kernel::Portable => portable(operands, sink),
        // SAFETY: `all` named the kernel because the processor has its instructions; the lengths were just asserted.
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => unsafe { x86::avx2(operands, sink) },
        // SAFETY: the same.
        #[cfg(target_arch = "x86_64")]
        Kernel::Vnni => unsafe { x86::vnni(operands, sink) },
    }
}

fn portable(operands: &Operands, sink: &mut impl Sink) {
    for (group, packed) in operands.packed.chunks(operands.lines).enumerate() {
        for (row, (codes, &offset)) in operands.codes.iter().zip(operands.offsets).enumerate() {
            let mut sums = [-offset; LANES];
            for (line, codes) in packed[..operands.used].iter().zip(codes.chunks(4)) {
                for (sum, four) in sums.iter_mut().zip(line.0.chunks(4)) {
                    *sum += four.iter().zip(codes).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>();
                }
            }
            sink.take(row, group, &sums);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
    use std::arch::x86_64::*;

    use super::{LANES, Line, Operands, Sink};

    /// Rows of a tile at most.
    const ROWS: usize = 8;
    /// Groups of a tile at most.
    const GROUPS: usize = 4;

    /// Tiles of about eight rows by two groups, or of few rows by four: enough sums in registers to hide what each waits for.
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
        // SAFETY: `packed` is `G` groups of `lines` lines of 64 bytes, of which `used` are used, and each row has four codes
        // for each of these: asserted by `by`.
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
    pub unsafe fn vnni_products<'a>(
        pairs: impl Iterator<Item = (&'a [i8], &'a [i8], i32)>,
        mut found: impl FnMut(i32),
    ) {
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

    /// Two rows by a group: eight registers of sums, each with two partial sums for four rows of the group.
    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2(operands: &Operands, sink: &mut impl Sink) {
        let &Operands { codes, offsets, packed, lines, used } = operands;
        for (group, packed) in packed.chunks(lines).enumerate() {
            let base = packed.as_ptr().cast::<u8>();
            for row in (0..codes.len()).step_by(2) {
                let mut take =
                    |r: usize, sums: &[__m256i; 4]| sink.take(row + r, group, &added(sums, offsets[row + r]));
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Draw;

    #[test]
    fn products_of_pairs_are_those_of_a_plain_sum() {
        let draw = Draw::new(2, "kernel");
        for length in [0, 4, 60, 64, 68, 512, 1000] {
            let code = |from: u64| -> Vec<i8> {
                (0..length)
                    .map(|i| {
                        i8::try_from(i64::try_from(draw.bits(from + i) % 255).expect("small") - 127).expect("a code")
                    })
                    .collect()
            };
            let (a, b) = (code(0), code(1 << 20));
            let offset = 128 * b.iter().map(|&x| i32::from(x)).sum::<i32>();
            let sum: i32 = a.iter().zip(&b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
            #[expect(clippy::cast_precision_loss, reason = "what it is rounded to")]
            let expected = sum as f32;
            assert_eq!(product(&a, &b, offset).to_bits(), expected.to_bits());
            assert_eq!(plain_product(&a, &b), sum);
        }
    }

    #[test]
    fn every_kernel_gives_the_integers_of_a_plain_sum() {
        let draw = Draw::new(1, "kernel");
        let byte = |i: usize| i32::try_from(draw.bits(i as u64) % 255).expect("small") - 127;
        for (rows, groups, width, used) in
            [(1, 1, 4, 4), (3, 6, 8, 8), (8, 5, 512, 128), (23, 3, 12, 8), (2, 9, 2048, 2048), (5, 4, 64, 64)]
        {
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
                codes.iter().map(|row| 128 * row[..used].iter().map(|&c| i32::from(c)).sum::<i32>()).collect();
            let codes: Vec<&[i8]> = codes.iter().map(Vec::as_slice).collect();
            let operands =
                Operands { codes: &codes, offsets: &offsets, packed: &packed, lines: width / 4, used: used / 4 };
            let expected =
                |row: usize, base: usize| -> i32 { (0..used).map(|k| i32::from(codes[row][k]) * value(base, k)).sum() };
            let scales: Vec<f32> = (0u8..).take(groups * LANES).map(|i| 0.5 + f32::from(i) / 256.0).collect();
            let thresholds: Vec<f32> = (0u8..).take(rows * groups).map(|i| 40.0 * f32::from(i) - 300.0).collect();
            for kernel in all() {
                let mut out = vec![7; rows * groups * LANES];
                by(kernel, &operands, &mut Store { out: &mut out, stride: groups * LANES });
                let mut hits = Vec::new();
                by(kernel, &operands, &mut Hits { scales: &scales, thresholds: &thresholds, found: &mut hits });
                let mut looking = vec![Looking::new(200.0); rows];
                by(kernel, &operands, &mut Best { scales: &scales, first: 0, looking: &mut looking });
                for (place, &product) in out.iter().enumerate() {
                    let (row, base) = (place / (groups * LANES), place % (groups * LANES));
                    let sum = expected(row, base);
                    assert_eq!(product, sum, "{kernel:?}: {rows} x {groups} x {width}, row {row}, base {base}");
                    #[expect(clippy::cast_precision_loss, reason = "what the kernels do")]
                    let reaches = sum as f32 * scales[base] >= thresholds[row * groups + base / LANES];
                    let (row, base) = (u32::try_from(row).expect("few"), u32::try_from(base).expect("few"));
                    assert_eq!(hits.iter().filter(|&&hit| hit == (row, base)).count(), usize::from(reaches));
                    let Looking { found, most, least, .. } = &looking[row as usize];
                    #[expect(clippy::cast_precision_loss, reason = "what the kernels do")]
                    let value = sum as f32 * scales[base as usize];
                    let there = found.iter().filter(|&&noted| noted == (base, value)).count();
                    assert!(
                        value <= *most && there <= 1 && (there == 1 || value < *least),
                        "{kernel:?}: {row}, {base}"
                    );
                }
            }
        }
    }
}
