//! For which processors FAISS was compiled. All other kernels are chosen when the program runs;
//! FAISS's are chosen by whoever builds it, and would end the program on an older processor.

use lvd_base::error::Fault;

use super::PRESENT;

/// What `-march` said when FAISS was compiled (build.rs), empty without.
const MARCH: &str = env!("LVD_FAISS_MARCH");

/// Why FAISS cannot be called here, with the cure; none where it can.
#[must_use]
pub fn unusable() -> Option<Fault> {
    if !PRESENT {
        return Some(left_out());
    }
    let fact = format!("FAISS was compiled for {MARCH} processors, and this one is older");
    let cure = "use `search = \"exact\"`, or build lvd for all processors: CXXFLAGS= make build";
    (!has(MARCH)).then(|| Fault::new(fact, cure))
}

/// What is said where FAISS is not built in.
pub(super) fn left_out() -> Fault {
    let cure = "use `search = \"exact\"`, or build lvd with --features faiss";
    Fault::new("this lvd was built without FAISS", cure)
}

/// Whether this processor has what code for `march` may use. Other names than the common levels are
/// taken on trust.
#[cfg(target_arch = "x86_64")]
fn has(march: &str) -> bool {
    let third = || {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi2")
    };
    match march {
        "x86-64-v2" => is_x86_feature_detected!("sse4.2"),
        "x86-64-v3" => third(),
        "x86-64-v4" => third() && is_x86_feature_detected!("avx512vl"),
        _ => true,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn has(_: &str) -> bool {
    true
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn levels_contain_one_another() {
        assert!(has("") && has("native"));
        assert!(has("x86-64-v2") || !has("x86-64-v3"));
        assert!(has("x86-64-v3") || !has("x86-64-v4"));
        assert_eq!(has("x86-64-v3"), is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2"));
    }
}
