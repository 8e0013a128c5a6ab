//! An upright picture as an encoder's input, to the letter of torchvision on PIL images: Resize, `CenterCrop`,
//! `ToTensor`, Normalize.
//!
//! Resizing is Pillow's (convolution with antialiasing on 8-bit values); a golden made by Pillow holds it in place.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use serde::{Deserialize, Serialize};

/// How an encoder wants its pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// To which size before the crop.
    pub resize: Resize,
    /// Side of the centred square that is kept, in pixels; a smaller picture gets a black margin.
    pub crop: u32,
    /// Mean of red, green and blue, for values in [0, 1].
    pub mean: [f32; 3],
    /// Standard deviation of red, green and blue, for values in [0, 1].
    pub std: [f32; 3],
    /// The kernel of the resize.
    pub interpolation: Interpolation,
}

/// The size before the crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resize {
    /// The shorter side becomes this long, the longer one in proportion (rounded down).
    ShortEdge(u32),
    /// Both sides become this long, whatever the proportions.
    Squash(u32),
}

/// The kernel of a resize, widened when it shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Cubic, a = -0.5.
    Bicubic,
    /// Triangle.
    Bilinear,
}

impl Preprocess {
    /// The length of one picture: `3 * crop * crop`.
    #[must_use]
    pub fn values(&self) -> usize {
        3 * self.crop as usize * self.crop as usize
    }
}

thread_local! {
    /// The resizer's buffers, kept from picture to picture.
    static RESIZER: RefCell<Resizer> = RefCell::default();
}

/// Writes the picture `rgb` (`height` rows of `width` pixels of 3 bytes) to `out` (3 x crop x crop, channel by channel).
///
/// # Panics
/// When `rgb` does not hold `3 * width * height` bytes, both at least 1, or `out` not [`Preprocess::values`].
pub fn preprocess(width: u32, height: u32, rgb: &[u8], spec: &Preprocess, out: &mut [f32]) {
    assert_eq!(rgb.len() as u64, 3 * u64::from(width) * u64::from(height), "a picture of {width} x {height}");
    assert_eq!(out.len(), spec.values(), "room for a picture of {0} x {0}", spec.crop);
    let (to_width, to_height) = spec.resize.size(width, height);
    if (to_width, to_height) == (width, height) {
        crop(width, height, rgb, spec, out);
    } else {
        let resized = resize((width, height), rgb, (to_width, to_height), spec.interpolation);
        crop(to_width, to_height, &resized, spec, out);
    }
}

impl Resize {
    /// Width and height after the resize; no side is shorter than 1.
    fn size(self, width: u32, height: u32) -> (u32, u32) {
        let long = |short: u32, n: u32, long: u32| {
            u32::try_from(u64::from(n) * u64::from(long) / u64::from(short)).unwrap_or(u32::MAX)
        };
        match self {
            Self::Squash(n) => (n, n),
            Self::ShortEdge(n) if width <= height => (n, long(width, n, height)),
            Self::ShortEdge(n) => (long(height, n, width), n),
        }
    }
}

fn resize(from: (u32, u32), rgb: &[u8], to: (u32, u32), interpolation: Interpolation) -> Vec<u8> {
    let filter = match interpolation {
        Interpolation::Bicubic => FilterType::CatmullRom,
        Interpolation::Bilinear => FilterType::Bilinear,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    let source = ImageRef::new(from.0, from.1, rgb, PixelType::U8x3).expect("the length was checked");
    let mut target = Image::new(to.0, to.1, PixelType::U8x3);
    // Taken, not borrowed: while it waits for rayon's workers this thread may start on another picture.
    let mut resizer = RESIZER.take();
    resizer.resize(&source, &mut target, &options).expect("both pictures are U8x3");
    RESIZER.set(resizer);
    target.into_vec()
}

/// `CenterCrop`, `ToTensor` and Normalize in one pass.
fn crop(width: u32, height: u32, rgb: &[u8], spec: &Preprocess, out: &mut [f32]) {
    let side = spec.crop as usize;
    let (width, height) = (width as usize, height as usize);
    let (across, down) = (Span::centred(width, side), Span::centred(height, side));
    for (channel, plane) in out.chunks_exact_mut(side * side).enumerate() {
        let table = levels(spec.mean[channel], spec.std[channel]);
        if across.len < side || down.len < side {
            plane.fill(table[0]);
        }
        for row in 0..down.len {
            let start = 3 * ((down.from + row) * width + across.from);
            let pixels = &rgb[start..start + 3 * across.len];
            let at = (down.to + row) * side + across.to;
            for (value, pixel) in plane[at..at + across.len].iter_mut().zip(pixels.chunks_exact(3)) {
                *value = table[usize::from(pixel[channel])];
            }
        }
    }
}

/// What each 8-bit level becomes, computed in `f32` in torchvision's order.
fn levels(mean: f32, std: f32) -> [f32; 256] {
    let mut level = 0.0_f32;
    [(); 256].map(|()| {
        let value = (level / 255.0 - mean) / std;
        level += 1.0;
        value
    })
}

/// Where `len` pixels of one axis come `from` in the picture and go `to` in the crop.
struct Span {
    from: usize,
    to: usize,
    len: usize,
}

impl Span {
    /// torchvision's centre: `int(round((length - side) / 2.0))` of Python, which rounds halves to even; the margin of
    /// a shorter picture is `(side - length) // 2` before it and the rest behind.
    fn centred(length: usize, side: usize) -> Self {
        if length < side {
            return Self { from: 0, to: (side - length) / 2, len: length };
        }
        let twice = length - side;
        let half = twice / 2;
        Self { from: half + (twice % 2) * (half % 2), to: 0, len: side }
    }
}
