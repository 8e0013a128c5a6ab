//! Integer products of rows of codes with packed groups of sixteen: one kernel for 512-bit VNNI,
//! one for AVX2, one for any processor. All give the same integers. A group stays in the
//! first-level cache while all rows pass by, and products are used where they arise, in registers
//! ([`Sink`]).

pub mod operands;
pub mod sink;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::LazyLock;

use self::operands::Operands;
use self::sink::Sink;
use super::line::LANES;
use crate::multiversion;

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

/// The products of pairs of rows of signed codes, to single precision; with each pair comes 128
/// times the sum of its second.
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
    operands.check();
    match kernel {
        Kernel::Portable => portable(operands, sink),
        // SAFETY: `all` named the kernel because the processor has its instructions; the lengths
        // were just asserted.
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

#[cfg(test)]
mod tests;
