//! Loops compiled twice: for any processor, and for one with 256-bit vectors, chosen when they run.
//!
//! Only the width of the vectors differs: no operation is fused or reordered, so both give the same bits.

/// Runs `work`, in the version for wide vectors where the processor has them. For short loops over slices: the gain hangs on
/// the compiler inlining `work`.
#[inline]
pub fn widest<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has the instructions that the callee is compiled for, as just asked.
        return unsafe { with_avx2(work) };
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}
