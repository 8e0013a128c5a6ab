//! BLAS on one thread a call: matrix products of row-major blocks, and which kernel the library has
//! picked.
//!
//! The kernel matters: an `OpenBLAS` that does not know the processor falls back to one several
//! times slower, and chooses when it is loaded. [`ensure_fast_kernel`] mends that by starting the
//! program again with the right environment.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use lvd_base::error::Fault;

mod buffers;
mod loaded;

pub use buffers::reserve;
use loaded::symbol;

#[link(name = "blas")]
unsafe extern "C" {
    fn sgemm_(
        trans_a: *const c_char,
        trans_b: *const c_char,
        m: *const c_int,
        n: *const c_int,
        k: *const c_int,
        alpha: *const f32,
        a: *const f32,
        lda: *const c_int,
        b: *const f32,
        ldb: *const c_int,
        beta: *const f32,
        c: *mut f32,
        ldc: *const c_int,
    );
}

#[link(name = "gomp")]
unsafe extern "C" {
    fn omp_set_num_threads(threads: c_int);
}

/// Makes the native libraries compute on the calling thread alone; called at the head of every
/// native call.
///
/// `OpenMP` keeps its count a thread, `OpenBLAS` with threads of its own keeps one for the process.
pub fn one_thread() {
    static OPENBLAS: Once = Once::new();
    OPENBLAS.call_once(|| {
        if let Some(address) = symbol(c"openblas_set_num_threads") {
            // SAFETY: OpenBLAS declares it as void openblas_set_num_threads(int).
            let set = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int)>(address) };
            set(1);
        }
    });
    // SAFETY: a call of the OpenMP runtime that writes a variable of the calling thread.
    unsafe { omp_set_num_threads(1) }
    buffers::of_this_thread();
}

/// Dot products of all pairs of rows: `out[i * m + j] = a[i] . b[j]` for `n` rows of `a` and `m` of
/// `b`, each of `d` numbers.
///
/// One single-threaded `sgemm`. The last bits of an entry may depend on the shapes and on the
/// kernel: what decides thresholds and ties is [`crate::dot`].
///
/// # Panics
/// When the lengths do not fit together.
pub fn products(a: &[f32], b: &[f32], d: usize, out: &mut [f32]) {
    assert!(d > 0 && a.len().is_multiple_of(d) && b.len().is_multiple_of(d), "blocks must be whole rows of {d}");
    let (a_rows, b_rows) = (a.len() / d, b.len() / d);
    assert_eq!(out.len(), a_rows * b_rows, "{a_rows} x {b_rows} products need as many places");
    if out.is_empty() {
        return;
    }
    let size = |value: usize| c_int::try_from(value).expect("a block of BLAS has fewer than 2^31 rows and columns");
    let (rows, columns, inner) = (size(b_rows), size(a_rows), size(d));
    one_thread();
    // SAFETY: column-major sgemm("T", "N", ...) reads the d * b_rows numbers of `b` and the d *
    // a_rows of `a`, and writes the b_rows * a_rows of `out`: the lengths asserted above; all
    // pointers live through the call.
    unsafe {
        sgemm_(
            c"T".as_ptr(),
            c"N".as_ptr(),
            &raw const rows,
            &raw const columns,
            &raw const inner,
            &raw const ONE,
            b.as_ptr(),
            &raw const inner,
            a.as_ptr(),
            &raw const inner,
            &raw const ZERO,
            out.as_mut_ptr(),
            &raw const rows,
        );
    }
}

static ONE: f32 = 1.0;
static ZERO: f32 = 0.0;

/// The name of the kernel that `OpenBLAS` has picked; `None` for another BLAS library.
#[must_use]
pub fn kernel() -> Option<String> {
    let address = symbol(c"openblas_get_corename")?;
    // SAFETY: OpenBLAS declares it as char *openblas_get_corename(void); the text it returns is
    // never freed.
    unsafe {
        let name = std::mem::transmute::<*mut c_void, extern "C" fn() -> *const c_char>(address)();
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// The width of a kernel's vectors in bits.
fn kernel_width(name: &str) -> u32 {
    match name.to_ascii_lowercase().as_str() {
        "skylakex" | "cooperlake" | "sapphirerapids" => 512,
        "haswell" | "zen" => 256,
        _ => 128,
    }
}

/// The kernel that this processor deserves, and the width of its vectors in bits.
fn deserved() -> Option<(&'static str, u32)> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Some(("SkylakeX", 512));
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Some(("Haswell", 256));
        }
    }
    None
}

/// The kernel that would be faster than the one picked, if any.
fn better_kernel() -> Option<(String, &'static str)> {
    let picked = kernel()?;
    let (wanted, width) = deserved()?;
    (kernel_width(&picked) < width).then_some((picked, wanted))
}

/// Says when BLAS runs on a slower kernel than the processor allows.
#[must_use]
pub fn slow_kernel() -> Option<Fault> {
    better_kernel().map(|(picked, wanted)| {
        Fault::new(
            format!("OpenBLAS computes as on a {picked}: this processor can do matrix products several times faster"),
            format!("set OPENBLAS_CORETYPE={wanted} in the environment"),
        )
    })
}

const CORETYPE: &str = "OPENBLAS_CORETYPE";
/// Set to 1 for the second start, so that `OpenBLAS` starts no threads: none are wanted.
const THREADS: &str = "OPENBLAS_NUM_THREADS";
/// Says that this is the second start, which takes all three variables away again.
const GUARD: &str = "LVD_RESTARTED";
/// Says, too, that the kernel was the user's choice, which stays.
const KEEP_CORETYPE: &str = "kernel kept";

/// Whether `OpenBLAS` has threads of its own. Nothing computes on them, and each holds a buffer and
/// turns in circles for a while.
fn has_threads() -> bool {
    symbol(c"openblas_get_num_threads").is_some_and(|address| {
        // SAFETY: OpenBLAS declares it as int openblas_get_num_threads(void).
        let threads = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(address) };
        threads() > 1
    })
}

/// Call first thing in `main`, before any thread starts: sees to a BLAS kernel as fast as the
/// processor allows.
///
/// Where `OpenBLAS` has picked a slower one and the user has not chosen by `OPENBLAS_CORETYPE`, or
/// where it has started threads, the program is started once more in place (same process id,
/// arguments and open files) with variables that say otherwise; the second start takes them out of
/// its environment again, since a child may run on another machine. Returns a warning when the
/// kernel stays slow.
#[must_use]
pub fn ensure_fast_kernel() -> Option<Fault> {
    if let Some(guard) = std::env::var_os(GUARD) {
        let chosen_by_the_user = guard == KEEP_CORETYPE;
        forget(chosen_by_the_user);
        return slow_kernel().filter(|_| !chosen_by_the_user);
    }
    let chosen_by_the_user = std::env::var_os(CORETYPE).is_some();
    let wanted = better_kernel().filter(|_| !chosen_by_the_user).map(|(_, wanted)| wanted);
    if wanted.is_none() && !has_threads() {
        return None;
    }
    // The plain path keeps the program's name in `ps`; the link works even where the file has
    // moved.
    for program in [std::env::current_exe().ok(), Some("/proc/self/exe".into())].into_iter().flatten() {
        let mut arguments = std::env::args_os();
        let mut command = Command::new(program);
        command.arg0(arguments.next().unwrap_or_default()).args(arguments);
        command.env(THREADS, "1").env(GUARD, if chosen_by_the_user { KEEP_CORETYPE } else { "1" });
        command.envs(wanted.map(|wanted| (CORETYPE, wanted)));
        let _only_returns_on_failure = command.exec();
    }
    slow_kernel()
}

/// Takes the variables of the restart out of the environment, where no other thread can be reading
/// it.
fn forget(chosen_by_the_user: bool) {
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1);
    if alone {
        for name in [CORETYPE, THREADS, GUARD].into_iter().skip(usize::from(chosen_by_the_user)) {
            // SAFETY: this thread is the only one of the process, as just counted.
            unsafe { std::env::remove_var(name) }
        }
    }
}

/// Matrix products measured for 0.3 s on `threads` threads at once: 10^9 floating-point operations
/// a second in all.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a measurement")]
pub fn sgemm_gflops(threads: usize) -> f64 {
    const ROWS: usize = 256;
    const COLUMNS: usize = 1024;
    const D: usize = 512;
    let work = |until: Instant| {
        let (a, b) = (vec![0.5; ROWS * D], vec![0.25; COLUMNS * D]);
        let mut out = vec![0.0; ROWS * COLUMNS];
        products(&a, &b, D, &mut out);
        let start = Instant::now();
        let mut calls = 0u32;
        while calls == 0 || Instant::now() < until {
            products(&a, &b, D, &mut out);
            calls += 1;
        }
        f64::from(calls) * (2 * ROWS * COLUMNS * D) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    let until = Instant::now() + Duration::from_millis(300);
    std::thread::scope(|scope| {
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, || work(until)).ok();
        let workers: Vec<_> = (0..threads.max(1)).filter_map(start).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0.0)).sum()
    })
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn products_are_row_by_row() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let mut out = [0.0; 6];
        products(&a, &b, 2, &mut out);
        assert_eq!(out, [1.0, 2.0, 3.0, 3.0, 4.0, 7.0]);
    }

    #[test]
    fn kernels_are_ranked_by_width() {
        for (name, width) in [("Prescott", 128), ("Haswell", 256), ("SkylakeX", 512), ("SAPPHIRERAPIDS", 512)] {
            assert_eq!(kernel_width(name), width);
        }
    }

    /// Names what the test below starts: this test program again, with this test alone.
    const CHILD: &str = "LVD_TEST_RESTART";

    #[test]
    fn restart_child() {
        if std::env::var_os(CHILD).is_some() {
            _ = ensure_fast_kernel();
            let slow = slow_kernel().is_some();
            println!("child {} slow {slow} arguments {}", std::process::id(), std::env::args().count());
        }
    }

    #[test]
    fn a_restart_keeps_process_and_arguments_and_mends_the_kernel() {
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "blas::tests::restart_child", "--nocapture"]);
        child.env(CHILD, "1").env_remove(CORETYPE).stdout(std::process::Stdio::piped());
        let child = child.spawn().expect("a child");
        let expected = format!("child {} slow false arguments 4", child.id());
        let said = String::from_utf8(child.wait_with_output().expect("an answer").stdout).expect("text");
        assert!(said.contains(&expected), "{said}");
    }
}
