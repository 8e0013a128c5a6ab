//! Encoders whose input is published: one table, for the pipeline file and for docs/models.md.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use lvd_encoders::{Builtin, CopyThresholds};

/// Mean and standard deviation of R, G and B over `ImageNet`.
pub const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
/// Those that CLIP was trained with.
pub const CLIP: ([f32; 3], [f32; 3]) =
    ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]);

/// Encoders whose settings are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// SSCD (Pizzi et al. 2022): 320 x 320 squashed; the published thresholds for copies hold.
    Sscd,
    /// `DINOv2` of any size: short edge 256, middle 224.
    Dinov2,
    /// `DINOv2` ViT-S/14: 384 values.
    Dinov2S,
    /// `DINOv2` ViT-B/14: 768 values.
    Dinov2B,
    /// `DINOv2` ViT-L/14: 1024 values.
    Dinov2L,
    /// `DINOv2` ViT-g/14: 1536 values.
    Dinov2G,
    /// CLIP of any size: short edge 224, CLIP's mean and standard deviation.
    Clip,
    /// CLIP ViT-B/32: 512 values.
    ClipVitB32,
}

/// A `ResNet-50` on 320 x 320: 4.09 G products on 224 x 224, in proportion to the pixels.
const RESNET50: u64 = 16_700_000_000;

/// Operations of a `ViT` on so many tokens: projections and MLP 24 n w^2, attention 4 n^2 w, a
/// layer.
const fn vit(tokens: u64, width: u64, layers: u64) -> u64 {
    layers * (24 * tokens * width * width + 4 * tokens * tokens * width)
}

/// What a preset sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// Pixels of the short edge, or of both edges.
    pub resize: u32,
    /// Whether both edges are resized.
    pub squash: bool,
    /// Side of the model's input in pixels.
    pub crop: u32,
    /// Mean and standard deviation of R, G and B.
    pub norm: ([f32; 3], [f32; 3]),
    /// Values of a vector; `None` for a preset of several sizes.
    pub dims: Option<u32>,
    /// Operations an image, a product and its sum counted as two; `None` for a preset of several
    /// sizes.
    pub operations: Option<u64>,
    /// From which cosines two images are copies, where the model was made to find copies.
    pub copies: Option<CopyThresholds>,
}

/// Published with SSCD and `DINOv2`: precision 0.9 on DISC21, and what LVD-142M was made with.
const SSCD: CopyThresholds = CopyThresholds { pool: 0.6, references: 0.45, whitened: None, whitened_references: None };

impl Constants {
    /// Those of an encoder in the box.
    #[must_use]
    pub fn of(builtin: Builtin) -> Self {
        let input = builtin.input();
        Self {
            resize: input.resize,
            squash: input.squash,
            crop: input.crop,
            norm: (input.mean, input.std),
            dims: Some(input.dims),
            operations: Some(input.operations),
            copies: builtin.copies(),
        }
    }
}

impl Preset {
    /// Every preset, in the order of the documentation.
    pub const ALL: [Self; 8] = [
        Self::Sscd,
        Self::Dinov2,
        Self::Dinov2S,
        Self::Dinov2B,
        Self::Dinov2L,
        Self::Dinov2G,
        Self::Clip,
        Self::ClipVitB32,
    ];

    /// What it sets.
    #[must_use]
    pub fn constants(self) -> Constants {
        let base = Constants {
            resize: 256,
            squash: false,
            crop: 224,
            norm: IMAGENET,
            dims: None,
            operations: None,
            copies: None,
        };
        let clip = Constants { resize: 224, norm: CLIP, ..base };
        match self {
            Self::Sscd => Constants {
                resize: 320,
                squash: true,
                crop: 320,
                dims: Some(512),
                operations: Some(RESNET50),
                copies: Some(SSCD),
                ..base
            },
            Self::Dinov2 => base,
            Self::Dinov2S => Constants { dims: Some(384), operations: Some(vit(257, 384, 12)), ..base },
            Self::Dinov2B => Constants { dims: Some(768), operations: Some(vit(257, 768, 12)), ..base },
            Self::Dinov2L => Constants { dims: Some(1024), operations: Some(vit(257, 1024, 24)), ..base },
            Self::Dinov2G => Constants { dims: Some(1536), operations: Some(vit(257, 1536, 40)), ..base },
            Self::Clip => clip,
            Self::ClipVitB32 => Constants { dims: Some(512), operations: Some(vit(50, 768, 12)), ..clip },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in docs/models.md.
    fn table() -> lvd_base::error::Result<String> {
        let mut rows = Vec::new();
        for preset in Preset::ALL {
            let name = serde_json::to_value(preset).map_err(|e| lvd_base::error::Error::usage(e.to_string(), ""))?;
            let name = name.as_str().unwrap_or_default().to_owned();
            let c = preset.constants();
            let edges = if c.squash { "both edges" } else { "short edge" };
            let norm = if c.norm == CLIP { "CLIP" } else { "ImageNet" };
            let dims = c.dims.map_or("any".to_owned(), |d| d.to_string());
            let known = if c.copies.is_some() { "yes" } else { "no" };
            rows.push(format!("| `{name}` | {edges} {} | {} | {norm} | {dims} | {known} |\n", c.resize, c.crop));
        }
        Ok(rows.concat())
    }

    #[test]
    fn the_documented_table_is_this_one() -> lvd_base::error::Result<()> {
        let table = table()?;
        let (_, presets) = include_str!("../../docs/models.md").split_once("\n## Presets\n").unwrap_or_default();
        let (_, rest) = presets.split_once("| --- |").unwrap_or_default();
        let rows = rest.split_once('\n').map_or("", |(_, rows)| rows);
        assert!(rows.starts_with(&format!("{table}\n")), "docs/models.md should have\n{table}");
        Ok(())
    }
}
