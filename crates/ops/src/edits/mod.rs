//! What people and platforms do to pictures before they post them again: the kinds of edits of
//! DISC21 (Douze et al. 2021, arXiv 2106.09672), each at fixed strengths.
//!
//! Pictures in, pictures out. What an edit leaves open (where a crop lies, which words are written)
//! is drawn from a [`Chance`], so the same picture and draw give the same copy.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sides and channels of pictures: clamped, and far below 2^24"
)]

mod colour;
mod geometry;
mod overlay;
mod quality;

use image::{RgbImage, imageops};

pub use colour::{Colours, grayscale};
pub use geometry::{crop, scale};
pub use overlay::caption;

use crate::draw::Chance;

/// An edit at one strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Edit {
    /// 80% of the area kept.
    CropMild,
    /// Half of the area kept.
    CropStrong,
    /// Half as wide and high.
    ResizeHalf,
    /// A quarter as wide and high.
    ResizeQuarter,
    /// Three quarters as high.
    AspectWide,
    /// Three quarters as wide.
    AspectTall,
    /// JPEG of quality 70.
    Jpeg70,
    /// JPEG of quality 30.
    Jpeg30,
    /// JPEG of quality 10.
    Jpeg10,
    /// Gaussian blur, sigma 0.5% of the side of a square of the same area.
    BlurMild,
    /// The same, sigma 2%.
    BlurStrong,
    /// Noise about normal, of standard deviation 10 of 255, on each channel.
    NoiseMild,
    /// The same, of 30.
    NoiseStrong,
    /// Unsharp mask, sigma 1%.
    Sharpen,
    /// 48 of 255 brighter.
    Brighter,
    /// 48 of 255 darker.
    Darker,
    /// Contrast times 1.6.
    ContrastUp,
    /// Contrast times 0.5.
    ContrastDown,
    /// Colours twice as strong.
    SaturationUp,
    /// Colours taken away.
    Grayscale,
    /// Words over the picture.
    TextOverlay,
    /// A strip with words over the bottom 12%.
    Caption,
    /// A drawn face over about an eighth of the picture.
    EmojiOverlay,
    /// The window of a program around it: a bar on top, a frame.
    Screenshot,
    /// In a corner of another picture, up to 70% as wide and high.
    CollageHalf,
    /// In a corner of another picture, up to half as wide and high.
    CollageQuarter,
    /// Turned by 5 degrees, one way or the other; black corners.
    Rotate5,
    /// Turned by a quarter.
    Rotate90,
    /// Mirrored left to right.
    FlipHorizontal,
    /// Mirrored top to bottom.
    FlipVertical,
}

impl Edit {
    /// All of them.
    pub const ALL: [Self; 30] = [
        Self::CropMild,
        Self::CropStrong,
        Self::ResizeHalf,
        Self::ResizeQuarter,
        Self::AspectWide,
        Self::AspectTall,
        Self::Jpeg70,
        Self::Jpeg30,
        Self::Jpeg10,
        Self::BlurMild,
        Self::BlurStrong,
        Self::NoiseMild,
        Self::NoiseStrong,
        Self::Sharpen,
        Self::Brighter,
        Self::Darker,
        Self::ContrastUp,
        Self::ContrastDown,
        Self::SaturationUp,
        Self::Grayscale,
        Self::TextOverlay,
        Self::Caption,
        Self::EmojiOverlay,
        Self::Screenshot,
        Self::CollageHalf,
        Self::CollageQuarter,
        Self::Rotate5,
        Self::Rotate90,
        Self::FlipHorizontal,
        Self::FlipVertical,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CropMild => "crop_mild",
            Self::CropStrong => "crop_strong",
            Self::ResizeHalf => "resize_half",
            Self::ResizeQuarter => "resize_quarter",
            Self::AspectWide => "aspect_wide",
            Self::AspectTall => "aspect_tall",
            Self::Jpeg70 => "jpeg_70",
            Self::Jpeg30 => "jpeg_30",
            Self::Jpeg10 => "jpeg_10",
            Self::BlurMild => "blur_mild",
            Self::BlurStrong => "blur_strong",
            Self::NoiseMild => "noise_mild",
            Self::NoiseStrong => "noise_strong",
            Self::Sharpen => "sharpen",
            Self::Brighter => "brighter",
            Self::Darker => "darker",
            Self::ContrastUp => "contrast_up",
            Self::ContrastDown => "contrast_down",
            Self::SaturationUp => "saturation_up",
            Self::Grayscale => "grayscale",
            Self::TextOverlay => "text_overlay",
            Self::Caption => "caption",
            Self::EmojiOverlay => "emoji_overlay",
            Self::Screenshot => "screenshot",
            Self::CollageHalf => "collage_half",
            Self::CollageQuarter => "collage_quarter",
            Self::Rotate5 => "rotate_5",
            Self::Rotate90 => "rotate_90",
            Self::FlipHorizontal => "flip_horizontal",
            Self::FlipVertical => "flip_vertical",
        }
    }

    /// Whether the copy shows `host` too.
    #[must_use]
    pub fn is_collage(self) -> bool {
        matches!(self, Self::CollageHalf | Self::CollageQuarter)
    }

    /// The edited copy of `image`, which has at least one pixel; collages put it on `host`.
    #[must_use]
    pub fn apply(self, image: &RgbImage, host: &RgbImage, chance: &Chance) -> RgbImage {
        let side = (image.width() as f32 * image.height() as f32).sqrt();
        let colours = |colours: Colours| colours.apply(image);
        match self {
            Self::CropMild => crop(image, 0.8, chance),
            Self::CropStrong => crop(image, 0.5, chance),
            Self::ResizeHalf => scale(image, 0.5, 0.5),
            Self::ResizeQuarter => scale(image, 0.25, 0.25),
            Self::AspectWide => scale(image, 1.0, 0.75),
            Self::AspectTall => scale(image, 0.75, 1.0),
            Self::Jpeg70 => quality::jpeg(image, 70),
            Self::Jpeg30 => quality::jpeg(image, 30),
            Self::Jpeg10 => quality::jpeg(image, 10),
            Self::BlurMild => quality::blur(image, 0.005 * side),
            Self::BlurStrong => quality::blur(image, 0.02 * side),
            Self::NoiseMild => quality::noise(image, 10.0, chance),
            Self::NoiseStrong => quality::noise(image, 30.0, chance),
            Self::Sharpen => quality::sharpen(image, 0.01 * side),
            Self::Brighter => colours(Colours { brightness: 48.0, ..Colours::SAME }),
            Self::Darker => colours(Colours { brightness: -48.0, ..Colours::SAME }),
            Self::ContrastUp => colours(Colours { contrast: 1.6, ..Colours::SAME }),
            Self::ContrastDown => colours(Colours { contrast: 0.5, ..Colours::SAME }),
            Self::SaturationUp => colours(Colours { saturation: 2.0, ..Colours::SAME }),
            Self::Grayscale => grayscale(image),
            Self::TextOverlay => overlay::text(image, chance),
            Self::Caption => caption(image, chance),
            Self::EmojiOverlay => overlay::face(image, chance),
            Self::Screenshot => overlay::window(image, chance),
            Self::CollageHalf => overlay::collage(image, host, 0.7, chance),
            Self::CollageQuarter => overlay::collage(image, host, 0.5, chance),
            Self::Rotate5 => geometry::turn_5_degrees(image, chance.often(0.5)),
            Self::Rotate90 => imageops::rotate90(image),
            Self::FlipHorizontal => imageops::flip_horizontal(image),
            Self::FlipVertical => imageops::flip_vertical(image),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use image::Rgb;

    use super::*;
    use lvd_kernels::hash::Draw;

    /// A picture of slopes and squares, different at every place.
    fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let check = (x / 9 + y / 7) % 2 * 90;
            Rgb([x * 150 / width + check, y * 150 / height + check / 2, (x + 2 * y) * 50 / (width + height) + 40]
                .map(|v| v as u8))
        })
    }

    fn edited(edit: Edit, image: &RgbImage, seed: u64) -> RgbImage {
        let host = RgbImage::from_pixel(120, 80, Rgb([200, 30, 90]));
        edit.apply(image, &host, &Chance::new(Draw::new(seed, "edits")))
    }

    #[test]
    fn every_edit_changes_the_picture_and_gives_the_same_copy_again() {
        let image = picture(97, 61);
        let mut copies = BTreeSet::new();
        for edit in Edit::ALL {
            let copy = edited(edit, &image, 1);
            assert!(copy != image, "{edit:?}");
            assert!(copy == edited(edit, &image, 1), "{edit:?}");
            assert!(copies.insert(copy.into_raw()), "{edit:?} gives what another edit gives");
        }
    }

    #[test]
    fn pictures_of_a_pixel_or_a_line_are_edited_too() {
        for (width, height) in [(1, 1), (1, 300), (300, 1), (5, 3)] {
            for edit in Edit::ALL {
                let copy = edited(edit, &picture(width, height), 2);
                assert!(copy.width() > 0 && copy.height() > 0, "{edit:?} of {width} x {height}");
            }
        }
    }

    #[test]
    fn names_are_snake_case_and_one_each() {
        let names: BTreeSet<&str> = Edit::ALL.iter().map(|edit| edit.name()).collect();
        assert_eq!(names.len(), Edit::ALL.len());
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(names.iter().all(|name| name.chars().all(fine)), "{names:?}");
    }

    #[test]
    fn stronger_is_further_from_the_picture() {
        use Edit::{BlurMild, BlurStrong, Jpeg10, Jpeg30, Jpeg70, NoiseMild, NoiseStrong};
        let image = picture(160, 120);
        let off = |edit| {
            let copy = edited(edit, &image, 3);
            assert_eq!(copy.dimensions(), image.dimensions());
            image.iter().zip(copy.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        for (mild, strong) in [(Jpeg70, Jpeg30), (Jpeg30, Jpeg10), (BlurMild, BlurStrong), (NoiseMild, NoiseStrong)] {
            assert!(off(mild) < off(strong), "{mild:?} {} {strong:?} {}", off(mild), off(strong));
        }
    }

    #[test]
    fn sizes_are_as_promised() {
        let image = picture(200, 100);
        let size = |edit| edited(edit, &image, 4).dimensions();
        assert_eq!(size(Edit::ResizeQuarter), (50, 25));
        assert_eq!(size(Edit::AspectWide), (200, 75));
        assert_eq!(size(Edit::Rotate90), (100, 200));
        assert_eq!(size(Edit::CollageHalf), (120, 80), "the host's");
        let (width, height) = size(Edit::CropStrong);
        assert!((9_500..=10_500).contains(&(width * height)), "{width} x {height}");
        let (width, height) = size(Edit::Screenshot);
        assert!(width > 200 && height > 110, "{width} x {height}");
    }
}
