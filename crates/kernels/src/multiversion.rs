//! Loops compiled twice: for any processor, and for one with 256-bit vectors, chosen when they run.
//!
//! Only the width of the vectors differs: no operation is fused or reordered, so both give the same
//! bits.

/// Defines a function that runs in the version for wide vectors where the processor has them. What
/// it calls gains only where it is inlined: short loops over slices.
#[macro_export]
macro_rules! multiversion {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            // Always, or the wide version would be the narrow one with a call before it.
            #[allow(clippy::inline_always)]
            #[inline(always)]
            fn narrow($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn wide($($argument: $type),*) $(-> $result)? {
                narrow($($argument),*)
            }

            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the processor has the instructions that the callee is compiled for, as
                // just asked.
                #[allow(unsafe_code)]
                return unsafe { wide($($argument),*) };
            }
            narrow($($argument),*)
        }
    };
}
