//! The encoders in the box: `builtin:copy` finds copies of photographs, `builtin:semantic` says
//! what they show. README.md beside this crate is their model card.

use serde::{Deserialize, Serialize};

/// An encoder that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Builtin {
    /// Trained to know edited copies of a picture from everything else.
    Copy,
    /// Pictures of one kind of thing are near to each other.
    Semantic,
}

/// What its input is, and what it gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Pixels of the short edge, or of both edges.
    pub resize: u32,
    /// Whether both edges are resized.
    pub squash: bool,
    /// Side of the model's input in pixels.
    pub crop: u32,
    /// Mean of R, G and B, of values from 0 to 1.
    pub mean: [f32; 3],
    /// Their standard deviation.
    pub std: [f32; 3],
    /// Values of a vector.
    pub dims: u32,
    /// Operations an image, a product and its sum counted as two.
    pub operations: u64,
}

/// Cosines from which two images are copies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CopyThresholds {
    /// Within a pool.
    pub pool: f32,
    /// Of a pool with references.
    pub references: f32,
    /// Within a pool, of vectors that are whitened on some thousands or more; `None`: not known.
    #[serde(default)]
    pub whitened: Option<f32>,
    /// Of a pool with references, of such vectors; `None`: not known.
    #[serde(default)]
    pub whitened_references: Option<f32>,
}

impl CopyThresholds {
    /// The threshold that is known for such a step, if one is.
    #[must_use]
    pub fn of(self, whitened: bool, with_references: bool) -> Option<f32> {
        match (whitened, with_references) {
            (true, false) => self.whitened,
            (true, true) => self.whitened_references,
            (false, true) => Some(self.references),
            (false, false) => Some(self.pool),
        }
    }
}

/// How a pipeline file names one: `model = "builtin:copy"`.
pub const PREFIX: &str = "builtin:";

impl Builtin {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Copy, Self::Semantic];

    /// Its name, without the prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Semantic => "semantic",
        }
    }

    /// Its ONNX file.
    #[must_use]
    pub fn onnx(self) -> &'static [u8] {
        match self {
            Self::Copy => include_bytes!("../weights/copy.onnx"),
            Self::Semantic => include_bytes!("../weights/semantic.onnx"),
        }
    }

    /// What its input is.
    #[must_use]
    pub fn input(self) -> Input {
        let (squash, dims) = match self {
            Self::Copy => (true, 256),
            Self::Semantic => (false, 384),
        };
        // EfficientNet-lite0 on 224 x 224: 407 M products.
        let operations = 814_000_000;
        Input { resize: 224, squash, crop: 224, mean: [127.0 / 255.0; 3], std: [128.0 / 255.0; 3], dims, operations }
    }

    /// The thresholds that its model card measures; `None`: it was not made to find copies.
    #[must_use]
    pub fn copies(self) -> Option<CopyThresholds> {
        match self {
            Self::Copy => Some(CopyThresholds {
                pool: 0.92,
                references: 0.8,
                whitened: Some(0.8),
                whitened_references: Some(0.6),
            }),
            Self::Semantic => None,
        }
    }
}
