//! Execution providers: where a model computes.

use ort::ep::ArbitrarilyConfigurableExecutionProvider as _;
use ort::session::builder::SessionBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a model computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    Cpu,
    /// The processor, by `OpenVINO`'s kernels, in fp32.
    OpenVino,
    /// The processor, by `OpenVINO`'s kernels, with products of bf16 numbers summed in fp32; one
    /// with AVX-512 BF16 or AMX.
    #[serde(rename = "openvino_bf16")]
    OpenVinoBf16,
    /// An NVIDIA GPU.
    Cuda,
    /// An NVIDIA GPU, the model compiled for it; what it cannot compile runs by CUDA.
    TensorRt,
}

impl Provider {
    /// Its name in the pipeline file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::OpenVinoBf16 => "openvino_bf16",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// Whether it is a GPU.
    #[must_use]
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Cuda | Self::TensorRt)
    }

    /// Whether this program was built to use it.
    #[must_use]
    pub fn built_in(self) -> bool {
        !self.is_gpu() || cfg!(feature = "cuda")
    }

    /// Makes sessions of `threads` threads compute there, or fails: nothing falls back to the
    /// processor unasked.
    pub(super) fn register(self, builder: SessionBuilder, threads: usize) -> ort::Result<SessionBuilder> {
        match self {
            Self::Cpu => Ok(builder),
            Self::OpenVino => open_vino(builder, threads, "f32"),
            Self::OpenVinoBf16 if has_bf16() => open_vino(builder, threads, "bf16"),
            Self::OpenVinoBf16 => Err(ort::Error::new("this processor has no instructions for bf16")),
            Self::Cuda | Self::TensorRt => gpu(self, builder),
        }
    }
}

/// Without bf16 instructions `OpenVINO` computes in fp32, and vectors would tell on which machine
/// they were made.
#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    std::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

fn open_vino(builder: SessionBuilder, threads: usize, precision: &str) -> ort::Result<SessionBuilder> {
    // Pinned, the sessions of all workers would share the first core.
    let settings = serde_json::json!({"CPU": {
        "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": "1", "ENABLE_CPU_PINNING": "NO",
    }});
    let provider = ort::ep::OpenVINO::default()
        .with_device_type("CPU")
        .with_num_threads(threads)
        .with_arbitrary_config("load_config", settings.to_string());
    Ok(builder.with_execution_providers([provider.build().error_on_failure()])?)
}

#[cfg(feature = "cuda")]
fn gpu(provider: Provider, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
    let cuda = ort::ep::CUDA::default().build().error_on_failure();
    let compiled = (provider == Provider::TensorRt).then(|| ort::ep::TensorRT::default().build().error_on_failure());
    Ok(builder.with_execution_providers(compiled.into_iter().chain([cuda]).collect::<Vec<_>>())?)
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: Provider, _: SessionBuilder) -> ort::Result<SessionBuilder> {
    Err(ort::Error::new("this lvd was built without it"))
}
