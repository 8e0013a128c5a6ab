//! Execution providers: where a model computes.

use ort::session::builder::SessionBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a model computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    Cpu,
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
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        }
    }

    /// Whether this program was built to use it.
    #[must_use]
    pub fn built_in(self) -> bool {
        self == Self::Cpu || cfg!(feature = "cuda")
    }

    /// Makes sessions compute there, or fails: nothing falls back to the processor unasked.
    #[cfg(feature = "cuda")]
    pub(super) fn register(self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        let cuda = || ort::ep::CUDA::default().build().error_on_failure();
        Ok(match self {
            Self::Cpu => builder,
            Self::Cuda => builder.with_execution_providers([cuda()])?,
            Self::TensorRt => {
                let compiled = ort::ep::TensorRT::default().build().error_on_failure();
                builder.with_execution_providers([compiled, cuda()])?
            }
        })
    }

    /// Makes sessions compute there, or fails: nothing falls back to the processor unasked.
    #[cfg(not(feature = "cuda"))]
    pub(super) fn register(self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        if self == Self::Cpu { Ok(builder) } else { Err(ort::Error::new("this lvd was built without it")) }
    }
}
