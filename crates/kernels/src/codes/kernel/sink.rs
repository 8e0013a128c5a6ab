//! What becomes of products, sixteen at a time, as they arise: stored, compared with a threshold,
//! or with the best so far.

use crate::codes::line::LANES;

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

/// Notes where a product, times the scale of the packed row, is less than the largest of its row so
/// far by at most a margin.
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
    /// Numbers of packed rows, and the products times their scales: those that count, and some that
    /// did before.
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
