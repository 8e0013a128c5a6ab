//! What the machine and the native libraries are, and what about them is slow or missing: data for
//! `lvd doctor`, for summaries (the numerics behind equal bytes) and for benchmark records. Prints
//! nothing.

use serde::Serialize;

use super::onnx;
use lvd_base::error::Fault;
use lvd_kernels::blas;

/// The instruction sets worth telling: those that choose a kernel.
const INSTRUCTION_SETS: [&str; 8] = ["sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512vnni", "avx512bf16"];

/// The machine and its libraries.
#[derive(Clone, Debug, Serialize)]
pub struct Doctor {
    /// The processor's name, as the system tells it.
    pub processor: String,
    /// Threads that can run at once for this process.
    pub threads: usize,
    /// The processor's instruction sets, of those that matter here.
    pub instruction_sets: Vec<&'static str>,
    /// The BLAS library: `OpenBLAS`, or `other`.
    pub blas: &'static str,
    /// The kernel that it picked, where it tells.
    pub blas_kernel: Option<String>,
    /// Matrix products on one thread, 10^9 operations a second.
    pub gflops_one_thread: f64,
    /// The same on all threads at once.
    pub gflops_all_threads: f64,
    /// ONNX Runtime; `None` where it cannot be loaded, and then a warning says why.
    pub onnxruntime: Option<Runtime>,
    /// Whether FAISS is built in.
    pub faiss: bool,
    /// What is not as it should be.
    pub warnings: Vec<Fault>,
}

/// ONNX Runtime as it was loaded.
#[derive(Clone, Debug, Serialize)]
pub struct Runtime {
    /// Its version.
    pub version: String,
    /// Its file.
    pub path: std::path::PathBuf,
    /// The execution providers that it was built with.
    pub providers: Vec<String>,
}

impl Doctor {
    /// Looks at everything; takes about a second, for the measurements.
    #[must_use]
    pub fn examine() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut warnings: Vec<_> = blas::slow_kernel().into_iter().collect();
        let blas_kernel = blas::kernel();
        if blas_kernel.is_none() {
            let fact = "the BLAS library is not OpenBLAS: its speed is unknown, and it may start threads of its own";
            warnings.push(Fault::new(fact, "install libopenblas-dev"));
        }
        let onnxruntime = runtime().map_err(|error| {
            warnings.push(Fault::new(error.to_string(), error.hint().unwrap_or_default()));
        });
        Self {
            processor: processor(),
            threads,
            instruction_sets: instruction_sets(),
            blas: if blas_kernel.is_some() { "OpenBLAS" } else { "other" },
            blas_kernel,
            gflops_one_thread: blas::sgemm_gflops(1),
            gflops_all_threads: blas::sgemm_gflops(threads),
            onnxruntime: onnxruntime.ok(),
            faiss: crate::faiss::PRESENT,
            warnings,
        }
    }
}

fn runtime() -> lvd_base::Result<Runtime> {
    Ok(Runtime { version: onnx::version()?, path: onnx::loaded_path()?, providers: onnx::providers()? })
}

/// The processor's name from the system's table.
fn processor() -> String {
    let table = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = table.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_string())
}

/// Which of [`INSTRUCTION_SETS`] this processor and system allow.
fn instruction_sets() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        is_x86_feature_detected!("sse4.2"),
        is_x86_feature_detected!("avx"),
        is_x86_feature_detected!("avx2"),
        is_x86_feature_detected!("fma"),
        is_x86_feature_detected!("f16c"),
        is_x86_feature_detected!("avx512f"),
        is_x86_feature_detected!("avx512vnni"),
        is_x86_feature_detected!("avx512bf16"),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found = [false; INSTRUCTION_SETS.len()];
    INSTRUCTION_SETS.into_iter().zip(found).filter_map(|(name, found)| found.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_warning_comes_with_a_cure() {
        let doctor = Doctor::examine();
        assert!(doctor.gflops_one_thread > 0.0 && doctor.gflops_all_threads > 0.0);
        assert!(doctor.warnings.iter().all(|warning| !warning.cure.is_empty()), "{:?}", doctor.warnings);
    }
}
