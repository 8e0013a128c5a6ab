//! The edits that make the example's copies, at random strengths; those of [`lvd_ops::edits`] have
//! fixed ones.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides are a few hundred pixels"
)]

use image::RgbImage;
use image::imageops::{self, FilterType};

use lvd_ops::draw::Chance;
use lvd_ops::edits::{Colours, caption, crop, grayscale};

/// A way to change a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edit {
    /// JPEG again, at quality 30 to 70.
    Reencode,
    /// Both sides times 0.4 to 0.8.
    Resize,
    /// 85 to 95% of the area kept.
    Crop,
    /// Brightness, contrast and colours shifted.
    Recolour,
    /// Colours taken away.
    Grayscale,
    /// A strip with words over the bottom 12%.
    Caption,
    /// Gaussian blur.
    Blur,
    /// About 60% of the area kept.
    CropStrong,
    /// Mirrored.
    Flip,
    /// Turned by a quarter.
    Rotate,
}

impl Edit {
    /// All of them, the ones that an encoder of layouts should see through first.
    pub const ALL: [Self; 10] = [
        Self::Reencode,
        Self::Resize,
        Self::Crop,
        Self::Recolour,
        Self::Grayscale,
        Self::Caption,
        Self::Blur,
        Self::CropStrong,
        Self::Flip,
        Self::Rotate,
    ];
    /// The edits planted as copies of reference pictures.
    pub const MILD: [Self; 4] = [Self::Reencode, Self::Resize, Self::Recolour, Self::Caption];

    /// Its name in the ground truth.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reencode => "reencode",
            Self::Resize => "resize",
            Self::Crop => "crop",
            Self::Recolour => "recolour",
            Self::Grayscale => "grayscale",
            Self::Caption => "caption",
            Self::Blur => "blur",
            Self::CropStrong => "crop_strong",
            Self::Flip => "flip",
            Self::Rotate => "rotate",
        }
    }

    /// Whether the example's encoder, which sees the layout of a picture, can be expected to see
    /// through it.
    #[must_use]
    pub fn is_expected(self) -> bool {
        !matches!(self, Self::CropStrong | Self::Flip | Self::Rotate)
    }

    /// The edited picture.
    #[must_use]
    pub fn apply(self, image: &RgbImage, chance: &Chance) -> RgbImage {
        match self {
            // What changes is how it is encoded.
            Self::Reencode => image.clone(),
            Self::Resize => {
                let scale = chance.between(0.4, 0.8);
                let side = |side: u32| ((side as f32 * scale) as u32).max(40);
                imageops::resize(image, side(image.width()), side(image.height()), FilterType::CatmullRom)
            }
            Self::Crop => crop(image, chance.between(0.85, 0.95), chance),
            Self::CropStrong => crop(image, chance.between(0.55, 0.65), chance),
            Self::Recolour => recolour(image, chance),
            Self::Grayscale => grayscale(image),
            Self::Caption => caption(image, chance),
            Self::Blur => imageops::blur(image, chance.between(1.0, 2.2)),
            Self::Flip => imageops::flip_horizontal(image),
            Self::Rotate => imageops::rotate90(image),
        }
    }
}

fn recolour(image: &RgbImage, chance: &Chance) -> RgbImage {
    let brightness = chance.between(-24.0, 24.0);
    let contrast = chance.between(0.75, 1.25);
    let saturation = chance.between(0.5, 1.5);
    let cast = [0; 3].map(|_| chance.between(-10.0, 10.0));
    Colours { brightness, contrast, saturation, cast }.apply(image)
}
